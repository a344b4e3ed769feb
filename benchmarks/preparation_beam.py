"""Preparing a corpus in a Beam pipeline, beside the local processes in the same run.

  python benchmarks/preparation_beam.py [--trials 8] [--rate 50] [--tasks 200]

A twin of DEAP in its official size (720 x 576, 60 s, `rate` frames a second) is
prepared to 224 px and half the rate, by as many processes of this machine as workers
of Beam's own local runner. Told apart: the trials (what goes through Beam) and the
rest (account, shards and checks, in the process that started the run). Then tasks that
do nothing: what starting and each task cost. The last line is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.corpora.deap.trials import DeapTrials
from mvp_jax.corpora.deap.twin import write_deap_twin
from mvp_jax.preparation import prepare
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.tasks import Task, run_tasks


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--trials', type=int, default=8)
  parser.add_argument('--rate', type=float, default=50.0)
  parser.add_argument('--tasks', type=int, default=200)
  parser.add_argument('--workers', type=int, default=2)
  args = parser.parse_args()
  options = (
    f'--runner=FnApiRunner --direct_num_workers={args.workers} '
    '--direct_running_mode=multi_processing'
  )
  engines = {'processes': {'workers': args.workers}, 'beam': {'beam': options}}
  spec = TwinSpec(subjects=1, trials=args.trials, frame_rate=args.rate)
  frames = round(args.trials * spec.video_seconds * args.rate)
  result = {'workers': args.workers, 'frames': frames}
  with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    write_deap_twin(folder / 'twin', spec)
    print(
      f'{"":12}{"trials s":>10}{"frames/s":>10}{"CPU s":>8}{"rest s":>8}'
      f'{"CPU s":>8}{"start s":>9}{"ms a task":>11}'
    )
    for name, fields in engines.items():
      (trials, work), (rest, alone) = build(
        folder / 'twin', folder / name, args.rate / 2, fields
      )
      start = idle(folder / f'{name}_one', args.workers, fields)
      each = (idle(folder / f'{name}_many', args.tasks, fields) - start) / args.tasks
      print(
        f'{name:12}{trials:10.1f}{frames / trials:10.0f}{work:8.1f}{rest:8.1f}'
        f'{alone:8.1f}{start:9.1f}{1000 * each:11.1f}',
        flush=True,
      )
      result[name] = {
        'frames_per_second': round(frames / trials),
        'processor_seconds': round(work, 1),
        'rest_processor_seconds': round(alone, 1),
        'start_seconds': round(start, 1),
        'milliseconds_per_task': round(1000 * each, 1),
      }
  result['beam_over_processes'] = round(
    result['beam']['frames_per_second'] / result['processes']['frames_per_second'], 2
  )
  print(json.dumps(result))


def build(twin, out, rate, fields):
  """A whole preparation: what its trials took, and all else.

  Returns:
    float [2, 2]: (trials, all else) by (seconds, processor seconds).
  """
  spent, real = [], DeapTrials.prepare

  def timed(self, directory, engine):
    start = clocks()
    found = real(self, directory, engine)
    spent.append(clocks() - start)
    return found

  DeapTrials.prepare = timed
  start = clocks()
  prepare('deap', twin, out, frame_rate=rate, frame_size=224, **fields)
  total = clocks() - start
  DeapTrials.prepare = real
  return np.array([spent[0], total - spent[0]])


def clocks():
  """Seconds, and processor seconds of this process and of those that have ended."""
  return np.array([time.perf_counter(), sum(os.times()[:4])])


def nothing(number):
  return {'x': np.array(number)}


def idle(out, tasks, fields):
  """Seconds for so many tasks that do nothing."""
  start = time.perf_counter()
  run_tasks(
    nothing,
    [Task(f'n{i}', (i,), ()) for i in range(tasks)],
    out,
    'Nothing',
    'tasks',
    fields.get('beam') or fields['workers'],
  )
  return time.perf_counter() - start


if __name__ == '__main__':
  main()
