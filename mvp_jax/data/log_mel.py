"""Log-mel pictures of sound, as published networks were trained on.

They are worked out when an example is read, in less than 1 ms for one of a second: what
is stored serves all of them.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from mvp_jax.data.sound import waveform

_LEAST_RECORDED = 0.5  # of a picture's sound; one of less tells nothing


@dataclasses.dataclass(frozen=True)
class LogMel:
  """How a clip of sound becomes a picture of `mels` bands by `frames` times.

  Attributes:
    rate: of the sound, Hz.
    window, hop, fft: samples. The window (Hann) lies in the middle of what is
      transformed if `centred`, else at its beginning.
    mels: bands, from `low` to `high` Hz on the scale of HTK.
    frames: times in the picture.
    centred: whether the first window has its middle at the first sample, the sound
      being mirrored there, instead of its beginning.
    power: 2 for energies, 1 for magnitudes.
    flat: whether the flanks of the bands are straight in Hz, instead of in mel.
    compress: energies [mels, frames] -> what the network sees.
  """

  rate: int
  window: int
  hop: int
  fft: int
  mels: int
  low: float
  high: float
  frames: int
  centred: bool
  power: int
  flat: bool
  compress: Callable

  @property
  def samples(self):
    """How many samples make a picture."""
    if self.centred:  # A few more would make no more frames.
      return (self.frames - 1) * self.hop + self.hop // 2
    return (self.frames - 1) * self.hop + self.window

  @property
  def seconds(self):
    return self.samples / self.rate


def log_mel(sound, preset):
  """The picture of some sound: float32 [mels, frames].

  Args:
    sound: float [time], full scale 1, at `preset.rate`. Where it makes more frames,
      the last ones are kept; where it makes fewer, silence is put before them.
    preset: LogMel.
  """
  sound = np.asarray(sound, np.float32)
  if preset.centred:
    half = preset.fft // 2
    mirrored = len(sound) > half
    sound = np.pad(sound, half, 'reflect' if mirrored else 'constant')
  energies = np.zeros((preset.mels, preset.frames), np.float32)
  length = preset.fft if preset.centred else preset.window
  count = min(preset.frames, max(0, (len(sound) - length) // preset.hop + 1))
  if count:
    windows = np.lib.stride_tricks.sliding_window_view(sound, length)[:: preset.hop]
    spectra = np.fft.rfft(windows[-count:] * _window(preset), preset.fft)
    bands = np.abs(spectra) ** preset.power @ _bands(preset)
    energies[:, -count:] = bands.T
  return preset.compress(energies).astype(np.float32)


def clip_log_mel(corpus, trial, end, preset, stream='audio'):
  """The picture of the sound that ends at a time of a trial.

  Args:
    end: seconds since the onset.

  Returns:
    (float32 [mels, frames], the share of it that was recorded).
  """
  sound, valid = waveform(
    corpus, trial, end - preset.seconds, preset.samples, preset.rate, stream
  )
  return log_mel(sound, preset), float(valid.mean())


@dataclasses.dataclass(frozen=True)
class Pictures:
  """The sound of a trial as pictures, one after another from the onset on.

  It lies like `data.clips.ClipLayout`, in place of frames. Picture k is of the seconds
  k * length to (k + 1) * length after the onset.
  """

  preset: str  # one of PRESETS
  stream: str = 'audio'

  def count(self, trial):
    """How many pictures hold all of a trial's sound: at least one."""
    sound = trial.streams.get(self.stream)
    seconds = 0.0 if sound is None else sound.seconds
    return max(1, math.ceil(seconds / PRESETS[self.preset].seconds))

  def clips(self, corpus, trial):
    """Yields what `read` gives, picture by picture."""
    yield from zip(*self.read(corpus, trial), strict=True)

  def read(self, corpus, trial, start=0.0, most=None):
    """The pictures of a trial.

    Args:
      start: seconds; pictures that begin before it are left out.
      most: how many are read; None = all.

    Returns:
      (float32 [K, mels, frames], bool [K]: false and zero where a picture is left out
      or less than half of its sound was recorded).
    """
    preset, count = PRESETS[self.preset], self.count(trial)
    count = count if most is None else min(count, most)
    pictures = np.zeros((count, preset.mels, preset.frames), np.float32)
    there = np.zeros(count, bool)
    for k in range(count):
      if self.stream not in trial.streams or k * preset.seconds < start:
        continue
      end = (k + 1) * preset.seconds
      picture, recorded = clip_log_mel(corpus, trial, end, preset, self.stream)
      if recorded >= _LEAST_RECORDED:
        pictures[k], there[k] = picture, True
    return pictures, there


@functools.cache
def _window(preset):
  window = np.hanning(preset.window + 1)[:-1]  # periodic
  if preset.centred:
    before = (preset.fft - preset.window) // 2
    window = np.pad(window, (before, preset.fft - preset.window - before))
  return window


@functools.cache
def _bands(preset):
  """Triangles over the bins of a transform: float64 [fft / 2 + 1, mels]."""
  bins = np.linspace(0, preset.rate / 2, preset.fft // 2 + 1)
  edges = np.linspace(_mel(preset.low), _mel(preset.high), preset.mels + 2)
  if preset.flat:
    edges = 700 * (10 ** (edges / 2595) - 1)
  else:
    bins = _mel(bins)
  rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
  falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
  bands = np.maximum(0, np.minimum(rising, falling))
  bands[0] = 0  # no band takes a constant
  return bands


def _mel(hertz):
  return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def _decibels(energies):
  """Decibels down to 80 below the loudest, in the published mean and deviation."""
  decibels = 10 * np.log10(np.maximum(energies, 1e-10))
  return (np.maximum(decibels, decibels.max() - 80) + 14.8) / 19.895


def _logarithm(energies):
  return np.log(energies + 0.01)


# Praveen et al., "A joint cross-attention model for audio-visual fusion in dimensional
# emotion recognition", 2022: 20 ms every 10; a clip of 32 frames at 30 a second.
JCA = LogMel(44_100, 882, 441, 1024, 64, 0.0, 22_050.0, 107, True, 2, True, _decibels)
# Hershey et al., "CNN architectures for large-scale audio classification", 2017, as
# released: 25 ms every 10, 0.96 s.
VGGISH = LogMel(
  16_000, 400, 160, 512, 64, 125.0, 7500.0, 96, False, 1, False, _logarithm
)
PRESETS = {'jca': JCA, 'vggish': VGGISH}
