"""The schedule and the weight decay of the optimiser."""

import jax
import numpy as np
import pytest

from mvp_jax.training.optimiser import OptimiserConfig, decayed, schedule
from mvp_jax.training.sharding import path_string
from mvp_jax.training.state import init_params
from tests.training.tiny import OPTIMISER, learning_rate


def test_learning_rate():
  found = [float(schedule(OPTIMISER)(step)) for step in range(10)]
  wanted = [learning_rate(step, OPTIMISER) for step in range(10)]
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-9)
  assert found[0] == 0 and max(found) == pytest.approx(0.02) and found[8] < 1e-9


def test_a_warm_up_longer_than_the_run_ends_within_it():
  config = OptimiserConfig(learning_rate=1.0, steps=4, warmup_steps=100)
  np.testing.assert_allclose([float(schedule(config)(s)) for s in range(4)],
                             [0, 1 / 3, 2 / 3, 1], rtol=1e-6)


@pytest.mark.parametrize('task', ['emotion', 'masked_video'])
def test_matrices_are_decayed_and_nothing_else(request, task):
  task = request.getfixturevalue(task)
  params = jax.eval_shape(lambda: init_params(task, jax.random.key(0)))
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    stacked = 'blocks' in path_string(path)
    decay = decayed(params)
    for key in path:
      decay = decay[key.key]
    assert decay == (x.ndim - stacked == 2), path_string(path)
