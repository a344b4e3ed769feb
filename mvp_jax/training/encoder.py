"""Encoders: their settings, where their weights come from, what is kept of them."""

import dataclasses
import hashlib
import json
from typing import ClassVar

import jax
import numpy as np

from mvp_jax import checksums
from mvp_jax.data.masks import MaskConfig, mask_sizes
from mvp_jax.data.random_clips import RandomClips
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError
from mvp_jax.files import read_json, write_json
from mvp_jax.models.videomae import VideoMAEConfig, preset
from mvp_jax.training import sharding
from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.checkpoints import damage as checkpoint_damage
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.state import init_variables, merged
from mvp_jax.training.tasks import FrameFeatures, MaskedVideo
from mvp_jax.weights import torchvision
from mvp_jax.weights.sources import infer_config, open_source, sha256
from mvp_jax.weights.transfer import adopt, check_sizes, compare_sizes, take_all

RECORD, CHECKPOINTS = 'record.json', 'checkpoints'
TRAINED = 'encoders'  # the folder of those that the job 'train' trained end to end
# Of the caches of encoders and features; each version has folders of its own.
VERSION = 2
ENCODERS: dict[str, type['EncoderConfig']] = {}  # by their kind


def register(cls):
  """Class decorator: registers an encoder under its `kind`."""
  ENCODERS[cls.kind] = cls
  return cls


def find(kind):
  """The settings class of a kind. Raises InputError, listing the known ones."""
  if kind not in ENCODERS:
    raise InputError(f'kind: encoder {kind!r} is none of {", ".join(ENCODERS)}')
  return ENCODERS[kind]


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
  """Settings of every video encoder: the source of its weights, and their use.

  `checkpoint` is a folder of an encoder that was pre-trained or imported, or of one
  that the job 'train' trained end to end (WORKDIR/encoders/...), or a PyTorch file.
  A kind of encoder is a subclass with `kind` and `backbone`, see `register`. One that
  is pre-trained here also has `pretrains`, `clips`, `task`, and the settings `train`
  (a TrainConfig); the model of its task holds the backbone as `encoder`.
  """

  pretrained: bool = True  # False: random weights, all else equal
  checkpoint: str = ''  # an encoder folder or a PyTorch file; empty = pre-train here
  subjects: int = 4  # set aside for pre-training, outside all folds
  finetune: bool = False  # train it end to end with the models
  feature_batch: int = 32  # clips

  kind: ClassVar[str]
  pretrains: ClassVar[bool] = False  # whether there is a pre-training of this kind
  streams: ClassVar[tuple[str, ...]] = ('video',)  # that it is pre-trained on
  # Settings that only matter after pre-training.
  only_use: ClassVar[tuple[str, ...]] = (
    'pretrained',
    'checkpoint',
    'subjects',
    'finetune',
    'feature_batch',
  )

  def __post_init__(self):
    if self.checkpoint and not self.pretrained:
      raise ValueError(
        'encoder.pretrained: False, but encoder.checkpoint is given; leave one of '
        'them out'
      )
    if self.pretrained and not self.checkpoint and not self.pretrains:
      raise ValueError(
        f'encoder.pretrained: there is no pre-training of {self.kind!r}; set it to '
        'False, or give encoder.checkpoint'
      )

  def pretraining(self):
    """What pre-trained weights depend on, besides the data: a dict."""
    return {
      'kind': self.kind,
      **{
        field.name: getattr(self, field.name)
        for field in dataclasses.fields(self)
        if field.name not in self.only_use
      },
    }

  def backbone(self, clips, frame_size):
    """The network's sizes for clips (a ClipLayout) of `frame_size` pixels.

    Returns:
      See `models.backbones.Backbone`.

    Raises:
      ValueError: there is no such network, or such clips cannot be cut into its tokens.
    """
    raise NotImplementedError

  def network(self, config, found=()):
    """The backbone for a Config and its prepared corpora.

    Without these, before they are prepared, that of the settings alone; None if they do
    not say it. Raises as `backbone`.
    """
    size = found[0].metadata['frame_size'] if found else config.data.frame_size
    return self.backbone(config.input.clips, size)

  def clips(self, corpus, trials, layout, backbone):
    """Examples of some trials to pre-train on: a Grain source, see RandomClips."""
    raise NotImplementedError

  def task(self, backbone):
    """The pre-training, a `state.Task`."""
    raise NotImplementedError


@register
@dataclasses.dataclass(frozen=True)
class VideoMAEEncoder(EncoderConfig):
  """VideoMAE: sizes, and its pre-training by masked reconstruction."""

  size: str = 'B'  # one of models.videomae.PRESETS
  patch: int = 16
  dtype: str = 'bfloat16'
  remat: str = 'none'  # one of models.layers.REMAT: less memory, more work
  feature_grid: int = 1  # video tokens: means over grid x grid regions of the face
  drop_path: float = 0.0
  target: str = 'normalised'  # of pre-training: one of models.videomae.TARGETS
  noise_floor: float = 1e-6  # of the normalised target, see VideoMAEConfig
  clips_per_trial: int = 8  # an epoch
  masks: MaskConfig = MaskConfig()  # reconstruct=0.5: VideoMAE V2's decoder masking
  views: ViewConfig = ViewConfig()
  train: TrainConfig = TrainConfig(
    batch_size=64,
    log_every=20,
    validate_every=0,
    checkpoint_every=500,
    workers=8,
    optimiser=OptimiserConfig(
      learning_rate=1.5e-4 * 64 / 256,
      steps=16_000,
      warmup_steps=800,
      beta2=0.95,
    ),
  )

  kind: ClassVar[str] = 'videomae'
  pretrains: ClassVar[bool] = True
  only_use: ClassVar[tuple[str, ...]] = (*EncoderConfig.only_use, 'feature_grid')

  def __post_init__(self):
    super().__post_init__()
    # Raises if there is no such thing.
    preset(
      self.size,
      dtype=self.dtype,
      remat=self.remat,
      target=self.target,
      noise_floor=self.noise_floor,
    )
    if self.train.batch_size % self.views.repeats:
      raise ValueError(
        f'train.batch_size {self.train.batch_size} counts views, and is no multiple '
        f'of views.repeats {self.views.repeats}'
      )

  def backbone(self, clips, frame_size):
    backbone = preset(
      self.size,
      frames=clips.frames,
      tubelet=clips.tubelet,
      size=frame_size,
      patch=self.patch,
      feature_grid=self.feature_grid,
      dtype=self.dtype,
      remat=self.remat,
      drop_path=self.drop_path,
      target=self.target,
      noise_floor=self.noise_floor,
    )
    try:
      mask_sizes(*backbone.grid, self.masks)
    except InputError as error:
      raise InputError(f'encoder.{error}') from error
    return backbone

  def clips(self, corpus, trials, layout, backbone):
    return RandomClips(
      corpus,
      trials,
      layout,
      size=backbone.size,
      patch=backbone.patch,
      masks=self.masks,
      views=self.views,
      per_trial=self.clips_per_trial,
    )

  def task(self, backbone):
    return MaskedVideo(backbone)


def fingerprint(*parts):
  """A short hash of JSON-serialisable values and dataclasses, to key a cache."""
  text = json.dumps(parts, sort_keys=True, default=dataclasses.asdict)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def digest(params):
  """A hash of the values of parameters."""
  sha = hashlib.sha256()
  for x in jax.tree.leaves(jax.device_get(params)):
    sha.update(np.ascontiguousarray(x))
  return sha.hexdigest()


def fresh(config, mesh, seed):
  """Random variables of a backbone, a nested dict."""
  return _put(jax.jit(lambda: _init(config, seed))(), mesh)


def _init(config, seed):
  return merged(*init_variables(FrameFeatures(config), jax.random.key(seed)))


def load(config, mesh, path, setting='encoder.kind'):
  """Loads the parameters of an encoder.

  Args:
    config: the backbone, see `models.backbones`.
    mesh: device mesh.
    path: pathlib.Path of a folder that `pretrain` or `import_weights` wrote, or of a
      PyTorch checkpoint, see `weights.sources.open_source` and `weights.torchvision`.
    setting: that says which backbone it is.

  Returns:
    (variables of the backbone, a nested dict; the record, a dict; a report about them,
    a string).

  Raises:
    InputError: there is no encoder, or its sizes differ.
  """
  check(config, path, setting)
  init = jax.jit(lambda: _init(config, 0))
  if not is_folder(path):
    if type(config) in torchvision.LAYOUTS:
      source = torchvision.open_weights(path, config)
      variables, report = source.read(), source.report
    else:
      source = open_source(path)
      params, report = adopt(source, config, lambda: {'encoder': init()})
      variables = params['encoder']
    return _put(variables, mesh), _imported(source, config, report), str(report)
  params, said = read_variables(path, mesh)['encoder'], ''
  imported = isinstance(config, VideoMAEConfig) and 'norm' not in params
  if imported:  # as a classifier
    params = {**params, 'norm': _put(init()['norm'], mesh)}
    said = f'{path}: has no final norm; it starts as scale 1 and bias 0'
  return params, read_record(path), said


def check(config, path, setting='encoder.kind'):
  """Raises InputError if there is no encoder at `path`, or if its sizes differ.

  The weights are not read.
  """
  known = isinstance(config, VideoMAEConfig)
  if not is_folder(path):
    if known:
      check_sizes(open_source(path), config)
    elif type(config) in torchvision.LAYOUTS:
      torchvision.open_weights(path, config)
    else:
      raise InputError(
        f'{path}: is no encoder folder; from PyTorch only VideoMAE and R(2+1)D-18 are '
        'read, and ResNet-18 for sound'
      )
    return
  found, wanted = (
    read_record(path)['model'],
    json.loads(json.dumps(dataclasses.asdict(config))),
  )
  if found.keys() != wanted.keys():
    raise InputError(
      f'{path}: is another kind of encoder than {setting} says: it has '
      f'{", ".join(found)}; give another one'
    )
  if known:
    compare_sizes(path, VideoMAEConfig(**found), config)
  elif different := [
    name
    for name in found
    if found[name] != wanted[name] and name not in getattr(config, 'free', ())
  ]:
    raise InputError(
      f'{path}: has '
      + ', '.join(f'{name} {found[name]}' for name in different)
      + '; the config wants '
      + ', '.join(f'{name} {wanted[name]}' for name in different)
    )


def save(variables, directory):
  """Writes the variables of an encoder, a nested dict; its record ends the folder."""
  with Checkpoints(directory / 'checkpoints') as checkpoints:
    checkpoints.save_params(0, {'encoder': variables})


def is_folder(path):
  """Whether this is an encoder folder. Raises InputError if it is unfinished.

  Or if it is the work directory of a run that trained several, which are named.
  """
  if (path / RECORD).exists():
    return True
  if trained := sorted((path / TRAINED).glob(f'**/{RECORD}')):
    names = ', '.join(str(record.parent) for record in trained[:3])
    raise InputError(
      f'{path}: holds {len(trained)} trained encoders, one for each training; give one '
      f'of them: {names}{"..." if len(trained) > 3 else ""}'
    )
  if (path / 'checkpoints').exists():
    raise InputError(f'{path}: holds no finished encoder ({RECORD} is missing)')
  return False


def read(directory, mesh):
  """All parameters of an encoder folder, its record, and the VideoMAEConfig."""
  record = read_record(directory)
  if 'patch' not in record['model']:
    raise InputError(f'{directory}: is no VideoMAE encoder')
  return read_variables(directory, mesh), record, VideoMAEConfig(**record['model'])


def read_variables(directory, mesh):
  """All variables of an encoder folder, a nested dict."""
  with Checkpoints(directory / 'checkpoints') as checkpoints:
    there = checkpoints.abstract_params()
    return _numbered(
      checkpoints.restore_params(
        jax.tree.map(
          lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
          there,
          sharding.shardings(there, mesh),
        )
      )
    )


def _numbered(tree):
  """Places in lists as numbers, as NNX has them: a checkpoint makes texts of them."""
  if not isinstance(tree, dict):
    return tree
  return {
    int(name) if str(name).isdigit() else name: _numbered(x) for name, x in tree.items()
  }


def read_record(directory):
  """What an encoder folder says of its encoder. Raises InputError."""
  if not is_folder(directory):
    raise InputError(f'{directory}: is no work directory of a finished pre-training')
  remedy = 'pre-train or import it anew'
  record = read_json(directory / RECORD, remedy) or {}
  checksums.require(directory, RECORD, remedy)
  if 'people' not in record:
    raise InputError(
      f'{directory}: was pre-trained by an earlier version, which did not note whose '
      'recordings it saw; pre-train it anew, or import it anew'
    )
  return record


def import_weights(path, directory, heads=None):
  """Writes an encoder folder with everything that a PyTorch checkpoint holds.

  Args:
    path: pathlib.Path, see `weights.sources.open_source`.
    directory: pathlib.Path of the folder, which must not hold an encoder yet.
    heads: attention heads of the encoder, if the file does not say; else None.

  Returns:
    weights.transfer.Report.
  """
  if directory.exists() and any(directory.iterdir()):
    raise InputError(f'{directory}: is not empty; give another folder')
  source = open_source(path)
  config = infer_config(source, heads)
  params, report = take_all(source, config)
  with Checkpoints(directory / 'checkpoints') as checkpoints:
    checkpoints.save_params(0, params)
  write_record(directory, _imported(source, config, report))
  return report


def damage(directory):
  """Which file of a finished encoder folder is damaged, and how, or None."""
  for name, what in checksums.damage(directory, lambda name: name == RECORD).items():
    if name != checksums.FILE:
      return f'{name}: {what}'
  steps = (x.name for x in (directory / CHECKPOINTS).iterdir())
  step = max((int(name) for name in steps if name.isdigit()), default=None)
  if step is None:
    return f'{CHECKPOINTS}: holds no checkpoint'
  found = checkpoint_damage(directory / CHECKPOINTS / str(step))
  return found and f'{CHECKPOINTS}/{step}: {found}'


def write_record(directory, record):
  """Writes what a folder says of its encoder, with a checksum; this ends it."""
  (directory / checksums.FILE).unlink(missing_ok=True)
  write_json(directory / RECORD, record)
  checksums.seal(directory, lambda name: name == RECORD)


def _imported(source, config, report):
  """The record of an encoder trained elsewhere."""
  if isinstance(config, VideoMAEConfig):
    config = dataclasses.replace(config, feature_grid=1)
  return {
    'dataset': '',
    'synthetic': False,
    'trained_on_subjects': [],
    'people': [],
    'imported_from': source.path.name,
    'sha256': sha256(source.files),
    'layout': report.layout,
    'kind': report.kind,
    'missing': list(report.missing),
    'left_over': list(report.left_over),
    'notes': list(report.notes),
    'model': dataclasses.asdict(config),
  }


def _put(params, mesh):
  """Lays arrays, equal in all processes, out over the mesh."""
  return jax.tree.map(
    lambda x, where: jax.make_array_from_callback(
      x.shape, where, lambda index: np.asarray(x)[index]
    ),
    params,
    sharding.shardings(params, mesh),
  )
