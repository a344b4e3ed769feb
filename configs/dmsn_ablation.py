"""DMSN's variants, MSN-69, VideoMAE and action units: scores beside what they cost.

  python launch.py --config=configs/dmsn_ablation.py --config.data.manual_dir=DIR

One table of the score with its interval, and one of parameters, operations and measured
clips a second. Everything else is as in avec2014_dmsn.py, whose settings can be given
here too; to ask of another corpus, change the import. Without DIR it runs on a
synthetic twin, with small networks. The same people are set aside for all networks:
VideoMAE is pre-trained on them.

The variants of DMSN are our reading of it, see docs/depression_and_pain.md.
"""

from configs import avec2014_dmsn, base

_NOISE = {'noise_floor': 0.05}  # drawn skin is all noise
_VIDEOMAE = {
  'data': {'frame_size': 224},
  'input': {'clips': {'tubelet': 2}},
  'encoder': {'kind': 'videomae', 'pretrained': True},
}
_SMALL_VIDEOMAE = {
  'data': {'frame_size': base.SMALL['data']['frame_size']},
  'input': {'clips': {'tubelet': 2}},
  'encoder': _VIDEOMAE['encoder'] | base.SMALL['encoder'] | _NOISE,
}
_SMALL_UNITS = avec2014_dmsn.ACTION_UNITS | avec2014_dmsn.SMALL_ACTION_UNITS


def _questions(videomae, units):
  return (
    (
      'network',
      (
        ('DMSN-C', 'encoder.variant=C'),
        ('DMSN-B', 'encoder.variant=B'),
        ('DMSN-A', 'encoder.variant=A'),
        ('MSN-69', 'encoder.kind=msn69'),
        ('VideoMAE', base.written(videomae)),
        ('action units', base.written(units)),
      ),
    ),
  )


def get_config(words=''):
  """avec2014_dmsn's config and the question."""
  config = avec2014_dmsn.get_config(words)
  config.job = 'ablate'
  config.encoder.subjects = 12
  config.ablation = _questions(_VIDEOMAE, avec2014_dmsn.ACTION_UNITS)
  config.embedded.ablation = _questions(_SMALL_VIDEOMAE, _SMALL_UNITS)
  return config
