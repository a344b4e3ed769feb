"""How much speaks for it that two courses are one recording: the second, exact look.

Two courses that are laid over each other are compared octave by octave. What fits
counts by how well it fits and by how many values could have been otherwise: few
frequencies, few moments, or steps with nothing between them tell little. The unit is
nats of a likelihood, but since no signal is the Gaussian noise that this holds for,
the limits are measured (benchmarks/copies.py).
"""

import numpy as np
import scipy.fft
import scipy.ndimage

# From it on two courses are one. Of 327,000 pairs of windows of 10 to 60 s, of
# different people and of different times of one, none passes both it and `DISTINCT`
# (docs/evaluation.md, which also has a steep drift that does).
LIMIT = 9.0
# A recording fits at one place. A heart or a staircase of a slow drift also fits a
# beat or a step further, or backwards: what fits there as well is no copy.
DISTINCT = 1.8
_OCTAVES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0)  # Hz; the band of the fingerprints
# What is unexplained of an octave counts from a quarter down (strangers' beats and
# breaths explain three quarters of each other) to a ten-thousandth.
_LEAST_FIT, _FLOOR = 0.25, 1e-4
_MOMENT = 0.25  # seconds that count as one moment: a sample of the slowest sensors
_STILL = 1e-3  # of its range a course must move in a sample, or it stands still
_TINY = 1e-30
# Power of the share of time that a channel moves: rounded drifts of two people that
# move six tenths of it reached 13.6 at a power of 3.
_STEPS = 6
_BEATS = 1.5  # by how much less what beats tells; without, one heart's reached 15
_SHIFTS = np.arange(-2, 2.01, 0.25)  # samples, about a shift found


def at_rate(course, rate, new):
  """A course, float [time, k] at `rate` Hz, at a lower rate: float64."""
  old, count = len(course), round(len(course) / rate * new)
  course = np.asarray(course, np.float64)
  if old < 2 or count >= old:
    return course
  # Without the line from end to end and mirrored, so that the ends do not ring.
  rise = course[-1:] - course[:1]
  level = course - course[:1] - rise * np.linspace(0, 1, old)[:, None]
  spectrum = scipy.fft.rfft(np.concatenate([level, -level[::-1]]), axis=0)
  even = scipy.fft.irfft(spectrum[: count + 1], 2 * count, axis=0)[:count]
  places = np.arange(count)[:, None] / count * old / (old - 1)
  return even * (count / old) + course[:1] + rise * places


def evidence(first, second, rate, counts=None):
  """What speaks for it that two courses are one.

  They are laid over each other to a sample; their levels, scales, signs and what
  drifts evenly do not matter. Channels add up.

  Args:
    first, second: float32 [pairs, time, k] at `rate` Hz.
    counts: int [pairs], samples that count, from the first on; None = all.

  Returns:
    float [pairs] in nats, and by how many samples more the second is later: [pairs].
  """
  first, second = np.asarray(first), np.asarray(second)
  if counts is None:
    counts = np.full(len(first), first.shape[1])
  size = first.shape[1]
  hertz = scipy.fft.rfftfreq(size, 1 / rate)
  octave = np.digitize(hertz, _OCTAVES) - 1
  inside = np.flatnonzero((octave >= 0) & (octave < len(_OCTAVES) - 1))
  parts = [inside[octave[inside] == o] for o in np.unique(octave[inside])]
  x, y = _spectrum(first, counts), _spectrum(second, counts)
  nats = np.zeros((len(first), len(_SHIFTS), first.shape[2]))
  fits, freedoms = [], []
  for part in parts:
    a, b = x[:, part], y[:, part]
    power = np.sqrt((abs(a) ** 2).sum(1) * (abs(b) ** 2).sum(1)) + _TINY
    both = abs(a * b)
    # Frequencies that take part: a pure tone is one, however wide the octave.
    freedoms.append(both.sum(1) ** 2 / ((both**2).sum(1) + _TINY))
    turn = np.exp(2j * np.pi * hertz[part] * _SHIFTS[:, None] / rate)
    fits.append(np.einsum('sf,pfk->psk', turn, a.conj() * b).real / power[:, None])
  freedom = [f * (counts / size)[:, None] for f in freedoms]  # padding adds none
  sign = np.sign(sum(f[:, None] * r for f, r in zip(freedom, fits, strict=True)))
  for f, r in zip(freedom, fits, strict=True):
    left = np.log((1 - np.clip(r * sign, 0, 1) ** 2 + _FLOOR) / _LEAST_FIT)
    nats -= 0.5 * f[:, None] * np.minimum(left, 0)
  found, best = nats.sum(2).max(1), nats.sum(2).argmax(1)
  # The others are too little even against a copy, whatever the moments.
  much = np.flatnonzero(found >= LIMIT / DISTINCT)
  if len(much):
    share = _moments(x[much], y[much], parts, size, counts[much], rate)
    moves = [_moving(courses[much], counts[much]) for courses in (first, second)]
    beats = _beating(x[much], hertz, rate, size) * _beating(y[much], hertz, rate, size)
    weight = np.minimum(1, 2 * share) * np.minimum(*moves) ** _STEPS
    weight /= 1 + _BEATS * beats
    # By chance several channels find more than one.
    weight /= np.sqrt(np.maximum(1, weight.sum(1, keepdims=True)))
    nats = nats[much] * weight[:, None]
    found[much], best[much] = nats.sum(2).max(1), nats.sum(2).argmax(1)
  return found, _SHIFTS[best]


def _moments(x, y, parts, size, counts, rate):
  """Share of the moments that take part: a bump is one, however long the course."""
  whole = np.zeros((2, len(x), size // 2 + 1, x.shape[2]), complex)
  for part in parts:
    for full, z in zip(whole, (x, y), strict=True):
      power = (abs(z[:, part]) ** 2).sum(1, keepdims=True)
      full[:, part] = z[:, part] / np.sqrt(power + _TINY)
  waves = scipy.fft.irfft(whole, size, axis=2)
  width = max(1, round(_MOMENT * rate))
  energy = scipy.ndimage.uniform_filter1d(abs(waves[0] * waves[1]), width, axis=1)
  energy *= (np.arange(size) < counts[:, None])[..., None]
  most = counts[:, None] * (energy**2).sum(1)
  return energy.sum(1) ** 2 / (most + _TINY)


def _beating(spectra, hertz, rate, size):
  """How much what is quick in courses repeats after .4 to 1.5 s, 0 to 1: [pairs, k]."""
  # Steeper than any drift, so that not the slowest alone counts.
  steep = np.where(hertz >= _OCTAVES[3], hertz**2, 0)[:, None]
  power = steep * abs(spectra) ** 2
  again = scipy.fft.irfft(power, size, axis=1)
  period = again[:, round(0.4 * rate) : round(1.5 * rate)].max(1)
  return np.clip(period / (again[:, 0] + _TINY), 0, 1)


def moving(course):
  """Share of the time in which each channel of a course [time, k] moves: float [k].

  A rounded drift stands still between its steps, which lie where any drift's would.
  """
  if len(course) < 2:
    return np.zeros(course.shape[1])
  return _moving(course[None], np.array([len(course)]))[0]


def _moving(courses, counts):
  inside = (np.arange(courses.shape[1]) < counts[:, None])[..., None]
  held = np.where(inside, courses, courses[:, :1])
  steps = abs(np.diff(held, axis=1)) > _STILL * np.ptp(held, axis=1)[:, None]
  return (steps & inside[:, 1:]).sum(1) / np.maximum(counts - 1, 1)[:, None]


def _spectrum(courses, counts):
  """Of the changes of courses, without what drifts evenly: complex [pair, Hz, k]."""
  place, counts = np.arange(courses.shape[1])[:, None], counts[:, None, None]
  inside = place < counts
  line = (2 * place / np.maximum(counts - 1, 1) - 1) * inside
  level = (courses - (courses * inside).sum(1, keepdims=True) / counts) * inside
  slope = (line * level).sum(1, keepdims=True) / (line**2).sum(1, keepdims=True)
  level -= slope * line
  window = np.sin(np.pi * np.minimum(place + 1, counts) / (counts + 1)) ** 2
  changes = np.diff(level, axis=1, append=0)
  changes *= window * (place < counts - 1)
  return scipy.fft.rfft(changes.astype(np.float32), axis=1)
