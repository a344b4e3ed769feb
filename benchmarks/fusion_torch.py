"""The fusion of configs/deap_fusion.py in PyTorch: the peer of benchmarks/gpu.py.

The same mathematics as `models.emotion` with the fusion 'cross', for trials that have
both face and signals; and the same step: augmentation, dropout, loss, clipping, AdamW.
`Alone` trains one model, `Together` many by `torch.func`.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

_EPSILON = 1e-6


def _waves(seconds, width):
  """Sin-cos embeddings of seconds [..., N]: [..., N, width]."""
  waves = 10000 ** (torch.arange(0, width, 2, device=seconds.device) / width)
  angles = 10 * seconds[..., None] / waves
  return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


def _mean(x, valid):
  """Over the valid tokens: [B, N, D], bool [B, N] -> [B, D]."""
  weight = valid.to(x.dtype)
  total = (x * weight[..., None]).sum(1)
  return total / weight.sum(1, keepdim=True).clamp(min=1)


class Block(nn.Module):
  """Pre-norm: attention, to itself or (`cross`) to others, then two layers."""

  def __init__(self, width, heads, mlp_width, dropout, cross=False):
    super().__init__()
    self.heads, self.dropout = heads, dropout
    self.norm1, self.norm2 = (nn.LayerNorm(width, _EPSILON) for _ in range(2))
    self.norm_context = nn.LayerNorm(width, _EPSILON) if cross else None
    self.query, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
    self.key = nn.Linear(width, width, bias=False)
    self.up, self.down = nn.Linear(width, mlp_width), nn.Linear(mlp_width, width)

  def forward(self, x, valid, context=None):
    y = self.norm1(x)
    context = y if context is None else self.norm_context(context)

    def split(z):
      return z.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    found = F.scaled_dot_product_attention(
      split(self.query(y)),
      split(self.key(context)),
      split(self.value(context)),
      valid[:, None, None],
    )
    y = self.out(found.transpose(1, 2).flatten(-2))
    x = x + F.dropout(y, self.dropout, self.training)
    y = self.down(F.gelu(self.up(self.norm2(x))))
    return x + F.dropout(y, self.dropout, self.training)


class _Conv(nn.Module):
  """A strided convolution along time, norm and GELU: [B, C, S] to [B, D, N]."""

  def __init__(self, inputs, outputs, kernel, stride):
    super().__init__()
    before = (kernel - stride) // 2
    self.pad, self.stride = (before, kernel - stride - before), stride
    self.conv = nn.Conv1d(inputs, outputs, kernel, stride)
    self.norm = nn.LayerNorm(outputs, _EPSILON)

  def forward(self, x, valid):
    tail = -x.shape[-1] % self.stride
    before, after = self.pad
    x = self.conv(F.pad(x * valid[:, None], (before, after + tail)))
    x = F.gelu(self.norm(x.transpose(1, 2))).transpose(1, 2)
    valid = F.pad(valid, (0, tail)).unflatten(-1, (-1, self.stride)).any(-1)
    return x * valid[:, None], valid


class Fusion(nn.Module):
  """Two numbers from signals and the tokens of a face.

  Args:
    sizes: models.emotion.ModelSizes.
    physio: models.modalities.physio.Physio.
    video: models.modalities.video.Video.
    channels, rate: of the signals, Hz.
    feature_width: of the tokens.
    outputs: how many.
  """

  def __init__(self, sizes, physio, video, channels, rate, feature_width, outputs):
    super().__init__()
    self.physio, self.rate = physio, rate
    widths = (2 * channels, *physio.widths)
    self.convs = nn.ModuleList(
      map(_Conv, widths, physio.widths, physio.kernels, physio.strides)
    )
    own = sizes.width, sizes.heads, sizes.mlp_width, sizes.dropout
    self.signals = nn.ModuleList(
      Block(sizes.width, physio.heads, physio.mlp_width, physio.dropout)
      for _ in range(physio.depth)
    )
    self.embed = nn.Linear(feature_width, sizes.width)
    self.face = nn.ModuleList(Block(*own) for _ in range(video.depth))
    self.cross = nn.ModuleList(Block(*own, cross=True) for _ in range(sizes.depth))
    self.norm, self.dropout = nn.LayerNorm(sizes.width, _EPSILON), sizes.dropout
    self.head = nn.Linear(sizes.width, outputs)

  def forward(self, batch):
    values, levels = batch['physio/values'], batch['physio/levels']
    valid = batch['physio/valid']
    if self.training:
      values, levels, valid = augmented(values, levels, valid, self.physio.augment)
    x = torch.cat([values, 4 * torch.tanh(levels / 4)], -1).transpose(1, 2)
    for conv in self.convs:
      x, valid = conv(x, valid)
    x, stride = x.transpose(1, 2), self.physio.stride
    seconds = (torch.arange(x.shape[1], device=x.device) + 0.5) * stride / self.rate
    x = x + _waves(seconds, x.shape[-1])
    for block in self.signals:
      x = block(x, valid)
    x = x * valid[..., None]

    tokens, there = batch['video/tokens'], batch['video/valid']
    y = tokens - _mean(tokens, batch['video/reference'])[:, None]
    y = self.embed(y)
    y = y + _waves(batch['video/times'], y.shape[-1])
    for block in self.face:
      y = block(y, there)
    y = y * there[..., None]
    for block in self.cross:
      x = block(x, there, y)
    x = self.norm(_mean(x, valid))
    return self.head(F.dropout(x, self.dropout, self.training))


def augmented(values, levels, valid, config):
  """As `data.augment_signals`: [B, S, C], [B, S, C], bool [B, S]."""
  batch, samples, channels = values.shape
  here = {'device': values.device}
  most = round(config.shift * samples)
  by = torch.randint(-most, most + 1, (batch, 1), **here)
  place = torch.arange(samples, **here)[None] - by
  inside = (place >= 0) & (place < samples)
  place = place.clamp(0, samples - 1)
  wide = place[..., None].expand(-1, -1, channels)
  values, levels = values.gather(1, wide), levels.gather(1, wide)
  valid = valid.gather(1, place) & inside
  cut, side = config.crop * torch.rand(batch, 1, **here), torch.rand(batch, 1, **here)
  share = (torch.arange(samples, **here) + 0.5) / samples
  valid = valid & (share >= cut * side) & (share < 1 - cut * (1 - side))
  draw = torch.rand(batch, 1, channels, **here)
  kept = (draw >= config.channel_dropout) | (draw == draw.amax(-1, keepdim=True))
  size = torch.exp(config.gain * torch.randn(batch, 1, channels, **here)) * kept
  values = values * size + config.noise * torch.randn_like(values) * kept
  drift = torch.randn(batch, 1, channels, **here)
  return values, levels * size + config.drift * drift * kept, valid


def _loss(outputs, batch):
  return F.binary_cross_entropy_with_logits(outputs, batch['label'])


def _adamw(parameters, config, fused, least):
  """AdamW that decays what has at least `least` axes: no biases and norms."""
  parameters = list(parameters)
  decayed = [x for x in parameters if x.ndim >= least]
  others = [x for x in parameters if x.ndim < least]
  return torch.optim.AdamW(
    [{'params': decayed}, {'params': others, 'weight_decay': 0.0}],
    config.learning_rate,
    (config.beta1, config.beta2),
    weight_decay=config.weight_decay,
    fused=fused,
  )


class Alone:
  """Trains one model: call it for a step on some rows of the data [trials, ...]."""

  def __init__(self, model, data, config, fused, compiled):
    self.model, self.data = model.train(), data
    self.clip_norm = config.clip_norm or math.inf
    self.optimiser = _adamw(model.parameters(), config, fused, 2)
    self.forward = torch.compile(self._forward) if compiled else self._forward

  def _forward(self, rows):
    batch = {name: x[rows] for name, x in self.data.items()}
    return _loss(self.model(batch), batch)

  def __call__(self, rows):
    self.optimiser.zero_grad(set_to_none=True)
    loss = self.forward(rows)
    loss.backward()
    nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
    self.optimiser.step()
    return loss.detach()


class Together:
  """Trains many models: call it for a step of all on rows [models, batch]."""

  def __init__(self, models, data, config, fused, at_a_time):
    self.data, self.clip_norm = data, config.clip_norm or math.inf
    stacked, _ = torch.func.stack_module_state(models)
    self.params = {
      name: x.detach().requires_grad_(False) for name, x in stacked.items()
    }
    self.optimiser = _adamw(self.params.values(), config, fused, 3)
    frame = copy.deepcopy(models[0]).to('meta').train()

    def loss(params, rows):
      batch = {name: x[rows] for name, x in data.items()}
      found = _loss(torch.func.functional_call(frame, params, (batch,)), batch)
      return found, found

    self.gradient = torch.vmap(
      torch.func.grad(loss, has_aux=True), randomness='different', chunk_size=at_a_time
    )

  def __call__(self, rows):
    # Of the fused kernels `vmap` would run the gradient model by model.
    with sdpa_kernel(SDPBackend.MATH):
      grads, losses = self.gradient(self.params, rows)
    squares = sum(x.flatten(1).square().sum(1) for x in grads.values())
    factor = (self.clip_norm / squares.sqrt()).clamp(max=1)
    for name, x in self.params.items():
      x.grad = grads[name] * factor.view(-1, *[1] * (x.ndim - 1))
    self.optimiser.step()
    return losses
