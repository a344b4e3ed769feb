"""Work directories: whose they are, and one user at a time."""

import dataclasses
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from mvp_jax import locks
from mvp_jax.config import Config, DataConfig
from mvp_jax.errors import InputError
from mvp_jax.training import encoder as encoders
from mvp_jax.training.sharding import MeshConfig
from mvp_jax.workdir import claim, in_use, require_whole, seal

_ROOT = pathlib.Path(__file__).parents[1]
_HOLD = """
import pathlib, sys
from mvp_jax.workdir import in_use
with in_use(pathlib.Path(sys.argv[1])):
  print('in use', flush=True)
  sys.stdin.read()
"""


def test_one_run_at_a_time_until_it_ends_however_that_is(tmp_path):
  folder = tmp_path / 'new' / 'run'
  with subprocess.Popen(
    [sys.executable, '-c', _HOLD, str(folder)],
    text=True,
    cwd=_ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  ) as other:
    assert other.stdout.readline() == 'in use\n'
    with (
      pytest.raises(
        InputError,
        match=f'run: is in use by another run '
        rf'\(process {other.pid} on .*\)',
      ),
      in_use(folder),
    ):
      pass
    other.kill()
    other.wait()
  for _ in range(2):  # one after the other is fine
    with in_use(folder):
      assert f'process {os.getpid()} on' in (folder / '.lock').read_text()
      with pytest.raises(InputError, match='in use by another run'), in_use(folder):
        pass


def test_settings_that_change_no_result_may_change(tmp_path):
  config = Config(dataset='deap')
  assert claim(tmp_path, config) == {}
  (tmp_path / 'run.json').write_text('{"seconds": {}}')
  freely = dataclasses.replace(
    config,
    mesh=MeshConfig(fsdp=2),
    data=DataConfig(workers=3),
    train=dataclasses.replace(config.train, workers=2, keep_every=10),
  )
  assert claim(tmp_path, freely) == {'seconds': {}}
  with pytest.raises(
    InputError,
    match=r'belongs to another config \(seed was 0, '
    r'now 1\); give another --workdir',
  ):
    claim(tmp_path, dataclasses.replace(config, seed=1))


def test_a_variant_more_may_be_asked_of_a_finished_ablation(tmp_path):
  config = Config(dataset='deap', job='ablate', ablation=(('a', (('b', ''),)),))
  claim(tmp_path, config)
  (tmp_path / 'run.json').write_text('{}')
  claim(tmp_path, dataclasses.replace(config, ablation=(('a', (('b', 'seed=2'),)),)))


def test_a_run_that_saved_nothing_leaves_its_folder_to_a_mended_config(
  tmp_path, capsys
):
  config = Config(dataset='deap')
  claim(tmp_path, config)
  (tmp_path / 'run.json').write_text('{"source_fingerprint": "abc", "seconds": {}}')
  (tmp_path / 'metrics.jsonl').write_text('{}')
  mended = dataclasses.replace(config, seed=1)
  assert claim(tmp_path, mended) == {}
  said = capsys.readouterr().out
  assert 'had saved anything; it begins anew with other settings (seed was 0' in said
  assert not (tmp_path / 'metrics.jsonl').exists()
  (tmp_path / 'run.json').write_text('{"source_fingerprint": "abc"}')
  (tmp_path / 'checkpoints' / 'fusion' / '20').mkdir(parents=True)
  with pytest.raises(InputError, match='belongs to another config'):
    claim(tmp_path, config)
  # What is set against a lack of memory stays possible.
  parts = dataclasses.replace(mended.train, accumulate=4)
  claim(tmp_path, dataclasses.replace(mended, train=parts))


def test_another_run_is_waited_for_if_asked_to(tmp_path, capsys, monkeypatch):
  with subprocess.Popen(
    [sys.executable, '-c', _HOLD, str(tmp_path)],
    cwd=_ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  ) as other:
    other.stdout.readline()

    def kill(seconds):
      other.kill()
      other.wait()

    monkeypatch.setattr(locks.time, 'sleep', kill)
    with in_use(tmp_path, 'preparing deap'):
      assert other.returncode
    assert capsys.readouterr().err == (
      f'another run (process {other.pid} on {socket.gethostname()}) is preparing deap: '
      'waiting until it is done\n'
    )


def test_what_earlier_versions_left_is_refused_in_one_line(tmp_path):
  (tmp_path / 'config.json').write_text('{"job": "fusion", "video_backbone": "au"}')
  (tmp_path / 'run.json').write_text('{}')
  with pytest.raises(InputError, match='made by another version of this program; give'):
    claim(tmp_path, Config(dataset='deap'))
  (tmp_path / encoders.RECORD).write_text('{"trained_on_subjects": [1], "model": {}}')
  with pytest.raises(InputError, match='was pre-trained by an earlier version'):
    encoders.check(None, tmp_path)


@pytest.mark.parametrize('name', ['config.json', 'run.json'])
@pytest.mark.parametrize('content', ['{"seed": ', '', '[1]', '{"a": "\udcff"}'])
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, content):
  claim(tmp_path, Config(dataset='deap'))
  (tmp_path / 'run.json').write_text('{}')
  (tmp_path / name).write_text(content, errors='surrogateescape')
  with pytest.raises(InputError, match=f'{name}: .*delete it to begin anew') as error:
    claim(tmp_path, Config(dataset='deap'))
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', ['{"people": ', '[]'])
def test_a_damaged_record_of_an_encoder_is_named(tmp_path, content):
  (tmp_path / encoders.RECORD).write_text(content)
  with pytest.raises(InputError, match='record.json: .*pre-train or import it anew'):
    encoders.check(None, tmp_path)


@pytest.fixture
def finished(tmp_path):
  claim(tmp_path, Config(dataset='deap'))
  for name in ('run.json', 'metrics.jsonl', 'predictions.csv'):
    (tmp_path / name).write_text('{}')
  (tmp_path / 'checkpoints').mkdir()
  (tmp_path / 'checkpoints' / 'x.json').write_text('has checksums of its own')
  seal(tmp_path)
  require_whole(tmp_path)
  return tmp_path


def test_what_a_finished_run_tells_is_made_anew_if_it_is_damaged(finished, capsys):
  (finished / 'predictions.csv').write_text('{ }')
  with pytest.raises(
    InputError, match='predictions.csv: is not what was written; rest'
  ):
    require_whole(finished)
  claim(finished, Config(dataset='deap'))
  assert (
    'predictions.csv: is not what was written; it is made' in capsys.readouterr().err
  )
  (finished / 'predictions.csv').write_text('of the run that has begun')
  require_whole(finished)


@pytest.mark.parametrize('name', ['config.json', 'run.json', 'metrics.jsonl'])
def test_what_a_run_goes_on_from_is_named_if_it_is_damaged(finished, name):
  (finished / name).write_text('{ }')
  with pytest.raises(
    InputError, match=f'{name}: is not what was .* or delete it to go'
  ):
    claim(finished, Config(dataset='deap'))
  (finished / name).unlink()
  claim(finished, Config(dataset='deap'))
