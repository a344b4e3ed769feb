"""The command: what is wrong is one line and status 2, never a stack trace."""

import json
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_CONFIG = f'--config={_ROOT / "configs" / "deap_fusion.py"}'
_RECORDINGS = f'--config={_ROOT / "configs" / "recordings_fusion.py"}'
_AMIGOS = f'--config={_ROOT / "configs" / "amigos_fusion.py"}'
_PRETRAIN = f'--config={_ROOT / "configs" / "videomae_pretrain.py"}'


_WRONG = [
  ([_CONFIG, '--config.sede=1'], ['no such setting', 'did you mean seed?']),
  (
    [_CONFIG, '--config.models.fision=video'],
    ['config.models.fision: no such model', 'fusion, physio, video; name it there'],
  ),
  ([_CONFIG, '--config.train.optimiser.lr=1'], ['no such setting', 'lr']),
  ([_CONFIG, '--config.train.batch_size=big'], ['config.train.batch_size', 'big']),
  ([_CONFIG, '--confg.seed=1'], ['confg.seed']),
  ([_CONFIG, 'config.seed=1'], ['config.seed=1', '--config.<name>=<value>']),
  ([], ['--config']),
  (['--config=none.py'], ['none.py']),
  ([_CONFIG + ':nul'], ["--config: 'nul'", 'small', 'planted, null, leaky']),
  ([_CONFIG, '--config.twin.variant=nul'], ['config.twin', 'planted, null, leaky']),
  ([_CONFIG, '--config.dataset=deep'], ["'deep'", 'avec2014, biovid, deap, recola']),
  ([_CONFIG, '--config.target.kind=ordinal'], ['config.target', "'ordinal'", 'binary']),
  ([_CONFIG, '--config.encoder.kind=r3d'], ['config.encoder', "'r3d'", 'videomae']),
  (
    [_CONFIG, '--config.encoder.variant=A'],
    ['config.encoder.variant: no such setting', '--config.encoder.kind=dmsn'],
  ),
  (  # a setting of the kind that is asked for, on any side of it, and checked
    [
      _CONFIG,
      '--config.encoder.variant=D',
      '--config.encoder.kind=dmsn',
      '--config.encoder.pretrained=False',
    ],
    ['config.encoder: ', "variant 'D' is none of A, B, C"],
  ),
  (
    [_CONFIG, '--config.encoder.kind=dmsn', '--config.encoder.train.batch_size=8'],
    ['config.encoder.train: no such setting', 'videomae'],
  ),
  ([_CONFIG, '--config.model.fusion=x'], ['config.model', "fusion 'x'", 'cross']),
  (
    [_CONFIG, '--config.models.fusion=physio+x'],
    ["'x'", 'physio, video, action_units'],
  ),
  ([_CONFIG, '--config.evaluation.models=x'], ["'x'", 'fusion, physio, video']),
  ([_CONFIG, '--config.encoder.size=Q'], ['config.encoder', 'size', 'tiny, S, B']),
  ([_CONFIG, '--config.data.crop=Z'], ['config.data', 'crop', 'X, Y']),
  ([_CONFIG, '--config.data.manual_dir=deap'], ['deap', 'metadata_csv']),
  ([_RECORDINGS, '--config.data.manual_dir=deap'], ['deap/manifest.csv', 'no such']),
  ([_RECORDINGS, '--config.data.channels=eda,gsr'], ['config.data', 'channels']),
  ([_AMIGOS, '--config.data.manual_dir=deap'], ['deap', 'does not hold AMIGOS']),
  ([_AMIGOS, '--config.data.corpus.experiment=medium'], ['config.data', 'short, long']),
  (
    [
      _PRETRAIN,
      '--config.pretrain.sources=videos:none,deap:deap',
      '--config.pretrain.weights=1,2',
    ],
    ['none', 'no such folder'],
  ),
  (
    [_PRETRAIN, '--config.pretrain.sources=deap:deap', '--config.pretrain.subjects=3'],
    ['deap', 'metadata_csv'],
  ),
]

_SMALLER = [
  _CONFIG,
  '--config.data.manual_dir=deap',  # which is not there
  '--config.train.batch_size=8',
  '--config.encoder.train.batch_size=16',
  '--config.encoder.train.optimiser.learning_rate=1e-5',
]

# Runs the command in each of some folders, each in a fork: imports once for all.
_LAUNCH = """
import json, os, runpy, sys
root, *given = json.load(sys.stdin)
sys.path[0] = root
import jax, mvp_jax.jobs.train, mvp_jax.jobs.pretrain
from mvp_jax.preparation import load_builder
for name in ('deap', 'amigos', 'recordings', 'videos'):
  load_builder(name)
for folder, arguments in given:
  child = os.fork()
  if child == 0:
    os.chdir(folder)
    for stream in (1, 2):
      os.dup2(os.open(f'stream{stream}', os.O_WRONLY | os.O_CREAT), stream)
    sys.argv = [os.path.join(root, 'launch.py'), *arguments]
    try:
      runpy.run_path(sys.argv[0], run_name='__main__')
    except SystemExit as end:
      sys.stdout.flush()
      os._exit(end.code or 0)  # to take all imports down takes seconds
  print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope='module')
def ended(tmp_path_factory):
  """Function of arguments -> the folder and status of `launch.py` with them."""
  asked = [*(arguments for arguments, _ in _WRONG), ['--help'], _SMALLER]
  folders = [tmp_path_factory.mktemp('launch') for _ in asked]
  for folder in folders:
    (folder / 'deap').mkdir()
  given = [str(_ROOT), *zip(map(str, folders), asked, strict=True)]
  done = subprocess.run(
    [sys.executable, '-c', _LAUNCH],
    input=json.dumps(given),
    stdout=subprocess.PIPE,
    text=True,
    timeout=300,
    check=True,
  )
  statuses = map(int, done.stdout.splitlines())
  found = dict(zip(map(str, asked), zip(folders, statuses, strict=True), strict=True))
  return lambda arguments: found[str(arguments)]


def _said(folder):
  """Lines of a job's output, but for what it runs on."""
  lines = (folder / 'stream1').read_text().splitlines()
  return [line for line in lines if not line.startswith('runs on cpu: ')]


@pytest.mark.parametrize(('arguments', 'named'), _WRONG)
def test_what_is_wrong_is_one_line(ended, arguments, named):
  folder, status = ended(arguments)
  assert status == 2
  lines = (folder / 'stream2').read_text().splitlines()
  assert len(lines) == 1 and lines[0].startswith('error: ')
  for words in named:
    assert words in lines[0]
  # Above all no twin in place of a DEAP that is not there.
  assert not _said(folder)
  assert not (folder / 'data' / 'twins').exists()


def test_another_batch_than_the_file_s_is_told_with_its_learning_rate(ended):
  folder, status = ended(_SMALLER)
  assert status == 2
  model, encoder = _said(folder)
  assert model.startswith(
    'config.train.batch_size is 8, in the config file 32: the learning rate stays '
    '0.0003, for it is not scaled with the batch'
  )
  assert 'in proportion: --config.train.optimiser.learning_rate=7.5e-05)' in model
  assert encoder == (
    'config.encoder.train.batch_size is 16, in the config file 64: the learning rate '
    'is 1e-05, as given'
  )


def test_help_shows_the_command(ended):
  folder, _ = ended(['--help'])
  said = (folder / 'stream1').read_text()
  assert 'python launch.py --config=configs/deap_fusion.py' in said
  assert '--workdir' in said
  assert {path.name for path in folder.iterdir()} == {'deap', 'stream1', 'stream2'}
