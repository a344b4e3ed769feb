"""What the models find on the twins: planted effects, and none where none are.

  python benchmarks/planted_effects.py [--seeds 5] [--null-seeds 1] [--root DIR]

Runs the embedded default of configs/deap_fusion.py for several seeds (other folds,
another encoder, other weights) on one planted twin, and on a null twin. Planted:
fusion should find both targets, video alone only valence, physio alone only
arousal, near the stated best possible score. Null: nothing. Goes on where it was
killed.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from configs.deap_fusion import get_config
from mvp_jax.config import parse, resolve
from mvp_jax.evaluation.predictions import read_predictions
from mvp_jax.evaluation.results import evaluate
from mvp_jax.jobs import train


def run(variant, seed, root):
  """Returns {(model, target): macro-F1 Estimate} of one run, and its seconds."""
  config = get_config(variant)
  config.seed = seed
  config.data.data_dir = str(root / 'data')
  workdir = root / f'{variant}{seed}'
  start = time.monotonic()
  if not (workdir / 'report.html').exists():
    train.run(parse(resolve(config)), workdir)
  results = evaluate(read_predictions(workdir / 'predictions.csv'))
  return {
    (model, r.target): r.scores[model]['macro_f1']
    for r in results
    for model in r.models
  }, time.monotonic() - start


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--seeds', type=int, default=5)
  parser.add_argument('--null-seeds', type=int, default=1)
  parser.add_argument(
    '--root', type=pathlib.Path, default=pathlib.Path('runs/planted_effects')
  )
  args = parser.parse_args()
  found = {
    v: [run(v, seed, args.root) for seed in range(n)]
    for v, n in (('planted', args.seeds), ('null', args.null_seeds))
  }
  summary = {'benchmark': 'planted_effects'}
  for variant, runs in found.items():
    if not runs:
      continue
    print(f'\n{variant}: macro-F1, mean (lowest-highest) of {len(runs)} seeds')
    for key in sorted(runs[0][0]):
      values = [scores[key].value for scores, _ in runs]
      low = min(scores[key].low for scores, _ in runs)
      high = max(scores[key].high for scores, _ in runs)
      print(
        f'  {key[0]:>8} {key[1]:<8} {statistics.mean(values):.3f} '
        f'({min(values):.3f}-{max(values):.3f}), intervals {low:.3f}-{high:.3f}'
      )
      summary[f'{variant}/{"/".join(key)}'] = [round(v, 3) for v in values]
    print(f'  seconds: {", ".join(f"{seconds:.0f}" for _, seconds in runs)}')
  print(json.dumps(summary))


if __name__ == '__main__':
  main()
