"""Which few pairs of many courses may be one recording, without comparing all pairs.

Around each of the highest peaks of a course a window is hashed, so that the windows of
copies meet wherever the copy begins. A hash is some codes: which of some random
directions is nearest to the window (cross-polytope hashing: A. Andoni et al.,
"Practical and Optimal LSH for Angular Distance", NeurIPS 2015). Hashes are sorted, and
of those that begin alike each is paired with the next few only, so that the time is
that of sorting however alike all are. Courses that meet often at one shift are likely
to be one (A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003).
"""

import numpy as np
import scipy.ndimage

# Chosen on 84 copies of windows of real skin conductance, with noise or rounded, that
# `evidence` can tell, among 1,500 others with the spectra of real ones: 82 are among
# those named. Of all pairs, compared one by one, 60 stood out.
_WINDOW = 5.0  # seconds about a peak
_RADIUS = 0.2  # seconds to either side in which a peak is the highest
_DIRECTIONS = 32  # among which a code tells the nearest
_BITS = 6  # of a code
_CODES = 16  # of a window
_TABLES = 24  # orders of the codes, by each of which windows are sorted
_SORTED = 9  # codes by which they are
_ALIKE = 3  # of these, the first, must be equal
_NEXT = 4  # windows in a table that one is paired with
_TOLERANCE = 0.13  # seconds by which shifts may differ
_MEETINGS = 1 << 23  # counted at a time, for the memory
_BLOCKS = 5  # of so many meetings that are kept at a time, not to look for each again


class Index:
  """Hashed peaks of courses, to which one course after another is added.

  Args:
    rate: Hz of the courses.
    together: whether their channels are hashed as one; else each for itself.
  """

  def __init__(self, rate, together=False):
    self._rate, self._together = rate, together
    self._count, self._found = 0, {}  # {channel: list of (codes, courses, places)}
    reach = int(_WINDOW / 2 * rate)
    self._offsets = np.arange(-reach, reach + 1, 2)
    self._directions = None

  def add(self, course):
    """Adds the next course, float32 [time, k]: nothing of one without peaks."""
    parts = [course] if self._together else [x[:, None] for x in course.T]
    for channel, part in enumerate(parts):
      places = self._peaks(part)
      if len(places):
        which = np.full(len(places), self._count, np.int32)
        found = self._hashes(part, places), which, places.astype(np.int32)
        self._found.setdefault(channel, []).append(found)
    self._count += 1

  def pairs(self, most):
    """Likely pairs of courses: int [n, 2], by number, the first the smaller one.

    Of each course they are the `most` others that meet it most often at one shift; all,
    where there are no more.
    """
    if self._count <= most + 1:
      return np.stack(np.triu_indices(self._count, 1), 1)
    votes = []
    for found in self._found.values():
      columns = map(np.concatenate, zip(*found, strict=True))
      votes += _votes(*columns, self._count, self._rate, most)
    if not votes:
      return np.zeros((0, 2), int)
    pairs, counts = map(np.concatenate, zip(*votes, strict=True))
    pairs, which = np.unique(pairs, axis=0, return_inverse=True)
    counts = np.bincount(which.ravel(), counts)
    return pairs[few_of_each(pairs, counts, most)]

  def _peaks(self, part):
    """Where it is the highest: int [n]."""
    height = np.linalg.norm(part, axis=1)
    top = scipy.ndimage.maximum_filter1d(height, 2 * round(_RADIUS * self._rate) + 1)
    return np.flatnonzero((height == top) & (height > 0))

  def _hashes(self, part, places):
    """The direction that is nearest, and on which side: uint8 [places, codes].

    Sides are told against that of the first code: turned over, a window is the same.
    """
    reach = -self._offsets[0]
    padded = np.pad(part, ((reach, reach), (0, 0)))
    windows = padded[places[:, None] + reach + self._offsets].reshape(len(places), -1)
    if self._directions is None:
      shape = windows.shape[1], _CODES * _DIRECTIONS
      directions = np.random.default_rng(0).normal(size=shape)
      self._directions = directions.astype(np.float32)
    near = windows.astype(np.float32) @ self._directions
    near = near.reshape(len(places), _CODES, _DIRECTIONS)
    nearest = abs(near).argmax(2)
    side = np.take_along_axis(near, nearest[..., None], 2)[..., 0] > 0
    return (2 * nearest + (side ^ side[:, :1])).astype(np.uint8)


def few_of_each(pairs, score, most):
  """Which pairs, int [n, 2], are of the `most` with the highest score of either course.

  Returns int [m], increasing.
  """
  who, score = pairs.T.ravel(), np.tile(score, 2)
  order = np.lexsort((-score, who))
  rank = np.arange(len(order)) - np.searchsorted(who[order], who[order])
  return np.unique(order[rank < most] % max(1, len(pairs)))


def _votes(codes, courses, places, count, rate, most):
  """Yields pairs of courses, int [n, 2], and how often they meet at one shift, [n].

  `codes`, `courses` and `places` are of the windows of all courses of one channel.
  What meets once does so by chance; of each course no more than `most` are told of
  each block of others.
  """
  rng = np.random.default_rng(1)
  tables = [_sorted(codes, rng) for _ in range(_TABLES)]
  span = 2 * int(places.max()) + 2
  blocks = -(-len(codes) * _TABLES * _NEXT // _MEETINGS)
  edges = np.linspace(0, count, blocks + 1).astype(int)
  # Of earlier courses there are more pairs, for they are the first of them.
  edges = np.round(count * (1 - np.sqrt(1 - edges / count))).astype(int)
  for begin in range(0, blocks, _BLOCKS):
    part = edges[begin : begin + _BLOCKS + 1]
    for met in _meetings(tables, courses, places, part, count, span):
      met.sort()
      tolerance = round(_TOLERANCE * rate)
      close = np.zeros(len(met), bool)
      close[:-1] = np.diff(met) <= tolerance
      met = met[close | np.roll(close, 1)]  # most are alone
      near = np.searchsorted(met, met + tolerance, 'right')
      near -= np.arange(len(met))
      met, near = met[near > 1], near[near > 1]
      if len(met):
        pairs, start = np.unique(met // span, return_index=True)
        pairs = np.stack(np.divmod(pairs, count), 1)
        often = np.maximum.reduceat(near, start)
        few = few_of_each(pairs, often, most)
        yield pairs[few], often[few]


def _meetings(tables, courses, places, edges, count, span):
  """Pairs of windows that are neighbours in a table and begin alike, by block.

  Yields for each two neighbours of `edges`, between which the smaller course of a pair
  lies, int64 [n]: (smaller course * count + larger one) * span + shift.
  """
  found = [[] for _ in edges[1:]]
  for order, alike in tables:
    which, where = courses[order], places[order]
    for step in range(1, _NEXT + 1):
      one, other = which[:-step], which[step:]
      first = np.minimum(one, other)
      inside = (first >= edges[0]) & (first < edges[-1]) & (one != other)
      # As far as those between them are alike, too.
      inside &= alike[step:] == alike[:-step]
      inside = np.flatnonzero(inside)
      one, other, first = one[inside], other[inside], first[inside]
      shift = where[inside + step] - where[inside]
      shift = np.where(one < other, shift, -shift)
      pair = first.astype(np.int64) * count + np.maximum(one, other)
      met = pair * span + (shift + span // 2)
      block = np.searchsorted(edges[1:-1], first, 'right').astype(np.uint8)
      met = met[np.argsort(block, kind='stable')]
      ends = np.cumsum(np.bincount(block, minlength=len(found)))
      for part, share in zip(found, np.split(met, ends[:-1]), strict=True):
        part.append(share)
  while found:
    yield np.concatenate(found.pop(0))


def _sorted(codes, rng):
  """The order of windows by some of their codes, and which begin alike: int32 [n] both.

  Among equal ones it is by chance, so that what all courses share names no pair.
  """
  key = np.zeros(len(codes), np.uint64)
  for code in rng.permutation(_CODES)[:_SORTED]:
    key = (key << np.uint64(_BITS)) | codes[:, code]
  chance = 64 - _BITS * _SORTED
  key = (key << np.uint64(chance)) | rng.integers(0, 1 << chance, len(key), np.uint64)
  order = np.argsort(key).astype(np.int32)
  begin = key[order] >> np.uint64(64 - _BITS * _ALIKE)
  alike = np.cumsum(np.diff(begin, prepend=begin[:1]) != 0, dtype=np.int32)
  return order, alike
