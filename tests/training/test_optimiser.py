"""The schedule, weight decay, and rates by layer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from mvp_jax.models.emotion import EmotionConfig, ModelSizes
from mvp_jax.models.modalities.physio import Physio, PhysioNetwork
from mvp_jax.models.modalities.video import Video, VideoNetwork
from mvp_jax.models.videomae import VideoMAEConfig
from mvp_jax.targets.base import Mean
from mvp_jax.targets.binary import Binary
from mvp_jax.training.optimiser import (
  OptimiserConfig,
  decayed,
  layer_scales,
  optimiser,
  schedule,
)
from mvp_jax.training.sharding import path_string, put_batch
from mvp_jax.training.state import init_state, init_variables, train_step
from mvp_jax.training.tasks import Emotion, VideoEmotion
from tests.training.tiny import OPTIMISER, learning_rate


def test_learning_rate():
  found = [float(schedule(OPTIMISER)(step)) for step in range(10)]
  wanted = [learning_rate(step, OPTIMISER) for step in range(10)]
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-9)
  assert found[0] == 0 and max(found) == pytest.approx(0.02) and found[8] < 1e-9


def test_the_cosine_may_end_above_zero():
  config = dataclasses.replace(OPTIMISER, min_learning_rate=0.005)
  found = [float(schedule(config)(step)) for step in range(10)]
  wanted = [learning_rate(step, OPTIMISER) for step in range(10)]
  wanted[2:] = [0.005 + rate * 0.75 for rate in wanted[2:]]  # (.02 - .005) / .02
  np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_warm_up_longer_than_the_run_ends_within_it():
  config = OptimiserConfig(learning_rate=1.0, steps=4, warmup_steps=100)
  np.testing.assert_allclose(
    [float(schedule(config)(s)) for s in range(4)], [0, 1 / 3, 2 / 3, 1], rtol=1e-6
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'layer_decay': 0.0}, 'layer_decay is 0.0, must be above 0 and at most 1'),
    ({'layer_decay': 1.5}, 'layer_decay is 1.5'),
    ({'ema': 1.0}, 'ema is 1.0, must be at least 0 and below 1'),
    ({'min_learning_rate': 0.1}, 'min_learning_rate is 0.1, must be from 0'),
  ],
)
def test_what_no_optimiser_can_have(fields, message):
  with pytest.raises(ValueError, match=message):
    OptimiserConfig(**fields)


@pytest.mark.parametrize('task', ['emotion', 'masked_video'])
def test_matrices_are_decayed_and_nothing_else(request, task):
  task = request.getfixturevalue(task)
  params = jax.eval_shape(lambda: init_variables(task, jax.random.key(0))[0])
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    stacked = 'blocks' in path_string(path)
    decay = decayed(params)
    for key in path:
      decay = decay[key.key]
    assert decay == (x.ndim - stacked == 2), path_string(path)


def _params(rng):
  """Three stacked blocks, with what lies below and above them."""

  def array(*shape):
    return rng.normal(size=shape).astype(np.float32)

  return {
    'encoder': {
      'embed': {'kernel': array(4, 3), 'bias': array(3)},
      'stack': {
        'blocks': {
          'up': {'kernel': array(3, 3, 5), 'bias': array(3, 5)},
          'norm1': {'scale': array(3, 3)},
        }
      },
    },
    'norm': {'scale': array(3)},
    'head': {'kernel': array(3, 2), 'bias': array(2)},
  }


def _layer(path, shape):
  """As `VideoEmotion.layer` says it."""
  model = VideoMAEConfig(depth=3)
  return VideoEmotion(model, Binary()).layer(path, shape)


def test_scales_of_layers():
  # L = 3 blocks, decay^(L + 1 - i): the embedding is layer 0, the head layer 4.
  scales = layer_scales(_params(np.random.default_rng(0)), 0.5, _layer)
  assert scales['encoder']['embed'] == {'kernel': 0.5**4, 'bias': 0.5**4}
  blocks = scales['encoder']['stack']['blocks']
  np.testing.assert_array_equal(blocks['up']['kernel'].ravel(), [0.125, 0.25, 0.5])
  assert blocks['up']['kernel'].shape == (3, 1, 1)
  assert blocks['up']['bias'].shape == blocks['norm1']['scale'].shape == (3, 1)
  assert scales['head'] == {'kernel': 1, 'bias': 1} and scales['norm'] == {'scale': 1}


@pytest.mark.parametrize('clip_norm', [0.0, 2.0])
def test_layer_decay_is_torch_adamw_with_a_group_for_each_layer(clip_norm):
  torch = pytest.importorskip('torch')
  rng = np.random.default_rng(1)
  config = OptimiserConfig(
    learning_rate=0.1,
    min_learning_rate=0.01,
    steps=6,
    warmup_steps=2,
    weight_decay=0.05,
    layer_decay=0.75,
    clip_norm=clip_norm,
  )
  params = _params(rng)
  gradients = [_params(rng) for _ in range(5)]

  # The groups by hand: (path, block or None) -> layer of 0 to 4, decay or not.
  def pieces(tree):
    return {
      (path_string(path), i): x[i] if i is not None else x
      for path, x in jax.tree_util.tree_leaves_with_path(tree)
      for i in (range(3) if 'blocks' in path_string(path) else (None,))
    }

  tensors = {
    key: torch.nn.Parameter(torch.tensor(x)) for key, x in pieces(params).items()
  }
  groups = []
  for (path, block), tensor in tensors.items():
    layer = 0 if 'embed' in path else 4 if block is None else block + 1
    groups.append(
      {
        'params': [tensor],
        'scale': 0.75 ** (4 - layer),
        'weight_decay': 0.05 if path.endswith('kernel') else 0.0,
      }
    )
  adamw = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)

  tx = optimiser(config, layer=_layer)
  state = tx.init(params)
  for step, grads in enumerate(gradients):
    for key, x in pieces(grads).items():
      tensors[key].grad = torch.tensor(x)
    if clip_norm:
      torch.nn.utils.clip_grad_norm_(tensors.values(), clip_norm)
    for group in adamw.param_groups:
      group['lr'] = float(schedule(config)(step)) * group['scale']
    adamw.step()
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    for key, x in pieces(params).items():
      np.testing.assert_allclose(
        x,
        tensors[key].detach().numpy(),
        rtol=2e-5,
        atol=2e-6,
        err_msg=f'{key} after step {step}',
      )


class _Tower(nnx.Module):
  def __init__(self, rngs):
    self.stem = nnx.Linear(3, 4, rngs=rngs)
    # Stacked, in another order than from below to above.
    self.floors = nnx.Param(jax.random.normal(rngs.params(), (3, 4, 4)))
    self.roof = nnx.Linear(4, 1, rngs=rngs)

  def __call__(self, x):
    x = self.stem(x)
    for i in (2, 0, 1):
      x = jnp.tanh(x @ self.floors[i])
    return self.roof(x)[:, 0]


@dataclasses.dataclass(frozen=True)
class _StrangersTask:
  """Layers of its own, told by a function of path and shape."""

  def create(self, rngs):
    return _Tower(rngs)

  def loss(self, model, batch, key):
    return {'loss': Mean.of((model(batch['x']) - 1) ** 2, batch['weight'])}

  def layer(self, path, shape):
    if path == 'floors':
      assert shape == (3, 4, 4)
      return np.array([2, 1, 3])
    return {'stem': 5, 'roof': 0}[path.split('/')[0]]


class _WithoutLayers(_StrangersTask):
  layer = None


@pytest.mark.parametrize('accumulate', [1, 2])
def test_a_task_tells_the_layers_of_its_parameters(one_device, accumulate):
  """Each parameter's step, decay included, is scaled; a task may have no layers."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(8, 3)).astype(np.float32)
  batch = put_batch({'x': x, 'weight': np.ones(8, np.float32)}, one_device)
  config = dataclasses.replace(OPTIMISER, layer_decay=0.5, warmup_steps=0, clip_norm=0)

  def moved(task):
    state = init_state(task, config, one_device, 0)
    before = jax.device_get(state.params)
    step = train_step(task, config, one_device, accumulate)
    after = jax.device_get(step(state, batch)[0].params)
    return jax.tree.map(np.subtract, after, before)

  scaled, whole = moved(_StrangersTask()), moved(_WithoutLayers())
  wanted = {
    'stem': jax.tree.map(lambda x: x / 32, whole['stem']),
    'floors': whole['floors'] / np.array([4, 2, 8], np.float32).reshape(3, 1, 1),
    'roof': whole['roof'],
  }
  assert all(np.any(x) for x in jax.tree.leaves(whole))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), scaled, wanted
  )


@pytest.mark.parametrize('where', ['clips', 'trials'])
def test_layers_of_a_backbone_are_found_wherever_it_is(where):
  @dataclasses.dataclass(frozen=True)
  class Backbone:
    feature_width: int = 4

    def layer(self, path, shape):
      return {'low/kernel': 7, 'high/kernel': 2}[path]

  if where == 'clips':
    task, start = VideoEmotion(Backbone(), Binary()), 'encoder'
    others = ['norm/scale', 'head/kernel']
  else:
    networks = (
      ('physio', PhysioNetwork(Physio(), 2, 128.0)),
      ('video', VideoNetwork(Video(), 4, Backbone())),
    )
    names = ('physio', 'video')
    task = Emotion(EmotionConfig(ModelSizes(), networks, Binary(), names))
    start = 'modalities/video/encoder'
    others = [
      'modalities/video/embed/kernel',
      'modalities/physio/transformer/stack/blocks/up/kernel',
      'heads/0/linear/kernel',
    ]
  assert task.layer(f'{start}/low/kernel', (1,)) == 7
  assert task.layer(f'{start}/high/kernel', (1,)) == 2
  assert [task.layer(path, (1,)) for path in others] == [0] * len(others)
