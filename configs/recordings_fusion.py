"""MVP on your own recordings: cross-attention fusion of face video with body signals.

  python launch.py --config=configs/recordings_fusion.py --config.data.manual_dir=DIR

DIR holds manifest.csv, one row per trial; docs/recordings.md says how to write it, and

  python -m mvp_jax.corpora.recordings.check DIR/manifest.csv

what is wrong with it. On a laptop, and without DIR on a few made-up recordings:

  python launch.py --config=configs/recordings_fusion.py:small \\
      --config.data.manual_dir=DIR
  python launch.py --config=configs/recordings_fusion.py

Few subjects are not enough to pre-train a video encoder on; better give one that has
seen more faces: --config.encoder.checkpoint=FOLDER_OR_FILE.
"""

from configs import base

# The threshold, 5, is the middle, as ratings are brought to 1-9.
CHANGES = {
  'input': {'max_seconds': 60.0},  # of the longest trial; `check` tells
  'twin': {
    'subjects': 20,
    'trials': 16,
    'frame_rate': 25.0,
    'width': 640,
    'height': 480,
    'pixel_aspect': (1, 1),
  },
}
EMBEDDED = {
  'twin': {'subjects': 10, 'frame_rate': 5.0, 'width': 160, 'height': 128},
  'encoder': {
    'subjects': 2,
    'masks': {'ratio': 0.75},
    'views': {'repeats': 1},
    'noise_floor': 0.05,  # drawn skin is all noise
    'train': {
      'batch_size': 16,
      'checkpoint_every': 160,
      'optimiser': {
        'learning_rate': 3e-3,
        'steps': 160,
        'warmup_steps': 20,
        'clip_norm': 0.0,
      },
    },
  },
  'evaluation': {'folds': 4},
}


def get_config(words=''):
  """The experiment at full size, and what the embedded default shrinks."""
  return base.get_config('recordings', words, changes=CHANGES, embedded=EMBEDDED)
