"""What a corpus says of itself: its fields, its streams, its files, its twin.

A corpus is a `Corpus` whose `open` finds its files and gives a `Source`, which prepares
them. All else is derived from what they declare: the features of the prepared data,
blank examples, the account and the name of the folder.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from numpy.typing import DTypeLike

from mvp_jax.errors import InputError
from mvp_jax.files import read_json
from mvp_jax.outcomes import Outcome
from mvp_jax.raw.face import CROPS, crop_scale
from mvp_jax.raw.frames import FrameSpec
from mvp_jax.raw.on_disk import require_link
from mvp_jax.synthetic.tree import MARKER

_SOURCE = 'source'


def place(default: str = '') -> Any:  # as dataclasses.field: what the field is of
  """A field of `Settings` that says where files are, not what is made of them."""
  return dataclasses.field(default=default, metadata={_SOURCE: True})


class Array(NamedTuple):
  """A feature that is an array; a size of None differs from trial to trial."""

  shape: tuple[int | None, ...]
  dtype: DTypeLike


@dataclasses.dataclass(frozen=True)
class Stream:
  """A named stream of the trials of a corpus; time zero is the stimulus onset.

  Attributes:
    kind: 'series' (a row of numbers at a time), 'frames' (pictures) or 'sound'.
    rate: Hz; None = irregular: each value has its time.
    channels: names of a row's numbers; None = known only when the files are read.
    units: one for each channel.
    before: seconds before the onset that are stored, too: the baseline of a trial. A
      series that has less of it begins with what is not valid; pictures are fewer.
    optional: stored where there is some, even if it was not asked for; trials without
      it stay.
  """

  kind: str = 'series'
  rate: float | None = None
  channels: tuple[str, ...] | None = ()
  units: tuple[str, ...] = ()
  before: float = 0.0
  optional: bool = False


@dataclasses.dataclass(frozen=True)
class Twin:
  """A made-up copy of a corpus in its official layout.

  `Spec` is a frozen dataclass of what it holds; `write(root, spec, workers)` writes it.
  """

  Spec: type
  write: Callable[[Path, Any, int], object]


@dataclasses.dataclass(frozen=True)
class NoSettings:
  """Of a corpus without settings of its own."""


@dataclasses.dataclass(frozen=True)
class Wanted:
  """What is prepared, and how.

  Attributes:
    streams: names of the streams that every trial must have.
    frame_rate: stored frames per second.
    frame_size: their side in pixels.
    crop: 'X' (whole face and some background), 'Y' (face only) or a number as text:
      the crop's side over the face's.
    channels: of the stream 'signals'.
    clean: whether hum, baseline wander and noise are taken out of signals.
    ratings: names of those that are trained on; a trial that lacks one is dropped.
    settings: the corpus' own, an instance of its `Settings`.
  """

  streams: tuple[str, ...] = ('signals', 'video')
  frame_rate: float = 25.0
  frame_size: int = 224
  crop: str = 'X'
  channels: tuple[str, ...] = ()
  clean: bool = True
  ratings: tuple[str, ...] = ()
  settings: Any = NoSettings()

  @property
  def faces(self) -> FrameSpec | None:
    """What to store of a face; None without video."""
    if 'video' not in self.streams:
      return None
    people = 'people' in self.streams
    return FrameSpec(self.frame_rate, self.frame_size, self.crop, people=people)


COMMON = tuple(f.name for f in dataclasses.fields(Wanted) if f.name != 'settings')


class Corpus:
  """One corpus; a subclass says what is its own.

  Attributes:
    name: what it is called in configs and folders.
    title: what people call it.
    Settings: frozen dataclass of what only this corpus has, all with defaults.
    fields: those of `COMMON` that it knows, with its defaults.
    ratings: {name: (least, most)} of what is rated for each trial.
    always: names of streams that are prepared whatever the models read, for the
      baselines and the audit.
    published: {what, and in which score: {rating: text}}, as papers report it.
    twin: Twin, or None.
    version, notes: of the prepared data; {version: what changed} for TFDS.
    download: how people get it.
    presets: {name: (description, fields)}, the configs for users of TFDS.
  """

  name: ClassVar[str]
  title: ClassVar[str]
  Settings: ClassVar[type] = NoSettings
  fields: ClassVar[dict[str, Any]] = {}
  ratings: ClassVar[dict[str, tuple[float, float]]] = {}
  published: ClassVar[dict[str, dict[str, str]]] = {}
  always: ClassVar[tuple[str, ...]] = ()
  twin: ClassVar[Twin | None] = None
  version: ClassVar[str] = '1.0.0'
  notes: ClassVar[dict[str, str]] = {}
  download: ClassVar[str] = 'Put its files into manual_dir.'
  presets: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {}

  def streams(self, wanted: Wanted) -> dict[str, Stream]:
    """All streams that its trials can have when prepared like this."""
    raise NotImplementedError

  def open(self, manual_dir: Path, wanted: Wanted) -> 'Source':
    """Finds its files. Raises InputError where `manual_dir` does not hold them."""
    raise NotImplementedError

  def extras(self, wanted: Wanted) -> dict[str, Any]:
    """What is stored of a trial beside ratings and streams.

    Returns:
      {name: a NumPy type, str, Array, or a dict of such}.
    """
    return {}

  def rules(self, wanted: Wanted) -> dict[str, bool]:
    """{'field: what it must be': whether it is}, of what only this corpus demands."""
    return {}

  def stored(self, wanted: Wanted) -> dict[str, Stream]:
    """The streams that are stored: those wanted, and the optional ones."""
    return {
      name: stream
      for name, stream in self.streams(wanted).items()
      if name in wanted.streams or stream.optional
    }

  def want(self, **fields: Any) -> Wanted:
    """Makes a Wanted from fields of `COMMON` and of `Settings`.

    Those of `COMMON` that mean nothing to this corpus are passed over, and so are
    `channels` where signals are not wanted.

    Raises:
      InputError: a field is unknown or has an impossible value.
    """
    own = {f.name: f.default for f in dataclasses.fields(self.Settings)}
    known = sorted({*own, *self.fields})
    unknown = sorted(set(fields) - set(COMMON) - set(own))
    if unknown:
      raise InputError(
        f'{self.name}: no field {", ".join(unknown)}; there are {", ".join(known)}'
      )

    if 'signals' not in fields.get('streams', ('signals',)):
      fields.pop('channels', None)

    def given(defaults: Mapping[str, Any]) -> dict[str, Any]:
      return {
        name: tuple(fields[name]) if isinstance(default, tuple) else fields[name]
        for name, default in defaults.items()
        if name in fields
      }

    wanted = Wanted(
      **self.fields | given(self.fields), settings=self.Settings(**given(own))
    )
    for rule, holds in (_rules(wanted) | self.rules(wanted)).items():
      if not holds:
        name = rule.partition(':')[0]
        value = getattr(wanted if name in COMMON else wanted.settings, name)
        raise InputError(f'{self.name}: {rule}; it is {value!r}')
    streams = self.streams(wanted)
    if not wanted.streams or not set(wanted.streams) <= set(streams):
      raise InputError(
        f'{self.name}: streams: some of {", ".join(streams)}; it is {wanted.streams!r}'
      )
    return dataclasses.replace(
      wanted, streams=tuple(name for name in streams if name in wanted.streams)
    )

  def label(self, wanted: Wanted) -> str:
    """The name of what is prepared: differs wherever the prepared data do."""
    parts = [*wanted.streams]
    if any(self.streams(wanted)[name].kind == 'frames' for name in wanted.streams):
      parts += [wanted.crop.lower()] if 'crop' in self.fields else []
      parts += [f'{wanted.frame_size}px', f'{wanted.frame_rate:g}hz']
    if 'clean' in self.fields and not wanted.clean:
      parts.append('raw')
    if 'channels' in self.fields:
      parts += wanted.channels or ('all',)
    for field in dataclasses.fields(self.Settings):
      value = getattr(wanted.settings, field.name)
      if value != field.default and not field.metadata.get(_SOURCE):
        values = value if isinstance(value, tuple) else (value,)
        parts.append('-'.join([field.name, *map(str, values)]))
    return re.sub(r'[^\w.-]+', '-', '_'.join(parts))


class Source:
  """A corpus found in a folder, and how its trials are prepared.

  Subclasses set `trials` and `marker` (what SYNTHETIC.json says, or None).
  """

  trials: list[Any]
  marker: dict[str, Any] | None = None

  @property
  def fingerprint(self) -> str:
    """A hash of the files that are read."""
    raise NotImplementedError

  def prepare(self, directory: Path, engine: int | str | None) -> list[Outcome]:
    """Prepares single trials in `directory`, where a killed run continues.

    Args:
      directory: of results.
      engine: `workers` of `tasks.run_tasks`.

    Returns:
      what became of each trial, in their order. Its facts go into the account.
    """
    raise NotImplementedError

  def example(self, outcome: Outcome) -> dict[str, Any]:
    """What is stored of a trial whose outcome is 'ok'.

    Returns:
      dict of `ratings`, `streams` (the series only: {name: {'values' [n, channels],
      'valid' [n, channels] or [n], 'times' [n] if irregular, and, if there is a
      baseline, 'before', 'before_valid' and 'before_times' like them}}) and the corpus'
      extras. What is left out is blank.
    """
    raise NotImplementedError

  def frames(self, outcome: Outcome, stream: str) -> dict[str, Any]:
    """A frame stream of a trial: `jpegs` (sequence of bytes) and `times`, and maybe
    `valid`, `boxes`, `info` and `before`, as `raw.frames.load_frames` gives them."""
    raise NotImplementedError

  def sound(self, outcome: Outcome, stream: str) -> dict[str, Any]:
    """A sound stream of a trial: `chunks`, `count` and `recorded`, as
    `raw.audio.load_sound` gives them."""
    raise NotImplementedError

  def people(self) -> dict[int, list[str]] | None:
    """{subject: identities of the person}; None = the subjects of an official corpus.

    Two corpora share a person exactly where identities intersect.
    """
    return None

  def about(self, trial: Any) -> dict[str, Any]:
    """What the account tells of a trial beside who it is and what became of it."""
    return {}

  def metadata(self, outcomes: list[Outcome]) -> dict[str, Any]:
    """What is told of the corpus as a whole, beside what all corpora tell.

    An entry of `units` or `channels` is that of the stream 'signals'.
    """
    return {}


def existing(folder: str | Path, what: str) -> Path:
  """A folder that holds `what`. Raises InputError if there is none."""
  folder = Path(folder)
  require_link(folder)
  if not folder.is_dir():
    raise InputError(
      f'{folder}: there is no such folder; give the one that holds {what}'
    )
  return folder


def folder_below(root: Path, name: str) -> Path | None:
  """The folder of a name, a few folders deep at most."""
  for depth in range(_DEPTH):
    for path in sorted(root.glob('*/' * depth + name)):
      if path.is_dir() and _MACOS not in path.parts:
        return path
  return None


_DEPTH = 4  # folders that unpackers put around what they unpack
_MACOS = '__MACOSX'  # holds a shadow of every file of a zip


def read_marker(root: str | Path) -> dict[str, Any] | None:
  """What SYNTHETIC.json in a folder says; None: the data are real.

  Raises:
    InputError: it is not JSON.
  """
  return read_json(Path(root) / MARKER, 'write the twin anew')


def identity(path: str | Path) -> str:
  """What tells a file from all others, wherever it lies and whatever its name."""
  path = Path(path)
  digest = hashlib.sha256(str(path.stat().st_size).encode())
  with path.open('rb') as file:
    digest.update(file.read(_ENDS))
    file.seek(-min(_ENDS, path.stat().st_size), 2)
    digest.update(file.read())
  return digest.hexdigest()[:16]


_ENDS = 1 << 16  # bytes at either end


def _rules(wanted: Wanted) -> dict[str, bool]:
  return {
    'frame_rate: above 0, at most 120 Hz': 0 < wanted.frame_rate <= 120,
    'frame_size: 16 to 1024 pixels': isinstance(wanted.frame_size, int)
    and 16 <= wanted.frame_size <= 1024,
    f'crop: one of {CROPS}': crop_scale(wanted.crop) is not None,
    'clean: True or False': isinstance(wanted.clean, bool),
  }


def some(chosen: Collection[str], known: Iterable[str]) -> bool:
  """Whether these are some of those, each once."""
  return bool(chosen) and set(chosen) <= set(known) and len(set(chosen)) == len(chosen)
