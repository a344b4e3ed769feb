"""Files to predict as a prepared corpus: recordings, prepared as those of a manifest.

There is no second way from a file to what a model reads: the given files become rows of
a manifest (`corpora.recordings`), which is prepared as the trials were that the model
was trained on.
"""

import dataclasses
from pathlib import Path

import numpy as np

from mvp_jax.corpora.recordings.manifest import FILE, is_channel
from mvp_jax.corpora.recordings.trials import NO_CHANNELS
from mvp_jax.corpora.videos.files import ENDINGS
from mvp_jax.data.trial import Frames, Series
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.files import write_table
from mvp_jax.inference.windows import with_channels
from mvp_jax.outcomes import DROP_CODES
from mvp_jax.preparation import prepare
from mvp_jax.preparation.account import TrialsLost, read_account
from mvp_jax.raw.on_disk import files_below
from mvp_jax.raw.people import people_of

# What may be given beside a video: the columns of a manifest, but for those that say
# who was recorded and how it was rated.
COLUMNS = (
  *('duration', 'video_onset', 'audio', 'audio_onset'),
  *('signals', 'signals_onset', 'rate', 'time', 'time_unit'),
  *('openface', 'openface_face'),
)
_FILES = ('video', 'audio', 'signals', 'openface')
_PARTS = ('file', 'rate', 'unit')  # of a channel: eda_file, ...


@dataclasses.dataclass(frozen=True)
class Found:
  """What became of one recording.

  Attributes:
    name: of its folder of results.
    video: pathlib.Path, or None.
    problem: why it cannot be predicted, a line, or ''.
    trial: data.trial.Trial, or None.
    facts: the account's row, {column: text}.
  """

  name: str
  video: Path | None
  problem: str = ''
  trial: object = None
  facts: dict = dataclasses.field(default_factory=dict)


class Recordings:
  """Prepared recordings as a model knows its corpus: the same streams and channels.

  Looks like a `PreparedCorpus`. Channels that no file has are there, and never valid.

  Attributes:
    synthetic: whether they are made up.
    units: {channel: unit} of what they have.
  """

  def __init__(self, corpus, metadata):
    self._corpus = corpus
    self.name, self.title, self.directory = (
      corpus.name,
      corpus.title,
      corpus.directory,
    )
    self.synthetic = corpus.metadata['synthetic']
    signals = corpus.metadata['streams'].get('signals', {})
    self.units = dict(
      zip(signals.get('channels') or (), signals.get('units') or (), strict=True)
    )
    self.metadata = corpus.metadata | {
      'streams': metadata['streams'],
      'frame_size': metadata['frame_size'],
    }
    self.trials = [self._as_known(trial) for trial in corpus.trials]

  def _as_known(self, trial):
    known = self.metadata['streams']
    found = {name: x for name, x in trial.streams.items() if name in known}
    for name, x in found.items():
      if isinstance(x, Series):
        found[name] = with_channels(x, tuple(known[name]['channels']))
      elif isinstance(x, Frames) and not known[name].get('before'):
        found[name] = dataclasses.replace(x, before=None)  # the models know of none
    return dataclasses.replace(trial, streams=found)

  def frames(self, trial, numbers, *args, **kwargs):
    return self._corpus.frames(trial, numbers, *args, **kwargs)

  def samples(self, trial, first, end, stream='audio'):
    return self._corpus.samples(trial, first, end, stream)

  def small_frames(self, trial, numbers, stream='video'):
    return self._corpus.small_frames(trial, numbers, stream)

  def boxes(self, trial):
    return self._corpus.boxes(trial)

  def people(self, trial):
    """Who is seen in a trial's video: list of raw.people.Person, on its clock."""
    own = next(x for x in self._corpus.trials if x.trial_id == trial.trial_id)
    looks = own.streams.get('people')
    if looks is None:
      return []
    rows = np.where(looks.valid, looks.values, np.nan)
    return people_of(looks.times, rows)


def rows_of(videos, given):
  """The rows of a manifest of single recordings: list of {column: text}.

  Args:
    videos: paths of videos, or of folders of videos; none: there are only signals.
    given: {column: text} of what belongs to the one video.

  Raises:
    InputError: there is nothing, or a column that is none; what is given belongs to
      nobody.
  """
  for name in given:
    channel, _, part = name.rpartition('_')
    own = channel if part in _PARTS else name
    if name not in COLUMNS and not is_channel(own):
      raise InputError(
        f'--{name.replace("_", "-")}: no such option; channels are named as in a '
        'manifest: --eda COLUMN, --emg_left COLUMN, --eda-unit, --eda-rate, --eda-file '
        '(docs/recordings.md)'
      )
  paths = []
  for path in map(Path, videos):
    if path.suffix.lower() == '.csv':
      raise InputError(f'{path}: no video; if it is a manifest, call it {FILE}')
    paths += _in_folder(path) if path.is_dir() else [path]
  if given and len(paths) > 1:
    raise InputError(
      f'--{next(iter(given)).replace("_", "-")}: says it of {len(paths)} videos at '
      'once; write a manifest.csv with a row for each (docs/recordings.md)'
    )
  if not paths and not given:
    raise InputError('nothing to predict: give a video, a folder or a manifest.csv')
  given = {
    name: str(Path(x).absolute())
    if name.removesuffix('_file') != name or name in _FILES
    else str(x)
    for name, x in given.items()
  }
  rows = []
  for number, path in enumerate(paths or [None], 1):
    own = {} if path is None else {'video': str(path.absolute())}
    rows.append({'subject': f'recording{number:04d}', 'trial': '1'} | own | given)
  return rows


def _in_folder(folder):
  found = sorted(path for path in files_below(folder) if path.suffix.lower() in ENDINGS)
  if not found:
    raise InputError(f'{folder}: neither a {FILE} nor a video in it')
  return found


def is_manifest(path):
  """Whether a path is a manifest, or a folder that holds one."""
  path = Path(path)
  return path.name == FILE or (path / FILE).is_file()


def write_manifest(folder, rows):
  """Writes rows of `rows_of` as the manifest of a folder."""
  write_table(folder / FILE, rows)


def prepared(manifest, model, directory, channels, streams, workers=1):
  """Prepares recordings as those that a model was trained on.

  Args:
    manifest: corpora.recordings.manifest.Manifest.
    model: model.Ensemble.
    directory: pathlib.Path for what is prepared.
    channels: names of those of the model that any row has.
    streams: names of those of the model that are to be prepared.
    workers: processes.

  Returns:
    Recordings or None if none could be prepared; and the account's rows.
  """
  known, data = model.metadata['streams'], model.config.data
  befores = [facts.get('before', 0.0) for facts in known.values()]
  settings = {'baseline_seconds': max(befores)}
  if 'signals' in known:
    settings['signal_rate'] = known['signals']['rate']
  try:
    found = prepare(
      'recordings',
      manifest.path.parent,
      directory,
      streams=(*streams, 'people') if 'video' in streams else streams,
      workers=workers,
      allow_dropped=tuple(DROP_CODES),
      frame_rate=data.frame_rate,
      frame_size=model.metadata['frame_size'] or data.frame_size,
      crop=model.metadata.get('crop') or data.crop,
      clean=data.clean,
      ratings=(),
      channels=tuple(channels) or NO_CHANNELS,
      **settings,
    )
  except TrialsLost as error:
    return None, error.rows
  corpus = PreparedCorpus(found)
  return Recordings(corpus, model.metadata), read_account(found / 'account.csv')
