"""What stages refuse before any work."""

import types

import numpy as np
import pytest

from mvp_jax.config import parse
from mvp_jax.errors import InputError
from mvp_jax.jobs import preparation, starts
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
