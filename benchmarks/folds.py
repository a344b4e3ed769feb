"""All folds and seeds as one program, against one model after another.

  python benchmarks/folds.py [--subjects 22] [--seeds 5] [--steps 100] [--alone 4]
      [--rounds 2] [--model fusion] [--together 0] [--full]

Leave-one-subject-out of made-up trials at the sizes of the embedded default of
configs/deap_fusion.py (or, --full, at its full size): 40 trials of 60 s a subject,
subjects x seeds models. One by one, each model takes the way of a fine-tuned one,
`single.fit_and_score`: Grain, validation, checkpoints, predictions. Together they take
`many.Models`. Of the one-by-one way only the first `--alone` models are run, the
first of which compiles; the others' mean is what each further one costs. Both are run
`--rounds` times in turns, and the least counts, of wall-clock and of CPU seconds: the
latter tell of the work even where the machine is shared.

Beside the times, the largest difference of the predictions of both ways. Last line:
one JSON object.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from benchmarks.noise_trials import RATE, noise_trials
from configs.deap_fusion import get_config
from mvp_jax.config import parse, resolve
from mvp_jax.host_cpu import make_quick
from mvp_jax.models.emotion import EmotionConfig
from mvp_jax.models.modalities.physio import PhysioNetwork
from mvp_jax.models.modalities.video import VideoNetwork
from mvp_jax.training.many import Member, Models
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.single import fit_and_score
from mvp_jax.training.tasks import Emotion

_TRIALS, _SECONDS = 40, 60


class Trials:
  """Some of the made-up trials, as a source of examples."""

  def __init__(self, data, rows, scale=None):
    self.data, self.rows, self.scale = data, rows, scale

  def __len__(self):
    return len(self.rows)

  def __getitem__(self, index):
    example = {name: x[self.rows[index]] for name, x in self.data.items()}
    if self.scale:
      example |= {name: example[name] / x for name, x in self.scale.items()}
    return example


def make_members(subjects, seeds, model, scale):
  """Leave-one-subject-out: the models and the rows that each is tested on."""

  def of(subject):
    return tuple(range(subject * _TRIALS, (subject + 1) * _TRIALS))

  members, tests = [], []
  for seed in range(seeds):
    for fold in range(subjects):
      watched = (fold + 1) % subjects
      train = sum((of(s) for s in range(subjects) if s not in (fold, watched)), ())
      members.append(
        Member(
          f'fold{fold}/seed{seed}/{model}',
          f'fold{fold}/{model}',
          1000 * seed + fold,
          train,
          of(watched),
          scale,
        )
      )
      tests.append(of(fold))
  return members, tests


def alone(task, data, member, test, config, mesh, folder, log):
  """Trains and asks one model by itself; its scores [trials, targets]."""
  sides = [
    Trials(data, rows, member.scale) for rows in (member.train, member.validation, test)
  ]
  return fit_and_score(
    task,
    sides,
    config.train,
    config.evaluation.batch_size,
    mesh=mesh,
    seed=member.seed,
    run=member.run,
    directory=folder / 'checkpoints' / member.run,
    log=log,
  )[1][len(member.validation) :]


class Clock:
  """Seconds since it was made, of the wall and of all cores."""

  def __init__(self):
    self._wall, self._cpu = time.perf_counter(), time.process_time()

  def read(self):
    return np.array([time.perf_counter() - self._wall, time.process_time() - self._cpu])


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--subjects', type=int, default=22)
  parser.add_argument('--seeds', type=int, default=5)
  parser.add_argument('--steps', type=int, default=100)
  parser.add_argument('--alone', type=int, default=4)
  parser.add_argument('--rounds', type=int, default=2)
  parser.add_argument(
    '--model', choices=('fusion', 'physio', 'video'), default='fusion'
  )
  parser.add_argument('--together', type=int, default=0)
  parser.add_argument('--full', action='store_true')
  args = parser.parse_args()
  make_quick()

  tree = get_config().to_dict()
  config = (
    parse({k: v for k, v in tree.items() if k != 'embedded'})
    if args.full
    else parse(resolve(get_config()))
  )
  config = dataclasses.replace(
    config,
    train=dataclasses.replace(
      config.train,
      checkpoint_every=args.steps,
      optimiser=dataclasses.replace(
        config.train.optimiser, steps=args.steps, warmup_steps=min(10, args.steps - 1)
      ),
    ),
  )
  mesh = make_mesh(MeshConfig())
  modalities = config.modalities_of(args.model)
  backbone = config.encoder.backbone(config.input.clips, config.data.frame_size)
  width = backbone.feature_width
  networks = {
    'physio': PhysioNetwork(config.modalities['physio'], 2, float(RATE)),
    'video': VideoNetwork(config.modalities['video'], width),
  }
  task = Emotion(
    EmotionConfig(
      config.model,
      tuple((name, networks[name]) for name in modalities),
      config.target,
      config.modality_names,
    )
  )
  tokens = config.input.clips.max_clips(_SECONDS) * config.input.clips.slots
  data = noise_trials(args.subjects * _TRIALS, _SECONDS, tokens, width)
  data = {
    name: x for name, x in data.items() if name.partition('/')[0] in (*modalities, name)
  }
  scale = (
    {'video/tokens': np.full(width, 1.5, np.float32)} if 'video' in modalities else {}
  )
  members, tests = make_members(args.subjects, args.seeds, args.model, scale)
  count, some = len(members), min(args.alone, len(members))

  singles, firsts, groups, groups_first = [], [], [], []
  for number in range(args.rounds):
    with tempfile.TemporaryDirectory() as folder:
      folder = pathlib.Path(folder)
      with MetricLog(folder) as log:
        scores = []
        for i in range(some):
          clock = Clock()
          scores.append(
            alone(task, data, members[i], tests[i], config, mesh, folder, log)
          )
          (firsts if number == i == 0 else singles).append(clock.read())
        clock = Clock()
        models = Models(task, data, members, config.train, mesh, args.together)
        params = models.fit(
          run=args.model,
          directory=folder / 'many',
          log=log,
          batch_size=config.evaluation.batch_size,
        )
        found = models.scores(params, tests, config.evaluation.batch_size)
        (groups if number else groups_first).append(clock.read())
        del models, params
    difference = max(
      np.abs(x - y).max() for x, y in zip(scores, found[:some], strict=True)
    )
  single, group = np.min(singles, axis=0), np.min(groups or groups_first, axis=0)
  compiling = firsts[0] - single, groups_first[0] - group
  totals = compiling[0] + count * single, compiling[1] + group

  size = 'full' if args.full else 'embedded'
  print(
    f'\n{args.model}, {size} size: {args.subjects} subjects x {args.seeds} seeds, '
    f'{args.steps} steps, {os.cpu_count()} cores, {mesh.size} devices'
  )
  print(f'{"seconds":28}{"one by one":>12}{"together":>12}{"ratio":>8}')
  for name, one, other in (
    ('compilation, wall', compiling[0][0], compiling[1][0]),
    ('the rest, wall', count * single[0], group[0]),
    ('in all, wall', totals[0][0], totals[1][0]),
    ('the rest, CPU', count * single[1], group[1]),
  ):
    print(f'{name:28}{one:12.1f}{other:12.1f}{one / max(other, 1e-9):8.2f}')
  print(f'largest difference of a score: {difference:.1e}')
  print(
    json.dumps(
      {
        'benchmark': 'folds',
        'model': args.model,
        'size': size,
        'models': count,
        'steps': args.steps,
        'devices': mesh.size,
        'one_by_one_seconds': round(float(totals[0][0]), 1),
        'together_seconds': round(float(totals[1][0]), 1),
        'speedup': round(float(totals[0][0] / totals[1][0]), 2),
        'speedup_cpu': round(float(count * single[1] / group[1]), 2),
        'compilation_seconds': [round(float(x[0]), 1) for x in compiling],
        'largest_difference': float(difference),
      }
    )
  )


if __name__ == '__main__':
  main()
