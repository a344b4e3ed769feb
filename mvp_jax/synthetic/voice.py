"""The voice of a twin: syllables that are louder, higher and faster when aroused."""

import numpy as np

RATE = 16_000  # Hz
_HARMONICS = 12
_LOUDNESS = 0.06  # at rest, full scale 1
_DECIBELS = 12.0  # by which arousal of 1 is louder
_OCTAVES = 0.5  # by which it is higher


def voice(seed, arousal, seconds):
  """The sound of a speaker: float32 [seconds * RATE], full scale 1.

  Args:
    seed: of the speaker's pitch, syllables and pauses.
    arousal: function of seconds, float [n] -> float [n].
  """
  rng = np.random.default_rng(seed)
  times = np.arange(round(seconds * RATE)) / RATE
  slow = np.arange(0, seconds + 0.1, 0.02)
  felt = np.interp(times, slow, arousal(slow))
  pitch = rng.uniform(100, 200) * 2 ** (_OCTAVES * felt)
  phase = np.cumsum(pitch) / RATE
  sound = np.zeros_like(times)
  for k in range(1, _HARMONICS + 1):
    sound += np.sin(2 * np.pi * (k * phase + rng.uniform())) / k
  syllables = np.cumsum(4.0 * 2 ** (0.3 * felt)) / RATE
  envelope = np.sin(np.pi * syllables) ** 2
  words = rng.uniform(size=int(syllables[-1]) + 2) > 0.15  # some are pauses
  envelope *= words[syllables.astype(int)]
  loudness = _LOUDNESS * 10 ** (_DECIBELS * felt / 20)
  sound = loudness * envelope * sound / 2
  sound += 0.002 * rng.standard_normal(len(times))
  return np.clip(sound, -0.98, 0.98).astype(np.float32)
