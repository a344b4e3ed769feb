"""Faults of runs: two over one data folder, damaged files, kills at random moments.

  python benchmarks/faults.py races [--number=20]    two runs, one data folder
  python benchmarks/faults.py damage [--number=60]   of what runs leave, then run again
  python benchmarks/faults.py kills [--number=100]   in all stages, then run to the end

Every run is the whole job on a tiny twin of DEAP, and ends with the predictions of one
that nothing has disturbed, bit for bit, or with one line that says what is wrong. The
last line is one JSON object. `--seed` draws other moments and places, `--folder` keeps
what was written.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.errors import ending

_TINY = {
  'twin': 'subjects=4 trials=2 frame_rate=2 width=64 height=64',
  'data': 'frame_rate=2 frame_size=32 workers=1',
  'input.clips': 'frames=4 stride=1 spacing=12',
  'encoder': 'subjects=1 clips_per_trial=1 feature_batch=8 feature_grid=1',
  'encoder.views': 'repeats=1',
  'encoder.train': 'batch_size=8 checkpoint_every=2',
  'encoder.train.optimiser': 'steps=4 warmup_steps=1',
  'train': 'batch_size=4 checkpoint_every=2 validate_every=2',
  'train.optimiser': 'steps=4 warmup_steps=1',
  'model': 'width=16 heads=2 mlp_width=16',
  'modalities.physio': 'widths=(8,16) kernels=(64,32) strides=(32,16) heads=2 '
  'mlp_width=16',
  'evaluation': 'folds=3 models=fusion validation_subjects=1 batch_size=8',
}
_ENOUGH = 600  # seconds, after which a run counts as hung


class Run:
  """The job, in a fork of this process: what it imports is imported once."""

  def __init__(self, folder, name, *more, main=None):
    self.workdir = folder / name
    self.log = folder / f'{name}.log'
    given = ['--config=deap_fusion', f'--workdir={self.workdir}']
    given += [f'--config.data.data_dir={folder / "data"}']
    for section, words in _TINY.items():
      given += [f'--config.{section}.{word}' for word in words.split()]
    sys.stdout.flush()
    self.begun, self.status = time.monotonic(), None
    self.pid = os.fork()
    if self.pid == 0:
      os._exit(self._run(main, [*given, *more]))

  def _run(self, main, arguments):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (1, 2):
      os.dup2(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    try:
      if main is None:
        from mvp_jax.launch import main
      sys.argv = ['launch.py', *arguments]  # which ml_collections reads
      return main(arguments) or 0
    except SystemExit as end:
      print(end.code if isinstance(end.code, str) else '', file=sys.stderr)
      return 2 if isinstance(end.code, str) else end.code or 0
    except BaseException as error:
      if ended := ending(error):
        print('error:', *ended[0].split(), file=sys.stderr)
        return ended[1]
      sys.excepthook(*sys.exc_info())
      return 1
    finally:
      sys.stdout.flush()
      sys.stderr.flush()

  def alive(self):
    if self.status is None:
      pid, status = os.waitpid(self.pid, os.WNOHANG)
      if pid:
        self.status = os.waitstatus_to_exitcode(status)
    return self.status is None

  def end(self):
    """Waits for the end; returns the status, 'hung' after a long time."""
    while self.alive():
      if time.monotonic() - self.begun > _ENOUGH:
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.status = 'hung'
      time.sleep(0.05)
    return self.status

  def text(self):
    return self.log.read_text(errors='replace')

  def errors(self):
    return [x for x in self.text().splitlines() if x.startswith('error: ')]


def told(run, wanted, names=()):
  """How a run has ended: 'same', 'named', or what is wrong with that.

  Args:
    wanted: predictions of one that nothing disturbed, bytes.
    names: of which one stands in the line of error.
  """
  if 'Traceback' in run.text():
    return 'traceback'
  if run.status == 0:
    found = run.workdir / 'predictions.csv'
    return 'same' if found.read_bytes() == wanted else 'silent'
  errors = run.errors()
  if len(errors) != 1:
    return f'status {run.status}, {len(errors)} lines of error'
  return 'named' if any(name in errors[0] for name in names) else 'another'


def undisturbed(folder):
  """A run that is left alone, in `folder`/first, and its predictions."""
  workdir = folder / 'first'
  if not (workdir / 'predictions.csv').exists():
    run = Run(folder, workdir.name)
    if run.end() != 0:
      sys.exit(run.text())
  return (workdir / 'predictions.csv').read_bytes()


def fresh(folder, of, *parts):
  """Puts what a run has left in `of`, or these parts of it, back into `folder`."""
  for part in parts:
    shutil.rmtree(folder / part, ignore_errors=True)
    (folder / part).unlink(missing_ok=True) if (folder / part).is_file() else None
    shutil.copytree(of / part, folder / part, symlinks=True)


def races(folder, number, rng, wanted):
  """Two runs over one data folder, the second some seconds after the first."""
  for i in range(number):
    place = folder / f'race{i}'
    place.mkdir()
    compiled = folder / 'data' / 'compiled'
    shutil.copytree(compiled, place / 'data' / 'compiled')
    same = i % 5 == 4  # the work directory, too: the second is refused
    delay = rng.uniform(0, 2) if i % 2 else rng.uniform(0, 25)
    runs = [Run(place, 'one')]
    time.sleep(delay)
    names = ('one', 'in use') if same else ()
    if same:
      (place / 'other').mkdir()
      shutil.rmtree(place / 'other')
    runs.append(Run(place, 'two', *([f'--workdir={place / "one"}'] * same)))
    for run in runs:
      run.end()
    ends = [told(runs[0], wanted), told(runs[1], wanted, names)]
    waited = sum('waiting until it is done' in run.text() for run in runs)
    right = ['same', 'named'] if same else ['same', 'same']
    yield {
      'what': 'one work directory' if same else 'two work directories',
      'detail': f'after {delay:.1f} s, {waited} waited',
      'ends': ends,
      'good': ends == right,
    }
    shutil.rmtree(place)


def _flip(path, rng):
  content = bytearray(path.read_bytes())
  content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  path.write_bytes(content)


def _truncate(path, rng):
  content = path.read_bytes()
  path.write_bytes(content[: rng.randrange(len(content))])


def _zero(path, rng):
  content = bytearray(path.read_bytes())
  first = rng.randrange(len(content))
  content[first : first + 512] = bytes(len(content[first : first + 512]))
  path.write_bytes(content)


def _delete(path, rng):
  path.unlink()


def _folder(path, rng):
  path.unlink()
  path.mkdir()


_WAYS = {
  'flip': _flip,
  'truncate': _truncate,
  'zero': _zero,
  'delete': _delete,
  'folder': _folder,
}
# What is damaged, and what is deleted first, so that it is read.
_PREPARED = 'data/prepared/*/deap/*/'
_FILES = {
  f'{_PREPARED}derived/*/features/*/*.npy': [],
  f'{_PREPARED}derived/*/features/*/checksums.json': [],
  f'{_PREPARED}derived/*/content/copies*.json': [],
  f'{_PREPARED}derived/*/handcrafted/*.npz': [],
  f'{_PREPARED}derived/*/encoders/*/record.json': [],
  f'{_PREPARED}derived/*/encoders/*/checkpoints/4/params/**/d/*': [],
  f'{_PREPARED}derived/*/encoders/*/checkpoints/4/checksums.json': [],
  f'{_PREPARED}[0-9]*/account.csv': [],
  f'{_PREPARED}[0-9]*/dataset_info.json': [],
  f'{_PREPARED}[0-9]*/features.json': [],
  f'{_PREPARED}[0-9]*/checksums.json': [],
  f'{_PREPARED}[0-9]*/deap-trials.array_record*': [],
  f'{_PREPARED}[0-9]*/deap-video.array_record*': [f'{_PREPARED}derived'],
  'data/twins/*/SYNTHETIC.json': [],
  'data/twins/*/face_video/*/*.avi': ['data/prepared'],
  'data/twins/*/data_*/*': ['data/prepared'],
  'data/twins/*/metadata_*/*': ['data/prepared'],
  'data/compiled/*': [],
  'first/config.json': [],
  'first/run.json': [],
  'first/account.csv': [],
  'first/predictions.csv': [],
  'first/metrics.jsonl': [],
  'first/models/model.json': [],
  'first/models/**/*.safetensors': [],
  'first/checkpoints/fusion/4/params/**/d/*': [],
  'first/checkpoints/fusion/4/**/_METADATA': [],
  'first/checkpoints/fusion/4/checksums.json': [],
  'first/cases/*.npz': [],
  'first/crops.npz': [],
}


def _report(arguments):
  from mvp_jax.__main__ import main

  return main(['report', arguments[1].partition('=')[2]])


def _predict(arguments):
  """What `predict` reads before it looks at files."""
  from mvp_jax.inference.folder import encoder_file, read

  folder = read(arguments[1].partition('=')[2])
  folder.encoder()
  for model in folder.record['models'].values():
    for member in model['members']:
      for name in member['files']:
        folder.member(name)
  if not (folder.path / encoder_file()).exists():
    sys.exit(f'error: {folder.path / encoder_file()}: is missing')


def damage(folder, number, rng, wanted):
  """Damages a file of those that a run has left, and runs again."""
  whole = folder / 'whole'
  shutil.rmtree(whole, ignore_errors=True)
  for part in ('data', 'first'):
    shutil.copytree(folder / part, whole / part)
  ways = [rng.sample(list(_WAYS), len(_WAYS)) for _ in _FILES]
  for pattern, way in [
    (pattern, own[turn])
    for turn in range(len(_WAYS))
    for pattern, own in zip(_FILES, ways, strict=True)
  ][:number]:
    fresh(folder, whole, 'data', 'first')
    path = rng.choice(sorted(x for x in folder.glob(pattern) if x.is_file()))
    for needless in _FILES[pattern]:
      for x in folder.glob(needless):
        shutil.rmtree(x)
    _WAYS[way](path, rng)
    name = 'first' if pattern.startswith('first/') else 'again'
    shutil.rmtree(folder / 'again', ignore_errors=True)
    ends = []
    mains = [None]
    if name == 'first':
      mains = [_predict] if '/models/' in pattern else [_report, None]
    for main in mains:
      (folder / f'{name}.log').unlink(missing_ok=True)
      run = Run(folder, name, main=main)
      run.end()
      text = run.text()
      end = told(run, wanted, (path.name, path.parent.name))
      warned = [x for x in text.splitlines() if path.name in x and 'made anew' in x]
      ends.append(end if end != 'same' or not warned else 'same, told')
    yield {
      'what': f'{path.relative_to(folder)}: {way}',
      'detail': next(iter(run.errors()), '')[:300],
      'ends': ends,
      'good': all(end.startswith(('same', 'named')) for end in ends),
    }


def kills(folder, number, rng, wanted):
  """Kills, stops and interrupts runs, and lets every third go on to its end."""
  sent = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
  stops, place, seconds = 0, None, 60.0
  while stops < number:
    place = folder / f'kills{stops}'
    shutil.copytree(folder / 'data' / 'compiled', place / 'data' / 'compiled')
    for _ in range(8):
      (place / 'run.log').unlink(missing_ok=True)  # of the one before
      run, number_sent = Run(place, 'run'), rng.choice(sent)
      deadline = time.monotonic() + rng.uniform(0, seconds)
      while run.alive() and time.monotonic() < deadline:
        time.sleep(0.01)
      if not run.alive():
        break
      stage = (run.text().splitlines() or [''])[-1][:60]
      killpg = number_sent == signal.SIGINT  # as a terminal does
      (os.killpg if killpg else os.kill)(run.pid, number_sent)
      status = run.end()
      stops += 1
      right = {signal.SIGKILL: {-9}, signal.SIGTERM: {143, 0}, signal.SIGINT: {130, 0}}
      lines = run.errors()
      good = status in right[number_sent] and 'Traceback' not in run.text()
      good &= number_sent == signal.SIGKILL or status == 0 or len(lines) == 1
      yield {
        'what': signal.Signals(number_sent).name,
        'detail': f'{stage!r}: {"; ".join(lines)[:100]}',
        'ends': [str(status)],
        'good': good,
      }
    if run.status is None or run.status != 0:
      run = Run(place, 'run')
      run.end()
    end = told(run, wanted)
    yield {
      'what': 'run to the end',
      'detail': '; '.join(run.errors()),
      'ends': [end],
      'good': end == 'same',
    }
    shutil.rmtree(place)


_CAMPAIGNS = {'races': races, 'damage': damage, 'kills': kills}


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('campaign', choices=_CAMPAIGNS)
  parser.add_argument('--number', type=int)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--folder', type=Path)
  given = parser.parse_args()
  number = given.number or {'races': 20, 'damage': 60, 'kills': 100}[given.campaign]
  os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  import mvp_jax.evaluation.report
  import mvp_jax.host_cpu  # noqa: F401
  import mvp_jax.inference.folder
  import mvp_jax.jobs.train
  import mvp_jax.launch  # noqa: F401
  from mvp_jax.preparation import load_builder

  load_builder('deap')
  with tempfile.TemporaryDirectory() as temporary:
    folder = given.folder or Path(temporary)
    folder = folder.absolute()
    wanted = undisturbed(folder)
    counts = collections.Counter()
    rows = _CAMPAIGNS[given.campaign](folder, number, random.Random(given.seed), wanted)
    for row in rows:
      counts['good' if row['good'] else 'bad'] += 1
      for end in row['ends']:
        counts[end] += 1
      mark = ' ' if row['good'] else '!'
      print(f'{mark} {row["what"]:60} {", ".join(row["ends"])}', flush=True)
      print(f'    {row["detail"]}', flush=True)
  print(json.dumps({'campaign': given.campaign, 'seed': given.seed, **counts}))


if __name__ == '__main__':
  main()
