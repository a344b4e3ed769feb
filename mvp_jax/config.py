"""Every setting of a run with its default, checked at the border.

The defaults are the recipes at full size; `configs/` says what each experiment changes.
A config file gives an `ml_collections.ConfigDict`; `parse` turns it into the frozen
dataclasses below. An unknown key, a missing section or a wrong type is one clear line.

Sections that a part of the program owns are parsed into that part's own dataclass:
those of a corpus by `dataset`, of a target and an encoder by their `kind`, and of each
modality by its name.
"""

import dataclasses
import difflib
import itertools
import types
import typing
from typing import Any

from ml_collections import ConfigDict, FieldReference

from mvp_jax import corpora, targets
from mvp_jax.corpora.corpus import NoSettings
from mvp_jax.data.examples import InputConfig
from mvp_jax.errors import InputError
from mvp_jax.models import modalities
from mvp_jax.models.emotion import ModelSizes
from mvp_jax.targets.promises import RISK
from mvp_jax.training import encoder as encoders
from mvp_jax.training import multiscale_encoder as _  # noqa: F401 (registers itself)
from mvp_jax.training import r2plus1d_encoder as _  # noqa: F401, F811
from mvp_jax.training import signal_encoder as _  # noqa: F401, F811
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.sharding import MeshConfig
from mvp_jax.training.tasks import Regularisation


def _section(find, default=None):
  """A field that is parsed into the class that `find` gives for the whole section.

  Args:
    find: function of (the section's own dict, that of the section around it) -> class.
    default: function without arguments; None: the class' own defaults.
  """
  return dataclasses.field(
    default_factory=default or (lambda: find({}, {})()), metadata={'find': find}
  )


def _corpus(config):
  return corpora.find(config.get('dataset', ''))


def _twin_spec(own, config):
  twin = _corpus(config).twin
  return twin.Spec if twin else NoSettings


def _sections(find, default):
  """A field that is a dict of such sections by name; `find` is of a name."""
  return dataclasses.field(default_factory=default, metadata={'find_each': find})


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Where the corpus is and how it is prepared."""

  manual_dir: str = ''  # the official distribution; empty = a synthetic twin
  data_dir: str = 'data'  # twins, prepared data, encoders, features
  frame_rate: float = 25.0  # Hz, stored frames
  frame_size: int = 224  # pixels
  crop: str = 'X'  # X: whole face and some background; Y: face only
  channels: tuple[str, ...] = ()  # of the signals; empty: the corpus' own choice
  clean: bool = True  # take hum, wander and noise out of signals
  allow_dropped: tuple[str, ...] = ()  # codes of dropped trials to go on with
  workers: int = 0  # preparing processes; 0 = one per core
  beam: str = ''  # options of a Beam pipeline that prepares instead; empty = here
  # What only this corpus has, see its `Settings`.
  corpus: Any = _section(lambda own, config: _corpus(config).Settings, NoSettings)


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
  """What the job 'pretrain' trains on."""

  # CORPUS:FOLDER of any corpora; none: the twin of `dataset`
  sources: tuple[str, ...] = ()
  weights: tuple[float, ...] = ()  # of the sources; none = by their numbers of clips
  subjects: tuple[int, ...] = ()  # to train on, of the one labelled source; none = all
  held_out: int = 0  # subjects (or videos' folders) whose loss is watched instead


@dataclasses.dataclass(frozen=True)
class GridConfig:
  """Settings of the optimiser to choose among, in each training; empty = the one."""

  learning_rate: tuple[float, ...] = ()
  weight_decay: tuple[float, ...] = ()
  steps: tuple[int, ...] = ()  # each a training of its own

  def __post_init__(self):
    for name, values in dataclasses.asdict(self).items():
      if len(set(values)) < len(values) or any(not x >= 0 for x in values):
        raise ValueError(f'{name} is {values}, must be different numbers, none below 0')
    if 0 in self.steps:
      raise ValueError(f'steps is {self.steps}, must be at least 1')

  @property
  def size(self):
    """How many settings are tried."""
    return len(self.points()) * max(len(self.steps), 1)

  def points(self):
    """Dicts of those that are there but steps: every combination, or an empty one."""
    tried = {
      name: values
      for name, values in dataclasses.asdict(self).items()
      if values and name != 'steps'
    }
    return [
      dict(zip(tried, point, strict=True))
      for point in itertools.product(*tried.values())
    ]


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """How the models are compared."""

  protocol: str = 'subjects'  # one of data.splits.PROTOCOLS
  folds: int = 6  # groups of subjects (of stimuli); as many as subjects = leave one out
  stimulus_folds: int = 2  # groups of stimuli, under 'subjects_x_stimuli'
  validation_subjects: int = 1  # (or stimuli) of those left to train on
  # What has the least loss on the validation trials is taken.
  grid: GridConfig = GridConfig()
  # Networks' probabilities are made as sure as they are right on validation trials. One
  # person's 8 trials are too few: on real people the ECE rose from .074 to .086.
  temperature: bool = False
  # The share of answers about new people that may be wrong (of ratings that may lie out
  # of their interval); a model abstains elsewhere.
  risk: float = RISK
  seeds: int = 1  # trainings of each fold: config.seed and those after it
  ensemble: int = 1  # models of a training, whose mean prediction counts as one model's
  # Some of `config.models`; the others are compared to the first.
  models: tuple[str, ...] = ('fusion', 'physio', 'video')
  batch_size: int = 32
  # Models of all folds and seeds that a device works on at a time; 0 = as many as fit
  # (on CPU: one). Changes no result.
  together: int = 0
  allow_encoder_overlap: bool = False  # test subjects seen in pre-training
  # Copies that the audit found and that may count: 'content: signals' for all of a
  # stream, 'content: signals/TRIAL_A+TRIAL_B' for two trials. 'subjects': that an
  # official split has the same people on several sides.
  accept: tuple[str, ...] = ()
  leak_meter: bool = False  # also what wrong splits would have claimed

  def __post_init__(self):
    for name, least in (('seeds', 1), ('ensemble', 1), ('together', 0)):
      if getattr(self, name) < least:
        raise ValueError(f'{name} is {getattr(self, name)}, must be at least {least}')
    if not 0 < self.risk < 0.5:
      raise ValueError(f'risk is {self.risk}, must be above 0 and below 0.5')


@dataclasses.dataclass(frozen=True)
class Config:
  """Every setting of every job."""

  job: str = 'train'  # see `jobs`
  dataset: str = ''  # one of corpora.CORPORA
  seed: int = 0
  data: DataConfig = dataclasses.field(default_factory=DataConfig)
  twin: Any = _section(_twin_spec, NoSettings)
  target: Any = _section(lambda own, config: targets.find(own.get('kind', 'binary')))
  input: InputConfig = InputConfig()
  encoder: Any = _section(
    lambda own, config: encoders.find(own.get('kind', 'videomae'))
  )
  modalities: dict = _sections(
    modalities.find,
    lambda: {name: one() for name, one in modalities.MODALITIES.items()},
  )
  # What each model reads: modalities, the first of which asks in cross-attention.
  models: dict = dataclasses.field(
    default_factory=lambda: {
      'fusion': 'physio+video',
      'physio': 'physio',
      'video': 'video',
    }
  )
  model: ModelSizes = ModelSizes()
  regularisation: Regularisation = Regularisation()  # of random windows
  train: TrainConfig = TrainConfig(
    batch_size=32,
    log_every=10,
    validate_every=50,
    checkpoint_every=200,
    optimiser=OptimiserConfig(
      learning_rate=3e-4, steps=1500, warmup_steps=100, clip_norm=1.0
    ),
  )
  evaluation: EvaluationConfig = EvaluationConfig()
  mesh: MeshConfig = MeshConfig()
  pretrain: PretrainConfig = PretrainConfig()
  # (question, ((variant, settings), ...)), ...; see jobs.ablate
  ablation: tuple = ()

  def __post_init__(self):
    corpora.find(self.dataset)  # raises if there is no such corpus
    for name, reads in self.models.items():
      for modality in self.modalities_of(name):
        if modality not in self.modalities:
          raise ValueError(
            f'models.{name}: {reads!r} names {modality!r}, which is none of '
            f'{", ".join(self.modalities)}'
          )
    tested = [model for model in self.evaluation.models if model in self.models]
    for name in dict.fromkeys(n for model in tested for n in self.modalities_of(model)):
      if labels := {*self.modalities[name].streams} & {*self.target.streams}:
        raise ValueError(
          f'modalities.{name}.streams: {", ".join(sorted(labels))} holds the labels '
          'that models are to tell'
        )
      check = getattr(self.modalities[name], 'check', None)
      try:
        check and check(self.model)
      except ValueError as error:
        raise ValueError(f'modalities.{name}.{error}') from error

  def modalities_of(self, model):
    """Names of the modalities that a model reads, in order: a tuple."""
    return tuple(word.strip() for word in self.models[model].split('+'))

  @property
  def modality_names(self):
    """All modalities that some model reads, in order of their first mention."""
    return tuple(
      dict.fromkeys(name for model in self.models for name in self.modalities_of(model))
    )


def to_tree(value):
  """Nested dicts of nested dataclasses; `kind` says which class a section is."""
  if dataclasses.is_dataclass(value):
    tree = {'kind': value.kind} if isinstance(getattr(value, 'kind', None), str) else {}
    return tree | {
      field.name: to_tree(getattr(value, field.name))
      for field in dataclasses.fields(value)
    }
  if isinstance(value, dict):
    return {name: to_tree(x) for name, x in value.items()}
  return value


def resolve(config, overrides=None):
  """Chooses between the full size and that of the embedded default.

  Without a manual directory, or sources, the settings under `config.embedded`
  apply, except where the user has given a value. Where the user has given the kind of
  a section (config.encoder.kind), what only the former kind has is left out.

  Args:
    config: ConfigDict of a config file, maybe with an `embedded` part.
    overrides: dict of dotted names that the user has set.

  Returns:
    A plain nested dict without `embedded`.

  Raises:
    InputError: the user has set a model that is none of those compared.
  """
  tree = config.to_dict()
  embedded = tree.pop('embedded', {})
  given = tree.get('data', {}).get('manual_dir') or tree.get('pretrain', {}).get(
    'sources'
  )
  if not given:
    merge(embedded, tree, set(overrides or ()))
  for section, own in tree.items():
    if f'{section}.kind' in (overrides or ()):
      given = {x.split('.')[1] for x in overrides if x.startswith(f'{section}.')}
      tree[section] = of_kind(section, own, tree, given)
  for name in overrides or ():
    section, *model = name.split('.')
    compared = tree.get('evaluation', {}).get('models', ())
    if section == 'models' and model[0] not in compared:
      raise InputError(
        f'config.{name}: no such model in config.evaluation.models, '
        f'{", ".join(compared)}; name it there, too, to train it'
      )
  return tree


def of_kind(section, own, around, given=()):
  """A section of the Config whose `kind` has been changed: a dict.

  Args:
    section: its name.
    own: nested dict of what it was, with the new kind.
    around: nested dict of the Config.
    given: names that stay, even if the kind does not know them.

  Returns:
    What the kind knows of `own`, and the defaults of what only the new kind has.
  """
  fields = {field.name: field for field in dataclasses.fields(Config)}
  find = fields[section].metadata.get('find') if section in fields else None
  try:
    known = dataclasses.fields(find(own, around)) if find else ()
  except (InputError, ValueError):
    known = ()  # `parse` says so
  if not known:
    return own
  unset = dataclasses.MISSING
  defaults = {
    field.name: to_tree(_default(field))
    for field in known
    if (field.default, field.default_factory) != (unset, unset)
  }
  names = {'kind', *given, *(field.name for field in known)}
  return defaults | {name: value for name, value in own.items() if name in names}


def merge(changes, tree, kept=(), prefix=''):
  """Puts nested `changes` into `tree`, but for dotted names that are `kept`."""
  for key, value in changes.items():
    if isinstance(value, dict):
      merge(value, tree.setdefault(key, {}), kept, f'{prefix}{key}.')
    elif prefix + key not in kept:
      tree[key] = value


def parse(tree, cls=Config, where='config', around=None, default=None):
  """Turns a nested dict into `cls`. Raises InputError naming the field.

  What the dict leaves out is as in `default`, an instance of `cls`; None: the class'
  defaults. A section that is given in part keeps the rest of its own default.
  """
  if not isinstance(tree, dict):
    raise InputError(f'{where}: expected a section, got {tree!r}')
  fields = {f.name: f for f in dataclasses.fields(cls)}
  if hasattr(cls, 'kind') and 'kind' not in fields:  # has chosen the class already
    tree = {name: value for name, value in tree.items() if name != 'kind'}
  for key in tree:
    if key not in fields:
      near = difflib.get_close_matches(key, fields, 1)
      raise InputError(
        f'{where}.{key}: no such setting{_of_another_kind(cls, key, where)}; there are '
        f'{", ".join(sorted(fields))}{"".join(f"; did you mean {x}?" for x in near)}'
      )
  if around is None:
    around = tree
  hints = typing.get_type_hints(cls)
  values = {}
  for name, field in fields.items():
    here = f'{where}.{name}'
    if (find := field.metadata.get('find')) is not None:
      own = tree.get(name, {})
      values[name] = parse(own, _found(find, here, own, around), here, around)
    elif (find := field.metadata.get('find_each')) is not None:
      values[name] = field.default_factory() | {
        part: parse(own, _found(find, f'{here}.{part}', part), f'{here}.{part}', around)
        for part, own in tree.get(name, {}).items()
      }
    elif dataclasses.is_dataclass(hints[name]):
      before = _default(field) if default is None else getattr(default, name)
      values[name] = parse(tree.get(name, {}), hints[name], here, around, before)
    elif name in tree:
      values[name] = _value(tree[name], hints[name], here)
  try:
    return cls(**values) if default is None else dataclasses.replace(default, **values)
  except (InputError, ValueError) as error:  # a dataclass's own check
    raise InputError(f'{where}: {error}') from error


def _of_another_kind(cls, name, where):
  """What to say of a setting that a class lacks and others of its registry have."""
  for classes in (encoders.ENCODERS, targets.TARGETS):
    others = [
      kind
      for kind, other in classes.items()
      if name in {field.name for field in dataclasses.fields(other)}
    ]
    if others and cls in classes.values():
      return (
        f' of kind {cls.kind}, but of {", ".join(others)}: with it give '
        f'--{where}.kind={others[0]}'
      )
  return ''


def _default(field):
  """What a field is where nothing is given."""
  if field.default is not dataclasses.MISSING:
    return field.default
  return field.default_factory()


def _found(find, where, *given):
  try:
    return find(*given)
  except (InputError, ValueError) as error:
    raise InputError(f'{where}: {error}') from error


def _value(value, wanted, where):
  if wanted is Any or wanted is tuple:
    return value
  if wanted is dict:
    if not isinstance(value, dict):
      raise InputError(f'{where}: expected a section, got {value!r}')
    return value
  if isinstance(wanted, types.UnionType):
    kinds = typing.get_args(wanted)
    if type(value) in kinds and not isinstance(value, str):
      return value
    for kind in kinds:  # a text may be a number
      if kind is not str and isinstance(value, str | int | float):
        try:
          return _value(value, kind, where)
        except InputError:
          continue
    wanted = str if str in kinds else kinds[0]
  if typing.get_origin(wanted) is tuple:
    if isinstance(value, str) or not hasattr(value, '__iter__'):
      value = (value,)
    if all(isinstance(v, str) for v in value):  # 'eda,ppg' as from the command line
      value = [word.strip() for v in value for word in v.split(',') if word.strip()]
    item = typing.get_args(wanted)[0]
    return tuple(_value(v, item, f'{where}[{i}]') for i, v in enumerate(value))
  if isinstance(value, str) and wanted is not str:
    value = _from_text(value, wanted, where)
  if wanted is float and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  if type(value) is not wanted:
    raise InputError(
      f'{where}: {value!r} is a {type(value).__name__}, expected {wanted.__name__}'
    )
  return value


def _from_text(text, wanted, where):
  """A number or truth value as it is written on the command line."""
  try:
    if wanted is bool:
      return {'true': True, 'false': False}[text.strip().lower()]
    return wanted(text)
  except (KeyError, ValueError) as error:
    raise InputError(
      f'{where}: {text!r} is a str, expected {wanted.__name__}'
    ) from error


def config_dict(config):
  """A Config, or a section of it, as an ml_collections.ConfigDict to change."""
  found = ConfigDict()
  if isinstance(getattr(config, 'kind', None), str):
    found.kind = config.kind
  if isinstance(config, dict):
    names, hints = config, {}
  else:
    names = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    hints = typing.get_type_hints(type(config))
  for name, value in names.items():
    if dataclasses.is_dataclass(value) or isinstance(value, dict):
      found[name] = config_dict(value)
    elif (
      isinstance(hints.get(name), types.UnionType)  # may become of another type
      or hints.get(name) == tuple[str, ...]  # or a text: deap:DIR,videos:DIR
    ):
      found[name] = FieldReference(value, field_type=object)
    else:
      found[name] = value
  return found
