"""Depression from face video on AVEC 2014: a BDI-II score from many clips of a video.

  python launch.py --config=configs/avec2014_dmsn.py --config.data.manual_dir=DIR

DIR holds AVEC 2014's videos, sound and labels; datasets/avec2014/README.md says where
what must lie, and how AVEC 2013 is read. Without DIR on a synthetic twin, at a size
that two cores finish in minutes:

  python launch.py --config=configs/avec2014_dmsn.py
  python launch.py --config=configs/avec2014_dmsn.py:null   (a twin without effect)
  python launch.py --config=configs/avec2014_dmsn.py:leaky  (only the person tells)
  python launch.py --config=configs/avec2014_dmsn.py:action_units  (from OpenFace's)

People are kept apart. The official partition has some in several parts: that is said,
and the run goes on if --config.evaluation.accept=subjects takes it:

  --config.evaluation.protocol=official --config.evaluation.accept=subjects

docs/depression_and_pain.md says what such a score means, and what it must not be used
for.
"""

from configs import base
from mvp_jax.config import merge

# Which network reads the face; configs/base.py has the one that two cores train.
ENCODER = {'kind': 'dmsn', 'variant': 'C', 'pretrained': False, 'subjects': 0}

# As the predecessor of DMSN was trained: 16 frames, every eighth, of 112 pixels;
# squared error; a video's score is that of its clips.
CHANGES = {
  'data': {'frame_rate': 30.0, 'frame_size': 112, 'crop': 'Y'},
  'target': {
    'kind': 'regression',
    'ratings': ('depression',),
    'scale': (0.0, 63.0),
    'thresholds': (14.0, 20.0, 29.0),  # from mild, moderate and severe on
    'aggregate': 'median',
  },
  'input': {
    'windows': 'random',
    'max_seconds': 300.0,
    'clips': {'frames': 16, 'tubelet': 16, 'stride': 8, 'spacing': 128 / 30},
    'clips_per_trial': 16,
    'views': 1,
    'test_clips': 30,
    # The shape of a face tells: it is neither stretched nor sheared.
    'augment': {
      'operations': 0,
      'crop_area': (0.7, 1.0),
      'crop_aspect': (0.9, 1.1),
      'erase': 0.0,
    },
  },
  'encoder': ENCODER,
  'models': {'video': 'video'},
  # What a session has lasts all through it: nothing is taken off.
  'modalities': {
    'video': {'centre': 'nothing'},
    'action_units': {'centre': 'nothing'},
  },
  'regularisation': {
    'drop_path': 0.0,
    'dropout': 0.5,
    'label_smoothing': 0.0,
    'mix_probability': 0.0,
  },
  'train': {
    'batch_size': 32,
    'validate_every': 500,
    'checkpoint_every': 500,
    'workers': 8,
    'optimiser': {
      'learning_rate': 1e-4,
      'steps': 5000,
      'warmup_steps': 250,
      'clip_norm': 1.0,
      'ema': 0.999,
    },
  },
  'evaluation': {
    'models': ('video',),
    'folds': 5,
    'validation_subjects': 6,
    'batch_size': 8,
  },
}
SMALL: dict = {}
merge(base.SMALL, SMALL)
merge(
  {
    'input': {
      'clips': {'stride': 2, 'spacing': 3.2},
      'clips_per_trial': 4,
      'test_clips': 3,
      'augment': {'colour': 0.4, 'crop_area': (0.85, 1.0)},
    },
    'regularisation': {'dropout': 0.1},
    'train': {
      'batch_size': 16,
      'validate_every': 100,
      'checkpoint_every': 100,
      'optimiser': {
        'learning_rate': 3e-3,
        'steps': 600,
        'warmup_steps': 40,
        'ema': 0.95,
      },
    },
  },
  SMALL,
)
# More people than AVEC has (84): of 60 a network learns more who they are than how. Of
# so many it learns no video by heart. Of 32 pixels for 48 the MAE is higher by .1.
EMBEDDED = {
  'twin': {
    'people': 560,
    'seconds': 4.0,
    'frame_rate': 5.0,
    'width': 160,
    'height': 128,
  },
  'regularisation': {'dropout': 0.0},
  'train': {'optimiser': {'steps': 1200}},
  'evaluation': {'folds': 2, 'validation_subjects': 3},
}
# OpenFace's action units; with them ridge regression and a random forest have features.
ACTION_UNITS = {
  'models': {'video': 'action_units'},
  'input': {'windows': 'whole'},
}
SMALL_ACTION_UNITS = {
  'train': {'optimiser': {'learning_rate': 1e-3, 'steps': 100, 'warmup_steps': 10}}
}


def get_config(words=''):
  """The experiment at full size, and what the embedded default shrinks."""
  embedded: dict = {}
  merge(EMBEDDED, embedded)
  if 'action_units' in words.split(','):
    merge(SMALL_ACTION_UNITS, embedded)
  return base.get_config(
    'avec2014',
    words,
    changes=CHANGES,
    embedded=embedded,
    presets={'small': SMALL, 'action_units': ACTION_UNITS},
  )
