"""Names and shapes of VideoMAE's weights, in PyTorch and here.

Two layouts are known: that of Hugging Face `transformers` and that of the reference
repository (and of VideoMAE V2). Here dense kernels are [inputs, outputs], and the
parameters of blocks are stacked along a leading axis.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable

import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.models.layers import sincos_1d
from mvp_jax.weights.torch_file import Stored

QUERY_KEY_VALUE = ('query', 'key', 'value')


@dataclasses.dataclass(frozen=True)
class Layout:
  """Names in a layout: {ours: theirs}, without prefixes that files may add."""

  name: str
  modules: dict[str, str]
  stacks: dict[str, str]
  block: dict[str, str]
  positions: tuple[str, ...]  # tables of positions, if stored
  inner: str  # what the encoder may be called inside a model


_COMMON = {  # modules that both layouts call alike
  'to_decoder': 'encoder_to_decoder',
  'decoder_norm': 'decoder.norm',
  'to_pixels': 'decoder.head',
  'norm': 'fc_norm',
}
HUGGINGFACE = Layout(
  'huggingface',
  {
    'encoder/embed': 'embeddings.patch_embeddings.projection',
    'encoder/norm': 'layernorm',
    **_COMMON,
    'head': 'classifier',
  },
  {'encoder/stack/blocks': 'encoder.layer', 'decoder/blocks': 'decoder.decoder_layers'},
  {
    'norm1': 'layernorm_before',
    'norm2': 'layernorm_after',
    **{f'attention/{x}': f'attention.attention.{x}' for x in QUERY_KEY_VALUE},
    'attention/out': 'attention.output.dense',
    'up': 'intermediate.dense',
    'down': 'output.dense',
  },
  ('embeddings.position_embeddings', 'position_embeddings'),
  'videomae.',
)
REFERENCE = Layout(
  'reference',
  {
    'encoder/embed': 'patch_embed.proj',
    'encoder/norm': 'norm',
    **_COMMON,
    'head': 'head',
  },
  {'encoder/stack/blocks': 'blocks', 'decoder/blocks': 'decoder.blocks'},
  {
    'norm1': 'norm1',
    'norm2': 'norm2',
    # these three are one matrix in the files; see `_split`
    **{f'attention/{x}': f'attn.{x}' for x in QUERY_KEY_VALUE},
    'attention/out': 'attn.proj',
    'up': 'mlp.fc1',
    'down': 'mlp.fc2',
  },
  ('pos_embed', 'decoder.pos_embed'),
  'encoder.',
)
LAYOUTS = {layout.name: layout for layout in (HUGGINGFACE, REFERENCE)}

_WRAPPERS = re.compile(r'(?:(?:module|model|backbone|_orig_mod)\.)+')
_EMBEDDINGS = tuple(
  layout.modules['encoder/embed'] + '.weight' for layout in LAYOUTS.values()
)
# Words in the names of averages over the steps of a training.
_AVERAGES = {
  'ema',
  'teacher',
  'momentum',
  'target',
  'average',
  'averaged',
  'avg',
  'swa',
}


@dataclasses.dataclass(frozen=True)
class Leaf:
  """One of our arrays, made from tensors of a file."""

  names: tuple[str, ...]  # in the file
  shape: tuple[int, ...]
  dtypes: frozenset[str]  # in the file
  read: Callable[[], np.ndarray]  # float32


@dataclasses.dataclass(frozen=True)
class Translation:
  """How the tensors of a file map to our arrays."""

  layout: Layout
  leaves: dict[str, Leaf]  # by our path, 'encoder/stack/blocks/up/kernel'
  recomputed: tuple[str, ...]  # names of tables of fixed positions
  left_over: tuple[str, ...]  # names without a counterpart here
  notes: tuple[str, ...] = ()


def translate(tensors, path):
  """Maps the tensors of a file, {name: Stored}, to our arrays.

  Raises:
    InputError: this is no VideoMAE, or it has parts that this model lacks.
  """
  layout, named, notes = _normalise(tensors, path)
  found, recomputed, left_over = {}, [], []
  for name, (original, tensor) in named.items():
    if name in layout.positions:
      _check_positions(path, original, tensor)
      recomputed.append(original)
      continue
    if name.endswith(f'{layout.block["attention/key"]}.bias'):
      continue  # adds the same to all scores of a query, which softmax takes out
    place = _place(layout, name)
    if place is None:
      if re.match(r'(encoder\.layer|blocks|patch_embed|embeddings)\.', name) or (
        name == 'cls_token'
      ):
        raise InputError(
          f'{path}: {original} is a part of the encoder that VideoMAE as it is '
          'here does not have; without it the results would be wrong'
        )
      left_over.append(original)
    else:
      found.setdefault(place[0], {})[place[1]] = original, tensor
  leaves = {where: _leaf(path, where, parts) for where, parts in found.items()}
  return Translation(layout, leaves, tuple(recomputed), tuple(left_over), notes)


def zero_biases(leaves):
  """The leaves that a model without biases of query and value lacks: {path: Leaf}.

  Zeros compute the same. Where only some of a stack's are absent, nothing is added.
  """
  added = {}
  for stack in HUGGINGFACE.stacks:
    kernel = leaves.get(f'{stack}/attention/query/kernel')
    biases = [f'{stack}/attention/{part}/bias' for part in ('query', 'value')]
    if kernel is not None and not any(bias in leaves for bias in biases):
      shape = kernel.shape[0], kernel.shape[-1]
      zeros = functools.partial(np.zeros, shape, np.float32)
      added |= dict.fromkeys(biases, Leaf((), shape, frozenset(), zeros))
  return added


def holds_encoder(names):
  """Whether tensors of these names are, or contain, the encoder of a VideoMAE."""
  return any(name.endswith(_EMBEDDINGS) for name in names)


def chosen(names, path, network='VideoMAE'):
  """Which of several models in a file to use: the trained one, not its average.

  Raises InputError if that leaves more than one.
  """
  averages = [n for n in names if _AVERAGES & set(re.split(r'[._]', n.lower()))]
  left = [n for n in names if n not in averages] or averages
  if len(left) > 1:
    raise InputError(
      f'{path}: holds several {network}s, {", ".join(map(repr, left))}; keep the '
      'tensors of one'
    )
  return left[0]


def unwrapped(name):
  """The name of a tensor without what programs put before all of them."""
  return _WRAPPERS.sub('', name, count=1) if _WRAPPERS.match(name) else name


def _normalise(tensors, path):
  """The layout, {name without prefixes: (name in the file, Stored)}, and notes."""
  bare = {name: unwrapped(name) for name in tensors}
  layout = next(
    (
      layout
      for layout, end in zip(LAYOUTS.values(), _EMBEDDINGS, strict=True)
      if any(name.endswith(end) for name in bare.values())
    ),
    None,
  )
  if layout is None:
    raise InputError(
      f'{path}: is no VideoMAE of Hugging Face or of the reference repository: no '
      f'tensor is called *{" or *".join(_EMBEDDINGS)}; there are '
      f'{", ".join(sorted(tensors)[:3]) or "none"}...'
    )
  inner, end = (re.escape(x) for x in (layout.inner, _EMBEDDINGS[layout is REFERENCE]))
  embedding = re.compile(rf'((?:[^.]+\.)*?)(?:{inner})?{end}')
  prefixes = [m[1] for name in bare.values() if (m := embedding.fullmatch(name))]
  prefix, notes = chosen(prefixes, path), ()
  if len(prefixes) > 1:
    others = ', '.join(f'{p}*' for p in prefixes if p != prefix)
    notes = (f'the tensors {prefix}* are used, and not those of {others}',)
  # A head may lie outside: 'student.head' beside 'student.backbone.patch_embed'.
  words = prefix.split('.')
  within = [
    p for n in range(len(words), 1, -1) if (p := '.'.join(words[: n - 1]) + '.')
  ]
  named = {}
  for original, name in bare.items():
    name = name.removeprefix(next((p for p in within if name.startswith(p)), ''))
    name = name.removeprefix(layout.inner)
    for part, tensor in _split(layout, name, tensors[original]):
      if part in named:
        raise InputError(
          f'{path}: {named[part][0]} and {original} are the same '
          'tensor by name; keep one of them'
        )
      named[part] = original, tensor
  return layout, named, notes


def _split(layout, name, tensor):
  """Splits fused query, key and value, and unifies the names of biases."""
  name = re.sub(r'\.q_bias$', '.query.bias', name)
  name = re.sub(r'\.k_bias$', '.key.bias', name)
  name = re.sub(r'\.v_bias$', '.value.bias', name)
  if layout is REFERENCE and re.search(r'\.attn\.qkv\.(weight|bias)$', name):
    width, rest = divmod(tensor.shape[0] if tensor.shape else 0, 3)
    if not rest and len(tensor.shape) == (2 if name.endswith('weight') else 1):
      for i, part in enumerate(QUERY_KEY_VALUE):
        yield (
          name.replace('.qkv.', f'.{part}.'),
          Stored(
            (width, *tensor.shape[1:]),
            tensor.dtype,
            lambda i=i: tensor.read()[i * width : (i + 1) * width],
          ),
        )
      return
  yield name, tensor


def _place(layout, name):
  """Our path of a (normalised) name, and its layer or None; None if unknown."""
  if name == 'mask_token':
    return name, None
  module, _, kind = name.rpartition('.')
  if kind not in ('weight', 'bias'):
    return None
  ours, layer = {v: k for k, v in layout.modules.items()}.get(module), None
  for stack, theirs in layout.stacks.items():
    match = re.fullmatch(re.escape(theirs) + r'\.(\d{1,4})\.(.+)', module)
    if match:
      inner = {v: k for k, v in layout.block.items()}.get(match[2])
      ours, layer = inner and f'{stack}/{inner}', int(match[1])
  if ours is None:
    return None
  if kind == 'weight':
    kind = 'scale' if 'norm' in ours.rpartition('/')[2] else 'kernel'
  return f'{ours}/{kind}', layer


def _leaf(path, where, parts):
  """The Leaf of our path `where`; `parts` is {layer or None: (name, Stored)}."""
  layers = sorted(parts) if None not in parts else [None]
  if layers != [None] and layers != list(range(len(layers))):
    absent = min(set(range(len(layers))) - set(layers))
    raise InputError(
      f'{path}: layer {absent} of {parts[layers[0]][0]} (and the like) '
      'is missing; the file is not whole'
    )
  names, tensors = zip(*(parts[i] for i in layers), strict=True)
  shapes = {_our_shape(where, t.shape) for t in tensors}
  if len(shapes) > 1 or None in shapes:
    raise InputError(
      f'{path}: {names[0]} (and the like) has the shape '
      f'{" and ".join(map(str, sorted({t.shape for t in tensors})))}, '
      'which fits no VideoMAE'
    )
  (shape,) = shapes
  dtypes = frozenset(t.dtype for t in tensors)
  if not all('float' in dtype for dtype in dtypes):
    raise InputError(
      f'{path}: {names[0]} (and the like) is stored as '
      f'{", ".join(sorted(dtypes))}; it must be floats'
    )

  def read():
    read = [to_ours(where, t.read()).astype(np.float32) for t in tensors]
    value = read[0] if layers == [None] else np.stack(read)
    if not np.isfinite(value).all():
      raise InputError(
        f'{path}: {names[0]} (and the like) holds values that are not '
        'finite in float32; the training that wrote it had failed'
      )
    return value

  return Leaf(names, shape if layers == [None] else (len(layers), *shape), dtypes, read)


def _our_shape(where, shape):
  if where == 'mask_token':
    return (math.prod(shape),)
  ndim = 5 if where == 'encoder/embed/kernel' else 2 if where.endswith('kernel') else 1
  if len(shape) != ndim:
    return None
  return (math.prod(shape[1:]), shape[0]) if ndim > 1 else shape


def to_ours(where, x):
  """The values of a PyTorch tensor (of one layer) in our layout."""
  if where == 'mask_token':
    return x.reshape(-1)
  if where == 'encoder/embed/kernel':  # [D, colour, time, row, column]
    return x.transpose(2, 3, 4, 1, 0).reshape(-1, x.shape[0])
  return x.T


def from_ours(where, x, config):
  """The inverse of `to_ours`."""
  if where == 'mask_token':
    return x.reshape(1, 1, -1)
  if where == 'encoder/embed/kernel':
    x = x.reshape(config.tubelet, config.patch, config.patch, 3, -1)
    return x.transpose(4, 3, 0, 1, 2)
  return x.T


def names_of(layout, where, depth):
  """The (normalised) names of our path: one, or one per layer if stacked."""
  if where == 'mask_token':
    return [where]
  module, _, kind = where.rpartition('/')
  kind = 'bias' if kind == 'bias' else 'weight'
  if module in layout.modules:
    return [f'{layout.modules[module]}.{kind}']
  stack = next(s for s in layout.stacks if module.startswith(s + '/'))
  inner = layout.block[module[len(stack) + 1 :]]
  return [f'{layout.stacks[stack]}.{i}.{inner}.{kind}' for i in range(depth)]


def _check_positions(path, name, tensor):
  """Raises InputError unless a stored table equals the fixed one."""
  if len(tensor.shape) == 3 and tensor.shape[0] == 1 and tensor.shape[2] % 2 == 0:
    fixed = sincos_1d(np.arange(tensor.shape[1]), tensor.shape[2])
    if np.allclose(tensor.read()[0].astype(np.float32), fixed, atol=0.01):
      return
  raise InputError(
    f'{path}: {name} holds learnt positions, and those of this model '
    'are fixed (sin-cos); such a checkpoint cannot be used'
  )
