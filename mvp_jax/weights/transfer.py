"""Transfers parameters from a checkpoint, and reports what became of each."""

import dataclasses
import re

import jax
import numpy as np
from flax import nnx, traverse_util

from mvp_jax.errors import InputError
from mvp_jax.models import videomae
from mvp_jax.weights.sources import infer_config

# Fields of a VideoMAEConfig that a checkpoint fixes.
_ENCODER = ('width', 'depth', 'heads', 'mlp_width', 'tubelet', 'patch')
_DECODER = ('decoder_width', 'decoder_depth', 'decoder_heads')
_HEAD = ('head/kernel', 'head/bias')


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of a checkpoint's tensors and of a model's parameters.

  `matched` and `missing` are our paths, the others are names in the file.
  """

  source: str
  layout: str
  kind: str  # pre-training, classifier or encoder: what the file holds
  matched: tuple[str, ...]
  recomputed: tuple[str, ...]  # positions
  missing: tuple[str, ...]  # left at their initial values
  left_over: tuple[str, ...]
  notes: tuple[str, ...]

  def __str__(self):
    lines = [
      f'{self.source}: {self.layout} layout, {self.kind}',
      f'  matched: {len(self.matched)} arrays'
      + ('' if self.missing else ', all of the model'),
      f'  positions, recomputed though stored: {_named(self.recomputed)}',
      f'  missing, left at their initial values: {_named(self.missing)}',
      f'  left over in the file: {_named(self.left_over)}',
    ]
    return '\n'.join(lines + [f'  note: {note}' for note in self.notes])


def _named(names):
  """The names, with layers grouped: 'blocks.{0-11}.norm1.bias'."""
  groups = {}
  for name in names:
    number = re.search(r'\.(\d+)\.', name)
    key = re.sub(r'\.\d+\.', '.{}.', name, count=1)
    groups.setdefault(key, []).append(int(number[1]) if number else None)
  named = []
  for key, layers in groups.items():
    low, high = (min(layers), max(layers)) if None not in layers else (None, None)
    whole = low is not None and len(set(layers)) == high - low + 1
    if low is None:
      named.append(key)
    elif whole:
      named.append(key.replace('{}', str(low) if low == high else f'{{{low}-{high}}}'))
    else:
      named += [key.replace('{}', str(n)) for n in sorted(layers)]
  return ', '.join(named) or 'none'


def adopt(source, config, init):
  """Takes everything that fits from a checkpoint.

  The encoder must be complete, except that a classifier has no final norm, nor what
  transformers pre-trains by default: a model with one keeps its initial values.
  Anything else that is missing (a decoder, a head, or a head of other outputs) keeps
  its initial values.

  Args:
    source: Source.
    config: VideoMAEConfig of the model. Its frames and size may differ from the
      checkpoint's, for positions are fixed.
    init: function without arguments that gives initial parameters, a nested dict as
      of `state.init_params`, of a VideoMAE, a VideoClassifier or of both's `encoder`
      alone. It is called only if something is missing.

  Returns:
    (parameters, a nested dict of float32 NumPy arrays; Report).

  Raises:
    InputError: other sizes, or missing parts of the encoder.
  """
  wanted = traverse_util.flatten_dict(jax.eval_shape(init), sep='/')
  decoder = 'mask_token' in wanted and 'mask_token' in source.leaves
  notes = check_sizes(source, config, _ENCODER + (_DECODER if decoder else ()))
  theirs = infer_config(source, config.heads) if decoder else config
  for name in ('target', 'noise_floor'):
    before, now = (getattr(one, name) for one in (theirs, config))
    if before != now:
      notes.append(
        f'the decoder was trained with {name} {before!r}; here it is {now!r}'
      )
  other_head = [
    p
    for p in _HEAD
    if p in wanted and p in source.leaves and source.leaves[p].shape != wanted[p].shape
  ]
  if other_head:
    notes.append(
      f'the head has {source.leaves[other_head[0]].shape[-1]} outputs in '
      f'the file and {wanted[other_head[0]].shape[-1]} here'
    )
  found = {p for p in wanted if p in source.leaves} - (
    set(_HEAD) if other_head else set()
  )
  missing = [p for p in wanted if p not in found]
  _check_missing(source, missing, notes)
  for path in found:
    if source.leaves[path].shape != wanted[path].shape:
      name = next(iter(source.leaves[path].names), 'what is not there')
      raise InputError(
        f'{source.path}: {name} (and the like) gives {path} '
        f'the shape {source.leaves[path].shape}, must be {wanted[path].shape}'
      )
  fresh = traverse_util.flatten_dict(init(), sep='/') if missing else {}
  params = {
    path: source.leaves[path].read() if path in found else np.asarray(fresh[path])
    for path in wanted
  }
  unused = [
    name
    for path, leaf in source.leaves.items()
    if path not in found
    for name in leaf.names
  ]
  return traverse_util.unflatten_dict(params, sep='/'), _report(
    source, [p for p in wanted if p in found], missing, unused, notes
  )


def take_all(source, config):
  """Everything in a checkpoint of a VideoMAE, a classifier or an encoder alone.

  Returns (parameters, Report), as `adopt`. Raises InputError if a part is missing.
  """

  def init():
    rngs = nnx.Rngs(0)
    if source.kind == 'pre-training':
      model = videomae.VideoMAE(config, rngs=rngs, final_norm=source.final_norm)
      return nnx.to_pure_dict(nnx.state(model))
    if source.kind == 'classifier':
      outputs = source.leaves['head/kernel'].shape[-1]
      return nnx.to_pure_dict(
        nnx.state(videomae.VideoClassifier(config, outputs, rngs=rngs))
      )
    encoder = videomae.Encoder(config, rngs=rngs, final_norm=source.final_norm)
    return {'encoder': nnx.to_pure_dict(nnx.state(encoder))}

  params, report = adopt(source, config, init)
  if report.missing:
    raise InputError(
      f'{source.path}: is not whole: there is nothing for {", ".join(report.missing)}'
    )
  return params, report


def survey(source):
  """Describes a checkpoint: a string."""
  stored = {dtype for leaf in source.leaves.values() for dtype in leaf.dtypes}
  lines = [
    f'{source.path}: {source.translation.layout.name} layout, {source.kind}',
    f'  {len(source.tensors)} tensors, stored as {", ".join(sorted(stored))}; '
    f'they are {len(source.leaves)} arrays here',
    f'  positions stored: {_named(source.translation.recomputed)}',
    f'  without a place here: {_named(source.translation.left_over)}',
  ]
  return '\n'.join(lines + [f'  note: {note}' for note in source.notes])


def _report(source, matched, missing, unused, notes):
  dtypes = set().union(*(source.leaves[p].dtypes for p in matched)) - {'float32'}
  if dtypes:
    notes.append(f'stored as {", ".join(sorted(dtypes))}, used as float32')
  return Report(
    str(source.path),
    source.translation.layout.name,
    source.kind,
    tuple(matched),
    source.translation.recomputed,
    tuple(missing),
    (*unused, *source.translation.left_over),
    (*source.notes, *notes),
  )


def check_sizes(source, config, fields=_ENCODER):
  """Raises InputError if the checkpoint's sizes are not those of the config.

  Returns:
    A list of sentences: harmless differences, and what could not be checked.
  """
  if source.settings:
    found = infer_config(source)
    compare_sizes(source.path, found, config, fields)
    if (found.frames, found.size) == (config.frames, config.size):
      return []
    return [
      f'trained on {found.frames} frames of {found.size} px; positions are '
      f'recomputed for {config.frames} of {config.size} px'
    ]
  compare_sizes(
    source.path,
    infer_config(source, config.heads),
    config,
    [f for f in fields if f not in ('heads', 'decoder_heads')],
  )
  return [f'the number of heads is not in the file: {config.heads} are assumed']


def compare_sizes(path, found, config, fields=_ENCODER):
  """Raises InputError if two VideoMAEConfigs differ in one of `fields`."""
  different = [f for f in fields if getattr(found, f) != getattr(config, f)]
  if different:
    known = next(
      (
        name
        for name in videomae.PRESETS
        if all(
          getattr(videomae.preset(name), f) == getattr(found, f)
          for f in ('width', 'depth', 'mlp_width')
        )
      ),
      None,
    )
    called = f'VideoMAE-{known}' if known else 'a VideoMAE of no known size'
    raise InputError(
      f'{path}: is {called} with '
      + ', '.join(f'{f} {getattr(found, f)}' for f in different)
      + '; the config wants '
      + ', '.join(f'{f} {getattr(config, f)}' for f in different)
      + '; set encoder.size, encoder.patch and input.clips.tubelet to the '
      "checkpoint's, or give another one"
    )


def _check_missing(source, missing, notes):
  def final_norm(path):
    return path in ('encoder/norm/scale', 'encoder/norm/bias')

  absent = [p for p in missing if p.startswith('encoder/') and not final_norm(p)]
  if absent or (any(map(final_norm, missing)) and source.final_norm):
    raise InputError(
      f'{source.path}: is not whole: there is nothing for '
      f'{", ".join(absent or filter(final_norm, missing))}'
    )
  if any(map(final_norm, missing)):
    notes.append(
      'the file has no final norm of the encoder (a fine-tuned classifier has none, '
      'nor what transformers pre-trains by default); it starts as scale 1 and bias 0'
    )
