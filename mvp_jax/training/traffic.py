"""What a compiled step moves between a TPU's memory and its units, read from its text.

Each instruction reads its operands and writes its results, but for those that stay in
the vector memory; a fusion that takes a slice of an array, as one layer of all, reads
that slice alone. Kernels count as if they read everything once: a lower bound.
"""

import collections
import math
import re

from mvp_jax.training.hlo import BYTES, Program

# They move nothing, or what they begin or end counts where it stands.
_FREE = {
  'after-all',
  'bitcast',
  'constant',
  'get-tuple-element',
  'opt-barrier',
  'parameter',
  'partition-id',
  'replica-id',
  'tuple',
}
_FREE_CALLS = ('AllocateBuffer', 'ConcatBitcast', 'AssumeGatherIndicesInBound')
_SLICES = ('dynamic-slice', 'slice', 'gather')
_PLACE = re.compile(r'S\((\d+)\)')
_TILE = re.compile(r':T\(([\d,]+)\)')
_NAMED = re.compile(r'op_name="([^"]*)"')


def moved(compiled):
  """Bytes of one execution, by the name of the operation: {text: int}.

  Args:
    compiled: of `jax.jit(...).lower(...).compile()`, for TPUs.
  """
  program = Program(compiled.as_text())
  known = {
    name: {one.name: one for one in own} for name, own in program.computations.items()
  }
  users = {name: _users(own) for name, own in program.computations.items()}
  found = collections.Counter()
  for computation, one, times in program.run():
    size = _Traffic(known, users).of(known[computation], one)
    if size:
      name = _NAMED.search(one.rest)
      found[name[1] if name else one.opcode] += times * size
  return dict(found)


def stored(array):
  """Bytes of an hlo.Array in the main memory, padded to tiles; 0 if it is elsewhere."""
  place = _PLACE.search(array.layout)
  if place and place[1] != '0':
    return 0
  shape, tile = list(array.shape), _TILE.search(array.layout)
  if tile and shape:
    order = [int(n) for n in array.layout.partition(':')[0].split(',') if n]
    tiles = [int(n) for n in tile[1].split(',')]
    for dimension, size in zip(order, reversed(tiles), strict=False):
      shape[dimension] += -shape[dimension] % size
  return BYTES.get(array.dtype, 0) * math.prod(shape)


def _users(instructions):
  """{name: list of (Instruction, place among its operands)}."""
  users = collections.defaultdict(list)
  for one in instructions:
    for place, name in enumerate(one.operands):
      users[name].append((one, place))
  return users


class _Traffic:
  def __init__(self, known, users):
    self._known, self._users = known, users

  def of(self, around, one):
    """Bytes that an instruction moves; `around` are those of its computation."""
    opcode = one.opcode
    if opcode in _FREE or opcode.endswith(('-done', '-update')):
      return 0
    if opcode == 'custom-call' and any(name in one.rest for name in _FREE_CALLS):
      return 0
    if opcode == 'copy-start':  # (there, here, context)
      return sum(map(stored, one.arrays[:2]))
    given = [around[name] for name in one.operands if name in around]
    if opcode == 'slice-start':  # ((whole), part, context)
      part = one.arrays[-2]
      read = part.bytes if any(map(stored, given[0].arrays)) else 0
      return read + stored(part)
    if opcode in _SLICES:
      there = any(map(stored, given[0].arrays)) if given else True
      return sum(stored(x) + (x.bytes if there else 0) for x in one.arrays)
    if opcode == 'dynamic-update-slice':
      return (
        2 * sum(map(stored, given[1].arrays)) if any(map(stored, one.arrays)) else 0
      )
    if opcode == 'fusion':
      inside = one.called('calls')
      return self._read_by(inside, given) + self._written(inside, one.arrays)
    written = one.arrays
    if opcode.endswith('-start') and opcode != 'all-reduce-start':
      written = written[len(given) : 2 * len(given)]  # after what is sent
    return sum(map(stored, [*written, *(x for one in given for x in one.arrays)]))

  def _read_by(self, inside, given):
    """Bytes that a fusion reads of its operands."""
    total = 0
    for number, operand in enumerate(given):
      whole = sum(map(stored, operand.arrays))
      if whole:
        part = self._used(inside, self._parameter(inside, number))
        total += whole if part is None else min(whole, part)
    return total

  def _used(self, inside, name):
    """Bytes of an array that a fused computation reads of it; None for all."""
    total = 0
    for one, place in self._users[inside][name]:
      if one.opcode in _SLICES and place == 0:
        total += sum(x.bytes for x in one.arrays)
      elif one.opcode == 'dynamic-update-slice' and place == 0:
        continue  # written in place
      elif one.opcode == 'tuple' or self._is_view(one):
        part = self._used(inside, one.name)
        if part is None:
          return None
        total += part
      elif one.opcode == 'fusion':  # within a fusion
        within = one.called('calls')
        part = self._used(within, self._parameter(within, place))
        if part is None:
          return None
        total += part
      else:
        return None
    return total

  def _is_view(self, one):
    """Whether an instruction is another view of the same bytes."""
    if one.opcode == 'fusion':
      within = self._known[one.called('calls')].values()
      return all(x.opcode in ('parameter', 'bitcast') for x in within)
    return one.opcode == 'bitcast'

  def _parameter(self, inside, number):
    """The name of a parameter of a computation."""
    return next(
      one.name
      for one in self._known[inside].values()
      if one.opcode == 'parameter' and int(one.operands[0]) == number
    )

  def _written(self, inside, arrays):
    """Bytes that a fusion writes: of what it changes in place, the changed part."""
    own = self._known[inside]
    root = list(own.values())[-1]
    parts = [own[name] for name in root.operands] if root.opcode == 'tuple' else [root]
    if len(parts) != len(arrays):
      return sum(map(stored, arrays))
    total = 0
    for part, array in zip(parts, arrays, strict=True):
      around, size = own, stored(array)
      while part.opcode == 'bitcast' or (
        part.opcode == 'fusion' and len(part.arrays) == 1
      ):
        if part.opcode == 'fusion':
          around = self._known[part.called('calls')]
          part = list(around.values())[-1]
        else:
          part = around[part.operands[0]]
      if size and part.opcode == 'dynamic-update-slice':
        update = around[part.operands[1]]
        size = min(size, sum(x.bytes for x in update.arrays))
      total += size
    return total
