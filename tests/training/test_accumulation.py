"""A batch worked off in parts, or evaluated in several, is the batch: exactly."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clu.metrics import Metric
from flax import nnx

from mvp_jax.data.batches import evaluation_batches
from mvp_jax.targets.base import Mean
from mvp_jax.targets.discordance import Discordance
from mvp_jax.training.loop import TrainConfig, evaluate
from mvp_jax.training.many import Member, Models
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import MeshConfig, make_mesh, put_batch
from mvp_jax.training.state import init_state, init_variables, train_step
from tests.training.tiny import OPTIMISER

_SIZE = 16


@flax.struct.dataclass
class Discord(Metric):
  """1 - Lin's concordance of two variables, by sums of their moments."""

  sums: Any  # float32 [6]: n, x, y, xx, yy, xy

  @classmethod
  def of(cls, x, y, weight):
    terms = (jnp.ones_like(x), x, y, x * x, y * y, x * y)
    return cls(jnp.stack([(weight * term).sum() for term in terms]))

  def merge(self, other):
    return Discord(self.sums + other.sums)

  def compute(self):
    n, x, y, xx, yy, xy = self.sums
    n = jnp.maximum(n, 1)
    spread = (xx + yy) / n - (x / n) ** 2 - (y / n) ** 2 + ((x - y) / n) ** 2
    return 1 - 2 * (xy / n - x * y / n**2) / jnp.maximum(spread, 1e-6)


def _discord(x, y, weight):
  """The same in NumPy, of means and variances."""
  x, y, w = (np.asarray(z, np.float64).ravel() for z in (x, y, weight))
  w = w / w.sum()
  mean_x, mean_y = (w * x).sum(), (w * y).sum()
  covariance = (w * (x - mean_x) * (y - mean_y)).sum()
  spread = (w * ((x - mean_x) ** 2 + (y - mean_y) ** 2)).sum()
  return 1 - 2 * covariance / (spread + (mean_x - mean_y) ** 2)


@dataclasses.dataclass(frozen=True)
class _InTime:
  """A rating in time [B, L], with a weight for each moment."""

  kind: str

  def create(self, rngs):
    return nnx.Sequential(
      nnx.Linear(3, 8, rngs=rngs), jnp.tanh, nnx.Linear(8, 1, rngs=rngs)
    )

  def _metrics(self, model, batch):
    x, y = model(batch['x'])[..., 0], batch['label'][..., 0]
    weight = batch['weight'][:, None] * batch['label_weight']
    squares = Mean.of((x - y) ** 2, weight)
    discord = Discord.of(x, y, weight)
    losses = {
      'squares': squares,
      'discord': discord,
      'merged': Discordance.of(model(batch['x']), batch['label'], weight),
    }
    return {'loss': losses[self.kind], **losses}

  def loss(self, model, batch, key):
    return self._metrics(model, batch)

  def evaluate(self, model, batch):
    return self._metrics(model, batch)

  def scores(self, model, batch):
    return model(batch['x'])


_KINDS = pytest.mark.parametrize('kind', ['squares', 'discord', 'merged'])


def _batch(seed=0, size=_SIZE, length=5):
  """Uneven weights: of trials, one of them 0; of moments, most of some parts 0."""
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(size, length, 3)).astype(np.float32)
  weight = rng.choice([0.5, 1.0, 2.0], size).astype(np.float32)
  weight[3] = 0
  moments = (rng.random((size, length)) < 0.6).astype(np.float32)
  moments[1::4] = 0  # of four parts one has no moment at all
  label = x.sum(-1, keepdims=True) + rng.normal(size=(size, length, 1))
  return {
    'x': x,
    'label': label.astype(np.float32),
    'label_weight': moments,
    'weight': weight,
  }


def _step(task, mesh, batch, accumulate):
  state = init_state(task, _CONFIG, mesh, 0)
  found = []
  for _ in range(3):  # the first at rate 0
    state, metrics = train_step(task, _CONFIG, mesh, accumulate)(
      state, put_batch(batch, mesh)
    )
    jax.block_until_ready(state)
    found.append(metrics)
  return jax.device_get((found, state.params))


# Moments of Adam divide by the gradient's size, which hides its scale.
_CONFIG = dataclasses.replace(OPTIMISER, clip_norm=0.0)


def _assert_close(found, wanted, **tolerance):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **tolerance), found, wanted
  )


@_KINDS
@pytest.mark.parametrize('parts', [2, 4, 16])
def test_parts_give_loss_gradient_and_metrics_of_the_batch(one_device, kind, parts):
  task, batch = _InTime(kind), _batch()
  whole, found = (_step(task, one_device, batch, n) for n in (1, parts))
  assert {'loss', 'squares', 'discord', 'merged', 'grad_norm'} <= set(found[0][0])
  _assert_close(found, whole, rtol=2e-5, atol=1e-6)


@_KINDS
def test_parts_on_several_devices_likewise(one_device, kind):
  task, batch = _InTime(kind), _batch()
  mesh = make_mesh(MeshConfig(2, 2, 1), jax.devices()[:4])
  found = _step(task, mesh, batch, 4)
  _assert_close(found, _step(task, one_device, batch, 1), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize('parts', [1, 2])
def test_eight_devices_likewise(one_device, parts):
  task, batch = _InTime('merged'), _batch()
  mesh = make_mesh(MeshConfig(8, 1, 1), jax.devices()[:8])
  found = _step(task, mesh, batch, parts)
  _assert_close(found, _step(task, one_device, batch, 1), rtol=2e-5, atol=1e-6)


@_KINDS
def test_the_loss_of_a_step_is_that_of_all_its_moments(one_device, kind):
  task, batch = _InTime(kind), _batch()
  params, _ = init_variables(task, jax.random.key(0))
  (first, *_), _ = _step(task, one_device, batch, 4)
  scores = evaluated_scores(task, params, batch)
  weight = batch['weight'][:, None] * batch['label_weight']
  y = batch['label'][..., 0]
  squares = (weight * (scores - y) ** 2).sum() / weight.sum()
  np.testing.assert_allclose(first['squares'], squares, rtol=1e-5)
  for name in ('discord', 'merged'):
    np.testing.assert_allclose(first[name], _discord(scores, y, weight), rtol=1e-4)
  assert first['loss'] == first[kind]


def evaluated_scores(task, params, batch):
  """By hand."""
  layers = jax.device_get(params)['layers']
  lower, upper = layers[0], layers[2]
  x = np.tanh(batch['x'].astype(np.float64) @ lower['kernel'] + lower['bias'])
  return (x @ upper['kernel'] + upper['bias'])[..., 0]


@_KINDS
def test_a_batch_without_any_weight_moves_nothing_but_by_decay(one_device, kind):
  """And is no division by zero."""
  task, batch = _InTime(kind), _batch()
  batch['label_weight'][:] = 0
  for parts in (1, 4):
    found, params = _step(task, one_device, batch, parts)
    assert all(np.isfinite(x) for metrics in found for x in metrics.values())
    assert all(metrics['grad_norm'] == 0 for metrics in found)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))


class _Source:
  def __init__(self, batch):
    self.batch = batch

  def __len__(self):
    return len(self.batch['weight'])

  def __getitem__(self, index):
    return {name: x[index] for name, x in self.batch.items()}


@pytest.mark.parametrize('size', [1, 4, 7, 16, 64])
def test_evaluation_in_uneven_padded_batches_is_that_of_one(one_device, size):
  task, batch = _InTime('discord'), _batch(1, size=11)
  params, _ = init_variables(task, jax.random.key(1))
  found = evaluate(task, params, evaluation_batches(_Source(batch), size), one_device)
  whole = evaluate(task, params, [batch], one_device)
  for name, value in whole.items():
    np.testing.assert_allclose(found[name], value, rtol=2e-6, err_msg=name)
  scores = evaluated_scores(task, params, batch)
  weight = batch['weight'][:, None] * batch['label_weight']
  wanted = _discord(scores, batch['label'][..., 0], weight)
  np.testing.assert_allclose(found['discord'], wanted, rtol=1e-4)
  # Which no mean over batches is.
  parts = [
    evaluate(task, params, [x], one_device)['discord']
    for x in evaluation_batches(_Source(batch), 4)
  ]
  assert abs(np.mean(parts) - wanted) > 1e-3


def test_models_side_by_side_are_evaluated_so_too(one_device, tmp_path):
  task, batch = _InTime('discord'), _batch(1, size=11)
  rows = [tuple(range(11)), (0, 2, 4, 6, 8, 10)]
  members = [Member(f'm{i}', 'm', i, rows[i], rows[i]) for i in range(2)]
  config = TrainConfig(
    batch_size=4,
    accumulate=2,
    validate_every=4,
    optimiser=dataclasses.replace(_CONFIG, steps=4),
  )
  weight = batch.pop('weight')
  batch['label_weight'] *= weight[:, None]
  shared = batch | {'weight': np.ones(11, np.float32)}
  models = Models(task, shared, members, config, one_device)
  with MetricLog(tmp_path) as log:
    variables = models.fit(
      run='x', directory=tmp_path / 'checkpoints', log=log, batch_size=4
    )
  found = models.validation(variables, 4)
  for i, asked in enumerate(rows):
    own = {name: x[list(asked)] for name, x in shared.items()}
    whole = evaluate(task, models.one(variables, i), [own], one_device)
    for name, value in whole.items():
      np.testing.assert_allclose(found[name][i], value, rtol=1e-5, err_msg=name)
