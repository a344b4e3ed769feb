"""Does pre-training help? Fine-tuning from the encoder against from scratch.

  python benchmarks/finetuning.py [--seeds 5] [--steps 100] [--folds 2] [--root DIR]

On one planted twin, prepared once, each seed (other folds, another encoder, other
weights) runs the embedded default of configs/deap_video.py twice: from an encoder
pre-trained on 8 subjects set aside, longer than by default, and with fresh weights.
Labels are few: each fold trains on 5 of the other 12. Folds, steps, batches,
augmentation and rates are the same. Per seed macro-F1 and AUROC of valence over all
held-out trials (the face shows nothing of arousal), the mean of the paired
differences and its 95 % interval by Student's t. Goes on where it was killed.
"""

import argparse
import json
import math
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from configs.deap_video import get_config
from mvp_jax.config import parse, resolve
from mvp_jax.evaluation.predictions import read_predictions
from mvp_jax.evaluation.results import evaluate
from mvp_jax.jobs import train
from mvp_jax.targets.binary_scores import SCORES

_METRICS = ('macro_f1', 'auroc')
# 97.5 % points of Student's t for 1, 2, ... degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def run(seed, pretrained, steps, folds, root, data_dir):
  """Runs the job unless done; returns {metric: of valence}."""
  config = get_config()
  config.seed, config.encoder.pretrained = seed, pretrained
  config.data.data_dir = str(data_dir)
  config.train.optimiser.steps = steps
  config.train.optimiser.warmup_steps = steps // 10
  config.evaluation.folds = folds
  config.encoder.subjects = 8
  config.encoder.train.optimiser.update(steps=1500, warmup_steps=150)
  config.encoder.train.checkpoint_every = 500
  given = {
    'train.optimiser.steps',
    'train.optimiser.warmup_steps',
    'evaluation.folds',
    'encoder.subjects',
    'encoder.train.checkpoint_every',
    'encoder.train.optimiser.steps',
    'encoder.train.optimiser.warmup_steps',
  }
  name = 'pretrained' if pretrained else 'scratch'
  workdir = root / f'{name}_{steps}steps_{folds}folds_seed{seed}'
  if not (workdir / 'report.html').exists():
    train.run(parse(resolve(config, given)), workdir)
  (valence,) = (
    r
    for r in evaluate(read_predictions(workdir / 'predictions.csv'))
    if r.target == 'valence'
  )
  return {metric: valence.scores['video'][metric].value for metric in _METRICS}


def paired(differences):
  """Mean of the differences and the ends of its 95 % interval."""
  mean, count = statistics.mean(differences), len(differences)
  if count < 2:
    return mean, math.nan, math.nan
  half = _T[count - 2] * statistics.stdev(differences) / math.sqrt(count)
  return mean, mean - half, mean + half


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--seeds', type=int, default=5, choices=range(1, len(_T) + 2))
  parser.add_argument('--steps', type=int, default=100)
  parser.add_argument('--folds', type=int, default=2)
  parser.add_argument(
    '--root', type=pathlib.Path, default=pathlib.Path('runs/finetuning')
  )
  parser.add_argument('--data-dir', type=pathlib.Path, default=pathlib.Path('data'))
  args = parser.parse_args()
  scores = [
    [
      run(seed, pretrained, args.steps, args.folds, args.root, args.data_dir)
      for pretrained in (True, False)
    ]
    for seed in range(args.seeds)
  ]

  summary = {
    'benchmark': 'finetuning',
    'steps': args.steps,
    'folds': args.folds,
    'seeds': args.seeds,
  }
  for metric in _METRICS:
    print(f'\n{SCORES[metric].name} of valence after {args.steps} steps')
    print('  seed  pre-trained  scratch  difference')
    differences = []
    for seed, (one, other) in enumerate(scores):
      differences.append(one[metric] - other[metric])
      print(
        f'  {seed:>4}  {one[metric]:>11.3f}  {other[metric]:>7.3f}  '
        f'{differences[-1]:>+10.3f}'
      )
    mean, low, high = paired(differences)
    print(f'  mean difference {mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}')
    summary[metric] = {
      'pretrained': [round(one[metric], 4) for one, _ in scores],
      'scratch': [round(other[metric], 4) for _, other in scores],
      'mean_difference': round(mean, 4),
      'interval': [round(x, 4) for x in (low, high)] if args.seeds > 1 else None,
    }
  print(json.dumps(summary))


if __name__ == '__main__':
  main()
