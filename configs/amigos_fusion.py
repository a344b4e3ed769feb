"""MVP on AMIGOS: cross-attention fusion of face video with EDA and ECG.

  python launch.py --config=configs/amigos_fusion.py --config.data.manual_dir=DIR

DIR is the official AMIGOS distribution. Without it the run uses a synthetic twin, at a
size that two cores can do:

  python launch.py --config=configs/amigos_fusion.py
  python launch.py --config=configs/amigos_fusion.py:null   (a twin without effect)
  python launch.py --config=configs/amigos_fusion.py:leaky  (identity tells the label)

The long films (14 to 24 minutes), or without those whom many studies leave out:

  --config.data.corpus.experiment=long --config.input.max_seconds=1440
  --config.data.corpus.exclude=9,12,21,22,23,24,33

Targets from the external annotation instead of the self-assessment:

  --config.data.corpus.annotation=external --config.target.threshold=0.0
  --config.target.ratings=external_valence,external_arousal
"""

from configs import base

CHANGES = {
  'data': {'channels': ('eda', 'ecg')},  # also ecg_left
  'input': {'max_seconds': 160.0},  # short stimuli last 51 to 150 s
}
EMBEDDED = {
  'twin': {'subjects': 24, 'frame_rate': 5.0, 'width': 160, 'height': 128},
  'encoder': {
    'feature_grid': 4,  # each patch of a face apart
    'masks': {'ratio': 0.75},
    # Of four faces more is to be learnt at several sizes.
    'views': {'repeats': 1, 'scales': (1.0, 0.875, 0.75)},
    'noise_floor': 0.05,  # drawn skin is all noise
    'train': {
      'batch_size': 16,
      'checkpoint_every': 320,
      'optimiser': {
        'learning_rate': 3e-3,
        'steps': 960,
        'warmup_steps': 40,
        'clip_norm': 0.0,
      },
    },
  },
  'evaluation': {'folds': 4},
}


def get_config(words=''):
  """The experiment at full size, and what the embedded default shrinks."""
  return base.get_config('amigos', words, changes=CHANGES, embedded=EMBEDDED)
