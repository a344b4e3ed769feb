"""What a compiled step sends between devices, read from its text."""

import collections

from mvp_jax.training.hlo import Program

_KINDS = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)


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
  found = collections.defaultdict(collections.Counter)
  totals = collections.Counter()
  for one, kind, times in _run(compiled):
    for array in _results(one):
      found[kind][str(array)] += times
      totals[kind] += times * array.bytes
  return {kind: dict(arrays) for kind, arrays in found.items()}, dict(totals)


def counted(compiled):
  """How many collectives one execution runs: {kind: int}. See `moved_bytes`.

  One of them may send several arrays.
  """
  found = collections.Counter()
  for _, kind, times in _run(compiled):
    found[kind] += times
  return dict(found)


def _run(compiled):
  """Yields (Instruction, its kind, how often it runs)."""
  for _, one, times in Program(compiled.as_text()).run(_kind):
    if kind := _kind(one):
      yield one, kind, times


def _kind(instruction):
  kind = instruction.opcode.removesuffix('-start')
  return kind if kind in _KINDS else None


def _results(instruction):
  """The arrays that a collective gives.

  One that runs beside other work first names what it sends; a reduction does not.
  """
  found, count = instruction.arrays, len(instruction.operands)
  if instruction.opcode in ('all-reduce-start', *_KINDS):
    return found
  return found[count : 2 * count]
