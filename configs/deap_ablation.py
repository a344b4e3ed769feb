"""The ablations of MVP on DEAP: one table for each question, by one command.

  python launch.py --config=configs/deap_ablation.py --config.data.manual_dir=DIR

Everything else is as in deap_fusion.py, whose settings can be given here too. Without
DIR it runs on the synthetic twin, smaller still than there. It goes on where it was
stopped. Each variant is written as on the command line, without `--config.`; a word
alone is the model that is shown. Change a line to ask another question.
"""

from configs import deap_fusion

_UNITS = 'models.fusion=physio+action_units models.video=action_units'
QUESTIONS = (
  (
    'modality',
    (('physio and video', 'fusion'), ('physio', 'physio'), ('video', 'video')),
  ),
  (
    'backbone',
    (
      ('VideoMAE', 'video'),
      ('action units', f'video {_UNITS}'),
      ('physio', 'physio'),
      ('VideoMAE + physio', 'fusion'),
      ('action units + physio', f'fusion {_UNITS}'),
    ),
  ),
  (
    'fusion',
    (
      ('cross-attention, physio asks', 'model.fusion=cross'),
      ('cross-attention, video asks', 'model.fusion=cross_swapped'),
      ('cross-attention, near in time', 'model.fusion=cross_near'),
      ('vanilla cross-attention', 'model.fusion=vanilla'),
      ('joint cross-attention', 'model.fusion=joint'),
      ('early concatenation', 'model.fusion=concat_early'),
      ('mid concatenation', 'model.fusion=concat_mid'),
      ('sum', 'model.fusion=sum'),
      ('late average', 'model.fusion=late'),
    ),
  ),
  (
    'length',
    (
      ('whole trial', ''),
      ('last 30 s', 'input.last_seconds=30'),
      ('last 10 s', 'input.last_seconds=10'),
      ('last 5 s', 'input.last_seconds=5'),
    ),
  ),
  ('crop', (('X, whole face', 'video'), ('Y, face only', 'video data.crop=Y'))),
  (
    'pretraining',
    (('pre-trained', 'video'), ('random encoder', 'video encoder.pretrained=False')),
  ),
)


def get_config(words=''):
  """deap_fusion's config, the questions, and a smaller embedded default."""
  config = deap_fusion.get_config(words)
  config.job = 'ablate'
  config.embedded.twin.subjects = 16
  config.embedded.evaluation.folds = 3
  config.ablation = QUESTIONS
  return config
