"""What a compiled step sends between devices, parsed from its HLO text."""

import collections
import math
import re

_BYTES = {
  'pred': 1,
  's8': 1,
  'u8': 1,
  'bf16': 2,
  'f16': 2,
  's16': 2,
  'u16': 2,
  's32': 4,
  'u32': 4,
  'f32': 4,
  's64': 8,
  'u64': 8,
  'f64': 8,
}
_KINDS = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)
_HEADER = re.compile(r'^(?:ENTRY )?%?([\w.\-]+) .*\{$')
_COLLECTIVE = re.compile(rf'= (.+?) ({"|".join(_KINDS)})(?:-start)?\(')
_ARRAY = re.compile(r'\b(\w+)\[([\d,]*)\]')
_WHILE = re.compile(r'\bwhile\(.*body=%?([\w.\-]+)')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CALLED = re.compile(r'(?:calls|to_apply)=%?([\w.\-]+)')


def moved_bytes(compiled):
  """Bytes of the results of collectives in one execution, by kind.

  Those in a loop count once per iteration. The result of an all-gather is the whole
  array, of a reduce-scatter a device's shard, of an all-reduce the array.

  Args:
    compiled: of `jax.jit(...).lower(...).compile()`.

  Returns:
    {kind: {shape such as 'f32[4,8]': times}} and {kind: bytes}.

  Raises:
    ValueError: the HLO does not state the trip count of a loop with collectives.
  """
  bodies = _computations(compiled.as_text())
  found = collections.defaultdict(collections.Counter)

  def visit(name, times):
    for line in bodies[name]:
      if match := _COLLECTIVE.search(line):
        for dtype, shape in _ARRAY.findall(match[1]):
          found[match[2]][f'{dtype}[{shape}]'] += times
      if match := _WHILE.search(line):
        trips = _TRIPS.search(line)
        if trips:
          visit(match[1], times * int(trips[1]))
        elif _has_collectives(match[1], bodies):
          raise ValueError(f'{match[1]}: no known trip count')
      elif ' call(' in line or ' conditional(' in line:
        for called in _CALLED.findall(line):
          visit(called, times)

  visit(_entry(compiled.as_text()), 1)
  totals = {
    kind: sum(_size(array) * n for array, n in arrays.items())
    for kind, arrays in found.items()
  }
  return {kind: dict(arrays) for kind, arrays in found.items()}, totals


def _computations(text):
  """{name: lines} of the computations of an HLO module."""
  bodies, name = {}, None
  for line in text.splitlines():
    if match := _HEADER.match(line):
      name = match[1]
      bodies[name] = []
    elif name and line.startswith('}'):
      name = None
    elif name:
      bodies[name].append(line)
  return bodies


def _entry(text):
  return re.search(r'^ENTRY %?([\w.\-]+)', text, re.MULTILINE)[1]


def _has_collectives(name, bodies):
  return any(
    _COLLECTIVE.search(line)
    or any(
      _has_collectives(called, bodies)
      for called in _CALLED.findall(line)
      if called in bodies
    )
    for line in bodies[name]
  )


def _size(array):
  dtype, shape = _ARRAY.fullmatch(array).groups()
  return _BYTES[dtype] * math.prod(int(n) for n in shape.split(',') if n)
