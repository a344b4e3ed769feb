"""The fusion in PyTorch is ours: outputs, loss, a step; and all models at once."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks.gpu_part import TINY_FUSION
from mvp_jax.data.augment_signals import SignalAugmentConfig
from mvp_jax.training import state
from mvp_jax.training.optimiser import OptimiserConfig

torch = pytest.importorskip('torch', reason='PyTorch is in the test extra of 3.11')
fusion_torch = pytest.importorskip('benchmarks.fusion_torch')
torch.set_num_threads(1)

_NOTHING = SignalAugmentConfig(*[0.0] * 6)
# Two layers of each, and nothing that is drawn in training.
_SIZES = dataclasses.replace(
  TINY_FUSION,
  model=(*TINY_FUSION.model, ('dropout', 0.0), ('depth', 2)),
  physio=(*TINY_FUSION.physio, ('dropout', 0.0), ('depth', 2), ('augment', _NOTHING)),
)
_OPTIMISER = OptimiserConfig(
  1e-2, steps=1000, warmup_steps=0, weight_decay=0.3, clip_norm=0.5
)


def networks(sizes=_SIZES, seed=0):
  """Variables of ours, and the network in PyTorch with the same."""
  task = sizes.task()
  params, _ = jax.jit(lambda: state.init_variables(task, jax.random.key(seed)))()
  rng = np.random.default_rng(seed)
  params = jax.tree.map(  # biases and norms start at 0 and 1
    lambda x: np.asarray(x) + 0.1 * rng.standard_normal(x.shape).astype(np.float32),
    params,
  )
  model = fusion_torch.Fusion(*sizes.configs, 2, 128, sizes.token_width, 2)
  with torch.no_grad():
    for name, x in leaves(params).items():
      model.get_parameter(name).copy_(torch.tensor(x))
  return task, params, model


def leaves(params):
  """{name in PyTorch: array} of our parameters."""
  found: dict = {}

  def add(name, leaf):
    for kind, x in leaf.items():
      x = np.asarray(x).T if kind == 'kernel' else np.asarray(x)
      found[f'{name}.{"bias" if kind == "bias" else "weight"}'] = x

  def blocks(name, stack):
    for number in range(len(stack['up']['bias'])):
      layer = jax.tree.map(lambda x, n=number: x[n], stack)
      for part, leaf in (layer | layer.pop('attention')).items():
        add(f'{name}.{number}.{part}', leaf)

  physio = params['modalities']['physio']['transformer']
  for number, conv in physio['convs'].items():
    add(f'convs.{number}.conv', conv['weight'])
    wide = found[f'convs.{number}.conv.weight']  # [D, kernel * C]
    kernel = _SIZES.configs[1].kernels[number]
    wide = wide.reshape(len(wide), kernel, -1).swapaxes(1, 2)
    found[f'convs.{number}.conv.weight'] = wide
    add(f'convs.{number}.norm', conv['norm'])
  blocks('signals', physio['stack']['blocks'])
  video = params['modalities']['video']
  add('embed', video['embed'])
  blocks('face', video['stack']['blocks'])
  blocks('cross', params['fusion']['stack']['blocks'])
  add('norm', params['heads'][0]['norm'])
  add('head', params['heads'][0]['linear'])
  return found


@pytest.fixture(scope='module')
def batch():
  """Trials of which parts are missing."""
  rng = np.random.default_rng(1)
  found = {name: x[:3] for name, x in _SIZES.data.items()}
  for name in ('physio/valid', 'video/valid', 'video/reference'):
    found[name] = rng.random(found[name].shape) < 0.7
    found[name][:, 0] = True
  found['video/reference'] &= found['video/valid']
  found['video/tokens'] = found['video/tokens'] + 1  # what is taken off
  found['physio/levels'] = 3 * found['physio/levels']  # some are drawn in
  return found


def tensors(batch):
  return {name: torch.tensor(x) for name, x in batch.items()}


def test_outputs_are_the_same(batch):
  task, params, model = networks()
  assert set(dict(model.named_parameters())) == set(leaves(params))
  ours = jax.jit(lambda p: state.build_model(task, p)(batch)[0])(params)
  theirs = model.eval()(tensors(batch)).detach()
  np.testing.assert_allclose(theirs, ours, atol=2e-5)
  assert np.ptp(ours) > 0.05


def test_a_step_is_the_same(batch):
  task, params, model = networks()
  before = dataclasses.replace(state.fresh_state(task, _OPTIMISER, 0), params=params)
  with jax.numpy_dtype_promotion('standard'):  # which optax needs
    after, metrics = jax.jit(state.step_function(task, _OPTIMISER))(before, batch)
  alone = fusion_torch.Alone(model, tensors(batch), _OPTIMISER, False, False)
  loss = alone(torch.arange(3))
  assert float(loss) == pytest.approx(float(metrics['loss']), abs=1e-5)
  assert float(metrics['grad_norm']) > _OPTIMISER.clip_norm
  wanted, found = leaves(after.params), dict(model.named_parameters())
  moved = 0
  for name, x in wanted.items():
    # AdamW's first step is as long for a gradient that is all rounding.
    near = np.isclose(found[name].detach(), x, atol=1e-4)
    assert near.mean() > 0.97, name
    moved += np.abs(x - leaves(params)[name]).mean()
  assert moved / len(wanted) > 0.005


def test_models_that_train_together_train_as_alone(batch):
  data, rows = tensors(batch), torch.tensor([[0, 1], [2, 0]])
  pairs = [networks(seed=seed)[2] for seed in range(2)]
  together = fusion_torch.Together(pairs, data, _OPTIMISER, fused=False, at_a_time=1)
  losses = together(rows)
  for number, model in enumerate(pairs):
    alone = fusion_torch.Alone(model, data, _OPTIMISER, False, False)
    assert float(alone(rows[number])) == pytest.approx(float(losses[number]), abs=1e-5)
    for name, x in model.named_parameters():
      near = torch.isclose(together.params[name][number], x, atol=1e-4)
      assert near.float().mean() > 0.97, name


def test_augmentation_changes_what_ours_changes():
  config, shape = SignalAugmentConfig(), (400, 200, 2)
  values, levels = torch.ones(shape), torch.zeros(shape)
  valid = torch.ones(shape[:2], dtype=torch.bool)
  torch.manual_seed(0)
  x, y, kept = fusion_torch.augmented(values, levels, valid, config)
  silent = (x == 0).all(1)  # [trials, channels]
  assert not silent.all(1).any()
  assert silent.float().mean() == pytest.approx(config.channel_dropout, abs=0.03)
  loud = ~silent
  assert x.std(1)[loud].mean() == pytest.approx(config.noise, abs=0.02)
  gain = x.mean(1)[loud].log()
  assert gain.std() == pytest.approx(config.gain, abs=0.03)
  assert y.mean(1)[loud].std() == pytest.approx(config.drift, abs=0.03)
  # Half of `crop` is cut off on average, and half of `shift` lies outside.
  share = kept.float().mean()
  assert 0.85 < share < 1 - config.crop / 2 + 0.01
