"""The ablations of MVP on AMIGOS: one table for each question, by one command.

  python launch.py --config=configs/amigos_ablation.py --config.data.manual_dir=DIR

Everything else is as in amigos_fusion.py; the questions are those of deap_ablation.py.
"""

from configs import amigos_fusion
from configs.deap_ablation import QUESTIONS


def get_config(words=''):
  """amigos_fusion's config and the questions."""
  config = amigos_fusion.get_config(words)
  config.job = 'ablate'
  config.ablation = QUESTIONS
  return config
