"""What a sound is like over time, so that copies of it can be found."""

import numpy as np

from mvp_jax.data.sound import waveform

RATE = 10.0  # Hz, of the course
_SOUND_RATE = 8000  # Hz; telephones have no more, and it is enough
_EDGES = np.geomspace(200, 3600, 9)  # Hz, of the bands
_FLOOR = 1e-4  # full scale: what is quieter is silence, whatever codec it went through
_SECONDS = 60  # that are read at a time


def sound_course(corpus, trial, stream):
  """Levels of 8 bands, in nepers: float32 [time, 8] at `RATE`; [0, 8] without sound.

  Args:
    corpus: data.trials.PreparedCorpus.
    stream: the name of a sound stream.
  """
  sound = trial.streams.get(stream)
  count = 0 if sound is None else int(sound.seconds * RATE)
  hop, parts = round(_SOUND_RATE / RATE), [np.zeros((0, len(_EDGES) - 1), np.float32)]
  for first in range(0, count, round(_SECONDS * RATE)):
    some = min(count - first, round(_SECONDS * RATE))
    size = (some + 1) * hop  # windows are two hops long
    samples, _ = waveform(corpus, trial, first / RATE, size, _SOUND_RATE, stream)
    parts.append(band_levels(samples, hop))
  return np.concatenate(parts)


def band_levels(samples, hop):
  """Of windows of two hops, one each hop: float32 [windows, 8].

  `samples` are float32 [time] at 8 kHz, full scale 1.
  """
  windows = np.lib.stride_tricks.sliding_window_view(samples, 2 * hop)[::hop]
  spectra = np.fft.rfft(windows * np.hanning(2 * hop).astype(np.float32))
  power = np.square(np.abs(spectra)) / (2 * hop) ** 2
  places = np.searchsorted(np.fft.rfftfreq(2 * hop, 1 / _SOUND_RATE), _EDGES)
  sums = np.add.reduceat(power, places, axis=1)[:, :-1]
  return np.log(np.sqrt(sums) + _FLOOR).astype(np.float32)
