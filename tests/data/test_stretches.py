"""Long trials of a target in time, cut and put together again."""

import numpy as np
import pytest

from mvp_jax.data.spans import span_means
from mvp_jax.data.trial import Frames, Series, Sound, Trial
from mvp_jax.data.windows import joined, stretches
from mvp_jax.targets import Concordance

_TARGET = Concordance(ratings=('valence',), rate=10.0)


def _trial(seconds, number=1, rate=25.0):
  times = np.arange(round(seconds * rate)) / rate
  values = np.stack([np.sin(times), times], -1).astype(np.float32)
  ratings = Series(
    values, np.ones_like(values, bool), ('valence', 'arousal'), None, np.float32(times)
  )
  count = round(5 * seconds)
  return Trial(
    f'v{number}',
    number,
    1,
    None,
    {},
    {
      'ratings': ratings,
      'video': Frames(
        np.arange(count, dtype=np.float32) / 5, np.ones(count, bool), 7, 5.0
      ),
      'audio': Sound(round(seconds * 100), np.array([[50, 1200]]), 3, 100.0),
    },
  )


@pytest.mark.parametrize('seconds', [0.4, 9.8, 10.0, 10.4, 21.0, 47.3])
def test_labels_of_stretches_are_those_of_the_trial(seconds):
  trial = _trial(seconds)
  parts = stretches([trial], _TARGET, 10.0)
  assert all(part.seconds <= 10.0 for part in parts)
  assert len({part.stretch_id for part in parts}) == len(parts)
  whole = _TARGET.annotated(trial)
  found = []
  for part in parts:
    labels = span_means(part.streams['ratings'], 10.0, 100, ('valence',))
    found.append(labels)
  (back,), (labels,) = joined(parts, found, _TARGET)
  assert back.trial_id == 'v1' and back.start == 0
  np.testing.assert_allclose(labels[: len(whole)], whole, atol=1e-5)
  assert np.isnan(labels[len(whole) :]).all()


def test_streams_keep_their_place_in_what_is_stored():
  parts = stretches([_trial(30.0)], _TARGET, 10.0)
  assert [part.start for part in parts] == [0, 10, 20]
  assert [part.streams['video'].first for part in parts] == [0, 50, 100]
  assert all(part.streams['video'].times[0] == 0 for part in parts)
  sounds = [part.streams['audio'] for part in parts]
  assert [(x.first, x.count) for x in sounds] == [(0, 1000), (1000, 1000), (2000, 1000)]
  assert [x.recorded.tolist() for x in sounds] == [[[50, 1000]], [[0, 200]], []]


def test_a_stream_that_ends_early_is_left_out_of_what_follows():
  trial = _trial(30.0)
  short = trial.streams['video'].stretch(0, 8.0)
  trial.streams['video'] = short
  assert ['video' in p.streams for p in stretches([trial], _TARGET, 10.0)] == [
    True,
    False,
    False,
  ]


def test_several_trials_are_joined_each_for_itself():
  trials = [_trial(25.0, 1), _trial(4.0, 2), _trial(12.0, 3)]
  parts = stretches(trials, _TARGET, 10.0)
  assert [part.trial_id for part in parts] == ['v1'] * 3 + ['v2'] + ['v3'] * 2
  scores = [np.full((100, 1), i) for i in range(len(parts))]
  whole, found = joined(parts, scores, _TARGET)
  assert [t.trial_id for t in whole] == ['v1', 'v2', 'v3']
  assert [x[:, 0].tolist() for x in found] == [
    [0] * 83 + [1] * 84 + [2] * 100,
    [3] * 100,
    [4] * 60 + [5] * 100,
  ]
