"""Hidden spans are not looked at; what was learnt of a channel goes with its name."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvp_jax.errors import InputError
from mvp_jax.models.masked_signals import SignalBackbone
from mvp_jax.models.modalities.physio import Physio
from mvp_jax.training.state import build_model, init_variables
from mvp_jax.training.tasks import MaskedBodySignals

PHYSIO = Physio(
  widths=(8, 16), kernels=(16, 8), strides=(4, 2), depth=1, heads=2, mlp_width=32
)
BACKBONE = SignalBackbone(PHYSIO, ('eda', 'ppg', 'ecg'), 128.0, 8, 104)


@pytest.fixture(scope='module')
def batch():
  rng = np.random.default_rng(0)
  values, levels = rng.standard_normal((2, 2, 104, 3)).astype(np.float32)
  values[1, :, 2] = 0  # no such channel in this corpus
  hidden = np.zeros((2, 104), bool)
  hidden[:, 30:50] = True
  return {
    'values': jnp.array(values),
    'levels': jnp.array(levels),
    'valid': jnp.ones((2, 104), bool),
    'hidden': jnp.array(hidden),
    'weight': jnp.array([1.0, 0.5]),
  }


@pytest.fixture(scope='module')
def variables():
  return init_variables(MaskedBodySignals(BACKBONE), jax.random.key(0))[0]


@pytest.fixture(scope='module')
def ask(variables):
  task = MaskedBodySignals(BACKBONE)
  return jax.jit(lambda batch: build_model(task, variables)(batch))


def test_what_is_hidden_is_not_looked_at(batch, ask):
  before = ask(batch)
  assert before.shape == (2, 104, 3)
  hidden = batch['hidden'][..., None]
  other = {k: jnp.where(hidden, 7.0, batch[k]) for k in ('values', 'levels')}
  np.testing.assert_array_equal(ask(batch | other), before)
  seen = batch | {'values': jnp.where(hidden, batch['values'], 7.0)}
  assert not np.allclose(ask(seen), before)


def test_the_loss_is_of_what_is_hidden_and_known(batch, ask, variables):
  error = (np.asarray(ask(batch)) - np.asarray(batch['values'])) ** 2
  first, second = error[0, 30:50], error[1, 30:50, :2]
  wanted = (first.sum() + 0.5 * second.sum()) / (first.size + 0.5 * second.size)
  model = build_model(MaskedBodySignals(BACKBONE), variables)
  np.testing.assert_allclose(model.loss(batch).compute(), wanted, rtol=1e-5)


def _tokens(physio, channels, variables, batch):
  backbone = SignalBackbone(physio, channels, 128.0, 8, 104)
  graph, abstract = nnx.split(nnx.eval_shape(lambda: backbone.create(rngs=nnx.Rngs(0))))
  state = jax.tree.map(lambda x: x, abstract)
  nnx.replace_by_pure_dict(state, variables)
  network = nnx.merge(graph, state)
  return network.read(batch['values'], batch['levels'], batch['valid'])[0]


def _fresh(physio, channels, seed):
  backbone = SignalBackbone(physio, channels, 128.0, 8, 104)
  state = nnx.state(backbone.create(rngs=nnx.Rngs(seed)))
  return nnx.to_pure_dict(state)


def test_channels_are_known_by_their_names(batch, variables):
  pretrained = variables['encoder']
  mine = ('ecg', 'eda')  # in another order, one less
  start = PHYSIO.started(_fresh(PHYSIO, mine, 1), pretrained, BACKBONE.channels, mine)
  of = [BACKBONE.channels.index(name) for name in mine]
  there = np.zeros(3, bool)
  there[of] = True
  whole = {k: jnp.where(there, batch[k], 0) for k in ('values', 'levels')}
  fewer = {k: batch[k][..., np.array(of)] for k in ('values', 'levels')}
  np.testing.assert_allclose(
    _tokens(PHYSIO, mine, start, batch | fewer),
    _tokens(PHYSIO, BACKBONE.channels, pretrained, batch | whole),
    atol=1e-5,
  )


def test_a_new_channel_starts_at_random(variables):
  mine = ('eda', 'respiration')
  fresh = _fresh(PHYSIO, mine, 1)
  start = PHYSIO.started(fresh, variables['encoder'], BACKBONE.channels, mine)

  def kernel(tree):
    return np.asarray(tree['transformer']['convs'][0]['weight']['kernel'])

  rows = np.arange(len(kernel(fresh))).reshape(16, 2, 2)  # sample, side, channel
  same = (kernel(fresh) == kernel(start)).all(1)
  assert same[rows[..., 1]].all() and not same[rows[..., 0]].any()


def test_many_models_start_alike_but_for_new_channels(variables):
  mine = ('eda', 'respiration')
  fresh = jax.tree.map(
    lambda *x: jnp.stack(x), *(_fresh(PHYSIO, mine, seed) for seed in (1, 2))
  )

  def start(one):
    return PHYSIO.started(one, variables['encoder'], BACKBONE.channels, mine)

  begun = jax.vmap(start)(fresh)
  for x in jax.tree.leaves(begun['transformer']['stack']):
    np.testing.assert_array_equal(x[0], x[1])
  kernel = begun['transformer']['convs'][0]['weight']['kernel']
  assert not np.array_equal(kernel[0], kernel[1])


def _record(**model):
  return {'model': dataclasses.asdict(BACKBONE) | model}


@pytest.mark.parametrize(
  ('record', 'facts', 'told'),
  [
    ({'model': {'patch': 16}}, None, 'was not pre-trained on signals'),
    (
      _record(physio=dataclasses.asdict(dataclasses.replace(PHYSIO, depth=3))),
      None,
      'depth 3 .here 1.; set modalities.physio alike',
    ),
    (_record(), {'rate': 64.0, 'channels': ['eda']}, '128 Hz, these are stored at 64'),
    (_record(), {'rate': 128.0, 'channels': ['temp']}, 'none of these is here .temp.'),
  ],
)
def test_what_does_not_fit_is_refused(record, facts, told):
  physio = dataclasses.replace(PHYSIO, checkpoint='runs/physio')
  with pytest.raises(InputError, match=f'runs/physio: .*{told}'):
    physio.check_start(record, facts)
