"""DEAP as a TFDS data set: trials with signals and ratings, face frames in chunks.

The README beside this file says how to use it and what the splits hold. It is
a shard-based builder since the generator-based one sends more than 1 GB of
ordered examples through a single bucket held in memory.
"""

import dataclasses
import functools
import shutil
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from mvp_jax.errors import InputError
from mvp_jax.raw import deap, deap_trials
from mvp_jax.raw.face import CROP_SCALES
from mvp_jax.raw.frames import FrameSpec
from mvp_jax.raw.losses import LOSS_CODES
from mvp_jax.raw.prepare import read_account, write_account

ACCOUNT = 'account.csv'
CHUNK = 16  # Frames in one example of the split `frames`: one clip of VideoMAE.
_SHARD_BYTES = 128 << 20  # A shard is held in memory while it is written.
_TRIALS_PER_SHARD = 500
_LOSSES_SHOWN = 5


@dataclasses.dataclass
class DeapConfig(tfds.core.BuilderConfig):
  """What is prepared, and how.

  Attributes:
    video: whether face frames belong to it; it has then only trials with video.
    frame_rate: stored frames per second.
    frame_size: their side in pixels.
    crop: 'X' (whole face and some background) or 'Y' (face only).
    channels: names from `deap_trials.CHANNELS`.
    workers: processes; None = as many as there are processors.
    allow_losses: loss codes with which trials may be missing.
    interim_dir: where single trials wait; None = beside the data set.
  """

  video: bool = True
  frame_rate: float = 25.0
  frame_size: int = 224
  crop: str = 'X'
  channels: tuple[str, ...] = ('eda', 'ppg')
  workers: int | None = None
  allow_losses: tuple[str, ...] = ()
  interim_dir: str | None = None


class Builder(tfds.core.ShardBasedBuilder):
  """DEAP: 32 subjects, 40 music videos each, rated for valence and arousal."""

  # Said outright, since TFDS cannot ask a module that is in no package.
  pkg_dir_path = epath.Path(__file__).parent
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Ask for DEAP at its home page, download metadata_csv.zip, '
    'data_preprocessed_python.zip and face_video.zip, and unpack them into '
    'manual_dir.')
  BUILDER_CONFIGS = [
    DeapConfig(name='video', description='Face video and signals, 874 trials.'),
    DeapConfig(name='signals', video=False,
               description='Signals without video, 1280 trials.'),
  ]

  @classmethod
  def configure(cls, **fields):
    """Makes a config named after its content from `DeapConfig` fields.

    Raises:
      InputError: a field is unknown or has an impossible value.
    """
    known = {f.name for f in dataclasses.fields(DeapConfig)}
    known -= {f.name for f in dataclasses.fields(tfds.core.BuilderConfig)}
    unknown = sorted(set(fields) - known)
    if unknown:
      raise InputError(f'deap: no field {", ".join(unknown)}; there are '
                       f'{", ".join(sorted(known))}')
    config = DeapConfig(name='', **fields)
    config.channels = tuple(config.channels)
    config.allow_losses = tuple(config.allow_losses)
    _check(config)
    parts = ['signals']
    if config.video:
      parts = ['video', config.crop.lower(), f'{config.frame_size}px',
               f'{config.frame_rate:g}hz']
    config.name = '_'.join([*parts, *config.channels])
    return config

  @classmethod
  def fingerprint(cls, manual_dir, config):
    """A hash of the source files that a config reads.

    Raises:
      InputError: `manual_dir` does not hold DEAP.
    """
    tree = deap.find_tree(manual_dir, config.video)
    return deap.fingerprint(tree, deap.read_trials(tree))

  @classmethod
  def check_account(cls, path, config):
    """Raises InputError if trials were lost in a way that `config` forbids."""
    rows = read_account(path)
    lost = [row for row in rows if row['outcome'] != 'ok']
    left = len(rows) - len(lost)
    forbidden = [row for row in lost if row['outcome'] not in config.allow_losses]
    if not forbidden and left:
      return
    first = '; '.join(f'{row["trial_id"]} {row["outcome"]} ({row["reason"]})'
                      for row in (forbidden or lost)[:_LOSSES_SHOWN])
    more = '; ...' if len(forbidden or lost) > _LOSSES_SHOWN else ''
    codes = ','.join(sorted({row['outcome'] for row in lost}))
    advice = (f'repair them, or go on without them by '
              f'--config.data.allow_losses={codes}' if left else 'nothing is left')
    raise InputError(f'{len(rows)} trials in, {left} out; {len(lost)} lost: '
                     f'{first}{more}; see {path}; {advice}')

  @property
  def interim_dir(self):
    """Where the results of single trials wait until the data set is whole."""
    config = self.builder_config
    return Path(config.interim_dir
                or Path(self.data_dir_root) / 'interim' / f'deap_{config.name}')

  def download_and_prepare(self, **kwargs):
    super().download_and_prepare(**kwargs)
    if self.builder_config.video and not self._rows_are_right():
      shutil.rmtree(self.data_dir)
      raise RuntimeError('the frames were not written in the order of the trials; '
                         'start again to write them anew')
    shutil.rmtree(self.interim_dir, ignore_errors=True)

  def _rows_are_right(self):
    """Whether each trial's first and last chunk lie where the trial says."""
    trials = self.as_data_source('trials')
    chunks = self.as_data_source(
      'frames', deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    names = tfds.features.FeaturesDict(
      {name: self.info.features[name] for name in ('trial_id', 'chunk')})
    for trial in trials:
      for chunk in (0, trial['num_chunks'] - 1):
        found = names.deserialize_example_np(chunks[trial['first_chunk'] + chunk])
        if (found['trial_id'], found['chunk']) != (trial['trial_id'], chunk):
          return False
    return len(chunks) == sum(trial['num_chunks'] for trial in trials)

  def _info(self):
    config = self.builder_config
    _check(config)
    channels = len(config.channels)
    features = {
      'trial_id': tfds.features.Text(),
      'subject': np.int32,
      'trial': np.int32,
      'stimulus': np.int32,
      'ratings': {name: np.float32 for name in (*deap.RATINGS, 'familiarity')},
      'signals': _array((None, channels), np.float32),
      'signal_valid': _array((None, channels), np.bool_),
      'baseline': _array((None, channels), np.float32),
      'signal_rate': np.float32,
      'source': {
        'video': tfds.features.Text(), 'video_rate': np.float32,
        'width': np.int32, 'height': np.int32, 'pixel_aspect': np.float32,
        'signals': tfds.features.Text(), 'row': np.int32},
      'frame_times': _array((None,), np.float32),
      'frame_valid': _array((None,), np.bool_),
      'face_boxes': _array((None, 3), np.float32),
      'first_chunk': np.int64,
      'num_chunks': np.int32,
      'chunk': np.int32,
      'frames': tfds.features.Sequence(tfds.features.Image(
        shape=(config.frame_size, config.frame_size, 3), encoding_format='jpeg')),
    }
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features),
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict())

  def _shard_iterators_per_split(self, dl_manager):
    config = self.builder_config
    tree = deap.find_tree(dl_manager.manual_dir, config.video)
    trials = deap.read_trials(tree)
    frames = (FrameSpec(config.frame_rate, config.frame_size, config.crop)
              if config.video else None)
    outcomes = deap_trials.prepare_trials(
      tree, trials, config.channels, frames, self.interim_dir, config.workers)
    account = self.interim_dir / ACCOUNT
    write_account(account, [_account_row(outcome) for outcome in outcomes])
    self.check_account(account, config)
    shutil.copy(account, Path(self.data_dir) / ACCOUNT)
    self.info.metadata.update(_metadata(config, tree, trials))

    kept = [outcome for outcome in outcomes if outcome.code == 'ok']
    first_chunks = np.cumsum([0, *(_num_chunks(outcome) for outcome in kept)])
    placed = list(zip(kept, first_chunks.tolist(), strict=False))
    splits = {'trials': [
      functools.partial(self._trials, placed[i:i + _TRIALS_PER_SHARD])
      for i in range(0, len(placed), _TRIALS_PER_SHARD)]}
    if config.video:
      splits['frames'] = [functools.partial(self._frames, shard)
                          for shard in _frame_shards(kept)]
    return splits

  def _trials(self, placed):
    for outcome, first_chunk in placed:
      trial = outcome.trial
      example = self._blank()
      example |= {
        'trial_id': trial.trial_id, 'subject': trial.subject, 'trial': trial.trial,
        'stimulus': trial.stimulus, 'ratings': trial.ratings,
        'signal_rate': deap.SIGNAL_RATE,
        **deap_trials.load_signals(self.interim_dir, trial)}
      example['source'] |= {'signals': trial.signals_name, 'row': trial.row}
      if self.builder_config.video:
        frames = deap_trials.load_frames(self.interim_dir, trial)
        rate, width, height, aspect = frames['info']
        example |= {
          'frame_times': frames['times'], 'frame_valid': frames['valid'],
          'face_boxes': frames['boxes'],
          'first_chunk': first_chunk, 'num_chunks': _num_chunks(outcome)}
        example['source'] |= {
          'video': trial.video_name, 'video_rate': rate, 'width': int(width),
          'height': int(height), 'pixel_aspect': aspect}
      yield trial.trial_id, example

  def _frames(self, outcomes):
    for outcome in outcomes:
      trial_id = outcome.trial.trial_id
      jpegs = deap_trials.load_frames(self.interim_dir, outcome.trial)['jpegs']
      for chunk in range(_num_chunks(outcome)):
        yield f'{trial_id}_{chunk}', self._blank() | {
          'trial_id': trial_id, 'chunk': chunk,
          'frames': jpegs[chunk * CHUNK:(chunk + 1) * CHUNK]}

  def _blank(self):
    # TFDS has one set of features for all splits; those of the other split are
    # empty.
    channels = len(self.builder_config.channels)
    signal = np.zeros((0, channels), np.float32)
    return {
      'trial_id': '', 'subject': 0, 'trial': 0, 'stimulus': 0,
      'ratings': dict.fromkeys((*deap.RATINGS, 'familiarity'), 0.0),
      'signals': signal, 'signal_valid': signal.astype(bool), 'baseline': signal,
      'signal_rate': 0.0,
      'frame_times': np.zeros(0, np.float32), 'frame_valid': np.zeros(0, bool),
      'face_boxes': np.zeros((0, 3), np.float32), 'first_chunk': 0, 'num_chunks': 0,
      'source': {'video': '', 'video_rate': 0.0, 'width': 0, 'height': 0,
                 'pixel_aspect': 0.0, 'signals': '', 'row': 0},
      'chunk': 0, 'frames': []}


def _check(config):
  channels = set(config.channels)
  rules = {
    f'channels: some of {", ".join(deap_trials.CHANNELS)}, each once':
      bool(channels) and channels <= set(deap_trials.CHANNELS)
      and len(channels) == len(config.channels),
    f'crop: one of {", ".join(CROP_SCALES)}': config.crop in CROP_SCALES,
    'frame_rate: above 0, at most 120 Hz': 0 < config.frame_rate <= 120,
    'frame_size: 16 to 1024 pixels':
      isinstance(config.frame_size, int) and 16 <= config.frame_size <= 1024,
    f'allow_losses: some of {", ".join(LOSS_CODES)}':
      set(config.allow_losses) <= set(LOSS_CODES),
  }
  for rule, holds in rules.items():
    if not holds:
      name = rule.partition(':')[0]
      raise InputError(f'deap: {rule}; it is {getattr(config, name)!r}')


def _array(shape, dtype):
  return tfds.features.Tensor(shape=shape, dtype=dtype,
                              encoding=tfds.features.Encoding.BYTES)


def _metadata(config, tree, trials):
  marker = tree.marker or {}
  return {
    'channels': list(config.channels),
    'units': [deap_trials.CHANNELS[name][1] for name in config.channels],
    'signal_rate': deap.SIGNAL_RATE,
    'frame_rate': config.frame_rate if config.video else None,
    'frame_size': config.frame_size if config.video else None,
    'crop': config.crop if config.video else None,
    'chunk': CHUNK,
    'synthetic': tree.marker is not None,
    'ceiling': marker.get('ceiling'),
    'fingerprint': deap.fingerprint(tree, trials),
  }


def _account_row(outcome):
  def fact(name, digits):
    return round(outcome.facts[name], digits) if name in outcome.facts else ''

  return {'trial_id': outcome.trial.trial_id, 'outcome': outcome.code,
          'reason': outcome.reason, 'video_rate': fact('video_rate', 3),
          'frames': fact('frames', 0), 'face_share': fact('face_share', 4)}


def _num_chunks(outcome):
  return -(-outcome.facts.get('frames', 0) // CHUNK)


def _frame_shards(outcomes):
  shards, size = [], 0
  for outcome in outcomes:
    if not shards or size + outcome.facts['bytes'] > _SHARD_BYTES:
      shards.append([])
      size = 0
    shards[-1].append(outcome)
    size += outcome.facts['bytes']
  return shards
