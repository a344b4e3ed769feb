"""Every setting of an experiment, checked at the border.

A config file gives an `ml_collections.ConfigDict`; `parse` turns it into the
frozen dataclasses below. An unknown key, a missing section or a wrong type is
one clear line.
"""

import dataclasses
import itertools
import types
import typing

from mvp_jax.corpora import CORPORA
from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.data.emotion import EmotionInput
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError
from mvp_jax.models.fusion import FusionSizes
from mvp_jax.models.videomae import preset
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.sharding import MeshConfig


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Where the corpus is and how it is prepared."""

  manual_dir: str = ''  # the official distribution; empty = a synthetic twin
  data_dir: str = 'data'  # twins, prepared data, encoders, features
  frame_rate: float = 25.0  # Hz, stored frames
  frame_size: int = 224  # pixels
  crop: str = 'X'  # X: face and some background; Y: face only
  channels: tuple[str, ...] = ('eda', 'ppg')
  clean: bool = True  # take hum, wander and noise out of signals
  experiment: str = 'short'  # AMIGOS: or long
  annotation: tuple[str, ...] = ('self',)  # AMIGOS: ratings that a trial must have
  exclude: tuple[int, ...] = ()  # AMIGOS: participants
  openface_dir: str = ''  # CSVs of OpenFace; empty = `openface` in manual_dir
  allow_dropped: tuple[str, ...] = ()  # codes of losses to go on with
  workers: int = 0  # preparing processes; 0 = one a core
  beam: str = ''  # options of a Beam pipeline that prepares instead; empty = here


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
  """The video encoder: its size, and where its weights come from."""

  size: str = 'B'  # one of models.videomae.PRESETS
  patch: int = 16
  dtype: str = 'float32'
  remat: str = 'none'  # one of models.layers.REMAT
  feature_grid: int = 1  # video tokens: means over grid x grid regions of the face
  drop_path: float = 0.0
  target: str = 'normalised'  # of pre-training: one of models.videomae.TARGETS
  noise_floor: float = 1e-6  # of the normalised target, see VideoMAEConfig
  pretrained: bool = True  # False: random weights, all else equal
  checkpoint: str = ''  # folder of ours or PyTorch's file; empty = pre-train here
  subjects: int = 4  # set aside for pre-training, outside all folds
  clips_per_trial: int = 8  # an epoch
  masks: MaskConfig = MaskConfig()
  views: ViewConfig = ViewConfig()
  train: TrainConfig = TrainConfig()
  finetune: bool = False  # train it end to end with the fusion
  feature_batch: int = 32  # clips

  def __post_init__(self):
    preset(
      self.size, target=self.target, noise_floor=self.noise_floor
    )  # raises if there is no such thing
    if self.checkpoint and not self.pretrained:
      raise ValueError(
        'encoder.pretrained: False, but encoder.checkpoint is given; '
        'leave one of them out'
      )
    if self.train.batch_size % self.views.repeats:
      raise ValueError(
        f'train.batch_size {self.train.batch_size} counts views, and is '
        f'no multiple of views.repeats {self.views.repeats}'
      )

  def model(self, clips, frame_size):
    """The VideoMAEConfig for clips (a ClipLayout) of `frame_size` pixels.

    Raises ValueError if they cannot be cut into tubelets and patches.
    """
    return preset(
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


@dataclasses.dataclass(frozen=True)
class GridConfig:
  """Settings of the optimiser to choose among, in each training; empty = the one."""

  learning_rate: tuple[float, ...] = ()
  weight_decay: tuple[float, ...] = ()

  def __post_init__(self):
    for name, values in dataclasses.asdict(self).items():
      if len(set(values)) < len(values) or any(not x >= 0 for x in values):
        raise ValueError(f'{name} is {values}, must be different numbers, none below 0')

  def points(self):
    """Dicts of those that are there, every combination; one that is empty if none."""
    tried = {
      name: values for name, values in dataclasses.asdict(self).items() if values
    }
    return [
      dict(zip(tried, point, strict=True))
      for point in itertools.product(*tried.values())
    ]


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """How the models are compared."""

  protocol: str = 'subjects'  # one of data.splits.PROTOCOLS
  folds: int = 5  # groups of subjects (of stimuli); as many as subjects = leave one out
  stimulus_folds: int = 2  # groups of stimuli, under 'subjects_x_stimuli'
  validation_subjects: int = 1  # (or stimuli) of those left to train on
  # What has the least loss on the validation trials is taken.
  grid: GridConfig = GridConfig()
  seeds: int = 1  # trainings of each fold: config.seed and those after it
  models: tuple[str, ...] = ('fusion', 'physio', 'video')
  batch_size: int = 32
  # Models of all folds and seeds that a device works on at a time; 0 = as many as fit
  # (on CPU: one). Changes no result.
  together: int = 0
  allow_encoder_overlap: bool = False  # test subjects seen in pre-training
  leak_meter: bool = False  # also what wrong splits would have claimed

  def __post_init__(self):
    for name, least in (('seeds', 1), ('together', 0)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} is {getattr(self, name)}, must be at least {least}')


@dataclasses.dataclass(frozen=True)
class Config:
  """The main job: fusion and its unimodal baselines on a corpus."""

  job: str = 'fusion'  # see `jobs`
  dataset: str = 'deap'
  video_backbone: str = 'videomae'  # or 'au': action units by OpenFace
  seed: int = 0
  data: DataConfig = DataConfig()
  twin: TwinSpec | AmigosSpec = TwinSpec()  # that of `dataset`
  input: EmotionInput = EmotionInput()
  encoder: EncoderConfig = EncoderConfig()
  model: FusionSizes = FusionSizes()
  train: TrainConfig = TrainConfig()
  evaluation: EvaluationConfig = EvaluationConfig()
  mesh: MeshConfig = MeshConfig()


def resolve(config, overrides=None):
  """Chooses between the full size and that of the embedded default.

  Without a manual directory, or sources, the settings under `config.embedded`
  apply, except where the user has given a value.

  Args:
    config: ConfigDict of a config file, maybe with an `embedded` part.
    overrides: dict of dotted names that the user has set.

  Returns:
    A plain nested dict without `embedded`.
  """
  tree = config.to_dict()
  embedded = tree.pop('embedded', {})
  if not (tree.get('data', {}).get('manual_dir') or tree.get('sources')):
    _apply(embedded, tree, set(overrides or ()))
  return tree


def _apply(changes, tree, kept, prefix=''):
  for key, value in changes.items():
    if isinstance(value, dict):
      _apply(value, tree[key], kept, f'{prefix}{key}.')
    elif prefix + key not in kept:
      tree[key] = value


def parse(tree, cls=Config, where='config'):
  """Turns a nested dict into `cls`. Raises InputError naming the field."""
  if not isinstance(tree, dict):
    raise InputError(f'{where}: expected a section, got {tree!r}')
  fields = {f.name: f for f in dataclasses.fields(cls)}
  for key in tree:
    if key not in fields:
      raise InputError(
        f'{where}.{key}: no such setting; there are {", ".join(sorted(fields))}'
      )
  types_ = typing.get_type_hints(cls)
  if 'twin' in types_:
    types_['twin'] = CORPORA.get(tree.get('dataset'), CORPORA['deap']).twin.Spec
  values = {
    key: _value(value, types_[key], f'{where}.{key}') for key, value in tree.items()
  }
  try:
    return cls(**values)
  except (InputError, ValueError) as error:  # a dataclass's own check
    raise InputError(f'{where}: {error}') from error


def _value(value, wanted, where):
  if dataclasses.is_dataclass(wanted):
    return parse(value, wanted, where)
  if isinstance(wanted, types.UnionType):
    kinds = typing.get_args(wanted)
    if type(value) in kinds:
      return value
    wanted = next(t for t in kinds if t is not types.NoneType)
  if typing.get_origin(wanted) is tuple:
    if isinstance(value, str) or not hasattr(value, '__iter__'):
      value = (value,)
    if all(isinstance(v, str) for v in value):  # 'eda,ppg' as from the command line
      value = [word.strip() for v in value for word in v.split(',') if word.strip()]
    item = typing.get_args(wanted)[0]
    return tuple(_value(v, item, f'{where}[{i}]') for i, v in enumerate(value))
  if wanted is float and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  if type(value) is not wanted:
    raise InputError(
      f'{where}: {value!r} is a {type(value).__name__}, expected {wanted.__name__}'
    )
  return value
