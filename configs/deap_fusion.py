"""MVP on DEAP: cross-attention fusion of face video with EDA and PPG.

  python launch.py --config=configs/deap_fusion.py --config.data.manual_dir=DIR

DIR is the official DEAP distribution. Without it the run uses a synthetic twin, at a
size that two cores finish in minutes:

  python launch.py --config=configs/deap_fusion.py
  python launch.py --config=configs/deap_fusion.py:null     (a twin without effect)
  python launch.py --config=configs/deap_fusion.py:leaky    (identity tells the label)
  python launch.py --config=configs/deap_fusion.py:coupled  (face and body together do)

configs/base.py has the other words that can stand after the file: small, action_units.
"""

from configs import base

CHANGES = {'data': {'channels': ('eda', 'ppg')}, 'input': {'max_seconds': 60.0}}
EMBEDDED = {
  'twin': {
    'subjects': 18,
    'frame_rate': 2.5,
    'width': 160,
    'height': 128,
    'pixel_aspect': (1, 1),
  },
  # Frames that no clip would look at are not drawn.
  'data': {'frame_rate': 2.5},
  'input': {'clips': {'stride': 1}},
  'encoder': {
    'noise_floor': 0.05,  # drawn skin is all noise
    # The video's macro-F1 of valence is .83, .84 and .89 in three seeds; with 400 steps
    # of 32 at 1e-3, which take nearly twice as long, .82 in the first of them.
    'train': {
      'batch_size': 16,
      'optimiser': {'learning_rate': 3e-3, 'steps': 320, 'warmup_steps': 40},
    },
  },
  # Half the time of 32, and of 14 people a macro-F1 of .84 for .84 in valence, .85
  # [.81, .89] for .88 [.85, .91] in arousal.
  'train': {'batch_size': 16},
  'evaluation': {'folds': 4},
}
# OpenFace's values are read as often as they come.
PRESETS = {'action_units': base.ACTION_UNITS | {'twin': {'frame_rate': 5.0}}}


def get_config(words=''):
  """The experiment at full size, and what the embedded default shrinks."""
  return base.get_config(
    'deap', words, changes=CHANGES, embedded=EMBEDDED, presets=PRESETS
  )
