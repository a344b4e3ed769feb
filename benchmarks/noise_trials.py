"""Noise in the shapes of real trials, as the fusion of face and signals reads them."""

import numpy as np

RATE = 128  # Hz, of two signals


def noise_trials(count, seconds, tokens, width):
  """Dict of arrays [trials, ...]: labels, signals, `tokens` of a face `width` wide."""
  rng = np.random.default_rng(0)
  samples = seconds * RATE
  times = np.linspace(0, seconds, tokens, dtype=np.float32)
  return {
    'label': rng.integers(0, 2, (count, 2)).astype(np.float32),
    'weight': np.ones(count, np.float32),
    'physio/values': rng.standard_normal((count, samples, 2), np.float32),
    'physio/levels': rng.standard_normal((count, samples, 2), np.float32),
    'physio/valid': np.ones((count, samples), bool),
    'video/tokens': rng.standard_normal((count, tokens, width), np.float32),
    'video/valid': np.ones((count, tokens), bool),
    'video/reference': np.ones((count, tokens), bool),
    'video/times': np.tile(times, (count, 1)),
  }
