"""The live example predicts a file, with signals that come beside it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import mvp_jax
from tests.inference.test_stream import GIVEN, ONSET, RATE, samples

_PATH = Path(__file__).parents[2] / 'examples' / 'live.py'


@pytest.fixture(scope='module')
def live():
  spec = importlib.util.spec_from_file_location('live', _PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_a_file_in_place_of_a_camera(run, live, tmp_path, capsys):
  video, signals = (run.study / run.rows[0][name] for name in ('video', 'signals'))
  values = samples(signals)
  times = np.arange(len(values)) / RATE - ONSET
  rows = (f'{t:.6f},{b:.5f},{a:.5f}\n' for t, (a, b) in zip(times, values, strict=True))
  (tmp_path / 'x.csv').write_text('time,ppg,eda\n' + ''.join(rows))
  arguments = [str(run.workdir), '9', str(video), f'--signals={tmp_path / "x.csv"}']
  assert live.main([*arguments, '--hop=4']) == 0
  first, windows, line = capsys.readouterr().out.splitlines()
  assert 'SYNTHETIC' in first and 'windows of 9 s every 4 s' in windows
  said = mvp_jax.load(run.workdir).predict(video, signals=signals, **GIVEN)
  value = said.result['estimates']['valence']['value']
  assert line.startswith('    0.0 to     9.0 s')
  told = float(line.split('valence ')[1].split()[0])
  assert told == pytest.approx(value, abs=0.0051)  # two digits


def test_nothing_to_look_at(run, live, tmp_path, capsys):
  (tmp_path / 'no.mp4').write_text('no video')
  assert live.main([str(run.workdir), '9', str(tmp_path / 'no.mp4')]) == 2
  assert 'no camera and no video that opens' in capsys.readouterr().err
  assert live.main([str(tmp_path)]) == 2
