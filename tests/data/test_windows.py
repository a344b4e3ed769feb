"""Which part of a trial is read, and in how many windows."""

import dataclasses

import numpy as np
import pytest

from mvp_jax.data.examples import InputConfig
from mvp_jax.data.windows import averaged, part_of, used
from mvp_jax.errors import InputError
from tests.data.tiny_trials import make_trial

_RATE, _FRAMES = 8.0, 2.0


def _trial(seconds, number=1):
  """Signals whose values are the numbers of their samples."""
  samples, frames = round(seconds * _RATE), round(seconds * _FRAMES)
  return make_trial(
    trial_id=f't{number}',
    subject=number,
    trial=number,
    stimulus=1,
    ratings={'valence': 6.0},
    signals=np.arange(samples, dtype=np.float32)[:, None].repeat(2, 1),
    signals_valid=np.ones((samples, 2), bool),
    frame_times=(np.arange(frames) / _FRAMES).astype(np.float32),
    frame_valid=np.ones(frames, bool),
    rate=_RATE,
    frame_rate=_FRAMES,
  )


def _samples(trial):
  return trial.streams['signals'].values[:, 0]


def test_a_trial_that_is_short_enough_stays_what_it_is():
  trial = _trial(10.4)
  assert used(trial, InputConfig(max_seconds=10.0)) == [trial]


@pytest.mark.parametrize(
  ('hop', 'starts'),
  [(0.0, [0, 5, 10, 15, 17]), (10.0, [0, 10, 17]), (8.5, [0, 8.5, 17])],
)
def test_a_longer_one_is_read_in_windows_that_leave_nothing_out(hop, starts):
  windows = used(_trial(27.0), InputConfig(max_seconds=10.0, hop_seconds=hop))
  assert [window.start for window in windows] == starts
  assert all(window.seconds == 10 and window.cut for window in windows)
  assert set(np.concatenate([_samples(x) for x in windows])) == set(range(27 * 8))
  assert _samples(windows[-1])[-1] == 27 * 8 - 1
  assert len({window.stretch_id for window in windows}) == len(windows)


def test_the_beginning_is_read_as_if_nothing_came_after():
  (found,) = used(_trial(27.0), InputConfig(max_seconds=10.0, first_seconds=6.0))
  np.testing.assert_array_equal(_samples(found), np.arange(48))
  assert found.seconds == 6 and len(found.streams['video'].times) == 12
  longer = used(_trial(27.0), InputConfig(max_seconds=10.0, first_seconds=15.0))
  assert [x.start for x in longer] == [0, 5]
  short = _trial(5.0)
  assert used(short, InputConfig(first_seconds=6.0)) == [short]


@pytest.mark.parametrize(
  ('last', 'starts'), [(4.0, [17]), (10.0, [17]), (15.0, [12, 17])]
)
def test_the_end_of_a_long_trial(last, starts):
  windows = used(_trial(27.0), InputConfig(max_seconds=10.0, last_seconds=last))
  assert [window.start for window in windows] == starts


def test_the_end_of_the_beginning():
  found = part_of(_trial(27.0), 10.0, 4.0)
  np.testing.assert_array_equal(_samples(found), np.arange(48, 80))


def test_what_is_said_of_windows_is_averaged_by_trial():
  options = InputConfig(max_seconds=10.0)
  windows = [*used(_trial(15.0), options), *used(_trial(9.0, 2), options)]
  trials, scores = averaged(windows, np.array([[0.0], [1.0], [5.0]], np.float32))
  assert [x.trial_id for x in trials] == ['t1', 't2']
  np.testing.assert_array_equal(scores, [[0.5], [5.0]])


@pytest.mark.parametrize('name', ['hop_seconds', 'first_seconds', 'last_seconds'])
def test_what_no_setting_can_be(name):
  for value in (-1.0, float('nan'), float('inf')):
    with pytest.raises(InputError, match=f'{name} is '):
      dataclasses.replace(InputConfig(), **{name: value})
  with pytest.raises(ValueError, match='lengths is 0'):
    InputConfig(lengths=0)
