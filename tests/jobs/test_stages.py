"""What stages refuse before any work."""

import types

import numpy as np
import pytest

from mvp_jax.config import parse
from mvp_jax.data.splits import Fold
from mvp_jax.errors import InputError
from mvp_jax.evaluation.predictions import Prediction
from mvp_jax.jobs import preparation, stages, starts
from mvp_jax.targets import promises
from tests.data.tiny_trials import trial


def test_there_must_be_videos_to_pre_train_on(tmp_path):
  config = parse({'dataset': 'deap', 'data': {'data_dir': str(tmp_path)}})
  corpus = types.SimpleNamespace(
    directory=tmp_path / 'deap', trials=[trial(4, 1, signals=np.ones((8, 2), 'f'))]
  )
  with pytest.raises(InputError, match=r'encoder\.subjects: no videos'):
    starts.pretrained(config, corpus, (4,), None, None, {})
  assert not list(tmp_path.iterdir())


def test_a_trial_needs_the_ratings_of_the_target_alone(tmp_path, monkeypatch):
  """And none at all where a video is only looked at."""
  asked = []

  def prepare(*args, ratings, **fields):
    asked.append(ratings)
    raise InputError('enough')

  monkeypatch.setattr(preparation, 'prepare', prepare)
  config = parse(
    {
      'dataset': 'recordings',
      'data': {'data_dir': str(tmp_path), 'manual_dir': str(tmp_path)},
      'target': {'ratings': ('arousal',)},
    }
  )
  for rated in (True, False):
    with pytest.raises(InputError, match='enough'):
      preparation.prepared_corpus(
        config, 'recordings', {'seconds': {}}, ('signals',), rated=rated
      )
  assert asked == [('arousal',), ()]


def test_promises_are_learnt_of_people_who_were_not_trained_on():
  config = parse(
    {
      'dataset': 'deap',
      'evaluation': {'models': ('physio',), 'risk': 0.3},
      'target': {'ratings': ('valence',)},
    }
  )
  trials = [trial(s, k) for s in range(1, 21) for k in (1, 2)]
  rows = [
    Prediction(
      *('deap', x.subject, x.trial, 'a', 0, 0, model, 'valence', 5.0),
      label=x.trial - 1,
      score=0.2 if x.trial == 1 else 0.9,
    )
    for x in trials
    for model in ('physio', 'svm')
  ]
  ids = [x.trial_id for x in trials]
  folds = [Fold(0, tuple(ids[20:]), (), tuple(ids[:20]), None)]
  folds += [Fold(1, tuple(ids[:20]), (), tuple(ids[20:]), None)]
  found = stages.learn_promises(config, folds, trials, rows)
  assert found.keys() == {'physio'}
  learnt = promises.from_dict(found['physio']['valence'])
  assert (learnt.threshold, learnt.people, learnt.risk) == (0.5, 20, 0.3)
  # Of each person one trial: people who were trained on.
  known = [Fold(0, tuple(ids[1::2]), (), tuple(ids[::2]), None)]
  assert stages.learn_promises(config, known, trials, rows) == {}
