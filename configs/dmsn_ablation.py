"""DMSN's variants, MSN-69, VideoMAE and action units: scores beside what they cost.

  python launch.py --config=configs/dmsn_ablation.py --config.data.manual_dir=DIR

One table with parameters, operations, measured clips a second and the score with its
interval. Every network is trained end to end on random clips of the videos and tested
on clips laid over each, whose predictions are combined; VideoMAE is pre-trained before.
Without DIR it runs on a synthetic twin, with small networks. The corpus is that of
`_CORPUS`, a config file of this folder: change this line to ask of another.

The variants of DMSN are our reading of it, see docs/depression_and_pain.md.
"""

from configs import base
from configs import deap_fusion as _CORPUS
from mvp_jax.config import merge

# The published fine-tuning of MSN-69: 16 frames at stride 8, Adam at 1e-4.
CHANGES = {
  'data': {'frame_size': 112},
  'input': {
    'windows': 'random',
    'clips': {'frames': 16, 'stride': 8, 'tubelet': 16},
    'augment': {'operations': 0, 'erase': 0.0},
  },
  'encoder': {'kind': 'dmsn', 'pretrained': False},
  'regularisation': {'mix_probability': 0.0, 'dropout': 0.5},
  'train': {
    'batch_size': 16,
    'validate_every': 500,
    'checkpoint_every': 500,
    'workers': 8,
    'optimiser': {
      'learning_rate': 1e-4,
      'steps': 5000,
      'warmup_steps': 250,
      'clip_norm': 1.0,
    },
  },
  'evaluation': {'models': ('video',), 'batch_size': 8},
}
EMBEDDED = {
  'input': {'views': 1, 'clips': {'stride': 2}, 'augment': {'crop_area': (0.8, 1.0)}},
  'regularisation': {'dropout': 0.0},
  'train': {
    'validate_every': 0,
    'checkpoint_every': 75,
    'workers': 0,
    'optimiser': {'learning_rate': 2e-3, 'steps': 150, 'warmup_steps': 15},
  },
}
_UNITS = 'models.video=action_units input.windows=whole'


def _questions(videomae='', units=''):
  """The one question, with settings of two variants that are no DMSN."""
  return (
    (
      'network',
      (
        ('DMSN-C', 'encoder.variant=C'),
        ('DMSN-B', 'encoder.variant=B'),
        ('DMSN-A', 'encoder.variant=A'),
        ('MSN-69', 'encoder.kind=msn69'),
        ('VideoMAE', f'encoder.kind=videomae encoder.pretrained=True {videomae}'),
        ('action units', f'{_UNITS} {units}'),
      ),
    ),
  )


_WHOLE = {  # of whole trials, as in base.py
  'train': {'optimiser': {'learning_rate': 3e-4, 'steps': 1500, 'warmup_steps': 100}}
}
QUESTIONS = _questions(
  base.written({'input': {'clips': {'tubelet': 2}}, 'data': {'frame_size': 224}}),
  base.written(_WHOLE),
)
_SMALL_VIDEOMAE = {
  'data': {'frame_size': base.SMALL['data']['frame_size']},
  'input': {'clips': {'frames': 16, 'tubelet': 2}},
  'encoder': base.SMALL['encoder'] | _CORPUS.EMBEDDED.get('encoder', {}),
}
SMALL_QUESTIONS = _questions(
  base.written(_SMALL_VIDEOMAE),
  base.written({'train': base.SMALL['train']}),
)


def get_config(words=''):
  """The experiment on a corpus, and what the embedded default shrinks."""
  changes: dict = {}
  for part in (_CORPUS.CHANGES, CHANGES):
    merge(part, changes)
  embedded: dict = {}
  corpus = {name: x for name, x in _CORPUS.EMBEDDED.items() if name != 'encoder'}
  for part in (corpus, EMBEDDED):
    merge(part, embedded)
  config = base.get_config('deap', words, changes=changes, embedded=embedded)
  config.job = 'ablate'
  config.ablation = QUESTIONS
  config.embedded.ablation = SMALL_QUESTIONS
  return config
