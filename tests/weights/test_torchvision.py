"""R(2+1)D-18 and ResNet-18: as PyTorch computes them, batch statistics included."""

import jax
import numpy as np
import pytest
from flax import nnx, traverse_util

from mvp_jax.errors import InputError
from mvp_jax.models.backbones.r2plus1d import KINETICS_MEAN, KINETICS_STD, R2Plus1D
from mvp_jax.models.backbones.resnet import ResNet18
from mvp_jax.training.state import build_model, merged, model_variables
from mvp_jax.training.tasks import FrameFeatures
from mvp_jax.weights.torchvision import LAYOUTS, open_weights, theirs
from tests.weights import torchvision_networks as peers

torch = peers.torch
safetensors_torch = pytest.importorskip('safetensors.torch')
_WIDTHS = (8, 12, 16, 20)
_VIDEO = R2Plus1D(16, 32, 8, widths=_WIDTHS)
_SOUND = ResNet18(48, 64, widths=_WIDTHS)


def _video_peer():
  # By other seeds PyTorch's own gradients differ between float32 and float64: a unit
  # lies so near to 0 that rounding decides whether it is on.
  return peers.random(peers.R2Plus1D18, _WIDTHS, 3, seed=8)


def _sound_peer(channels=3):
  return peers.random(peers.ResNet18, _WIDTHS, channels, 3, seed=0)


def _frames():
  return np.random.default_rng(0).integers(0, 256, (2, 16, 32, 32, 3), np.uint8)


def _pixels(frames):
  mean, std = np.float32(KINETICS_MEAN), np.float32(KINETICS_STD)
  normal = (frames / np.float32(255) - mean) / std
  return torch.tensor(normal.transpose(0, 4, 1, 2, 3))


def _spectrogram():
  return np.random.default_rng(0).normal(0, 1, (2, 48, 64)).astype(np.float32)


def _saved(model, path):
  torch.save(model.state_dict(), path)
  return path


def _loaded(backbone, path):
  """Jitted `features` of the network with the weights of a file."""
  variables, task = open_weights(path, backbone).read(), FrameFeatures(backbone)
  return jax.jit(lambda x: build_model(task, variables).features(x))


def _close(ours, theirs, relative=1e-4):
  theirs = theirs.numpy(force=True)
  assert ours.shape == theirs.shape
  scale = np.abs(theirs).max()
  assert np.abs(np.asarray(ours) - theirs).max() <= relative * scale


@pytest.mark.parametrize('form', ['pth', 'safetensors', 'within'])
def test_features_of_video_are_those_of_pytorch(tmp_path, form):
  peer, path = _video_peer(), tmp_path / f'x.{form}'
  state = peer.state_dict()
  if form == 'pth':
    torch.save(state, path)
  elif form == 'safetensors':
    safetensors_torch.save_file(state, path)
  else:  # a training of somebody's
    state = {f'module.video.{name}': x for name, x in state.items()}
    torch.save({'epoch': 3, 'state_dict': state}, path)
  found = _loaded(_VIDEO, path)(_frames())
  with torch.no_grad():
    maps = peer(_pixels(_frames()))
  _close(found, maps.mean((3, 4)).transpose(1, 2))
  report = str(open_weights(path, _VIDEO).report)
  assert 'all of the model' in report and '37 counters' in report
  assert report.count('fc.weight') == report.count('fc.bias') == 1  # left over


@pytest.mark.parametrize('channels', [1, 3])
def test_features_of_sound_are_those_of_pytorch(tmp_path, channels):
  """One channel computes what three equal ones do."""
  peer = _sound_peer()
  backbone = ResNet18(48, 64, channels, widths=_WIDTHS)
  path = _saved(peer, tmp_path / 'x.pth')
  run, x = _loaded(backbone, path), _spectrogram()
  with torch.no_grad():
    maps = peer(torch.tensor(x)[:, None].expand(-1, 3, -1, -1))
  wanted = maps.mean((2, 3))[:, None]
  _close(run(x), wanted)
  _close(run(x[..., None]), wanted)
  notes = open_weights(path, backbone).report.notes
  assert any('summed' in note for note in notes) == (channels == 1)


def test_a_stem_of_one_channel_is_taken_as_it_is(tmp_path):
  peer = _sound_peer(1)
  run = _loaded(_SOUND, _saved(peer, tmp_path / 'x.pth'))
  with torch.no_grad():
    maps = peer(torch.tensor(_spectrogram())[:, None])
  _close(run(_spectrogram()), maps.mean((2, 3))[:, None])


@pytest.mark.parametrize('what', ['video', 'sound'])
def test_training_is_that_of_pytorch(tmp_path, what):
  """Outputs, gradients, and running statistics after two batches."""
  backbone, peer, x, fed = {
    'video': lambda: (_VIDEO, _video_peer(), _frames(), _pixels(_frames())),
    'sound': lambda: (
      _SOUND,
      _sound_peer(1),
      _spectrogram(),
      torch.tensor(_spectrogram())[:, None],
    ),
  }[what]()
  variables = open_weights(_saved(peer, tmp_path / 'x.pth'), backbone).read()
  task = FrameFeatures(backbone)
  params, statistics = model_variables(build_model(task, variables))
  peer.train()
  maps = peer(fed)
  target = torch.linspace(-1, 1, _WIDTHS[-1])
  (maps.mean(tuple(range(2, maps.ndim))) * target).sum().backward()
  with torch.no_grad():
    peer(fed)

  @jax.jit
  def step(params, statistics):
    def loss(params):
      model = build_model(task, merged(params, statistics))
      pooled = model(x, jax.random.key(0)).mean(1)
      return (pooled * target.numpy()[None]).sum(), model_variables(model)[1]

    return jax.grad(loss, has_aux=True)(params)

  grads, statistics = step(params, statistics)
  _, statistics = step(params, statistics)
  layout, named = LAYOUTS[type(backbone)], dict(peer.named_parameters())
  largest = max(p.grad.abs().max() for p in named.values() if p.grad is not None)
  for path, value in traverse_util.flatten_dict(grads).items():
    wanted = named[theirs(layout, path)].grad.numpy()
    found = np.asarray(value)
    if path[-1] == 'kernel':
      found = np.moveaxis(found, (-1, -2), (0, 1))
    np.testing.assert_allclose(
      found.reshape(wanted.shape),
      wanted,
      2e-3,
      1e-4 * float(largest),
      err_msg=str(path),
    )
  running = peer.state_dict()
  for path, value in traverse_util.flatten_dict(statistics).items():
    _close(value, running[theirs(layout, path)])


@pytest.mark.parametrize(
  'backbone, peer, published, classifier',
  [
    (R2Plus1D(), peers.R2Plus1D18, 31_505_325, 512 * 400 + 400),
    (ResNet18(channels=3), peers.ResNet18, 11_689_512, 512 * 1000 + 1000),
  ],
  ids=['video', 'sound'],
)
def test_sizes_are_the_published_ones(backbone, peer, published, classifier):
  model = nnx.eval_shape(lambda: backbone.create(rngs=nnx.Rngs(0)))
  counted = sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))
  assert counted + classifier == published
  with torch.device('meta'):
    assert sum(p.numel() for p in peer().parameters()) == published


_BREAKS = {
  'is no R(2+1)D-18 of torchvision: no tensor is called': lambda s: {
    name.replace('.0.0.weight', '.0.weight'): x for name, x in s.items()
  },
  'is not whole: there is no layer3.1.conv2.0.1.running_var': lambda s: {
    name: x for name, x in s.items() if name != 'layer3.1.conv2.0.1.running_var'
  },
  'stem.0.weight has the shape (45, 3, 3, 7, 7)': lambda s: {
    **s,
    'stem.0.weight': s['stem.0.weight'].repeat(1, 1, 3, 1, 1),
  },
  'layer1.2.conv1.0.0.weight is a part that': lambda s: {
    **s,
    'layer1.2.conv1.0.0.weight': s['layer1.1.conv1.0.0.weight'],
  },
  'stem.1.running_var holds variances below 0': lambda s: {
    **s,
    'stem.1.running_var': -s['stem.1.running_var'],
  },
  'stem.4.running_mean holds values that are not finite': lambda s: {
    **s,
    'stem.4.running_mean': s['stem.4.running_mean'] * np.nan,
  },
  'stem.3.weight is stored as int8': lambda s: {
    **s,
    'stem.3.weight': s['stem.3.weight'].to(torch.int8),
  },
  'holds several R(2+1)D-18s': lambda s: {
    f'{part}.{name}': x for part in ('one', 'two') for name, x in s.items()
  },
}


@pytest.mark.parametrize('said', _BREAKS)
def test_what_does_not_fit_is_one_line(tmp_path, said):
  path = tmp_path / 'x.pth'
  torch.save(_BREAKS[said](_video_peer().state_dict()), path)
  with pytest.raises(InputError) as error:
    open_weights(path, _VIDEO).read()
  assert str(error.value).startswith(f'{path}: ') and said in str(error.value)
  assert '\n' not in str(error.value)


def test_other_files_are_one_line(tmp_path):
  with pytest.raises(InputError, match='there is no such checkpoint'):
    open_weights(tmp_path / 'y.pth', _VIDEO)
  path = _saved(_sound_peer(), tmp_path / 'sound.pth')
  with pytest.raises(InputError, match='is no R'):
    open_weights(path, _VIDEO)
  torch.save({'weights': 3}, path)
  with pytest.raises(InputError, match=r'no R\(2\+1\)D-18 under another name'):
    open_weights(path, _VIDEO)
