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
reading of it, is trained end to end. On the twin, in minutes, that falls short (ICC .19
against .81), hence it is not the default:

  python launch.py --config=configs/unbc_dmsn.py:dmsn --config.data.manual_dir=DIR

docs/depression_and_pain.md says what such a score means, and what it must not be used
for.
"""

from configs import base
from mvp_jax.config import merge

# Which network reads the face, and how it is trained; small: what two cores train in
# minutes.
DMSN = {
  'encoder': {
    'kind': 'dmsn',
    'variant': 'A',
    'pretrained': False,
    'finetune': True,
    'subjects': 0,
  },
  # One token for eight frames, a third of a second.
  'input': {'clips': {'tubelet': 8}},
  'train': {
    'batch_size': 8,
    'validate_every': 500,
    'checkpoint_every': 500,
    'optimiser': {'learning_rate': 1e-4, 'steps': 5000, 'warmup_steps': 250},
  },
}
VIDEOMAE = {'encoder': {'kind': 'videomae'}}
# Clips of 0.8 s overlap: an event takes half a second to one and a half.
SMALL_DMSN = {
  'input': {'clips': {'spacing': 0.4}},
  'train': {
    'batch_size': 4,
    'checkpoint_every': 50,
    'optimiser': {'learning_rate': 3e-3, 'steps': 150, 'warmup_steps': 15},
  },
}
SMALL_VIDEOMAE: dict = {}
merge({'encoder': base.SMALL['encoder']}, SMALL_VIDEOMAE)
merge(
  {
    'encoder': {'train': {'optimiser': {'steps': 400, 'warmup_steps': 40}}},
    # With a token every 0.2 s.
    'input': {'clips': {'spacing': 1.6}},
    'train': {'batch_size': 16, 'optimiser': {'steps': 300, 'warmup_steps': 20}},
  },
  SMALL_VIDEOMAE,
)

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
  'models': {'video': 'video', 'action_units': 'action_units'},
  'modalities': {
    'video': {'centre': 'recording'},
    'action_units': {'centre': 'recording', 'rate': 12.5},
  },
  'evaluation': {'folds': 5, 'models': ('video',)},
}
SMALL: dict = {}
merge({name: x for name, x in base.SMALL.items() if name != 'encoder'}, SMALL)
merge(
  {
    'data': {'frame_rate': 10.0},
    'target': {'rate': 10.0},
    'input': {'clips': {'stride': 1}},
    'modalities': {'action_units': {'rate': 10.0}},
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
}
EMBEDDED_DMSN = {'evaluation': {'folds': 2}}
EMBEDDED_VIDEOMAE = {
  'encoder': {'noise_floor': 0.05},  # drawn skin is all noise
  'evaluation': {'folds': 4, 'models': ('video', 'action_units')},
}


def get_config(words=''):
  """The experiment at full size, and what the embedded default shrinks."""
  own = VIDEOMAE, SMALL_VIDEOMAE, EMBEDDED_VIDEOMAE
  if 'dmsn' in words.split(','):
    own = DMSN, SMALL_DMSN, EMBEDDED_DMSN
  parts = zip((CHANGES, SMALL, EMBEDDED), own, strict=True)
  changes, small, embedded = map(_merged, parts)
  return base.get_config(
    'unbc',
    words,
    changes=changes,
    embedded=embedded,
    presets={'small': small, 'dmsn': {}},
  )


def _merged(trees):
  found: dict = {}
  for tree in trees:
    merge(tree, found)
  return found
