"""Whole trials as examples whose face is action units."""

import dataclasses
import pickle
import types

import numpy as np
import pytest

from mvp_jax.data.examples import InputConfig, TrialExamples
from mvp_jax.data.windows import trial_windows
from mvp_jax.errors import InputError
from mvp_jax.models.modalities.action_units import ActionUnits, unit_tokens
from mvp_jax.models.modalities.physio import Physio
from mvp_jax.raw import openface
from mvp_jax.targets.binary import Binary
from tests.data.tiny_trials import make_trial

_OPTIONS = InputConfig(max_seconds=6.0)
_UNITS = {'action_units': ActionUnits(rate=4.0)}


def _units(times, valid=None, seed=0):
  rng = np.random.default_rng(seed)
  times = np.asarray(times, np.float32)
  return openface.ActionUnits(
    times,
    rng.uniform(0, 5, (len(times), 17)).astype(np.float32),
    rng.random((len(times), 18)) < 0.3,
    np.ones(len(times), bool) if valid is None else np.asarray(valid),
  )


def _trial(number, units):
  return make_trial(
    trial_id=f's01_trial{number:02d}',
    subject=number,
    trial=number,
    stimulus=number,
    ratings={'valence': 6.0, 'arousal': 4.0},
    signals=np.ones((48, 1), np.float32),
    signals_valid=np.ones((48, 1), bool),
    action_units=units,
    rate=8.0,
  )


def _series(units):
  return _trial(1, units).streams['action_units']


def _source(trials, options=_OPTIONS, modalities=None):
  corpus = types.SimpleNamespace(
    has_video=False,
    metadata={'streams': {'signals': {'rate': 8.0, 'channels': ('eda',)}}},
  )
  return TrialExamples(corpus, trials, options, modalities or _UNITS, Binary())


@pytest.mark.parametrize('rate', [50.0, 25.0, 29.97, 5.0])
def test_tokens_are_means_of_their_stretch_of_time(rate):
  times = np.arange(int(6 * rate)) / rate
  valid = np.random.default_rng(1).random(len(times)) < 0.7
  units = _units(times, valid)
  found = unit_tokens(_series(units), 4.0, 24)
  assert found['units'].shape == (24, 35) and found['units'].dtype == np.float32
  np.testing.assert_allclose(found['times'], 0.125 + np.arange(24) / 4)
  for k in range(24):
    mine = valid & (times >= k / 4 - 1e-6) & (times < (k + 1) / 4 - 1e-6)
    assert found['valid'][k] == mine.any()
    expected = (
      np.concatenate([units.intensities[mine].mean(0), units.presences[mine].mean(0)])
      if mine.any()
      else np.zeros(35)
    )
    np.testing.assert_allclose(found['units'][k], expected, atol=1e-5)


def test_what_lies_beyond_the_longest_trial_is_left_out():
  units = _units(np.arange(40) / 5)
  found = unit_tokens(_series(units), 4.0, 8)
  np.testing.assert_allclose(found['units'][7, :17], units.intensities[9], rtol=1e-6)
  assert found['valid'].all()


def test_tokens_of_the_baseline_come_first():
  units = _units(np.arange(40) / 5)
  series, rest = _series(units), np.full((7, 35), 2, np.float32)
  times = (np.arange(-7, 0) / 5).astype(np.float32)  # 1.4 s
  seen = np.ones((7, 35), bool)
  series = dataclasses.replace(
    series, before=rest, before_valid=seen, before_times=times
  )
  found, plain = unit_tokens(series, 4.0, 8, lead=8), unit_tokens(series, 4.0, 8)
  assert found['valid'].tolist() == [False] * 2 + [True] * 14
  np.testing.assert_allclose(found['times'], (np.arange(-8, 8) + 0.5) / 4)
  np.testing.assert_array_equal(found['units'][2:8], np.full((6, 35), 2))
  for name, x in plain.items():
    np.testing.assert_array_equal(found[name][8:], x)
  assert series.covers(2.0) and not series.covers(3.0)
  assert series.stretch(2.0, 4.0).before_times is None
  assert len(series.stretch(0.0, 4.0).before_times) == 7
  # As reference only, with the first two seconds.
  trial = _trial(1, units)
  trial.streams['action_units'] = series
  corpus = types.SimpleNamespace(
    metadata={'streams': {'action_units': {'before': 2.0}}}
  )
  item = ActionUnits().inputs(corpus, trial_windows([trial], 8.0), None)[0]
  assert item['valid'].tolist() == [False] * 8 + [True] * 32
  assert item['reference'].tolist() == [False] * 2 + [True] * 14 + [False] * 24


def test_a_shorter_trial_is_padded_and_marked():
  example = _source([_trial(1, _units(np.arange(100) / 25))])[0]
  assert example['action_units/units'].shape == (24, 35)
  assert example['action_units/valid'].tolist() == [True] * 16 + [False] * 8
  assert not example['action_units/units'][16:].any()
  assert set(example) == {
    'label',
    'weight',
    'trial',
    'action_units/units',
    'action_units/valid',
    'action_units/times',
    'action_units/reference',
  }
  assert example['label'].tolist() == [1, 0]


def test_with_signals_selected_and_in_other_processes():
  trials = [_trial(n, _units(np.arange(150) / 25, seed=n)) for n in (1, 2, 3)]
  source = _source(trials, modalities={'physio': Physio(), **_UNITS})
  assert source[1]['physio/values'].shape == (48, 1)
  chosen = source.select({'s01_trial02'})
  assert len(chosen) == 1
  name = 'action_units/units'
  np.testing.assert_array_equal(chosen[0][name], source[1][name])
  assert chosen.modalities.keys() == {'physio', 'action_units'}
  other = pickle.loads(pickle.dumps(source))
  np.testing.assert_array_equal(other[2][name], source[2][name])


def test_frames_are_not_needed_and_trials_without_units_are_named():
  trials = [_trial(1, _units(np.arange(150) / 25)), _trial(2, None)]
  with pytest.raises(InputError, match='s01_trial02 has no action units; .*OpenFace'):
    _source(trials)
  _source(trials, modalities={'physio': Physio()})  # does not ask for any


def test_impossible_settings():
  long = _trial(1, _units(np.arange(200) / 25))
  with pytest.raises(InputError, match=r's01_trial01 lasts 8\.0 s, input\.max_seconds'):
    _source([long])
  _source([long], dataclasses.replace(_OPTIONS, max_seconds=8.0))
  with pytest.raises(InputError, match='rate: above 0'):
    ActionUnits(rate=0.0)


def test_the_end_of_a_trial_alone_is_centred_as_the_whole():
  trial = _trial(1, _units(np.arange(150) / 25))
  part, whole = (
    _source([trial], dataclasses.replace(_OPTIONS, last_seconds=x))[0] for x in (2.5, 0)
  )
  late = whole['action_units/times'] >= trial.streams['action_units'].seconds - 2.5
  np.testing.assert_array_equal(part['action_units/valid'], late)
  for name in ('units', 'times', 'reference'):
    name = f'action_units/{name}'
    np.testing.assert_array_equal(part[name], whole[name])
  assert part['action_units/reference'].tolist() == [True] * 8 + [False] * 16
