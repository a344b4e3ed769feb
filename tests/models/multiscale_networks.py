"""MSN-69 and DMSN in PyTorch, written for these tests from what is known of them.

`moved` copies our variables into one: modules are called alike.
"""

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='PyTorch is in the test extra of 3.11')
nn = torch.nn

MEAN = (0.43216, 0.394666, 0.37645)
STD = (0.22803, 0.22145, 0.216989)


class _Normed(nn.Module):
  def __init__(self, inputs, outputs, taps, stride=(1, 1, 1)):
    super().__init__()
    pads = [n // 2 for n in taps]
    self.conv = nn.Conv3d(inputs, outputs, taps, stride, pads, bias=False)
    self.norm = nn.BatchNorm3d(outputs)

  def forward(self, x):
    return self.norm(self.conv(x))


class _Sequence(nn.Module):
  def __init__(self, inputs, outputs, *kernels):
    super().__init__()
    sizes = [inputs, *[outputs] * len(kernels)]
    self.parts = nn.ModuleList(
      _Normed(sizes[i], outputs, taps) for i, taps in enumerate(kernels)
    )

  def forward(self, x):
    for part in self.parts:
      x = torch.relu(part(x))
    return x


class Block(nn.Module):
  def __init__(self, kind, inputs, inner, outputs):
    super().__init__()
    at, long = (1, 1, 1), (3, 1, 1)
    seq, odd = _Sequence, (3, 5, 7)
    self.after = None
    if kind == 'multiscale':
      self.narrow = seq(inputs, inner, long)
      branches = [seq(inner, inner, (k, k, k)) for k in odd]
    elif kind == 'plain':
      self.narrow = seq(inputs, inner, long)
      branches = [seq(inner, inner, (3, 3, 3))]
    elif kind == 'A':
      self.narrow = seq(inputs, inner, at)
      branches = [seq(inner, inner, (k, 1, 1)) for k in odd]
      self.after = seq(3 * inner, inner, (1, 3, 3))
    elif kind == 'B':
      self.narrow = seq(inputs, inner, at)
      branches = [seq(inner, inner, (k, 1, 1), (1, k, k)) for k in odd]
    else:
      self.narrow = seq(inputs, inner, at, (3, 1, 1))
      branches = [seq(inner, inner, (1, k, k)) for k in odd]
    self.branches = nn.ModuleList(branches)
    width = inner if kind == 'A' else inner * len(branches)
    last = long if kind in ('multiscale', 'plain') else at
    self.widen = _Normed(width, outputs, last)
    self.shortcut = _Normed(inputs, outputs, at)

  def forward(self, x):
    y = self.narrow(x)
    y = torch.cat([branch(y) for branch in self.branches], 1)
    if self.after is not None:
      y = self.after(y)
    return torch.relu(self.widen(y) + self.shortcut(x))


class Network(nn.Module):
  """Pixels [B, 3, T, H, W], normalised, to the map of the last stage.

  `kind` is 'msn69' or a variant of DMSN; the other sizes are named as ours.
  """

  def __init__(self, kind, stem=64, widths=(128, 256, 512, 1024), blocks=(3, 4, 12, 3)):
    super().__init__()
    msn = kind == 'msn69'
    shares = (4, 4, 2, 2) if msn else (4, 4, 8, 8)
    self.stem = _Normed(3, stem, (7, 7, 7), (1, 2, 2))
    self.stages = nn.ModuleList()
    inputs = stem
    for stage, count in enumerate(blocks):
      of = ('multiscale' if stage < 2 else 'plain') if msn else kind
      layer = nn.ModuleList()
      for _ in range(count):
        width = widths[stage]
        layer.append(Block(of, inputs, width // shares[stage], width))
        inputs = width
      self.stages.append(layer)

  def forward(self, x):
    pool = nn.functional.max_pool3d
    x = pool(torch.relu(self.stem(x)), 3, 2, 1)
    for stage, blocks in enumerate(self.stages):
      for block in blocks:
        x = block(x)
      if stage in (1, 2):
        x = pool(x, 2, 2)
    return x


def peer(backbone):
  """The same network as one of our backbones, with weights of its own."""
  kind = getattr(backbone, 'variant', 'msn69')
  return Network(kind, backbone.stem, backbone.widths, backbone.blocks)


_NAMES = {
  'kernel': 'weight',
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}


def renamed(variables):
  """{their name: array in their layout} of {our path, a tuple: array}."""
  found = {}
  for (*path, name), x in variables.items():
    x = np.asarray(x)
    if name == 'kernel':
      x = x.transpose(4, 3, 0, 1, 2)
    found['.'.join([*map(str, path), _NAMES[name]])] = np.ascontiguousarray(x)
  return found


def moved(network, variables):
  """Loads our variables, {path: array}, into a network; all must be there."""
  state = {name: torch.tensor(x) for name, x in renamed(variables).items()}
  counters = {
    name: x for name, x in network.state_dict().items() if name.endswith('tracked')
  }
  network.load_state_dict(state | counters)
  return network


def pixels(frames):
  """Frames uint8 [B, T, H, W, 3] as the networks take them."""
  normal = (np.float32(frames) / 255 - np.float32(MEAN)) / np.float32(STD)
  return torch.tensor(np.ascontiguousarray(normal.transpose(0, 4, 1, 2, 3)))
