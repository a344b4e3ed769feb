"""VideoMAEs in PyTorch: of `transformers`, and as in the reference repository.

The second has the reference's parameter names and its way of adding the biases of
query and value; it is written here for these tests.
"""

import jax
import numpy as np
import pytest
from flax import nnx

from mvp_jax.data.masks import MaskConfig, draw_masks
from mvp_jax.models import videomae
from mvp_jax.weights.layouts import translate
from mvp_jax.weights.torch_file import Stored
from tests.weights.tiny import OUTPUTS, TINY

torch = pytest.importorskip('torch', reason='PyTorch is in the test extra of 3.11')
transformers = pytest.importorskip('transformers')
nn = torch.nn


def huggingface(name, seed=0, **changes):
  """A model of `transformers` of the sizes of TINY, with random weights."""
  settings = dict(
    image_size=TINY.size,
    patch_size=TINY.patch,
    num_frames=TINY.frames,
    tubelet_size=TINY.tubelet,
    hidden_size=TINY.width,
    num_hidden_layers=TINY.depth,
    num_attention_heads=TINY.heads,
    intermediate_size=TINY.mlp_width,
    decoder_hidden_size=TINY.decoder_width,
    decoder_num_hidden_layers=TINY.decoder_depth,
    decoder_num_attention_heads=TINY.decoder_heads,
    decoder_intermediate_size=4 * TINY.decoder_width,
    layer_norm_eps=1e-6,
    use_mean_pooling='Classification' in name,
    num_labels=OUTPUTS,
  )
  torch.manual_seed(seed)
  return shaken(
    getattr(transformers, name)(transformers.VideoMAEConfig(**settings | changes))
  )


def shaken(model):
  """With noise on every parameter: biases and norms start at 0 and 1."""
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.05 * torch.randn_like(parameter))
  return model.eval()


def masks(config=TINY, batch=2, ratio=0.6):
  """Visible and masked token numbers, and the latter as booleans for PyTorch."""
  drawn = [
    draw_masks(np.random.default_rng(i), *config.grid, MaskConfig(ratio=ratio))
    for i in range(batch)
  ]
  visible, masked = (np.stack(part) for part in zip(*drawn, strict=True))
  hidden = np.zeros((batch, config.tokens), bool)
  np.put_along_axis(hidden, masked, True, 1)
  return visible, masked, torch.tensor(hidden)


def pixels(video):
  """As both programs want them: normalised, [B, T, 3, H, W]."""
  mean, std = np.float32(videomae.IMAGENET_MEAN), np.float32(videomae.IMAGENET_STD)
  return torch.tensor(((video / np.float32(255) - mean) / std).transpose(0, 1, 4, 2, 3))


def taken(tensors):
  """{name: tensor} of a PyTorch model as parameters (or gradients) of ours."""
  stored = {
    name: Stored(tuple(x.shape), 'float32', lambda x=x: x.numpy(force=True))
    for name, x in tensors.items()
  }
  leaves = translate(stored, 'model').leaves
  tree = {}
  for path, leaf in leaves.items():
    *folders, last = path.split('/')
    inner = tree
    for folder in folders:
      inner = inner.setdefault(folder, {})
    inner[last] = leaf.read()
  return tree


def call(make, params, function):
  """Jitted `function(model)` for a model of `make(rngs)` with these parameters."""
  graph, state = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
  assert jax.tree.map(np.shape, params) == jax.tree.map(
    np.shape, nnx.to_pure_dict(state)
  )  # nothing missing or left over

  def run(params):
    nnx.replace_by_pure_dict(state, params)
    return function(nnx.merge(graph, state))

  return jax.jit(run), params


def assert_close(ours, theirs, relative=1e-4):
  """Equal within a share of the largest number there is."""
  theirs = theirs.numpy(force=True) if hasattr(theirs, 'numpy') else np.asarray(theirs)
  ours = np.asarray(ours)
  assert ours.shape == theirs.shape
  scale = np.abs(theirs).max()
  assert np.abs(ours - theirs).max() <= relative * scale, (
    np.abs(ours - theirs).max() / scale
  )


# As in the reference repository.


class _Attention(nn.Module):
  def __init__(self, width, heads):
    super().__init__()
    self.heads = heads
    self.qkv = nn.Linear(width, 3 * width, bias=False)
    self.q_bias = nn.Parameter(torch.zeros(width))
    self.v_bias = nn.Parameter(torch.zeros(width))
    self.proj = nn.Linear(width, width)

  def forward(self, x):
    bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
    qkv = nn.functional.linear(x, self.qkv.weight, bias)
    b, n, width = x.shape
    q, k, v = qkv.reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
    weights = (q * (width // self.heads) ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
    return self.proj((weights @ v).transpose(1, 2).reshape(b, n, width))


class _MLP(nn.Module):
  def __init__(self, width, inner):
    super().__init__()
    self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

  def forward(self, x):
    return self.fc2(nn.functional.gelu(self.fc1(x)))


class _Block(nn.Module):
  def __init__(self, width, heads, inner):
    super().__init__()
    self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
    self.attn, self.mlp = _Attention(width, heads), _MLP(width, inner)

  def forward(self, x):
    x = x + self.attn(self.norm1(x))
    return x + self.mlp(self.norm2(x))


class _PatchEmbed(nn.Module):
  def __init__(self, config):
    super().__init__()
    cut = (config.tubelet, config.patch, config.patch)
    self.proj = nn.Conv3d(3, config.width, cut, cut)

  def forward(self, x):
    return self.proj(x).flatten(2).transpose(1, 2)


def positions(count, width):
  """The table of fixed positions: [1, N, D]."""
  angle = np.arange(count)[:, None] / 10000 ** (np.arange(width) // 2 * 2 / width)
  table = np.where(np.arange(width) % 2, np.cos(angle), np.sin(angle))
  return torch.tensor(table, dtype=torch.float32)[None]


class _Encoder(nn.Module):
  def __init__(self, config):
    super().__init__()
    self.config = config
    self.patch_embed = _PatchEmbed(config)
    self.blocks = nn.ModuleList(
      _Block(config.width, config.heads, config.mlp_width) for _ in range(config.depth)
    )
    self.norm = nn.LayerNorm(config.width, eps=1e-6)

  def forward(self, x, hidden=None):
    x = self.patch_embed(x)
    x = x + positions(x.shape[1], x.shape[2])
    if hidden is not None:
      x = x[~hidden].reshape(len(x), -1, x.shape[2])
    for block in self.blocks:
      x = block(x)
    return self.norm(x)


class _Decoder(nn.Module):
  def __init__(self, config):
    super().__init__()
    width = config.decoder_width
    self.blocks = nn.ModuleList(
      _Block(width, config.decoder_heads, 4 * width)
      for _ in range(config.decoder_depth)
    )
    self.norm = nn.LayerNorm(width, eps=1e-6)
    self.head = nn.Linear(width, config.pixels_per_token)

  def forward(self, x, count):
    for block in self.blocks:
      x = block(x)
    return self.head(self.norm(x[:, -count:]))


class ReferencePretraining(nn.Module):
  """Pixels [B, 3, T, H, W] and a boolean mask [B, N] to predictions."""

  def __init__(self, config=TINY):
    super().__init__()
    self.encoder, self.decoder = _Encoder(config), _Decoder(config)
    self.encoder_to_decoder = nn.Linear(config.width, config.decoder_width, bias=False)
    self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))

  def forward(self, x, hidden):
    x = self.encoder_to_decoder(self.encoder(x, hidden))
    b, _, width = x.shape
    table = positions(hidden.shape[1], width).expand(b, -1, -1)
    seen = table[~hidden].reshape(b, -1, width)
    unseen = table[hidden].reshape(b, -1, width)
    return self.decoder(
      torch.cat([x + seen, self.mask_token + unseen], 1), unseen.shape[1]
    )


class ReferenceClassifier(_Encoder):
  """Pixels [B, 3, T, H, W] to logits."""

  def __init__(self, config=TINY, outputs=OUTPUTS):
    super().__init__(config)
    self.norm = nn.Identity()
    self.fc_norm = nn.LayerNorm(config.width, eps=1e-6)
    self.head = nn.Linear(config.width, outputs)

  def forward(self, x):
    return self.head(self.fc_norm(super().forward(x).mean(1)))
