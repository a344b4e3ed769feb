"""Multimodal emotion recognition from face video and body signals, in JAX.

import mvp_jax

model = mvp_jax.load('runs/recordings_fusion')
said = model.predict('clip.mp4', signals='clip.csv', rate=128, eda='EDA', ppg='PPG')
said.result['estimates']
"""

import importlib

__version__ = '0.1.0'

# Public names, imported when they are asked for: `import mvp_jax` stays quick.
_PUBLIC = {
  'InputError': 'mvp_jax.errors',
  'Model': 'mvp_jax.inference.library',
  'Prediction': 'mvp_jax.inference.result',
  'PreparedCorpus': 'mvp_jax.data.trials',
  'Run': 'mvp_jax.jobs.library',
  'Stream': 'mvp_jax.inference.stream',
  'StreamEstimate': 'mvp_jax.inference.stream',
  'VideoMAE': 'mvp_jax.inference.video_mae',
  'load': 'mvp_jax.inference.library',
  'prepare': 'mvp_jax.jobs.library',
  'run': 'mvp_jax.jobs.library',
  'write_twin': 'mvp_jax.jobs.library',
}
__all__ = ['__version__', *_PUBLIC]


def __getattr__(name):
  if name not in _PUBLIC:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
  return sorted({*globals(), *_PUBLIC})
