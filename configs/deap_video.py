"""VideoMAE fine-tuned to valence and arousal on DEAP's face videos (MVP, Figure 2).

  python launch.py --config=configs/deap_video.py --config.data.manual_dir=DIR

DIR is the official DEAP distribution. Without it the run uses a synthetic twin, the
same as that of deap_fusion.py, and the same encoder:

  python launch.py --config=configs/deap_video.py
  python launch.py --config=configs/deap_video.py --config.encoder.pretrained=False
                   --workdir=runs/scratch       (the ablation: no pre-training)
"""

from configs import base, deap_fusion
from mvp_jax.config import merge

# The recipe of VideoMAE's fine-tuning. About 560 trials to train on, 140 steps an epoch
# of 32 clips: 100 epochs.
CHANGES = {
  'input': {'windows': 'random'},
  'train': {
    'validate_every': 700,
    'checkpoint_every': 700,
    'workers': 8,
    'optimiser': {
      'learning_rate': 1e-3 * 32 / 256,
      'min_learning_rate': 1e-6,
      'steps': 14_000,
      'warmup_steps': 700,
      'clip_norm': 0.0,
      'layer_decay': 0.75,
      'ema': 0.999,
    },
  },
  'evaluation': {'models': ('video',), 'batch_size': 8},
}
# Full regularisation suits a hundred epochs; through it a tiny encoder learns nothing
# in one, so most of it is off.
EMBEDDED = {
  'input': {
    'views': 1,
    'augment': {'operations': 0, 'crop_area': (0.8, 1.0), 'erase': 0.0},
  },
  'regularisation': {'mix_probability': 0.0},
  'train': {
    'validate_every': 50,
    'checkpoint_every': 50,
    'optimiser': {
      'learning_rate': 2e-3,
      'steps': 200,
      'warmup_steps': 20,
      'layer_decay': 0.85,
      'ema': 0.9,
    },
  },
}


def get_config(words=''):
  """The experiment at full size, and what the embedded default shrinks."""
  changes: dict = {}
  embedded: dict = {}
  for tree, parts in (
    (changes, (deap_fusion.CHANGES, CHANGES)),
    (embedded, (deap_fusion.EMBEDDED, EMBEDDED)),
  ):
    for part in parts:
      merge(part, tree)
  small: dict = {}
  merge(base.SMALL, small)
  merge(EMBEDDED, small)
  return base.get_config(
    'deap', words, changes=changes, embedded=embedded, presets={'small': small}
  )
