"""JCA on Aff-Wild2: joint cross-attention of voice and face, rated in every frame.

  python launch.py --config=configs/affwild2_jca.py --config.data.manual_dir=DIR

DIR holds Aff-Wild2's annotations, crops and videos; datasets/affwild2/README.md says
where what must lie. Trained on the official training set, tested on the validation set.
Without DIR on a synthetic twin, at a size that two cores finish in minutes:

  python launch.py --config=configs/affwild2_jca.py
  python launch.py --config=configs/affwild2_jca.py:null    (a twin without effect)
  python launch.py --config=configs/affwild2_jca.py:coupled  (face and voice together)

The fusion is that of the paper (Praveen et al., 2022); --config.model.fusion=NAME
takes another. Unlike there, face and voice are read by transformers.
"""

from configs import base
from mvp_jax.config import merge

CHANGES = {
  'data': {'frame_size': 112},
  'target': {
    'kind': 'concordance',
    'rate': 30.0,
    'smooth': (0.67, 1.67),  # the paper's 20 and 50 frames at 30 a second
  },
  'input': {'max_seconds': 30.0, 'clips': {'stride': 1, 'spacing': 0.64}},
  'models': {'fusion': 'voice+video', 'voice': 'voice', 'video': 'video'},
  'modalities': {'video': {'centre': 'recording'}},
  # Eight clips of 32 frames are attended together.
  # At test every frame is the end of one clip.
  'model': {
    'fusion': 'joint',
    'segments': 8,
    'segment_seconds': 32 / 30,
    'segment_shifts': 32,
  },
  'evaluation': {'protocol': 'official', 'models': ('fusion', 'voice', 'video')},
}
# With a token every 0.4 s, for ratings in time; a few videos are soon learnt by heart.
SMALL: dict = {}
merge(base.SMALL, SMALL)
merge(
  {
    'input': {'clips': {'stride': 1, 'spacing': 3.2}},
    # Each patch of a face apart, for what changes little from moment to moment.
    'encoder': {'feature_grid': 4},
    'model': {'dropout': 0.4, 'segment_shifts': 4},  # a clip has no more tokens
    'train': {'batch_size': 8, 'optimiser': {'steps': 300, 'warmup_steps': 20}},
  },
  SMALL,
)
# What coincides is found by attention to what is near in time, not mixed before. The
# face asks: arousal is of the face now and the voice of the moment before.
COUPLED: dict = {
  'models': {'fusion': 'video+voice'},
  'modalities': {'voice': {'depth': 0}, 'video': {'depth': 0}},
}
merge(base.PRESETS['coupled'], COUPLED)
EMBEDDED = {
  'twin': {
    'train': 140,
    'validation': 16,
    'test': 1,
    'seconds': 30.0,
    'frame_rate': 5.0,
  },
  'target': {'rate': 5.0, 'lag': 1.0},
  'encoder': {
    'subjects': 6,
    'noise_floor': 0.05,  # drawn skin is all noise
    'train': {
      'batch_size': 16,
      'optimiser': {'learning_rate': 3e-3, 'steps': 240, 'warmup_steps': 20},
    },
  },
  'evaluation': {'validation_subjects': 2},
}


def get_config(words=''):
  """The experiment at full size, and what the embedded default shrinks."""
  return base.get_config(
    'affwild2',
    words,
    changes=CHANGES,
    embedded=EMBEDDED,
    presets={'small': SMALL, 'coupled': COUPLED},
  )
