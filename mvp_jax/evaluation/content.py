"""Finds trials that hold the same recording: copies, also shifted, scaled or re-coded.

A fingerprint is one bit a sample: the sign of a course after its spectrum has been
flattened. What differs between recordings is then fine structure and noise, not the
rhythm of a heart, the drift of a skin or the looks of a face: these are alike in all
trials of a person, and are no copies. Two fingerprints are laid over each other at
every shift; the share of equal bits, less that of the others, says whether they are one
recording. (J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System",
ISMIR 2002, has such bits of sound; on correlating signs see J. H. Van Vleck and
D. Middleton, Proc. IEEE 54(1), 1966.)
"""

import dataclasses
import functools
import hashlib
import json

import cv2
import numpy as np
import scipy.fft
import scipy.ndimage

from mvp_jax import hosts
from mvp_jax.evaluation import streams
from mvp_jax.files import write_json
from mvp_jax.progress import Progress

_VERSION = 2
# From it on two recordings are one, by what is compared. Of 12,000 pairs of trials of
# a twin none passes .21, .32 and .56; 10 s of one real face against the next 10 s have
# .13. Copies shifted by seconds, brighter, coarser or in another crop have at least
# .55, .67 (with noise of 1 % of the deviation) and .70.
AGREEMENT = {'frames': 0.4, 'signals': 0.45, 'signal': 0.65}  # one channel alone
_LEAST_OVERLAP = 8.0  # seconds; and half of the shorter of the two
_EDGE = 2.0  # seconds, over which a course fades in and out
_SMOOTH = 0.3  # Hz, over which the spectrum is flattened
_BAND = (0.2, 4.0)  # Hz, of signals
_BITS = 4  # per period of the upper end of the band, so that shifts are met closely
_FRAME_RATE = 5.0  # of the frames looked at; or all, if they are fewer
_BLOCK = 256  # trials compared at a time
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
  path = corpus.directory.parent / 'content' / f'copies{_VERSION}.json'

  def write():
    if not path.exists():
      write_json(path, [dataclasses.asdict(copy) for copy in _search(corpus)])

  hosts.on_main(write)
  return [Copy(**fields) for fields in json.loads(path.read_text())]


def _search(corpus):
  ids = [trial.trial_id for trial in corpus.trials]
  found = []
  for stream, courses, rate, band, least in _courses(corpus):
    if rate is not None:
      prints = [fingerprint(course, rate, band) for course in courses]
      found += [
        Copy(stream, ids[i], ids[j], shift, agreement)
        for i, j, shift, agreement in equal_pairs(prints, _BITS * band[1], least)
      ]
    found += [Copy(stream, ids[i], ids[j], 0.0, 1.0) for i, j in _same_bytes(courses)]
  return list({(c.stream, c.first, c.second): c for c in found}.values())


def _courses(corpus):
  """Yields what is compared of each stream.

  Its name, a course [time, k] of each trial, Hz (None: it is only looked at whether
  two are the same to the bit), the band that counts, and the least agreement.
  """
  for name, facts in streams.series(corpus).items():
    courses = [_series_course(trial.streams.get(name)) for trial in corpus.trials]
    # A slow or irregular one has no fine structure to tell it by.
    rate = facts['rate'] if (facts['rate'] or 0) >= 2 * _BAND[1] else None
    least = AGREEMENT['signal' if len(facts['channels']) == 1 else 'signals']
    if any(course.any() for course in courses):
      yield name, courses, rate, _BAND, least
  for name, facts in streams.frames(corpus).items():
    step = max(1, round(facts['rate'] / _FRAME_RATE))
    rate = facts['rate'] / step
    what, courses = f'fingerprints of {name}', []
    with Progress(len(corpus.trials), what, 'trial', 0, hosts.console()) as progress:
      for trial in corpus.trials:
        courses.append(_frame_course(corpus, trial, name, step))
        progress.update()
    yield name, courses, rate, (_BAND[0], 0.25 * rate), AGREEMENT['frames']


def _series_course(series):
  if series is None:
    return np.zeros((0, 1))
  return np.where(series.valid, series.values, 0)


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


def equal_pairs(prints, rate, least):
  """Pairs of fingerprints that agree at some shift.

  `prints` are int8 [time, k] at `rate` Hz. Returns a list of (i, j, shift in seconds,
  agreement), i < j, of those that agree `least` or more.
  """
  lengths = np.array([len(x) for x in prints])
  if len(prints) < 2 or not lengths.max():
    return []
  size = scipy.fft.next_fast_len(2 * int(lengths.max()), real=True)
  spectra = np.stack(
    [scipy.fft.rfft(x.astype(np.float32), size, axis=0).T for x in prints]
  )
  moving = np.array([abs(x).any(0) for x in prints])  # [n, k]
  there = moving.any(1)
  found = []
  for i in np.flatnonzero(there):
    others = i + 1 + np.flatnonzero(there[i + 1 :])
    for start in range(0, len(others), _BLOCK):
      block = others[start : start + _BLOCK]
      product = (spectra[i].conj() * spectra[block]).sum(1)
      # Turned over, a recording is the same one still.
      agreement = abs(scipy.fft.irfft(product, size, axis=-1, workers=-1))
      kinds, which = np.unique(lengths[block], return_inverse=True)
      over = np.stack([_weights(int(lengths[i]), int(n), size, rate) for n in kinds])
      agreement *= over[which] if len(kinds) > 1 else over
      agreement /= np.maximum((moving[i] & moving[block]).sum(1), 1)[:, None]
      best = agreement.argmax(1)
      top = agreement[np.arange(len(block)), best]
      # A course is later than another by a shift, in the order of the transform.
      shifts = np.where(best <= size // 2, best, best - size) / rate
      for n in np.flatnonzero(top >= least):
        shift, agreed = round(float(shifts[n]), 2), round(float(min(top[n], 1)), 3)
        found.append((int(i), int(block[n]), shift, agreed))
  return found


@functools.lru_cache(4096)
def _weights(first, second, size, rate):
  """One over the samples in which two courses overlap, for each shift: float32.

  Zero where that is too few.
  """
  lags = scipy.fft.fftfreq(size, 1 / size)
  overlap = np.minimum(first, second - lags) - np.maximum(0, -lags)
  enough = max(_LEAST_OVERLAP * rate, min(first, second) / 2)
  return np.where(overlap >= enough, 1 / np.maximum(overlap, 1), 0).astype(np.float32)


def _same_bytes(courses):
  """Pairs that are equal to the bit, as of pictures that do not move."""
  first, pairs = {}, []
  for j, course in enumerate(courses):
    if course.any():
      i = first.setdefault(hashlib.sha256(course.tobytes()).digest(), j)
      if i != j:
        pairs.append((i, j))
  return pairs
