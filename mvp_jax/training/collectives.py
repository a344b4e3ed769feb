"""What a compiled step sends between devices, read from its text."""

import collections
import dataclasses

from mvp_jax.training.hlo import Program

KINDS = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
)


@dataclasses.dataclass(frozen=True)
class Collectives:
  """Of one execution, by kind. Those in a loop count once per iteration.

  The result of an all-gather is the whole array, of a reduce-scatter a device's shard,
  of an all-reduce the array.

  Attributes:
    arrays: {kind: {shape such as 'f32[4,8]': times}} of the results.
    bytes: {kind: int} of the results.
    count: {kind: int}; one may send several arrays.
  """

  arrays: dict
  bytes: dict
  count: dict


def collectives(compiled):
  """The Collectives of `jax.jit(...).lower(...).compile()`.

  Raises:
    ValueError: the program does not state the trip count of a loop with collectives.
  """
  arrays = collections.defaultdict(collections.Counter)
  sizes, count = collections.Counter(), collections.Counter()
  for _, one, times in Program(compiled.as_text()).run(kind_of):
    if kind := kind_of(one):
      count[kind] += times
      for array in results(one):
        arrays[kind][str(array)] += times
        sizes[kind] += times * array.bytes
  return Collectives(
    {kind: dict(found) for kind, found in arrays.items()}, dict(sizes), dict(count)
  )


def kind_of(instruction):
  """Which of `KINDS` an instruction begins, or None."""
  kind = instruction.opcode.removesuffix('-start')
  return kind if kind in KINDS else None


def results(instruction):
  """The arrays that a collective gives.

  One that runs beside others has what it sends and what comes of it, where these differ
  in size, and counters.
  """
  found = instruction.arrays
  if (
    not instruction.opcode.endswith('-start')
    or instruction.opcode == 'all-reduce-start'
  ):
    return found
  count = len(instruction.operands)
  return found[count : 2 * count]
