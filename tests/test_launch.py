"""The command: what is wrong is one line and status 2, never a stack trace."""

import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_CONFIG = f'--config={_ROOT / "configs" / "deap_fusion.py"}'
_RECORDINGS = f'--config={_ROOT / "configs" / "recordings_fusion.py"}'
_AMIGOS = f'--config={_ROOT / "configs" / "amigos_fusion.py"}'
_PRETRAIN = f'--config={_ROOT / "configs" / "videomae_pretrain.py"}'


def _launch(cwd, *arguments):
  return subprocess.run([sys.executable, str(_ROOT / 'launch.py'), *arguments],
                        cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(('arguments', 'named'), [
    ([_CONFIG, '--config.sede=1'], ['no such setting', 'seed']),
    ([_CONFIG, '--config.train.optimiser.lr=1'], ['no such setting', 'lr']),
    ([_CONFIG, '--config.train.batch_size=big'], ['config.train.batch_size', 'big']),
    ([_CONFIG, '--confg.seed=1'], ['confg.seed']),
    ([_CONFIG, 'config.seed=1'], ['config.seed=1', '--config.<name>=<value>']),
    ([], ['--config']),
    (['--config=none.py'], ['none.py']),
    ([_CONFIG + ':nul'], ['config.twin', 'variant', 'planted, null, leaky']),
    ([_CONFIG, '--config.encoder.size=Q'], ['config.encoder', 'size', 'tiny, S, B']),
    ([_CONFIG, '--config.data.crop=Z'], ['config.data', 'crop', 'X, Y']),
    ([_CONFIG, '--config.data.manual_dir=deap'], ['deap', 'metadata_csv']),
    ([_RECORDINGS, '--config.data.manual_dir=deap'], ['deap/manifest.csv', 'no such']),
    ([_RECORDINGS, '--config.data.channels=eda,gsr'], ['config.data', 'channels']),
    ([_AMIGOS, '--config.data.manual_dir=deap'], ['deap', 'does not hold AMIGOS']),
    ([_AMIGOS, '--config.data.experiment=medium'], ['config.data', 'short, long']),
    ([_PRETRAIN, '--config.sources=videos:none,deap:deap', '--config.weights=1,2'],
     ['none', 'no such folder']),
    ([_PRETRAIN, '--config.sources=deap:deap', '--config.subjects=3'],
     ['deap', 'metadata_csv']),
])
def test_what_is_wrong_is_one_line(tmp_path, arguments, named):
  (tmp_path / 'deap').mkdir()
  done = _launch(tmp_path, *arguments)
  assert done.returncode == 2
  lines = done.stderr.splitlines()
  assert len(lines) == 1 and lines[0].startswith('error: ')
  for words in named:
    assert words in lines[0]
  assert done.stdout == ''  # above all no twin in place of a DEAP that is not there
  assert not (tmp_path / 'data' / 'twins').exists()


def test_help_shows_the_command(tmp_path):
  done = _launch(tmp_path, '--help')
  assert 'python launch.py --config=configs/deap_fusion.py' in done.stdout
  assert '--workdir' in done.stdout
  assert not list(tmp_path.iterdir())
