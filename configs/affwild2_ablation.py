"""The fusions of JCA's family on Aff-Wild2: one table, published numbers beside.

  python launch.py --config=configs/affwild2_ablation.py --config.data.manual_dir=DIR

Everything else is as in affwild2_jca.py, whose settings can be given here too. Without
DIR it runs on the synthetic twin. It goes on where it was stopped. Each variant is
written as on the command line, without `--config.`; a word alone is the model shown.
"""

from configs import affwild2_jca

QUESTIONS = (
  (
    'modality',
    (('voice and face', 'fusion'), ('voice', 'voice'), ('face', 'video')),
  ),
  (
    'fusion',
    (
      ('joint cross-attention (JCA)', 'model.fusion=joint'),
      # Gone through twice: once alone would be JCA itself.
      ('recursive JCA', 'model.fusion=joint_recursive model.depth=2'),
      ('gated recursive JCA', 'model.fusion=joint_gated model.depth=2'),
      ('vanilla cross-attention', 'model.fusion=vanilla'),
      ('concatenation of segments', 'model.fusion=concat_segments'),
      ("MVP's cross-attention, voice asks", 'model.fusion=cross'),
      ('cross-attention, near in time', 'model.fusion=cross_near'),
      ('early concatenation', 'model.fusion=concat_early'),
    ),
  ),
)


def get_config(words=''):
  """affwild2_jca's config and the questions."""
  config = affwild2_jca.get_config(words)
  config.job = 'ablate'
  config.ablation = QUESTIONS
  return config
