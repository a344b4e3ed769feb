"""Pain in every frame of a face (PSPI) on UNBC-McMaster, person-independent.

  python launch.py --config=configs/unbc_dmsn.py --config.data.manual_dir=DIR

DIR holds the archive's Images and Frame_Labels; datasets/unbc/README.md says where what
must lie. Without DIR on a synthetic twin, at a size that two cores finish in minutes:

  python launch.py --config=configs/unbc_dmsn.py
  python launch.py --config=configs/unbc_dmsn.py:null    (a twin without effect)
  python launch.py --config=configs/unbc_dmsn.py:leaky   (identity tells the level)

With OpenFace's CSVs in DIR/openface, also by its action units, and beside the PSPI that
follows from them by its formula (the twin has them):

  --config.evaluation.models=video,action_units

VideoMAE reads the face, pre-trained on these people's videos. DMSN-A in its place, our
reading of it, is trained end to end (and takes longer):

  python launch.py --config=configs/unbc_dmsn.py:dmsn --config.data.manual_dir=DIR

docs/depression_and_pain.md says what such a score means, and what it must not be used
for.
"""

from configs import base
from mvp_jax.config import merge

# The one place that says which network reads the face: at full size, one that two cores
# train in minutes, and what the drawn faces of the twin need.
ENCODER: dict = {'kind': 'videomae'}
SMALL_ENCODER: dict = {}
merge(base.SMALL['encoder'], SMALL_ENCODER)
merge({'train': {'optimiser': {'steps': 400, 'warmup_steps': 40}}}, SMALL_ENCODER)
EMBEDDED_ENCODER: dict = {'noise_floor': 0.05}  # drawn skin is all noise

CHANGES = {
  'data': {'frame_size': 112},
  'target': {
    'kind': 'regression',
    'level': 'frame',
    'ratings': ('pspi',),
    'rate': 25.0,
    'scale': (0.0, 16.0),
    'thresholds': (1.0, 2.0, 3.0),
    'balance': 'weights',  # four of five frames are 0
    'formula': 'pspi',
  },
  # Sequences last ten seconds on average; longer ones are cut.
  'input': {'max_seconds': 12.8, 'clips': {'stride': 1, 'spacing': 0.64}},
  'encoder': ENCODER,
  'models': {'video': 'video', 'action_units': 'action_units'},
  'modalities': {
    'video': {'centre': 'recording'},
    'action_units': {'centre': 'recording', 'rate': 12.5},
  },
  'evaluation': {'folds': 5, 'models': ('video',)},
}
# With a token every 0.2 s.
SMALL: dict = {}
merge({name: x for name, x in base.SMALL.items() if name != 'encoder'}, SMALL)
merge(
  {
    'data': {'frame_rate': 10.0},
    'target': {'rate': 10.0},
    'input': {'clips': {'stride': 1, 'spacing': 1.6}},
    'encoder': SMALL_ENCODER,
    'modalities': {'action_units': {'rate': 10.0}},
    'train': {'batch_size': 16, 'optimiser': {'steps': 300, 'warmup_steps': 20}},
  },
  SMALL,
)
EMBEDDED = {
  'data': {'corpus': {'video_rate': 10.0}},
  'twin': {
    'subjects': 20,
    'sequences': 6,
    'frame_rate': 10.0,
    'width': 160,
    'height': 128,
  },
  'input': {'max_seconds': 9.6},
  'evaluation': {'folds': 4, 'models': ('video', 'action_units')},
}


# One token for eight frames, a third of a second.
DMSN = {
  'encoder': {
    'kind': 'dmsn',
    'variant': 'A',
    'pretrained': False,
    'finetune': True,
    'subjects': 0,
  },
  'input': {'clips': {'tubelet': 8}},
}


def get_config(words=''):
  """The experiment at full size, and what the embedded default shrinks."""
  # The network first: what is small depends on it.
  chosen = sorted(words.split(','), key=lambda word: word != 'dmsn')
  own = {} if 'dmsn' in chosen else EMBEDDED_ENCODER
  embedded = EMBEDDED | {'encoder': own}
  return base.get_config(
    'unbc',
    ','.join(chosen),
    changes=CHANGES,
    embedded=embedded,
    presets={'small': SMALL, 'dmsn': DMSN},
  )
