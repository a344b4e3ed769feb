"""R(2+1)D-18 as the video encoder: loaded, cached, trained end to end."""

import dataclasses

import jax
import numpy as np
import pytest

from mvp_jax.config import Config, parse, to_tree
from mvp_jax.data.clips import ClipLayout
from mvp_jax.errors import InputError
from mvp_jax.models.backbones.r2plus1d import R2Plus1D
from mvp_jax.targets.binary import Binary
from mvp_jax.training import encoder
from mvp_jax.training.features import cache_features
from mvp_jax.training.r2plus1d_encoder import R2Plus1DEncoder
from mvp_jax.training.sharding import put_batch
from mvp_jax.training.state import init_state, train_step
from mvp_jax.training.tasks import VideoEmotion
from mvp_jax.weights.torch_file import write_torch
from mvp_jax.weights.torchvision import LAYOUTS, theirs
from tests.training.films import Films
from tests.training.tiny import OPTIMISER

_LAYOUT = ClipLayout(frames=8, stride=1, spacing=1.0, tubelet=8)
_TINY = R2Plus1D(8, 16, 8, widths=(4, 6, 8, 10), blocks=1)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """A state dict in torchvision's layout, written without PyTorch, and its values."""
  from flax import nnx, traverse_util

  path = tmp_path_factory.mktemp('weights') / 'r2plus1d_18.pth'
  model = nnx.eval_shape(lambda: _TINY.create(rngs=nnx.Rngs(0)))
  rng, tensors, values = np.random.default_rng(0), {}, {}
  for ours, x in traverse_util.flatten_dict(nnx.to_pure_dict(nnx.state(model))).items():
    values[ours] = rng.uniform(0.1, 0.2, x.shape).astype(np.float32)
    value = values[ours]
    if ours[-1] == 'kernel' and value.ndim == 4:  # over space
      value = value.transpose(3, 2, 0, 1)[:, :, None]
    elif ours[-1] == 'kernel':
      value = value.transpose(2, 1, 0)[..., None, None]
    tensors[theirs(LAYOUTS[R2Plus1D], ours)] = np.ascontiguousarray(value)
  write_torch(path, tensors)
  return path, traverse_util.unflatten_dict(values)


def test_the_settings_are_a_kind_of_their_own(checkpoint):
  tree = {'kind': 'r2plus1d', 'checkpoint': str(checkpoint[0])}
  clips = {'frames': 16, 'tubelet': 16}
  config = parse({'dataset': 'deap', 'encoder': tree, 'input': {'clips': clips}})
  assert isinstance(config, Config) and type(config.encoder) is R2Plus1DEncoder
  network = config.encoder.network(config)
  assert network == R2Plus1D(16, config.data.frame_size, 16) and network.slots == 1
  assert parse(to_tree(config)).encoder == config.encoder
  with pytest.raises(
    InputError, match=r'^input\.clips\.tubelet is 2, .* make the tubelet a multiple'
  ):
    config.encoder.backbone(ClipLayout(), 112)
  with pytest.raises(InputError, match="no pre-training of 'r2plus1d'"):
    parse({'dataset': 'deap', 'encoder': {'kind': 'r2plus1d'}})
  with pytest.raises(ValueError, match=r'encoder\.dtype: one of'):
    R2Plus1DEncoder(pretrained=False, dtype='float16')


def test_weights_of_a_file_are_cached_as_features(checkpoint, one_device, tmp_path):
  path, values = checkpoint
  encoder.check(_TINY, path)
  variables, record, said = encoder.load(_TINY, one_device, path)
  jax.tree.map(np.testing.assert_array_equal, variables, values)
  assert record['imported_from'] == path.name and record['people'] == []
  assert record['kind'] == 'R(2+1)D-18' and record['layout'] == 'torchvision'
  assert record['model']['widths'] == _TINY.widths and len(record['sha256']) == 64
  assert 'all of the model' in said
  corpus = Films()
  trials = [t for t in corpus.trials if 'video' in t.streams]
  cache_features(
    _TINY, variables, corpus, trials, _LAYOUT, 3, mesh=one_device, directory=tmp_path
  )
  tokens = np.load(tmp_path / 's02_trial01.npy')
  assert tokens.shape == (7, 10) and np.isfinite(tokens).all()
  again = encoder.fresh(_TINY, one_device, 0)
  assert jax.tree.map(np.shape, again) == jax.tree.map(np.shape, values)
  other = dataclasses.replace(_TINY, widths=(4, 6, 8, 12))
  with pytest.raises(InputError, match=r'has the shape .* it must be'):
    encoder.check(other, path)


def test_it_is_trained_end_to_end(checkpoint, one_device):
  task = VideoEmotion(_TINY, Binary())
  batch = {
    'frames': np.random.default_rng(0).integers(0, 256, (4, 1, 8, 16, 16, 3), np.uint8),
    'label': np.tile(np.float32([[0, 1], [1, 0]]), (2, 1)),
    'weight': np.ones(4, np.float32),
  }
  assert task.flops(batch) is None  # not known
  config = dataclasses.replace(OPTIMISER, layer_decay=0.75)
  state = init_state(task, config, one_device, 0)
  before = jax.device_get((state.params, state.model_state))
  state, metrics = train_step(task, config, one_device)(
    state, put_batch(batch, one_device)
  )
  assert np.isfinite(metrics['loss'])
  for old, new in zip(
    jax.tree.leaves(before[1]), jax.tree.leaves(state.model_state), strict=True
  ):
    assert np.abs(old - new).max() > 0  # every running statistic has moved
