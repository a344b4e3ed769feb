"""DMSN's variants, MSN-69, VideoMAE and action units: scores beside what they cost.

  python launch.py --config=configs/dmsn_ablation.py --config.data.manual_dir=DIR
  python launch.py --config=configs/dmsn_ablation.py:unbc --config.data.manual_dir=DIR

One table of the score with its interval, and one of parameters, operations and measured
clips a second. Everything else is as in avec2014_dmsn.py, or in unbc_dmsn.py (where
MSN-69 is left out), whose settings and words can be given here too. Without DIR it runs
on a synthetic twin, with small networks, half an hour on two cores. The same people are
set aside for all networks: VideoMAE is pre-trained on them.

The variants of DMSN are our reading of it, see docs/depression_and_pain.md.
"""

from configs import avec2014_dmsn, base, unbc_dmsn
from mvp_jax.config import merge

_VARIANTS = {f'DMSN-{one}': f'encoder.variant={one}' for one in 'CBA'}
_VIDEOMAE = {'kind': 'videomae', 'pretrained': True, 'finetune': False}
_SMALL_SIZE = {'frame_size': base.SMALL['data']['frame_size']}
_NOISE = {'noise_floor': 0.05}  # drawn skin is all noise


def _merged(*trees):
  found: dict = {}
  for tree in trees:
    merge(tree, found)
  return found


# Of each corpus: settings of VideoMAE, and model and settings of action units; first at
# full size, then without data.
_AVEC_VIDEOMAE = {
  'data': {'frame_size': 224},
  'input': {'clips': {'tubelet': 2}},
  'encoder': _VIDEOMAE,
}
_AVEC = (
  (_AVEC_VIDEOMAE, ('', avec2014_dmsn.ACTION_UNITS)),
  (
    _merged(
      _AVEC_VIDEOMAE,
      {'data': _SMALL_SIZE, 'encoder': base.SMALL['encoder'] | _NOISE},
    ),
    ('', avec2014_dmsn.ACTION_UNITS | avec2014_dmsn.SMALL_ACTION_UNITS),
  ),
)
_FEWER = {
  'twin': {'people': 160, 'seconds': 6.4},
  'train': {'optimiser': {'steps': 400}},
}
# What is trained on tokens that lie ready has another schedule than a whole network.
_HEAD = {
  'batch_size': 32,
  'optimiser': {'learning_rate': 3e-4, 'steps': 1500, 'warmup_steps': 100},
}
_SMALL_HEAD = {
  'batch_size': 16,
  'optimiser': {'learning_rate': 2e-3, 'steps': 300, 'warmup_steps': 20},
}
_UNBC_VIDEOMAE = {'input': {'clips': {'tubelet': 2}}, 'encoder': _VIDEOMAE}
_UNBC = (
  (_UNBC_VIDEOMAE | {'train': _HEAD}, ('action_units ', {'train': _HEAD})),
  (
    _merged(
      _UNBC_VIDEOMAE,
      unbc_dmsn.SMALL_VIDEOMAE,
      {
        'data': _SMALL_SIZE,
        'input': {'clips': {'frames': 16}},
        'encoder': _NOISE,
        'train': _SMALL_HEAD,
      },
    ),
    ('action_units ', {'train': _SMALL_HEAD}),
  ),
)


def _questions(networks, videomae, units):
  model, settings = units
  variants = (
    *networks.items(),
    ('VideoMAE', base.written(videomae)),
    ('action units', model + base.written(settings)),
  )
  return (('network', variants),)


def get_config(words=''):
  """The config of a corpus, and the question."""
  chosen = [word for word in words.split(',') if word != 'unbc']
  if 'unbc' in words.split(','):
    config, (full, small), aside = (
      unbc_dmsn.get_config(','.join(['dmsn', *chosen])),
      _UNBC,
      4,
    )
    networks = _VARIANTS
  else:
    config, (full, small), aside = avec2014_dmsn.get_config(','.join(chosen)), _AVEC, 12
    networks = _VARIANTS | {'MSN-69': 'encoder.kind=msn69'}
    config.embedded.update(_FEWER)
  config.job = 'ablate'
  config.encoder.subjects = aside
  config.embedded.evaluation.folds = 2
  config.ablation = _questions(networks, *full)
  config.embedded.ablation = _questions(networks, *small)
  return config
