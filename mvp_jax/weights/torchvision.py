"""Reads torchvision's R(2+1)D-18 and ResNet-18, batch statistics included."""

import dataclasses
import re
from pathlib import Path

import numpy as np
from flax import nnx, traverse_util

from mvp_jax.errors import InputError
from mvp_jax.models.backbones.r2plus1d import R2Plus1D
from mvp_jax.models.backbones.resnet import ResNet18
from mvp_jax.weights.layouts import chosen, unwrapped
from mvp_jax.weights.sources import read_tensors
from mvp_jax.weights.torch_file import Stored
from mvp_jax.weights.transfer import Report


@dataclasses.dataclass(frozen=True)
class Layout:
  """Names of modules: {ours: theirs}.

  Attributes:
    name: of the network.
    mark: a tensor that only this network has.
    modules: those outside of blocks.
    block: those of a block, 'layers/0/1' here and 'layer1.1' there.
  """

  name: str
  mark: str
  modules: dict[str, str]
  block: dict[str, str]


_FACTORED = ('spatial', 'spatial_norm', 'temporal', 'norm')
_SHORTCUT = {'shortcut': 'downsample.0', 'shortcut_norm': 'downsample.1'}
# Of each backbone that can be read, by its class.
LAYOUTS = {
  R2Plus1D: Layout(
    'R(2+1)D-18',
    'layer1.0.conv1.0.0.weight',
    {f'stem/{x}': f'stem.{n}' for x, n in zip(_FACTORED, '0134', strict=True)},
    {
      f'conv{i}/{x}': f'conv{i}.{n}'
      for i in (1, 2)
      for x, n in zip(_FACTORED, ('0.0', '0.1', '0.3', '1'), strict=True)
    }
    | _SHORTCUT,
  ),
  ResNet18: Layout(
    'ResNet-18',
    'layer1.0.conv1.weight',
    {'stem': 'conv1', 'stem_norm': 'bn1'},
    {
      'conv1': 'conv1',
      'norm1': 'bn1',
      'conv2': 'conv2',
      'norm2': 'bn2',
      **_SHORTCUT,
    },
  ),
}
_KINDS = {
  'kernel': 'weight',
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}


@dataclasses.dataclass(frozen=True)
class Weights:
  """An opened checkpoint whose tensors all fit; their values are read on demand."""

  path: Path
  files: tuple[Path, ...]
  tensors: dict[tuple, tuple[str, Stored, tuple[int, ...]]]  # by our path; our shape
  report: Report

  def read(self):
    """The variables of the backbone, a nested dict of float32 arrays.

    Raises InputError if a value cannot be used.
    """
    return traverse_util.unflatten_dict(
      {path: self._value(path, *found) for path, found in self.tensors.items()}
    )

  def _value(self, path, name, tensor, shape):
    x = tensor.read().astype(np.float32)
    if not np.isfinite(x).all():
      raise InputError(
        f'{self.path}: {name} holds values that are not finite in float32; the '
        'training that wrote it had failed'
      )
    if path[-1] == 'var' and (x < 0).any():
      raise InputError(f'{self.path}: {name} holds variances below 0; give another one')
    if path[-1] == 'kernel':
      x = np.moveaxis(x, (0, 1), (-1, -2))  # outputs and inputs come last
      if x.shape[-2] == 3 and shape[-2] == 1:
        x = x.sum(-2, keepdims=True)
    return x.reshape(shape)


def open_weights(path, backbone):
  """Opens weights of torchvision for a backbone: Weights.

  Args:
    path: pathlib.Path of a state dict, written by `torch.save` or as safetensors; it
      may lie under 'state_dict' or the like, beside other things.
    backbone: of a class in `LAYOUTS`. A ResNet18 of one channel takes the sum of the
      first convolution's three: what it gives for the same picture in all channels.

  Raises:
    InputError: it can't be read, is of another network or size, or is not whole.
  """
  layout = LAYOUTS[type(backbone)]

  def holds(names):
    return any(unwrapped(name).endswith(layout.mark) for name in names)

  files, tensors, notes = read_tensors(path, layout.name, holds)
  named, said = _named(path, layout, tensors)
  notes = [*notes, *said]
  model = nnx.eval_shape(lambda: backbone.create(rngs=nnx.Rngs(0)))
  wanted = traverse_util.flatten_dict(nnx.to_pure_dict(nnx.state(model)))
  found = {}
  for ours, variable in wanted.items():
    name = theirs(layout, ours)
    if name not in named:
      raise InputError(f'{path}: is not whole: there is no {name} for {layout.name}')
    original, tensor = named.pop(name)
    fits = _their_shape(layout, ours, variable.shape)
    summed = (fits[0], 3, *fits[2:]) if ours == ('stem', 'kernel') else fits
    if tensor.shape == summed != fits:
      notes.append(f'{original}: its three channels are summed to one')
    elif tensor.shape != fits:
      raise InputError(
        f'{path}: {original} has the shape {tensor.shape}; in this {layout.name} it '
        f'must be {fits}'
      )
    if 'float' not in tensor.dtype:
      raise InputError(
        f'{path}: {original} is stored as {tensor.dtype}; it must be floats'
      )
    found[ours] = original, tensor, variable.shape
  counters = [name for name in named if name.endswith('.num_batches_tracked')]
  if counters:
    notes.append(f'{len(counters)} counters (num_batches_tracked) have no use here')
  left_over = [named[name][0] for name in named if name not in counters]
  for name in named:
    if name not in counters and re.match(r'(stem|conv1|bn1|layer\d+)\.', name):
      raise InputError(
        f'{path}: {named[name][0]} is a part that {layout.name} as it is here does not '
        'have; without it the results would be wrong'
      )
  dtypes = {tensor.dtype for _, tensor, _ in found.values()} - {'float32'}
  if dtypes:
    notes.append(f'stored as {", ".join(sorted(dtypes))}, used as float32')
  report = Report(
    str(path),
    'torchvision',
    layout.name,
    tuple('/'.join(map(str, ours)) for ours in found),
    (),
    (),
    tuple(left_over),
    tuple(notes),
  )
  return Weights(path, files, found, report)


def theirs(layout, path):
  """The name of one of our variables in a file; `path` is a tuple."""
  *module, kind = map(str, path)
  if module[0] == 'layers':
    number, block, *inner = module[1:]
    place = f'layer{int(number) + 1}.{block}.{layout.block["/".join(inner)]}'
  else:
    place = layout.modules['/'.join(module)]
  return f'{place}.{_KINDS[kind]}'


def _named(path, layout, tensors):
  """{name without prefixes: (name in the file, Stored)}, and notes."""
  bare = {unwrapped(name): name for name in tensors}
  prefixes = [
    name.removesuffix(layout.mark)
    for name in bare
    if name == layout.mark or name.endswith('.' + layout.mark)
  ]
  if not prefixes:
    raise InputError(
      f'{path}: is no {layout.name} of torchvision: no tensor is called '
      f'{layout.mark}; there are {", ".join(sorted(tensors)[:3]) or "none"}...'
    )
  prefix, notes = chosen(prefixes, path, layout.name), []
  if len(prefixes) > 1:
    others = ', '.join(f'{p}*' for p in prefixes if p != prefix)
    notes.append(f'the tensors {prefix}* are used, and not those of {others}')
  named = {}
  for name, original in bare.items():
    if name.startswith(prefix):
      named[name.removeprefix(prefix)] = original, tensors[original]
    else:
      named[f'beside/{name}'] = original, tensors[original]
  return named, notes


def _their_shape(layout, path, shape):
  """The shape in a file of one of our variables."""
  if path[-1] != 'kernel':
    return shape
  *taps, inputs, outputs = shape
  if layout is LAYOUTS[R2Plus1D]:
    taps = [*taps, 1, 1] if len(taps) == 1 else [1, *taps]
  return (outputs, inputs, *taps)
