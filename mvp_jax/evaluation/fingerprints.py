"""One bit a sample of a course, and how far such bits of two courses agree.

A fingerprint is the sign of a course after its spectrum has been flattened. What
differs between recordings is then fine structure and noise, not the rhythm of a heart,
the drift of a skin or the looks of a face: these are alike in all trials of a person,
and are no copies. Two are laid over each other at every shift; the share of equal bits,
less that of the others, is their agreement. (J. Haitsma and T. Kalker, "A Highly Robust
Audio Fingerprinting System", ISMIR 2002, has such bits of sound; on correlating signs
see J. H. Van Vleck and D. Middleton, Proc. IEEE 54(1), 1966.)
"""

import itertools

import numpy as np
import scipy.fft
import scipy.ndimage

BITS = 4  # per period of the upper end of the band, so that shifts are met closely
LEAST_OVERLAP = 8.0  # seconds; and half of the shorter of the two
_EDGE = 2.0  # seconds, over which a course fades in and out
_SMOOTH = 0.3  # Hz, over which the spectrum is flattened
_BATCH = 256  # pairs compared at a time


def flattened(course, rate, band):
  """A course of the changes of another, its spectrum flat: float32 [time, k].

  It has two samples for each bit of a `fingerprint`; 0 where the course, float [time,
  k] at `rate` Hz, does not move or is too short. `band` is the lowest and highest Hz
  that count.
  """
  course = np.asarray(course, np.float64)
  seconds = len(course) / rate
  samples = round(seconds * BITS * band[1])
  if seconds < LEAST_OVERLAP:
    return np.zeros((2 * samples, course.shape[1]), np.float32)
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
  around += 1e-3 * size[inside].max(0, initial=0) + 1e-30
  flat = np.where(inside[:, None], spectrum / around, 0)[: samples + 1]
  wave = scipy.fft.irfft(flat, 2 * samples, axis=0)
  return np.where(moves, wave, 0).astype(np.float32)


def signs(wave):
  """The bits of a `flattened` course: int8 [time / 2, k], -1 or 1, 0 where it is 0."""
  return np.sign(wave[::2]).astype(np.int8)


def fingerprint(course, rate, band):
  """Bits of a course: int8 [time at 4 times the upper end of the band, k], -1 or 1.

  Zero where the course does not move or is too short; arguments as of `flattened`.
  """
  return signs(flattened(course, rate, band))


def equal_pairs(prints, rate, least, weights=None, pairs=None):
  """Pairs of fingerprints that agree at some shift.

  `prints` are int8 [time, k] at `rate` Hz; `weights`, float [n, k], say how much the
  channels of each count (None: equally); `pairs`, int [m, 2], are looked at (None:
  all). Returns a list of (i, j, shift in seconds, agreement), i < j, of those that
  agree `least` or more.
  """
  if pairs is None:
    pairs = list(itertools.combinations(range(len(prints)), 2))
  shifts, top = agreements(prints, pairs, rate, weights)
  return [
    (int(i), int(j), round(float(shift), 2), round(float(agreed), 3))
    for (i, j), shift, agreed in zip(pairs, shifts, top, strict=True)
    if agreed >= least
  ]


def agreements(prints, pairs, rate, weights=None, overlap=LEAST_OVERLAP):
  """At what shift, seconds, pairs of fingerprints agree most, and how much: [m] both.

  Arguments as of `equal_pairs`; `overlap` is what they have in common, at least. The
  agreement is NaN where one of the two has no bits or no weight.
  """
  pairs = np.asarray(pairs, int).reshape(-1, 2)
  shifts, top = np.zeros(len(pairs)), np.full(len(pairs), np.nan)
  lengths = np.array([len(x) for x in prints])
  roots = channel_roots(prints, weights)
  there = np.flatnonzero(roots.any(1)[pairs].all(1)) if len(pairs) else []
  longest = lengths[pairs].max(1)
  # Those of one length and of one first course together.
  order = np.array(there, int)[np.lexsort((pairs[there, 0], longest[there]))]
  for start in range(0, len(order), _BATCH):
    batch = order[start : start + _BATCH]
    size = scipy.fft.next_fast_len(2 * int(longest[batch].max()), real=True)
    which, places = np.unique(pairs[batch], return_inverse=True)
    spectra = np.stack([_spectrum(prints[i], roots[i], size) for i in which])
    a, b = places.reshape(-1, 2).T
    product = np.einsum('nkf,nkf->nf', spectra[a].conj(), spectra[b])
    # Turned over, a recording is the same one still.
    agreement = abs(scipy.fft.irfft(product, size, axis=-1))
    kinds, kind = np.unique(lengths[pairs[batch]], axis=0, return_inverse=True)
    over = np.stack([_over(*x, size, overlap * rate) for x in kinds.tolist()])
    agreement *= over[kind.ravel()] if len(kinds) > 1 else over
    best = agreement.argmax(1)
    shared = (roots[which[a]] * roots[which[b]]).sum(1)
    found = agreement[np.arange(len(batch)), best] / np.maximum(shared, 1e-6)
    top[batch] = np.minimum(found, 1)
    # A course is later than another by a shift, in the order of the transform.
    shifts[batch] = np.where(best <= size // 2, best, best - size) / rate
  return shifts, top


def channel_roots(prints, weights=None):
  """Roots of the weights of the channels of fingerprints, 0 where one is still: [n, k].

  The agreement of two is a mean over channels, weighed by the roots of both.
  """
  moving = np.array([abs(x).any(0) for x in prints], np.float32)
  return moving if weights is None else moving * np.sqrt(weights, dtype=np.float32)


def places(first, second, rate, weights, count):
  """Shifts, in seconds, at which two fingerprints agree most, the best first."""
  size = scipy.fft.next_fast_len(2 * max(len(first), len(second)), real=True)
  roots = channel_roots([first, second], weights)
  a, b = (
    _spectrum(x, root, size) for x, root in zip((first, second), roots, strict=True)
  )
  agreement = abs(scipy.fft.irfft((a.conj() * b).sum(0), size))
  agreement *= _over(len(first), len(second), size, LEAST_OVERLAP * rate)
  peaks = np.flatnonzero(
    (agreement > 0)
    & (agreement >= np.roll(agreement, 1))
    & (agreement >= np.roll(agreement, -1))
  )
  peaks = peaks[np.argsort(-agreement[peaks])][:count]
  return np.where(peaks <= size // 2, peaks, peaks - size) / rate


def _spectrum(bits, roots, size):
  """Of weighed bits: complex64 [k, size / 2 + 1]."""
  return scipy.fft.rfft(bits.T * roots[:, None], size)


def _over(first, second, size, least):
  """One over the samples in which two courses overlap, for each shift: float32.

  Zero where that is less than `least` or half of the shorter.
  """
  lags = scipy.fft.fftfreq(size, 1 / size)
  overlap = np.minimum(first, second - lags) - np.maximum(0, -lags)
  enough = max(least, min(first, second) / 2)
  return np.where(overlap >= enough, 1 / np.maximum(overlap, 1), 0).astype(np.float32)
