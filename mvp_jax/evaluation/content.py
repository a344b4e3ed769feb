"""Finds trials that hold the same recording: copies, also shifted, scaled or re-coded.

Hashes of their courses name the pairs that may be copies, so that not all are compared
(`candidates`). Of these, fingerprints are laid over each other at every shift
(`fingerprints`). Films and sounds that agree are copies. Signals may agree because they
are coarse: `evidence` takes a second look at those that agree most, against what both
agree with some drawn at random.
"""

import collections.abc
import dataclasses
import hashlib

import cv2
import numpy as np
import scipy.fft
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from mvp_jax import hosts
from mvp_jax.checksums import made_once
from mvp_jax.data import streams
from mvp_jax.data.derived import derived
from mvp_jax.evaluation import exact, sound_course
from mvp_jax.evaluation.candidates import Index, few_of_each
from mvp_jax.evaluation.evidence import DISTINCT, LIMIT, at_rate, evidence, moving
from mvp_jax.evaluation.fingerprints import (
  BITS,
  LEAST_OVERLAP,
  agreements,
  equal_pairs,
  flattened,
  places,
  signs,
)
from mvp_jax.files import read_json, write_json
from mvp_jax.progress import Progress

_VERSION = 7
# From it on two films are one. No pair of trials of a twin passes .21; 10 s of one real
# face against the next 10 s have .13. Copies shifted by seconds, brighter, coarser or
# in another crop have at least .55. Signals agree by how coarse they are, up to 1:
# theirs is only where `evidence` looks.
AGREEMENT = 0.4
# And from so much over the root of the numbers that courses of their band have where
# they overlap (two for each Hz and second). Of 56,000 likely pairs of drawn faces, 10 s
# to 150 s long at 1 to 5 frames a second, agreements by chance were up to .78; those of
# .4 and more were up to 2.1 over that root. Of 8 changed copies of 8 s of a real face 6
# pass it (4 at 2.5 frames a second), where all pass .4 (7).
_CHANCE = 2.5
_BAND = (0.2, 4.0)  # Hz, of signals
_SLOW_BAND = (0.1, 1.0)  # what noise of 1 % leaves of a skin's conductance
_FRAME_RATE = 5.0  # of the frames looked at; or all, if they are fewer
_BATCH = 64  # pairs that `evidence` looks at at a time
_ALIKE = 0.6  # of the signs of bends, from which on `exact` looks at a pair
_LIKELY = 24  # of each trial by their hashes, whose fingerprints are compared
_CANDIDATES = 5  # of these, looked at by `evidence`
_STRANGERS = 32  # of each trial, that say how far it agrees with any
_SPREAD = 0.01  # of agreements, at least
_RIVALS = 24  # peaks of agreement that a copy must stand out from
_APART = 0.5  # seconds between two places, at least
_CHANGES = 16  # of a series that has two trials to the bit, by no mere chance
_PATTERNS = 8  # of the lowest of the cosine transform of a frame, without its mean
# Products of a few hundred rows take two threads forty times as long as one.
_one_thread = threadpool_limits.wrap(limits=1, user_api='blas')


@dataclasses.dataclass(frozen=True)
class Copy:
  """Two trials that hold the same. The second is `shift` seconds later."""

  stream: str  # its name
  first: str  # trial ids
  second: str
  shift: float
  agreement: float


def copies(corpus):
  """All copies among the trials of a corpus, kept beside the prepared data.

  Returns:
    list of Copy.
  """
  return [Copy(**fields) for fields in _found(corpus)['copies']]


def untold(corpus):
  """{stream: ids of the trials whose series is too plain to tell copies by}."""
  return _found(corpus)['untold']


def _found(corpus):
  path = derived(corpus) / 'content' / f'copies{_VERSION}.json'
  doing = f'looking for copies in {corpus.directory}'
  hosts.on_main(
    lambda: made_once(path, doing, lambda: write_json(path, _search(corpus)))
  )
  return read_json(path, 'delete it') or {}


def _search(corpus):
  """The copies, and of each series the trials that are too plain to be told apart."""
  ids = [trial.trial_id for trial in corpus.trials]
  found, plain = {}, {}

  def add(stream, pairs):
    for i, j, shift, agreed in pairs:
      found[stream, i, j] = Copy(stream, ids[i], ids[j], shift, agreed)

  for name, facts in streams.series(corpus).items():
    count = len(facts['channels'])
    courses = _Courses([t.streams.get(name) for t in corpus.trials], count)
    # A slow or irregular one has no fine structure to tell it by.
    if (facts['rate'] or 0) >= 2 * _BAND[1]:
      pairs, mute = same_signals(courses, facts['rate'])
      plain[name] = [ids[i] for i in mute if len(courses[i])]
      add(name, pairs)
    add(name, _same_bytes(courses, _CHANGES))
  for name, facts in streams.frames(corpus).items():
    step = max(1, round(facts['rate'] / _FRAME_RATE))
    rate = facts['rate'] / step
    what, courses = f'fingerprints of {name}', []
    with Progress(len(corpus.trials), what, 'trial', 0, hosts.console()) as progress:
      for trial in corpus.trials:
        courses.append(_frame_course(corpus, trial, name, step))
        progress.update()
    add(name, same_films(courses, rate))
    add(name, _same_bytes(courses))
  for name in streams.sounds(corpus):
    courses = [
      sound_course.sound_course(corpus, trial, name) for trial in corpus.trials
    ]
    add(name, same_sounds(courses))
  copies = [dataclasses.asdict(copy) for copy in found.values()]
  return {'copies': copies, 'untold': plain}


def same_films(courses, rate):
  """As `same_signals`, of `frame_patterns` [time, 8] at `rate` Hz; the pairs alone."""
  return _agreeing(courses, rate, 0.25 * rate)


def same_sounds(courses):
  """As `same_films`, of `sound_course.sound_course`s."""
  return _agreeing(courses, sound_course.RATE, sound_course.RATE / BITS)


@_one_thread
def _agreeing(courses, rate, highest):
  """Pairs of courses whose fingerprints, up to `highest` Hz, agree, not by chance."""
  prints, pairs = _look(courses, rate, (_BAND[0], highest), together=True)
  bits, found = BITS * highest, []
  for i, j, shift, agreement in equal_pairs(prints, bits, AGREEMENT, pairs=pairs):
    late = shift * bits
    overlap = min(len(prints[i]), len(prints[j]) - late) - max(0, -late)
    numbers = 2 * (highest - _BAND[0]) * overlap / bits
    if agreement >= _CHANCE / np.sqrt(max(numbers, 1e-6)):
      found.append((i, j, shift, agreement))
  return found


def _look(courses, rate, band, together=False):
  """The fingerprints of courses, and which pairs of them may be copies: int [n, 2]."""
  prints, index = [], Index(2 * BITS * band[1], together)
  for course in courses:
    wave = flattened(course, rate, band)
    prints.append(signs(wave))
    index.add(wave)
  return prints, index.pairs(_LIKELY)


@_one_thread
def same_signals(courses, rate):
  """Pairs of signals that are one recording, and those that are too plain to tell.

  Candidates are, for each, the few likely others that it agrees with most against what
  both agree with strangers: coarse signals agree with each other anyhow. What of them
  is a copy `evidence` decides. What is equal to the last digits is one whatever its
  evidence.

  Args:
    courses: sequence of float [time, k], at `rate` Hz; one is taken at a time.

  Returns:
    list of (i, j, shift in seconds, agreement), i < j, and list of i.
  """
  fine = BITS * _BAND[1]
  slow = [
    at_rate(course - course[:1], rate, fine).astype(np.float32) for course in courses
  ]
  weights = np.array([moving(course) for course in slow]) ** 3
  looks, tries, agreed = [], [], {}
  for band in (_BAND, _SLOW_BAND):
    prints, pairs = _look(courses, rate, band)
    looks.append((prints, BITS * band[1]))
    for i, j, shift, agreement in _standing_out(*looks[-1], pairs, weights):
      agreed[i, j] = max(agreement, agreed.get((i, j), 0))
      tries.append((i, j, shift))
  nats, shifts = _weigh(slow, tries, fine)
  same = _exact(courses, rate, [(i, j) for i, j, _ in tries])
  found = {}
  for (i, j, _), weight, shift in zip(tries, nats, shifts, strict=True):
    if (i, j) not in same and weight >= max(LIMIT, found.get((i, j), (0,))[0]):
      found[i, j] = weight, shift
  for (i, j), (weight, shift) in found.items():
    if weight >= DISTINCT * _rivals(slow, looks, weights, i, j, shift, fine):
      same[i, j] = float(shift), agreed[i, j]
  copies = [
    (i, j, round(shift, 2), round(agreement, 3))
    for (i, j), (shift, agreement) in sorted(same.items())
  ]
  # Too plain is what could not be told from a copy of its own half.
  least = round(LEAST_OVERLAP * fine)
  halves = [course[: max(least, len(course) // 2)] for course in slow]
  long = [i for i, half in enumerate(halves) if len(half) >= least]
  able = _weigh(halves, [(i, i, 0.0) for i in long], fine)[0] >= LIMIT
  told = {*np.array(long, int)[able].tolist()}
  for i in {*long} - told:
    course = courses[i]
    bent = exact.bends(course, rate)
    half = exact.bends(course[: round(len(halves[i]) / fine * rate)], rate)
    if exact.is_same(bent, half, 0.0, rate)[0]:
      told.add(i)
  return copies, sorted({*range(len(courses))} - told)


def _exact(courses, rate, pairs):
  """Of courses that are one to the last digits: {(i, j): (shift, agreement)}.

  Looked at are `pairs` and those whose bends are likely to be one.
  """
  every = exact.step(rate)
  coarse_rate, finer = rate / every, max(1, every // 2)
  few, prints, index = [], [], Index(rate / finer)
  for course in courses:
    bent = exact.bends(course, rate)
    telling = exact.levels(bent, rate) > exact.LEVELS / 2
    few.append(bent[::every].copy())  # or all of it would stay in memory
    prints.append((np.sign(few[-1]) * telling).astype(np.int8))
    index.add(bent[::finer] * telling)
  # How much each channel and all together would agree with themselves.
  share = np.array([abs(x).sum(0) / max(1, len(x)) for x in prints])
  own = np.sqrt((share**2).sum(1) / np.maximum(share.sum(1), 1e-6))
  pairs = np.array([*pairs, *index.pairs(_LIKELY)], int).reshape(-1, 2)
  pairs = np.unique(pairs, axis=0)
  shifts, top = agreements(prints, pairs, coarse_rate, share, exact.LEAST)
  agreed = np.minimum(top / np.maximum(own[pairs].prod(1), 1e-6), 1)
  same = {}
  for n in np.flatnonzero(agreed >= _ALIKE):
    (i, j), shift = pairs[n].tolist(), shifts[n]
    if exact.alike(few[i], few[j], shift, coarse_rate):
      pair = (exact.bends(courses[m], rate) for m in (i, j))
      good, late = exact.is_same(*pair, shift, rate)
      if good:
        same[i, j] = late, float(agreed[n])
  return same


def _weigh(courses, tries, rate):
  """The evidence that the second of two courses is the first, and how much later.

  `tries` are (i, j, shift in seconds). Returns nats [n] and seconds [n].
  """
  found, more = np.zeros((2, len(tries)))
  late = [round(shift * rate) for *_, shift in tries]
  counts = np.array(
    [
      min(len(courses[i]) - max(0, -n), len(courses[j]) - max(0, n))
      for (i, j, _), n in zip(tries, late, strict=True)
    ],
    int,
  )
  order = np.argsort(counts, kind='stable')
  for start in range(0, len(order), _BATCH):
    batch = order[start : start + _BATCH]
    size = scipy.fft.next_fast_len(int(counts[batch].max()), real=True)
    shape = (2, len(batch), size, courses[0].shape[1])
    pair = np.zeros(shape, np.float32)
    for row, n in enumerate(batch):
      i, j, _ = tries[n]
      pair[0, row, : counts[n]] = courses[i][max(0, -late[n]) :][: counts[n]]
      pair[1, row, : counts[n]] = courses[j][max(0, late[n]) :][: counts[n]]
    found[batch], more[batch] = evidence(*pair, rate, counts[batch])
  return found, (np.array(late) + more) / rate


def _rivals(courses, looks, weights, i, j, shift, rate):
  """The most evidence that two courses have elsewhere, or one of them backwards."""
  pair, roots = [courses[i], courses[j], courses[j][::-1]], weights[[i, j]]
  tries = []
  for prints, bits in looks:
    there = places(prints[i], prints[j], bits, roots, _RIVALS)
    tries += [(0, 1, at) for at in there if abs(at - shift) > _APART]
    there = places(prints[i], prints[j][::-1], bits, roots, _RIVALS)
    tries += [(0, 2, at) for at in there]
  return _weigh(pair, tries, rate)[0].max(initial=0)


def _standing_out(prints, rate, pairs, weights):
  """(i, j, shift, agreement) of the few of some pairs that stand out most for each."""
  shifts, agreed = agreements(prints, pairs, rate, weights)
  usual, spread = _usual(prints, rate, weights)
  above = ((agreed[:, None] - usual[pairs]) / spread[pairs]).sum(1)
  good = np.flatnonzero(np.isfinite(above))
  few = good[few_of_each(pairs[good], above[good], _CANDIDATES)]
  return [(*pairs[n].tolist(), float(shifts[n]), float(agreed[n])) for n in few]


def _usual(prints, rate, weights):
  """What each agrees with strangers, the median, and how that varies: float [n] both.

  They are drawn at random, or all others where these are few.
  """
  numbers = np.arange(len(prints))
  steps = np.random.default_rng(0).permutation(numbers[1 : len(prints) // 2 + 1])
  steps = steps[: _STRANGERS // 2]
  pairs = [np.stack([numbers, np.roll(numbers, -step)], 1) for step in steps]
  _, agreed = agreements(prints, np.reshape(pairs, (-1, 2)), rate, weights)
  agreed = agreed.reshape(len(steps), -1)
  back = [np.roll(x, step) for x, step in zip(agreed, steps, strict=True)]
  agreed = np.ma.masked_invalid(
    np.concatenate([agreed, np.reshape(back, agreed.shape)])
  )
  usual = np.ma.median(agreed, 0)
  spread = np.ma.median(abs(agreed - usual), 0) + _SPREAD
  return usual.filled(0), spread.filled(1)


class _Courses(collections.abc.Sequence):
  """Series as courses, made one at a time, since all would fill the memory."""

  def __init__(self, series, channels):
    self._series, self._channels = series, channels

  def __len__(self):
    return len(self._series)

  def __getitem__(self, number):
    return _series_course(self._series[number], self._channels)


def _series_course(series, channels):
  """Values [time, k], with lines where there is no measurement."""
  if series is None:
    return np.zeros((0, channels))
  course, times = np.where(series.valid, series.values, 0), np.arange(len(series.valid))
  for k, good in enumerate(series.valid.T):
    if good.any() and not good.all():
      course[:, k] = np.interp(times, times[good], course[good, k])
  return course


def _frame_course(corpus, trial, stream, step):
  if stream not in trial.streams:
    return np.zeros((0, _PATTERNS), np.float32)
  numbers = range(0, len(trial.streams[stream].times), step)
  images = corpus.small_frames(trial, numbers, stream)
  return np.array([frame_patterns(x) for x in images], np.float32).reshape(
    -1, _PATTERNS
  )


def frame_patterns(image):
  """What a grey frame, uint8 [H, W], looks like but for its brightness: float32 [8]."""
  small = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).astype(np.float32)
  low = cv2.dct(small)
  return low[(0, 1, 1, 2, 0, 2, 1, 2), (1, 0, 1, 0, 2, 1, 2, 2)]


def _same_bytes(courses, changes=0):
  """Pairs that are equal to the bit, as of pictures that do not move.

  As `equal_pairs` has them; of courses that change at least `changes` times.
  """
  first, pairs = {}, []
  for j, course in enumerate(courses):
    changed = (np.diff(course, axis=0) != 0).any(1).sum()
    if course.any() and changed >= changes:
      i = first.setdefault(hashlib.sha256(course.tobytes()).digest(), j)
      if i != j:
        pairs.append((i, j, 0.0, 1.0))
  return pairs
