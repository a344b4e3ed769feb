"""The text of a compiled program: which instructions run, and how often.

XLA writes a program as computations of instructions. A loop over layers is one `while`
whose body runs as often as there are layers; CPU's XLA notes how often, TPU's leaves it
to the condition.
"""

import dataclasses
import math
import re

BYTES = {
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
_HEADER = re.compile(r'^(?:ENTRY )?%?([\w.\-]+) .*\{$')
_NAME = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = ')
_ARRAY = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\](?:\{([^}]*)\})?')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_CALLED = re.compile(r'(?:calls|to_apply|body|condition)=%?([\w.\-]+)')


@dataclasses.dataclass(frozen=True)
class Array:
  """An array of an instruction's result."""

  dtype: str
  shape: tuple[int, ...]
  layout: str  # the text in braces, '' where there is none

  @property
  def bytes(self):
    """Of its values, without padding."""
    return BYTES.get(self.dtype, 0) * math.prod(self.shape)

  def __str__(self):
    return f'{self.dtype}[{",".join(map(str, self.shape))}]'


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One instruction of a computation."""

  name: str
  result: str  # the text of its type
  opcode: str
  operands: tuple[str, ...]  # names; of a constant its text, of a parameter its number
  rest: str  # of the text

  @property
  def arrays(self):
    """All arrays of the result: a list of Array."""
    return [
      Array(dtype, tuple(int(n) for n in shape.split(',') if n), layout)
      for dtype, shape, layout in _ARRAY.findall(self.result)
    ]

  def called(self, key):
    """The computation that it names as `key`, such as 'calls' or 'body'."""
    match = re.search(rf'{key}=%?([\w.\-]+)', self.rest)
    return match and match[1]


class Program:
  """The text of a compiled program, parsed.

  Attributes:
    computations: {name: list of Instruction}, the root last.
    entry: name of the one that is run.
  """

  def __init__(self, text):
    lines, name, entry = {}, None, None
    for line in text.splitlines():
      if match := _HEADER.match(line):
        name = match[1]
        lines[name] = []
        entry = name if line.startswith('ENTRY') else entry
      elif line.rstrip() == '}':
        name = None
      elif name and _NAME.match(line):
        lines[name].append(line)
      elif name and lines[name]:  # an attribute of several lines
        lines[name][-1] += line
    self.entry = entry
    self.computations = {
      name: [_instruction(line) for line in own] for name, own in lines.items()
    }

  def run(self, wanted=lambda one: False):
    """Yields (computation, Instruction, how often it runs in one execution).

    It enters loops, calls and branches, not fusions. A loop of which it is not known
    how often it runs, such as one that draws until a number suits, counts once;
    ValueError if `wanted` is true of some instruction in it.
    """

    def visit(name, times):
      for one in self.computations[name]:
        if one.opcode == 'while':
          trips = self._trips(one)
          body = one.called('body')
          if trips is None and self._has(body, wanted):
            raise ValueError(f'{body}: no known trip count')
          yield from visit(body, times * (trips or 1))
        elif one.opcode in ('call', 'conditional', 'async-start'):
          for called in _CALLED.findall(one.rest):
            yield from visit(called, times)
        else:
          yield name, one, times

    yield from visit(self.entry, 1)

  def _trips(self, loop):
    """How often a loop runs, by its note or by what its counter is compared to."""
    if noted := _TRIPS.search(loop.rest):
      return int(noted[1])
    condition = self.computations[loop.called('condition')]
    root = condition[-1]
    if root.opcode != 'compare' or 'direction=LT' not in root.rest:
      return None
    limits = {
      one.name: int(one.operands[0])
      for one in condition
      if one.opcode == 'constant' and one.operands[0].isdigit()
    }
    return limits.get(root.operands[1])

  def _has(self, name, wanted):
    return any(
      wanted(one) or any(self._has(x, wanted) for x in _CALLED.findall(one.rest))
      for one in self.computations.get(name, ())
    )


def _instruction(line):
  """An Instruction of a line of a computation."""
  match = _NAME.match(line)
  start = match.end()
  end = _closing(line, start) if line[start] == '(' else line.index(' ', start)
  result, rest = line[start:end], line[end:].lstrip()
  opcode, _, _ = rest.partition('(')
  close = _closing(rest, len(opcode))
  inside = rest[len(opcode) + 1 : close - 1]
  if opcode in ('constant', 'parameter'):
    operands = (inside,)
  else:
    operands = tuple(re.findall(r'%([\w.\-]+)', inside))
  return Instruction(match[1], result, opcode, operands, rest[close:])


def _closing(text, start):
  """The place after the bracket that closes the one at `start`."""
  depth = 0
  for place in range(start, len(text)):
    depth += {'(': 1, ')': -1}.get(text[place], 0)
    if not depth:
      return place + 1
  raise ValueError(f'no end of a bracket: {text[start : start + 40]}')
