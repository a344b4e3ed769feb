"""Finds trials that hold the same recording: copies, also shifted, scaled or re-coded.

A fingerprint is one bit a sample: the sign of a course after its spectrum has been
flattened. What differs between recordings is then fine structure and noise, not the
rhythm of a heart, the drift of a skin or the looks of a face: these are alike in all
trials of a person, and are no copies. Two fingerprints are laid over each other at
every shift; the share of equal bits, less that of the others, says how alike they are.
(J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002,
has such bits of sound; on correlating signs see J. H. Van Vleck and D. Middleton,
Proc. IEEE 54(1), 1966.) Films that agree are copies. Signals may agree because they
are coarse: `evidence` takes a second look at those that agree most.
"""

import dataclasses
import functools
import hashlib

import cv2
import numpy as np
import scipy.fft
import scipy.ndimage

from mvp_jax import hosts
from mvp_jax.checksums import made_once
from mvp_jax.data import streams
from mvp_jax.data.trials import derived
from mvp_jax.evaluation import exact, sound_course
from mvp_jax.evaluation.evidence import DISTINCT, LIMIT, at_rate, evidence, moving
from mvp_jax.files import read_json, write_json
from mvp_jax.progress import Progress

_VERSION = 5
# From it on two films are one. No pair of trials of a twin passes .21; 10 s of one real
# face against the next 10 s have .13. Copies shifted by seconds, brighter, coarser or
# in another crop have at least .55. Signals agree by how coarse they are, up to 1:
# theirs is only where `evidence` looks.
AGREEMENT = 0.4
_LEAST_OVERLAP = 8.0  # seconds; and half of the shorter of the two
_EDGE = 2.0  # seconds, over which a course fades in and out
_SMOOTH = 0.3  # Hz, over which the spectrum is flattened
_BAND = (0.2, 4.0)  # Hz, of signals
_SLOW_BAND = (0.1, 1.0)  # what noise of 1 % leaves of a skin's conductance
_BITS = 4  # per period of the upper end of the band, so that shifts are met closely
_FRAME_RATE = 5.0  # of the frames looked at; or all, if they are fewer
_BLOCK = 256  # trials compared at a time
_BATCH = 64  # pairs that `evidence` looks at at a time
_ALIKE = 0.6  # of the signs of bends, from which on `exact` looks at a pair
_CANDIDATES = 5  # of each trial, looked at by `evidence`
_SPREAD = 0.01  # of agreements, at least
_RIVALS = 24  # peaks of agreement that a copy must stand out from
_APART = 0.5  # seconds between two places, at least
_CHANGES = 16  # of a series that has two trials to the bit, by no mere chance
_PATTERNS = 8  # of the lowest of the cosine transform of a frame, without its mean


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
    courses = [_series_course(t.streams.get(name), count) for t in corpus.trials]
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
  band = (_BAND[0], 0.25 * rate)
  prints = [fingerprint(course, rate, band) for course in courses]
  return equal_pairs(prints, _BITS * band[1], AGREEMENT)


def same_sounds(courses):
  """As `same_films`, of `sound_course.sound_course`s."""
  band = (_BAND[0], sound_course.RATE / _BITS)
  prints = [fingerprint(course, sound_course.RATE, band) for course in courses]
  return equal_pairs(prints, sound_course.RATE, AGREEMENT)


def same_signals(courses, rate):
  """Pairs of signals that are one recording, and those that are too plain to tell.

  Candidates are, for each, the few others that it agrees with most against what both
  agree with all: coarse signals agree with each other anyhow. What of them is a copy
  `evidence` decides. What is equal to the last digits is one whatever its evidence.

  Args:
    courses: float [time, k] each, at `rate` Hz.

  Returns:
    list of (i, j, shift in seconds, agreement), i < j, and list of i.
  """
  fine = _BITS * _BAND[1]
  level = [course - course[:1] for course in courses]
  slow = [at_rate(course, rate, fine) for course in level]
  least = round(_LEAST_OVERLAP * fine)
  looks = []
  for band in (_BAND, _SLOW_BAND):
    prints = [fingerprint(course, rate, band) for course in courses]
    looks.append((prints, _BITS * band[1]))
  weights = np.array([moving(course) for course in slow]) ** 3
  tries, agreed = [], {}
  for prints, bits in looks:
    for i, j, shift, agreement in _standing_out(prints, bits, weights):
      agreed[i, j] = max(agreement, agreed.get((i, j), 0))
      tries.append((i, j, shift))
  nats, shifts = _weigh(slow, tries, fine)
  same = _exact(courses, rate)  # {(i, j): (shift, agreement)}
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
  halves = [course[: max(least, len(course) // 2)] for course in slow]
  long = [i for i, half in enumerate(halves) if len(half) >= least]
  able = _weigh(halves, [(i, i, 0.0) for i in long], fine)[0] >= LIMIT
  told = {*np.array(long, int)[able].tolist()}
  for i in {*long} - told:
    bent = exact.bends(courses[i], rate)
    half = exact.bends(courses[i][: round(len(halves[i]) / fine * rate)], rate)
    if exact.is_same(bent, half, 0.0, rate)[0]:
      told.add(i)
  return copies, sorted({*range(len(courses))} - told)


def _exact(courses, rate):
  """Of courses that are one to the last digits: {(i, j): (shift, agreement)}."""
  every = exact.step(rate)
  coarse_rate = rate / every
  few, signs = [], []
  for course in courses:
    bent = exact.bends(course, rate)
    telling = exact.levels(bent, rate) > exact.LEVELS / 2
    few.append(bent[::every])
    signs.append((np.sign(few[-1]) * telling).astype(np.int8))
  # How much each channel and all together would agree with themselves.
  share = np.array([abs(x).sum(0) / max(1, len(x)) for x in signs])
  own = np.sqrt((share**2).sum(1) / np.maximum(share.sum(1), 1e-6))
  same = {}
  for i, others, shifts, top in _agreements(signs, coarse_rate, share, exact.LEAST):
    agreed = np.minimum(top / np.maximum(own[i] * own[others], 1e-6), 1)
    for n in np.flatnonzero(agreed >= _ALIKE):
      j, shift = int(others[n]), shifts[n]
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
    places = _places(prints[i], prints[j], bits, roots, _RIVALS)
    tries += [(0, 1, at) for at in places if abs(at - shift) > _APART]
    places = _places(prints[i], prints[j][::-1], bits, roots, _RIVALS)
    tries += [(0, 2, at) for at in places]
  return _weigh(pair, tries, rate)[0].max(initial=0)


def _standing_out(prints, rate, weights):
  """(i, j, shift, agreement), i < j, of the few that stand out most for each."""
  count = len(prints)
  agreed, shifts = np.full((2, count, count), np.nan, np.float32)
  for i, others, shift, top in _agreements(prints, rate, weights):
    agreed[i, others] = agreed[others, i] = top
    shifts[i, others] = shift
  there = np.isfinite(agreed).any(1)
  if not there.any():
    return []
  agreed[~there] = 0
  usual = np.nanmedian(agreed, 1)
  spread = np.nanmedian(abs(agreed - usual[:, None]), 1) + _SPREAD
  above = (agreed - usual) / spread
  above = np.where(np.isfinite(shifts), above + above.T, -np.inf)
  above = np.maximum(above, above.T)
  few = np.argsort(-above, 1)[:, :_CANDIDATES]
  pairs = {tuple(sorted((i, int(j)))) for i, row in enumerate(few) for j in row}
  return [
    (i, j, float(shifts[i, j]), float(agreed[i, j]))
    for i, j in sorted(pairs)
    if np.isfinite(shifts[i, j])
  ]


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


def fingerprint(course, rate, band):
  """Bits of a course: int8 [time at 4 times the upper end of the band, k], -1 or 1.

  Zero where the course, float [time, k] at `rate` Hz, does not move or is too short.
  `band` is the lowest and highest Hz that count.
  """
  course = np.asarray(course, np.float64)
  seconds = len(course) / rate
  samples = round(seconds * _BITS * band[1])
  if seconds < _LEAST_OVERLAP:
    return np.zeros((samples, course.shape[1]), np.int8)
  moves = course.std(0) > 1e-6 * (1 + abs(course.mean(0)))
  # Changes, since a drift would hide all else.
  changes = np.diff(course, axis=0, prepend=course[:1])
  places = np.arange(len(changes))
  edge = np.minimum(places, places[::-1]) / (_EDGE * rate)
  spectrum = scipy.fft.rfft(changes * np.minimum(edge, 1)[:, None], axis=0)
  hertz = scipy.fft.rfftfreq(len(changes), 1 / rate)
  inside = (band[0] <= hertz) & (hertz < band[1])
  size = abs(spectrum)
  width = max(1, round(_SMOOTH * seconds))
  around = scipy.ndimage.uniform_filter1d(size, width, axis=0)
  around += 1e-3 * size[inside].max(0) + 1e-30
  flat = np.where(inside[:, None], spectrum / around, 0)[: samples // 2 + 1]
  bits = np.where(scipy.fft.irfft(flat, samples, axis=0) > 0, 1, -1)
  return np.where(moves, bits, 0).astype(np.int8)


def equal_pairs(prints, rate, least, weights=None):
  """Pairs of fingerprints that agree at some shift.

  `prints` are int8 [time, k] at `rate` Hz; `weights`, float [n, k], say how much the
  channels of each count (None: equally). Returns a list of (i, j, shift in seconds,
  agreement), i < j, of those that agree `least` or more.
  """
  found = []
  for i, others, shifts, top in _agreements(prints, rate, weights):
    for n in np.flatnonzero(top >= least):
      shift, agreed = round(float(shifts[n]), 2), round(float(top[n]), 3)
      found.append((i, int(others[n]), shift, agreed))
  return found


def _agreements(prints, rate, weights=None, overlap=_LEAST_OVERLAP):
  """Yields i, some j > i [n], and at what shift, seconds, they agree how much [n]."""
  lengths = np.array([len(x) for x in prints])
  if len(prints) < 2 or not lengths.max():
    return
  size = scipy.fft.next_fast_len(2 * int(lengths.max()), real=True)
  spectra, counts = _spectra(prints, size, weights)
  there = counts.any(1)
  for i in np.flatnonzero(there):
    others = i + 1 + np.flatnonzero(there[i + 1 :])
    for start in range(0, len(others), _BLOCK):
      block = others[start : start + _BLOCK]
      product = np.einsum('kf,nkf->nf', spectra[i].conj(), spectra[block])
      # Turned over, a recording is the same one still.
      agreement = scipy.fft.irfft(product, size, axis=-1, workers=-1)
      np.abs(agreement, out=agreement)
      kinds, which = np.unique(lengths[block], return_inverse=True)
      least = overlap * rate
      over = np.stack([_weights(int(lengths[i]), int(n), size, least) for n in kinds])
      agreement *= over[which] if len(kinds) > 1 else over
      best = agreement.argmax(1)
      top = agreement[np.arange(len(block)), best]
      top /= np.maximum(counts[block] @ counts[i], 1e-6)
      # A course is later than another by a shift, in the order of the transform.
      shifts = np.where(best <= size // 2, best, best - size) / rate
      yield int(i), block, shifts, np.minimum(top, 1)


def _spectra(prints, size, weights):
  """Spectra of weighed fingerprints, complex64 [n, k, size], and the roots [n, k].

  The agreement of two is a mean over channels, weighed by the roots of both.
  """
  moving = np.array([abs(x).any(0) for x in prints], np.float32)
  roots = moving if weights is None else moving * np.sqrt(weights, dtype=np.float32)
  spectra = [
    scipy.fft.rfft(x * root, size, axis=0).T
    for x, root in zip(prints, roots, strict=True)
  ]
  return np.stack(spectra), roots


def _places(first, second, rate, weights, count):
  """Shifts, in seconds, at which two fingerprints agree most, the best first."""
  size = scipy.fft.next_fast_len(2 * max(len(first), len(second)), real=True)
  (a, b), _ = _spectra([first, second], size, weights)
  agreement = abs(scipy.fft.irfft((a.conj() * b).sum(0), size))
  agreement *= _weights(len(first), len(second), size, _LEAST_OVERLAP * rate)
  peaks = np.flatnonzero(
    (agreement > 0)
    & (agreement >= np.roll(agreement, 1))
    & (agreement >= np.roll(agreement, -1))
  )
  peaks = peaks[np.argsort(-agreement[peaks])][:count]
  return np.where(peaks <= size // 2, peaks, peaks - size) / rate


@functools.lru_cache(4096)
def _weights(first, second, size, least):
  """One over the samples in which two courses overlap, for each shift: float32.

  Zero where that is less than `least` or half of the shorter.
  """
  lags = scipy.fft.fftfreq(size, 1 / size)
  overlap = np.minimum(first, second - lags) - np.maximum(0, -lags)
  enough = max(least, min(first, second) / 2)
  return np.where(overlap >= enough, 1 / np.maximum(overlap, 1), 0).astype(np.float32)


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
