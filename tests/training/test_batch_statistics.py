"""What a model holds besides parameters, such as batch statistics, is kept."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvp_jax.data.batches import training_batches
from mvp_jax.models.backbones.multiscale import DMSN, MSN69
from mvp_jax.models.emotion import EmotionConfig, ModelSizes
from mvp_jax.models.modalities.video import Video, VideoNetwork
from mvp_jax.targets.base import Mean
from mvp_jax.targets.binary import Binary
from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.loop import TrainConfig, fit
from mvp_jax.training.many import Member, Models
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import MeshConfig, make_mesh, path_string, put_batch
from mvp_jax.training.state import (
  abstract_state,
  build_model,
  computed,
  forward,
  init_state,
  train_step,
)
from mvp_jax.training.tasks import Emotion, VideoEmotion
from tests.training.tiny import BATCH, OPTIMISER, Batches

_MOMENTUM = 0.75


class _Normed(nnx.Module):
  """Linear, batch norm, linear; running averages are used where nothing is trained."""

  def __init__(self, rngs):
    self.lower = nnx.Linear(3, 5, rngs=rngs)
    self.norm = nnx.BatchNorm(5, momentum=_MOMENTUM, rngs=rngs)
    self.upper = nnx.Linear(5, 1, rngs=rngs)

  def __call__(self, x, key=None):
    x = self.norm(jnp.tanh(self.lower(x)), use_running_average=key is None)
    return self.upper(x)[:, 0]


@dataclasses.dataclass(frozen=True)
class _Task:
  def create(self, rngs):
    return _Normed(rngs)

  def loss(self, model, batch, key):
    error = model(batch['x'], key) - batch['y']
    return {'loss': Mean.of(error**2, batch['weight'])}

  def evaluate(self, model, batch):
    return self.loss(model, batch, None)

  def scores(self, model, batch):
    return model(batch['x'])[:, None]


_TASK = _Task()


def _example(rng):
  x = rng.normal(1, 2, 3).astype(np.float32)
  return {'x': x, 'y': np.float32(x.sum() + rng.normal()), 'weight': np.float32(1)}


def _batch(number, size=BATCH):
  return next(iter(Batches(_example, size=size)(number)))


def _paths(tree):
  return {
    path_string(path): np.asarray(x)
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
  }


def _activations(params, x):
  lower = jax.device_get(params['lower'])
  return np.tanh(x.astype(np.float64) @ lower['kernel'] + lower['bias'])


def _moved(statistics, activations):
  """Running averages after one more batch, written out."""
  return {
    name: _MOMENTUM * statistics[name] + (1 - _MOMENTUM) * now
    for name, now in (('mean', activations.mean(0)), ('var', activations.var(0)))
  }


def _assert_close(found, wanted, rtol=1e-5, atol=1e-6):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol, atol),
    jax.device_get(found),
    jax.device_get(wanted),
  )


@pytest.mark.parametrize('parts', [1, 2])
def test_each_batch_moves_them_once_and_nothing_decays_them(one_device, parts):
  config = dataclasses.replace(OPTIMISER, ema=0.5)
  state = init_state(_TASK, config, one_device, 0)
  step = train_step(_TASK, config, one_device, parts)
  wanted = {'mean': np.zeros(5), 'var': np.ones(5)}
  for number in range(4):
    batch = _batch(number)
    params = jax.device_get(state.params)
    for part in range(parts):  # one after another
      wanted = _moved(wanted, _activations(params, batch['x'][part::parts]))
    state, _ = step(state, put_batch(batch, one_device))
    _assert_close(state.model_state, {'norm': wanted})
  statistics = {'norm/mean', 'norm/var'}
  assert _paths(state.model_state).keys() == statistics
  for tree in (state.params, state.ema):
    assert not statistics & _paths(tree).keys() and 'norm/scale' in _paths(tree)
  assert not [p for p in _paths(state.opt_state) if p.endswith(('mean', 'var'))]


def test_they_are_what_is_evaluated_with(one_device):
  config = dataclasses.replace(OPTIMISER, ema=0.5)
  state = init_state(_TASK, config, one_device, 0)
  for number in range(3):
    state, _ = train_step(_TASK, config, one_device)(
      state, put_batch(_batch(number), one_device)
    )
  found = state.evaluated
  assert _paths(found).keys() == (
    _paths(state.ema).keys() | _paths(state.model_state).keys()
  )
  _assert_close(found['norm']['scale'], state.ema['norm']['scale'])
  _assert_close(found['norm']['mean'], state.model_state['norm']['mean'])
  batch = _batch(9)
  scores = forward(_TASK, one_device, 'scores')(found, batch)
  norm, upper = (jax.device_get(found[name]) for name in ('norm', 'upper'))
  x = _activations(found, batch['x'])
  x = (x - norm['mean']) / np.sqrt(norm['var'] + 1e-5) * norm['scale'] + norm['bias']
  np.testing.assert_allclose(scores, x @ upper['kernel'] + upper['bias'], rtol=1e-4)
  # A trial's score hangs on no other's.
  alone = forward(_TASK, one_device, 'scores')(
    found, {name: value[:1] for name, value in batch.items()}
  )
  np.testing.assert_allclose(alone, scores[:1], rtol=1e-5)


def test_a_checkpoint_holds_them(tmp_path):
  mesh = make_mesh(MeshConfig(fsdp=2), jax.devices()[:2])
  state = init_state(_TASK, OPTIMISER, mesh, 0)
  for number in range(2):
    state, _ = train_step(_TASK, OPTIMISER, mesh)(
      state, put_batch(_batch(number), mesh)
    )
    jax.block_until_ready(state)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(2, state, {})
  other = make_mesh(MeshConfig(), jax.devices()[:1])
  with Checkpoints(tmp_path) as checkpoints:
    again, _ = checkpoints.restore(2, abstract_state(_TASK, OPTIMISER, other))
    variables = checkpoints.restore_params(checkpoints.abstract_params())
  jax.tree.map(np.testing.assert_array_equal, again, state)
  assert np.abs(again.model_state['norm']['mean']).max() > 0.01
  jax.tree.map(np.testing.assert_array_equal, variables, dict(state.evaluated))


def _fit(
  folder, mesh, batches=None, params=None, steps=OPTIMISER.steps, task=_TASK, watch=True
):
  config = TrainConfig(
    batch_size=BATCH,
    log_every=1,
    validate_every=4,
    checkpoint_every=3,
    optimiser=dataclasses.replace(OPTIMISER, steps=steps),
  )
  folder.mkdir(exist_ok=True)
  with MetricLog(folder) as log:
    return fit(
      task,
      batches or Batches(_example),
      config,
      mesh=mesh,
      seed=0,
      run='x',
      directory=folder / 'checkpoints',
      log=log,
      params=params,
      validation=(lambda: iter([_batch(100)])) if watch else None,
    )


def test_an_interrupted_run_goes_on_with_them(one_device, tmp_path):
  def cut(number, batch):
    if number == 6:
      raise KeyboardInterrupt

  wanted = _fit(tmp_path / 'through', one_device)
  with pytest.raises(KeyboardInterrupt):
    _fit(tmp_path / 'cut', one_device, Batches(_example, cut))
  found = _fit(tmp_path / 'cut', one_device)
  assert 'mean' in found['norm'] and 'scale' in found['norm']
  jax.tree.map(np.testing.assert_array_equal, found, wanted)


def _clip(rng):
  return {
    'frames': rng.integers(0, 256, (1, 8, 16, 16, 3), np.uint8),
    'label': rng.integers(0, 2, 2).astype(np.float32),
    'weight': np.float32(1),
  }


@pytest.mark.parametrize('kind', [MSN69, DMSN])
def test_an_interrupted_convolutional_network_goes_on_with_them(
  one_device, tmp_path, kind
):
  def cut(number, batch):
    if number == 4:
      raise KeyboardInterrupt

  network = kind(8, 16, 8, 4, (8, 8, 8, 16), (1, 1, 1, 1))
  settings = dict(task=VideoEmotion(network, Binary()), steps=5, watch=False)
  wanted = _fit(tmp_path / 'through', one_device, Batches(_clip), **settings)
  with pytest.raises(KeyboardInterrupt):
    _fit(tmp_path / 'cut', one_device, Batches(_clip, cut), **settings)
  found = _fit(tmp_path / 'cut', one_device, Batches(_clip), **settings)
  moved = [x for path, x in _paths(found).items() if path.endswith('norm/mean')]
  assert len(moved) > 15 and all(np.abs(x).max() > 0 for x in moved)
  jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_training_starts_from_those_given(one_device, tmp_path):
  given = _fit(tmp_path / 'before', one_device)
  kept = jax.device_get(given)
  found = _fit(tmp_path / 'after', one_device, params=given, steps=1)
  batch = _batch(0)
  wanted = _moved(kept['norm'], _activations(kept, batch['x']))
  _assert_close({name: found['norm'][name] for name in wanted}, wanted)
  _assert_close(given, kept)  # the next fold starts from them


def test_devices_share_them(one_device):
  """Statistics are of the batch of all devices, not of each device's part."""
  runs = []
  for mesh in (one_device, make_mesh(MeshConfig(4, 2, 1))):
    state = init_state(_TASK, OPTIMISER, mesh, 0)
    losses = []
    for number in range(4):
      state, metrics = train_step(_TASK, OPTIMISER, mesh)(
        state, put_batch(_batch(number, 16), mesh)
      )
      jax.block_until_ready(state)  # eight devices share few threads
      losses.append(float(metrics['loss']))
    runs.append((losses, state.params, state.model_state))
  _assert_close(runs[1], runs[0], rtol=1e-4, atol=1e-5)


def test_models_side_by_side_have_each_their_own(one_device, tmp_path):
  trials = {
    name: np.stack([x[name] for x in map(_example, [np.random.default_rng(0)] * 12)])
    for name in ('x', 'y', 'weight')
  }
  members = [
    Member(f'fold{i}', f'fold{i}', 3 + i, tuple(range(i, 10 - i)), (10, 11))
    for i in range(2)
  ]
  config = TrainConfig(
    batch_size=4, log_every=1, validate_every=4, accumulate=2, optimiser=OPTIMISER
  )
  models = Models(_TASK, trials, members, config, one_device)
  with MetricLog(tmp_path) as log:
    variables = models.fit(
      run='all', directory=tmp_path / 'checkpoints', log=log, batch_size=4
    )
  scores = models.scores(variables, [(10, 11)] * 2, 4)
  again = Models(_TASK, trials, members, config, one_device)
  with MetricLog(tmp_path) as log:  # from the checkpoint
    restored = again.fit(
      run='all', directory=tmp_path / 'checkpoints', log=log, batch_size=4
    )
  jax.tree.map(np.testing.assert_array_equal, restored, variables)

  class Rows:
    def __init__(self, rows):
      self.rows = rows

    def __len__(self):
      return len(self.rows)

    def __getitem__(self, index):
      return {name: x[self.rows[index]] for name, x in trials.items()}

  for i, member in enumerate(members):
    with MetricLog(tmp_path) as log:
      alone = fit(
        _TASK,
        lambda start, member=member: training_batches(
          Rows(member.train), 4, member.seed, start=start
        ),
        config,
        mesh=one_device,
        seed=member.seed,
        run=member.run,
        directory=tmp_path / str(i),
        log=log,
      )
    found = models.one(variables, i)
    assert 'mean' in found['norm']
    _assert_close(found, alone, rtol=1e-3, atol=1e-4)
    asked = {name: x[10:] for name, x in trials.items()}
    wanted = forward(_TASK, one_device, 'scores')(alone, asked)
    _assert_close(scores[i], wanted, rtol=1e-3, atol=1e-4)


# --- In the tasks there are: a backbone of somebody else's


class _Light(nnx.Module):
  """Mean light of each slot, normalised over the batch."""

  def __init__(self, backbone, rngs):
    self.slots = backbone.slots
    self.norm = nnx.BatchNorm(3, momentum=_MOMENTUM, rngs=rngs)
    self.linear = nnx.Linear(3, backbone.width, rngs=rngs)

  def __call__(self, frames, key=None):
    x = frames.astype(jnp.float32).mean((2, 3))
    x = x.reshape(x.shape[0], self.slots, -1, 3).mean(2)
    return self.linear(self.norm(x, use_running_average=key is None))

  features = __call__


@dataclasses.dataclass(frozen=True)
class _LightBackbone:
  slots: int = 2
  width: int = 4
  feature_width: int = 4

  def create(self, *, rngs, final_norm=True):
    return _Light(self, rngs)

  def with_drop_path(self, rate):
    return self

  def layer(self, path, shape):
    return 1


_CLIPS = VideoEmotion(_LightBackbone(), Binary())
_TRIALS = Emotion(
  EmotionConfig(
    ModelSizes(width=8, heads=2, mlp_width=8),
    (('video', VideoNetwork(Video(), 4, _LightBackbone())),),
    Binary(),
    ('video',),
  )
)


@pytest.mark.parametrize('task', [_CLIPS, _TRIALS], ids=['clips', 'trials'])
def test_a_backbone_in_a_task_keeps_its_own(one_device, task):
  rng = np.random.default_rng(0)
  # Of trials: three clips of 4 frames, six slots; of clips: three views.
  frames = rng.integers(0, 256, (BATCH, 3, 4, 8, 8, 3), np.uint8)
  batch = {
    'label': rng.integers(0, 2, (BATCH, 2)).astype(np.float32),
    'weight': np.ones(BATCH, np.float32),
  }
  if task is _CLIPS:
    batch['frames'] = frames
  else:
    batch |= {
      'video/frames': frames,
      'video/valid': np.ones((BATCH, 6), bool),
      'video/times': np.tile(np.arange(6, dtype=np.float32), (BATCH, 1)),
      'video/reference': np.ones((BATCH, 6), bool),
    }
  config = dataclasses.replace(OPTIMISER, layer_decay=0.5, ema=0.9)
  state = init_state(task, config, one_device, 0)
  state, metrics = train_step(task, config, one_device)(
    state, put_batch(batch, one_device)
  )
  assert np.isfinite(metrics['loss'])
  (mean,) = (x for p, x in _paths(state.model_state).items() if p.endswith('norm/mean'))
  scale = 255 if task is _CLIPS else 1  # mixed views are floats from 0 to 1
  wanted = (1 - _MOMENTUM) * frames.mean((0, 1, 2, 3, 4)) / scale
  np.testing.assert_allclose(mean, wanted, rtol=1e-4 if task is _TRIALS else 0.1)
  found = computed(task.evaluate(build_model(task, state.evaluated), batch))
  assert all(np.isfinite(x) for x in found.values())


def test_padding_moves_none(one_device):
  """Nor does a clip without a face: what they hold counts for nothing."""
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (BATCH, 3, 4, 8, 8, 3), np.uint8)
  valid = np.ones((BATCH, 6), bool)
  valid[:, 2:4] = False  # no face in the second clip
  valid[0, 4:] = False  # and the first trial ends after the first one
  runs = []
  for fill in (0, 255):
    frames = np.where(valid[:, ::2, None, None, None, None], frames, np.uint8(fill))
    batch = {
      'video/frames': frames,
      'video/valid': valid,
      'video/times': np.tile(np.arange(6, dtype=np.float32), (BATCH, 1)),
      'video/reference': valid,
      'label': np.zeros((BATCH, 2), np.float32),
      'weight': np.ones(BATCH, np.float32),
    }
    state = init_state(_TRIALS, OPTIMISER, one_device, 0)
    state, metrics = train_step(_TRIALS, OPTIMISER, one_device)(
      state, put_batch(batch, one_device)
    )
    runs.append((metrics['loss'], state.model_state))
  _assert_close(*runs)
  (mean,) = (x for p, x in _paths(runs[0][1]).items() if p.endswith('norm/mean'))
  seen = frames[:, [0, 2, 2]].astype(np.float64)
  seen[0, 1:] = frames[0, :1]
  wanted = (1 - _MOMENTUM) * seen.mean((0, 1, 2, 3, 4))
  np.testing.assert_allclose(mean, wanted, rtol=1e-4)
