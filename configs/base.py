"""What all experiments start from.

The settings, their defaults (the recipes at full size) and what they mean stand in
`mvp_jax/config.py`; a file of this folder says what its experiment changes. Any of them
can be changed by `--config.<name>=<value>`, and some together by words after the file:

  --config=configs/deap_fusion.py:small          a model that two cores train in minutes
  --config=configs/deap_fusion.py:action_units   OpenFace's action units for the video
  --config=configs/deap_fusion.py:null           a twin without any effect
  --config=configs/deap_fusion.py:leaky,small    the person tells the label; small
  --config=configs/deap_fusion.py:coupled        only face and body together tell it
"""

from mvp_jax.config import config_dict, merge, parse
from mvp_jax.errors import InputError

# A model that two cores train in minutes, on real data or a twin. The part of a trial
# that is used stays whole. Half of a small picture is enough to hide.
SMALL = {
  'data': {'frame_rate': 5.0, 'frame_size': 64},
  'input': {'clips': {'stride': 2, 'spacing': 6.4}},
  'encoder': {
    'size': 'tiny',
    'dtype': 'float32',
    'feature_grid': 2,  # regions of the face kept apart: the tiny encoder needs it
    'masks': {'ratio': 0.5},
    'views': {'scales': (1.0,)},
    'train': {
      'batch_size': 32,
      'checkpoint_every': 200,
      'workers': 0,
      'optimiser': {
        'learning_rate': 1e-3,
        'steps': 600,
        'warmup_steps': 60,
        'clip_norm': 1.0,
      },
    },
  },
  'modalities': {
    'physio': {
      'widths': (32, 48, 64),
      'kernels': (64, 16, 8),
      'strides': (16, 4, 2),
      'depth': 1,
      'mlp_width': 128,
    },
    'action_units': {'depth': 1, 'heads': 2, 'mlp_width': 128, 'dropout': 0.2},
    'descriptors': {'heads': 2, 'mlp_width': 64, 'dropout': 0.2},
    'voice': {
      'picture_width': 32,
      'picture_depth': 1,
      'heads': 2,
      'mlp_width': 64,
      'dropout': 0.2,
    },
  },
  'model': {'width': 64, 'depth': 1, 'heads': 2, 'mlp_width': 128, 'dropout': 0.2},
  'train': {
    'validate_every': 25,
    'workers': 0,
    'optimiser': {'learning_rate': 2e-3, 'steps': 100, 'warmup_steps': 10},
  },
}
# The same of other encoders than VideoMAE, by their kind.
_SMALL_MULTISCALE = {
  'data': {'frame_size': 48},
  'input': {'clips': {'frames': 8, 'tubelet': 8}},
  'encoder': {'stem': 8, 'widths': (32, 48, 64, 96), 'blocks': (1, 1, 1, 1)},
}
SMALL_ENCODERS = {'dmsn': _SMALL_MULTISCALE, 'msn69': _SMALL_MULTISCALE}
# Models of the face by its action units, see docs/action_units.md.
ACTION_UNITS = {
  'models': {
    'fusion': 'physio+action_units',
    'physio': 'physio',
    'video': 'action_units',
  }
}
PRESETS = {
  'small': SMALL,
  'action_units': ACTION_UNITS,
  # Kinds of twins.
  'planted': {'twin': {'variant': 'planted'}},
  'null': {'twin': {'variant': 'null'}},
  'leaky': {'twin': {'variant': 'leaky'}},
  # What coincides is found by attention to what is near in time, not mixed before.
  'coupled': {
    'twin': {'variant': 'coupled'},
    'model': {'fusion': 'cross_near'},
    'modalities': {'physio': {'depth': 0}, 'action_units': {'depth': 0}},
    'train': {'batch_size': 32, 'optimiser': {'steps': 400}},
  },
}


def written(tree, prefix=''):
  """A nested dict as on the command line, without `--config.`: 'a.b=1 a.c=2,3'."""
  words = []
  for name, value in tree.items():
    if isinstance(value, dict):
      words.append(written(value, f'{prefix}{name}.'))
    elif isinstance(value, tuple):
      words.append(f'{prefix}{name}={",".join(map(str, value))}')
    else:
      words.append(f'{prefix}{name}={value}')
  return ' '.join(words)


def _suit_encoder(small, tree):
  """Makes what is small fit the encoder of an experiment, if it isn't VideoMAE."""
  encoder = tree.get('encoder', {})
  if (kind := encoder.get('kind', 'videomae')) == 'videomae':
    return
  own = {name: encoder[name] for name in encoder if name not in SMALL['encoder']}
  small['encoder'] = own if small is tree else {}
  merge(SMALL_ENCODERS.get(kind, {}), small)


def get_config(dataset, words='', *, changes=None, embedded=None, presets=None):
  """The base with what an experiment changes.

  Args:
    dataset: one of corpora.CORPORA.
    words: of `PRESETS`, separated by commas: what is given after the config file.
    changes: nested dict: of the experiment.
    embedded: nested dict: of the run without data, beside the preset `small`.
    presets: of `PRESETS`, if the experiment has others.

  Returns:
    ConfigDict; what stands under `embedded` applies where no data are given.

  Raises:
    InputError: a word is no preset.
  """
  presets = PRESETS | (presets or {})
  tree = {'dataset': dataset}
  merge(changes or {}, tree)
  for word in filter(None, words.split(',')):
    if word not in presets:
      raise InputError(f'--config: {word!r} is none of {", ".join(presets)}')
    merge(presets[word], tree)
    if word == 'small':
      _suit_encoder(tree, tree)
  config = config_dict(parse(tree))
  without_data: dict = {}
  merge(presets['small'], without_data)
  _suit_encoder(without_data, tree)
  merge(embedded or {}, without_data)
  # What is asked for after the file is asked for without data, too.
  for word in filter(None, words.split(',')):
    if word != 'small':
      merge(presets[word], without_data)
  config.embedded = without_data
  return config
