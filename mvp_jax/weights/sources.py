"""PyTorch checkpoints on disk: which files, which layout, which sizes."""

import collections
import dataclasses
import hashlib
import itertools
import json
from pathlib import Path

import safetensors

from mvp_jax.errors import InputError
from mvp_jax.models import videomae
from mvp_jax.models.layers import NORM_EPSILON
from mvp_jax.raw.on_disk import read_bytes, require_regular
from mvp_jax.weights.layouts import (
  HUGGINGFACE,
  Translation,
  chosen,
  holds_encoder,
  translate,
  zero_biases,
)
from mvp_jax.weights.torch_file import Stored, read_torch

CONFIG = 'config.json'
_WEIGHTS = ('model.safetensors', 'pytorch_model.bin')
_STATE_DICTS = ('model', 'module', 'state_dict')  # usual entries that hold the tensors
_SHOWN = 40  # names in a message
_MOST_ENTRIES = 1_000_000  # of the dicts in a checkpoint
_MOST_TOKENS = 1_000_000  # in a clip; of 64 frames of 384 pixels it is 18,432
_DTYPES = {'F64': 'float64', 'F32': 'float32', 'F16': 'float16', 'BF16': 'bfloat16'}


@dataclasses.dataclass(frozen=True)
class Source:
  """An opened checkpoint; its values are read on demand."""

  path: Path
  files: tuple[Path, ...]
  tensors: dict[str, Stored]
  translation: Translation
  settings: dict  # config.json of Hugging Face, or empty
  notes: tuple[str, ...]

  @property
  def leaves(self):
    return self.translation.leaves

  @property
  def kind(self):
    """What it was saved as, judged by its contents."""
    if 'mask_token' in self.leaves:
      return 'pre-training'
    return 'classifier' if 'head/kernel' in self.leaves else 'encoder'

  @property
  def final_norm(self):
    """Whether its encoder has one: what transformers pre-trains by default has none.

    It also does where the file should hold one and is not whole.
    """
    may_lack = self.translation.layout is HUGGINGFACE and self.settings.get(
      'use_mean_pooling', True
    )
    return 'encoder/norm/scale' in self.leaves or (
      self.kind == 'pre-training' and not may_lack
    )


def sha256(files):
  """SHA-256 of weight files, one after another."""
  sha = hashlib.sha256()
  for path in files:
    with path.open('rb') as file:
      while block := file.read(1 << 22):
        sha.update(block)
  return sha.hexdigest()


def open_source(path):
  """Opens a PyTorch checkpoint without reading its values: Source.

  Args:
    path: a Hugging Face folder (config.json and model.safetensors or
      pytorch_model.bin, in one or several pieces), one such file, or a checkpoint of
      the reference repository (.pth).

  Raises:
    InputError: it does not exist, can't be read, or is no VideoMAE.
  """
  path = Path(path)
  files, tensors, notes = read_tensors(path, 'VideoMAE', holds_encoder)
  translation = translate(tensors, path)
  settings = {}
  if translation.layout is HUGGINGFACE:
    settings = _settings(files[0].parent / CONFIG)
    notes += _differences(settings, files[0].parent / CONFIG, translation.leaves)
  zeros = zero_biases(translation.leaves)
  if zeros and not settings.get('qv_bias'):
    translation = dataclasses.replace(translation, leaves=translation.leaves | zeros)
    notes.append('query and value have no biases in the file (qkv_bias=False): zeros')
  notes += translation.notes
  return Source(path, files, tensors, translation, settings, tuple(notes))


def read_tensors(path, network, holds):
  """Opens the tensors of a PyTorch checkpoint without reading their values.

  Args:
    path: pathlib.Path of a file, or of a Hugging Face folder.
    network: what is looked for, in messages: 'VideoMAE'.
    holds: whether tensors of these names are, or contain, that network: decides which
      of several dicts of tensors in a file is meant.

  Returns:
    (files, {name: Stored}, notes).

  Raises:
    InputError: it does not exist, or can't be read.
  """
  if not path.exists():
    raise InputError(f'{path}: there is no such checkpoint')
  files = _files(path) if path.is_dir() else (path,)
  tensors, notes = {}, []
  for file in files:
    found, said = _read(file, network, holds)
    found = {' '.join(name.split()): x for name, x in found.items()}  # in messages
    twice = sorted(tensors.keys() & found.keys())
    if twice:
      raise InputError(
        f'{file}: {twice[0]} is in another piece too; copy the folder again'
      )
    tensors |= found
    notes += said
  return files, tensors, notes


def _files(folder):
  for name in _WEIGHTS:
    if (folder / name).exists():
      return (folder / name,)
    index = folder / f'{name}.index.json'
    if index.exists():
      pieces = _json(index).get('weight_map')
      if not isinstance(pieces, dict) or not pieces:
        raise InputError(f'{index}: has no weight_map; copy the folder again')
      for piece in pieces.values():
        if Path(str(piece)).name != piece or not (folder / piece).exists():
          raise InputError(f'{index}: names {piece!r}, which is not in this folder')
      return tuple(folder / piece for piece in sorted(set(pieces.values())))
  raise InputError(
    f'{folder}: holds neither {" nor ".join(_WEIGHTS)}; give the checkpoint file itself'
  )


def _json(path):
  try:
    value = json.loads(read_bytes(path))
  except (ValueError, OSError, RecursionError) as error:
    told = str(error)[:100]
    raise InputError(
      f'{path}: cannot be read as JSON ({told}); download it again'
    ) from error
  if not isinstance(value, dict):
    raise InputError(f'{path}: must be a JSON object')
  return value


def _read(path, network, holds):
  """{name: Stored} of one file, and notes."""
  try:
    require_regular(path)
    with path.open('rb') as file:
      head = file.read(16)
  except OSError as error:
    raise InputError(f'{path}: cannot be read ({error.strerror})') from None
  if head.startswith(b'PK\x03\x04'):
    return _torch_tensors(path, network, holds)
  if head[8:9] == b'{':  # after the length of the header
    return _safetensors(path), []
  if head.startswith(b'version https'):
    raise InputError(
      f'{path}: is a pointer of Git LFS and not the weights; fetch them '
      'with git lfs pull'
    )
  if head.startswith(b'\x80'):
    raise InputError(
      f'{path}: is a bare pickle, as PyTorch wrote before 1.6; with PyTorch, '
      'torch.load it and torch.save it anew'
    )
  raise InputError(f'{path}: is neither safetensors nor a file of torch.save')


def _safetensors(path):
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      shapes = {
        name: (tuple(part.get_shape()), part.get_dtype())
        for name in file.keys()  # noqa: SIM118
        for part in [file.get_slice(name)]
      }
  except (safetensors.SafetensorError, OSError) as error:
    raise InputError(
      f'{path}: is not whole ({error}); copy or download it again'
    ) from error

  def reader(name):
    def read():
      with safetensors.safe_open(path, framework='numpy') as file:
        return file.get_tensor(name)

    return read

  return {
    name: Stored(shape, _DTYPES.get(dtype, dtype), reader(name))
    for name, (shape, dtype) in shapes.items()
  }


def _torch_tensors(path, network, holds):
  saved, inert = read_torch(path)
  notes = []
  if inert:
    notes.append(f'objects that were neither made nor run: {_told(inert)}')
  states = dict(_states(path, saved))
  name = next((name for name in ('', *_STATE_DICTS) if name in states), None)
  if name is None or not holds(states[name]):
    models = [name for name, state in states.items() if holds(state)]
    name = chosen(models, path, network) if models else name
  if name is None:
    entries = _told(saved) if isinstance(saved, dict) else 'no dict'
    raise InputError(
      f'{path}: holds no tensors under {", ".join(_STATE_DICTS)}, and no {network} '
      f'under another name; there is {entries}'
    )
  state = states[name]
  beside = [str(key) for key in saved if key != name.split('.')[0]] if name else []
  if beside:
    notes.append(f'beside {name!r} in the file, not used: {_told(beside)}')
  others = [str(key) for key, x in state.items() if not isinstance(x, Stored)]
  if others:
    notes.append(f'no tensors, not used: {_told(others)}')
  return {str(key): x for key, x in state.items() if isinstance(x, Stored)}, notes


def _told(names):
  """Names in a message, not more than can be read."""
  few = list(map(str, itertools.islice(names, _SHOWN)))
  return ', '.join(few) + (f' and {len(names) - _SHOWN} more' * (len(names) > _SHOWN))


def _states(path, saved, name='', seen=None):
  """Yields (its place, 'a.b', and the dict) of each dict that holds tensors."""
  seen = collections.Counter() if seen is None else seen
  if not isinstance(saved, dict) or name.count('.') > 3:
    return
  seen['entries'] += len(saved)
  if seen['entries'] > _MOST_ENTRIES:
    raise InputError(
      f'{path}: its dicts hold each other, over {_MOST_ENTRIES} entries in all, as no '
      'checkpoint does; download it again'
    )
  if any(isinstance(x, Stored) for x in saved.values()):
    yield name, saved
  for key, value in saved.items():
    yield from _states(path, value, f'{name}.{key}' if name else str(key), seen)


_DECODER = {  # our fields
  'decoder_width': 'decoder_hidden_size',
  'decoder_depth': 'decoder_num_hidden_layers',
  'decoder_heads': 'decoder_num_attention_heads',
}
# Defaults of transformers for what config.json leaves out.
_DEFAULTS = {
  'image_size': 224,
  'patch_size': 16,
  'num_channels': 3,
  'num_frames': 16,
  'tubelet_size': 2,
  'hidden_act': 'gelu',
  'num_attention_heads': 12,
  'layer_norm_eps': 1e-12,
  'qv_bias': True,
  'use_mean_pooling': True,
  'norm_pix_loss': True,
  'decoder_num_attention_heads': 6,
  'decoder_hidden_size': 384,
  'decoder_num_hidden_layers': 4,
}


def _settings(path):
  """config.json with defaults filled in; empty if there is none."""
  if not path.exists():
    return {}
  given = _json(path)
  if given.get('model_type', 'videomae') != 'videomae':
    raise InputError(f'{path}: is of a {given["model_type"]}, not a videomae')
  if 'qkv_bias' in given:  # as older versions of transformers call it
    given['qv_bias'] = given['qkv_bias']
  settings = _DEFAULTS | {k: v for k, v in given.items() if k in _DEFAULTS}
  for key in ('image_size', 'patch_size'):
    value = settings[key]
    if isinstance(value, list) and len(set(value)) == 1:
      settings[key] = value[0]
  for key, default in _DEFAULTS.items():
    kind = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(settings[key], kind) or (
      kind is int and (isinstance(settings[key], bool) or settings[key] < 1)
    ):
      raise InputError(f'{path}: {key} is {settings[key]!r}, which is not supported')
  tokens = settings['num_frames'] * settings['image_size'] ** 2
  tokens //= settings['tubelet_size'] * settings['patch_size'] ** 2
  if tokens > _MOST_TOKENS:
    raise InputError(
      f'{path}: num_frames, image_size, tubelet_size and patch_size make {tokens:.3g} '
      'tokens in a clip, as no VideoMAE has; download it again'
    )
  for key in ('num_channels', 'hidden_act'):
    if settings[key] != _DEFAULTS[key]:
      raise InputError(
        f'{path}: {key} is {settings[key]!r}; here it can only be {_DEFAULTS[key]!r}'
      )
  if not settings['use_mean_pooling'] and 'VideoMAEForVideoClassification' in str(
    given.get('architectures')
  ):
    raise InputError(
      f'{path}: use_mean_pooling is false: its classifier reads the '
      'first token, and ours the mean over all of them'
    )
  return settings


def _differences(settings, path, leaves):
  """Settings under which the original computes differently, as sentences."""
  if not settings:
    yield f'there is no {path.name}: heads, frames and image size are assumed'
    return
  epsilon = settings['layer_norm_eps']
  if epsilon != NORM_EPSILON:
    yield (
      f'layer_norm_eps is {epsilon:g} in {path.name}, and {NORM_EPSILON:g} here '
      '(as in the reference code): outputs differ slightly'
    )
  if 'decoder_norm/scale' in leaves or 'norm/scale' in leaves:
    yield (
      f'transformers fixes the epsilon of decoder.norm and fc_norm at 1e-05; it '
      f'is {NORM_EPSILON:g} here'
    )


def infer_config(source, heads=None):
  """The sizes of a checkpoint, as a `VideoMAEConfig`.

  Shapes determine everything but heads, frames and image size. These come from
  config.json; without one, the heads are those of the preset of the same width, and a
  clip has 16 frames of 224 pixels. The same holds for the sizes of an absent decoder.

  Args:
    source: Source.
    heads: of the encoder, if no preset has its width; or None.

  Raises:
    InputError: a tensor is missing, or the number of heads is unknown.
  """
  shapes = {path: leaf.shape for path, leaf in source.leaves.items()}
  required(source, [f'encoder/{p}/kernel' for p in ('embed', 'stack/blocks/up')])
  conv = source.tensors[source.leaves['encoder/embed/kernel'].names[0]].shape
  depth, width, mlp_width = shapes['encoder/stack/blocks/up/kernel']
  if conv[1] != 3 or conv[3] != conv[4]:
    raise InputError(
      f'{source.path}: embeds patches of {conv[3]} x {conv[4]} px and '
      f'{conv[1]} colours; they must be square and of 3 colours'
    )
  preset = next(
    (p for p in map(videomae.preset, videomae.PRESETS) if p.width == width), None
  )
  settings = source.settings
  usual = preset or videomae.VideoMAEConfig()
  fields = {
    field: settings[key] if settings else getattr(usual, field)
    for field, key in _DECODER.items()
  }
  heads = heads or settings.get('num_attention_heads') or (preset and preset.heads)
  if not heads:
    raise InputError(
      f'{source.path}: its shapes do not tell the number of heads, and no known '
      f'size is {width} wide; give --heads'
    )
  if 'decoder/blocks/up/kernel' in shapes:
    depth_there, width_there, _ = shapes['decoder/blocks/up/kernel']
    if not settings and fields['decoder_width'] != width_there:
      # heads as wide as the encoder's, as in the published sizes
      fields['decoder_heads'] = max(1, width_there * heads // width)
    fields |= {'decoder_depth': depth_there, 'decoder_width': width_there}
  size = settings.get('image_size', 224)
  try:
    return videomae.VideoMAEConfig(
      width=width,
      depth=depth,
      heads=heads,
      mlp_width=mlp_width,
      **fields,
      frames=settings.get('num_frames', 16),
      size=size,
      tubelet=conv[2],
      patch=conv[3],
      target='normalised' if settings.get('norm_pix_loss', True) else 'pixels',
    )
  except ValueError as error:
    raise InputError(f'{source.path}: {error}') from error


def required(source, paths):
  """Raises InputError if the checkpoint lacks one of our paths."""
  absent = [p for p in paths if p not in source.leaves]
  if absent:
    raise InputError(
      f'{source.path}: is not whole: there is nothing for '
      f'{", ".join(absent)} of the encoder'
    )
