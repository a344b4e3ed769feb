"""What stages refuse before any work."""

import types

import numpy as np
import pytest

from mvp_jax.config import parse
from mvp_jax.errors import InputError
from mvp_jax.jobs import stages
from tests.data.tiny_trials import trial


def test_there_must_be_videos_to_pre_train_on(tmp_path):
  config = parse({'dataset': 'deap', 'data': {'data_dir': str(tmp_path)}})
  corpus = types.SimpleNamespace(
    directory=tmp_path / 'deap', trials=[trial(4, 1, signals=np.ones((8, 2), 'f'))]
  )
  with pytest.raises(InputError, match=r'encoder\.subjects: no videos'):
    stages.pretrained(config, corpus, (4,), None, None, {})
  assert not list(tmp_path.iterdir())
