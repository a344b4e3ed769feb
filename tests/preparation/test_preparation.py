import contextlib
import os
import pathlib
import runpy
import signal
import socket
import subprocess
import sys
import time

import pytest
import tensorflow_datasets as tfds

import mvp_jax.preparation
from mvp_jax.corpora.deap.twin import write_deap_twin
from mvp_jax.errors import InputError
from mvp_jax.locks import held_by
from mvp_jax.preparation import load_builder, prepare
from mvp_jax.synthetic.spec import TwinSpec

FIELDS = dict(frame_rate=2.0, frame_size=32)

_SLOW_RUN = """
import pathlib, sys, time
from mvp_jax.preparation import prepare
from mvp_jax.corpora.deap import trials as deap_trials

def slow(*args, fast=deap_trials.face_frames):
  if len(list(pathlib.Path(sys.argv[2]).glob('interim/*/frames/*.npz'))) >= 2:
    time.sleep(300)
  return fast(*args)

deap_trials.face_frames = slow
prepare('deap', sys.argv[1], sys.argv[2], workers=1, frame_rate=2.0, frame_size=32)
"""


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
  root = tmp_path_factory.mktemp('twin')
  write_deap_twin(
    root,
    TwinSpec(subjects=2, trials=4, frame_rate=2.0, width=128, height=104),
    workers=1,
  )
  return root


def files(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file()
  }


def test_while_one_prepares_a_source_others_wait(twin, tmp_path, monkeypatch):
  class Built(Exception):
    pass

  def holders():
    with contextlib.ExitStack() as stack:
      return [held_by(path, stack) for path in sorted((tmp_path / 'locks').iterdir())]

  def build(*_):
    own = f'process {os.getpid()} on {socket.gethostname()}'
    assert holders() == [own, own]  # of what waits in between, and of the result
    raise Built

  monkeypatch.setattr(mvp_jax.preparation, '_prepare', build)
  with pytest.raises(Built):
    prepare('deap', twin, tmp_path, workers=1, **FIELDS)
  assert holders() == ['', '']


def test_killed_in_the_middle_continues_and_ends_the_same(twin, tmp_path):
  whole = prepare('deap', twin, tmp_path / 'whole', workers=2, **FIELDS)
  killed = tmp_path / 'killed'
  with subprocess.Popen(
    [sys.executable, '-c', _SLOW_RUN, str(twin), str(killed)],
    env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
    stderr=subprocess.DEVNULL,
  ) as process:
    deadline = time.monotonic() + 120
    while (
      len(list(killed.glob('interim/*/frames/*.npz'))) < 2
      and time.monotonic() < deadline
    ):
      time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
  kept = {
    path.name: path.stat().st_mtime_ns for path in killed.glob('interim/*/frames/*.npz')
  }
  assert len(kept) == 2
  directory = prepare('deap', twin, killed, workers=1, **FIELDS)
  assert directory.relative_to(killed) == whole.relative_to(tmp_path / 'whole')
  assert not list(killed.glob('interim/*')) and not list(killed.rglob('*incomplete*'))
  made, expected = files(directory), files(whole)
  assert made.keys() == expected.keys()
  for name, content in made.items():
    # Protocol buffers write their maps in any order, so examples are compared.
    if 'array_record' not in name:
      assert content == expected[name]
  for split in ('trials', 'video'):
    pair = [
      tfds.builder_from_directory(path).as_data_source(split)
      for path in (directory, whole)
    ]
    assert len(pair[0]) == len(pair[1])
    for one, other in zip(*pair, strict=True):
      assert str(one) == str(other)


def test_prepared_data_is_found_again(twin, tmp_path, monkeypatch):
  directory = prepare('deap', twin, tmp_path, streams=('signals',), workers=1)
  before = files(tmp_path)
  monkeypatch.setattr(load_builder('deap'), 'download_and_prepare', None)
  assert prepare('deap', twin, tmp_path, streams=('signals',), workers=1) == directory
  assert files(tmp_path) == before


@pytest.mark.parametrize('name', ['account.csv', 'metadata.json', 'dataset_info.json'])
def test_damaged_texts_are_named(twin, tmp_path, name):
  directory = prepare('deap', twin, tmp_path, streams=('signals',), workers=1)
  content = (directory / name).read_bytes()
  (directory / name).write_bytes(content[:-20])
  with pytest.raises(InputError, match=f'{name}: is not what was written; delete the'):
    prepare('deap', twin, tmp_path, streams=('signals',), workers=1)


def test_sources_never_mix(twin, tmp_path):
  other = tmp_path / 'other'
  write_deap_twin(
    other,
    TwinSpec(subjects=2, trials=4, seed=1, frame_rate=2.0, width=128, height=104),
    workers=1,
  )
  first = prepare('deap', twin, tmp_path / 'data', streams=('signals',), workers=1)
  second = prepare('deap', other, tmp_path / 'data', streams=('signals',), workers=1)
  assert first != second
  valence = [
    [
      float(trial['ratings']['valence'])
      for trial in tfds.builder_from_directory(path).as_data_source('trials')
    ]
    for path in (first, second)
  ]
  assert valence[0] != valence[1]


def test_unknown_corpus_and_no_corpus(tmp_path):
  with pytest.raises(InputError, match='no data set'):
    prepare('deep', tmp_path, tmp_path / 'data')
  with pytest.raises(InputError, match='does not hold DEAP'):
    prepare('deap', tmp_path, tmp_path / 'data')
  assert not (tmp_path / 'data').exists()


@pytest.mark.parametrize('name', ['deap', 'amigos', 'recordings', 'videos'])
def test_builders_where_tfds_looks_for_them(name):
  folder = pathlib.Path(__file__).parents[2] / 'datasets' / name
  assert (folder / 'README.md').exists() and not (folder / '__init__.py').exists()
  found = runpy.run_path(str(folder / f'{name}_dataset_builder.py'))['Builder']
  assert found is load_builder(name) and found.name == name
  assert tfds.builder_cls(name) is found and found.get_metadata().tags
  assert all(config.wanted.streams for config in found.BUILDER_CONFIGS)
