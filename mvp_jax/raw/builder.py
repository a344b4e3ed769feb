"""What the TFDS builders of `datasets/` share: trials, and frames in chunks.

A builder prepares single trials into files of their own (`prepare.run_tasks`),
accounts for every one, and writes the split `trials` and, with video, the split
`frames`: one example per `CHUNK` consecutive frames of a trial, as JPEG, in the
order of the trials. It is shard-based since the generator-based kind sends more
than 1 GB of ordered examples through a single bucket held in memory.
"""

import dataclasses
import functools
import shutil
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from mvp_jax.errors import InputError
from mvp_jax.raw import beam
from mvp_jax.raw.action_units import no_units
from mvp_jax.raw.face import CROPS, crop_scale
from mvp_jax.raw.frames import FrameSpec
from mvp_jax.raw.losses import LOSS_CODES
from mvp_jax.raw.prepare import read_account, write_account

ACCOUNT = 'account.csv'
CHUNK = 16  # Frames in one example of the split `frames`: one clip of VideoMAE.
_SHARD_BYTES = 128 << 20  # A shard is held in memory while it is written.
_TRIALS_PER_SHARD = 500
_LOSSES_SHOWN = 5


@dataclasses.dataclass
class CorpusConfig(tfds.core.BuilderConfig):
  """What is prepared, and how: fields that every builder has.

  Attributes:
    video: whether frames belong to it; it has then only trials with video.
    frame_rate: stored frames per second.
    frame_size: their side in pixels.
    workers: processes; None = as many as there are processors.
    beam: options of an Apache Beam pipeline that does it instead; '' = this machine.
    allow_losses: loss codes with which trials may be missing.
    interim_dir: where single trials wait; None = beside the data set.
  """

  video: bool = True
  frame_rate: float = 25.0
  frame_size: int = 224
  workers: int | None = None
  beam: str = ''
  allow_losses: tuple[str, ...] = ()
  interim_dir: str | None = None

  @property
  def engine(self):
    """What prepares: `workers` of `prepare.run_tasks`."""
    return self.beam or self.workers

  def rules(self):
    """{'field: what it must be': whether it is}."""
    return {
      'frame_rate: above 0, at most 120 Hz': 0 < self.frame_rate <= 120,
      'frame_size: 16 to 1024 pixels': isinstance(self.frame_size, int)
      and 16 <= self.frame_size <= 1024,
      f'allow_losses: some of {", ".join(LOSS_CODES)}': set(self.allow_losses)
      <= set(LOSS_CODES),
    }

  def check(self, corpus):
    """Raises InputError if a field has an impossible value."""
    for rule, holds in self.rules().items():
      if not holds:
        name = rule.partition(':')[0]
        raise InputError(f'{corpus}: {rule}; it is {getattr(self, name)!r}')
    if self.beam:
      beam.parse(self.beam)


@dataclasses.dataclass
class FaceConfig(CorpusConfig):
  """Adds how a person is prepared: the face, its action units, the signals.

  Attributes:
    crop: 'X' (whole face and some background), 'Y' (face only) or a number as text:
      the crop's side over the face's.
    action_units: whether OpenFace's action units belong to it; it has then only
      trials with them. They are stored as `unit_features`.
    clean: whether hum, wander of the baseline and noise are taken out of signals.
  """

  crop: str = 'X'
  action_units: bool = False
  clean: bool = True

  def rules(self):
    return {
      'clean: True or False': isinstance(self.clean, bool),
      f'crop: one of {CROPS}': crop_scale(self.crop) is not None,
    } | super().rules()

  def frames(self):
    """What to store of a face: FrameSpec, or None without video."""
    return (
      FrameSpec(self.frame_rate, self.frame_size, self.crop) if self.video else None
    )


class CorpusBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """A builder gives `CONFIG` and the methods that raise NotImplementedError."""

  CONFIG = CorpusConfig

  @classmethod
  def configure(cls, **fields):
    """Makes a config named after its content from fields of `CONFIG`.

    Raises:
      InputError: a field is unknown or has an impossible value.
    """
    types = {f.name: f.type for f in dataclasses.fields(cls.CONFIG)}
    known = set(types) - {f.name for f in dataclasses.fields(tfds.core.BuilderConfig)}
    unknown = sorted(set(fields) - known)
    if unknown:
      raise InputError(
        f'{cls.name}: no field {", ".join(unknown)}; there are '
        f'{", ".join(sorted(known))}'
      )
    config = cls.CONFIG(
      name='',
      **{
        name: tuple(value) if types[name] == tuple[str, ...] else value
        for name, value in fields.items()
      },
    )
    config.check(cls.name)
    config.name = cls.describe(config)
    return config

  @classmethod
  def describe(cls, config):
    """The config's name: equal just if its prepared data are."""
    raise NotImplementedError

  @classmethod
  def fingerprint(cls, manual_dir, config):
    """A hash of the source files that a config reads.

    Raises:
      InputError: `manual_dir` does not hold the corpus.
    """
    raise NotImplementedError

  def prepare_trials(self, manual_dir):
    """Prepares single trials in `interim_dir`.

    Returns:
      list of losses.Outcome in the order of the trials, and the metadata (dict).
      Facts of an outcome with video hold `frames` and `bytes`.
    """
    raise NotImplementedError

  def trial_features(self):
    """Features of the split `trials`, beside those of all corpora."""
    raise NotImplementedError

  def trial_example(self, outcome):
    """Values of `trial_features` for a trial and, with video, its frame_times
    and frame_valid; without an outcome: empty ones."""
    raise NotImplementedError

  def jpegs(self, outcome):
    """A trial's frames: sequence of bytes."""
    raise NotImplementedError

  def account_facts(self, outcome):
    """What the account tells of a trial beside who it is and what became of it."""
    raise NotImplementedError

  def account_row(self, outcome):
    """What became of a trial: dict of texts and numbers, '' for what is not known."""
    trial = outcome.trial
    return {
      'trial_id': trial.trial_id,
      'subject': trial.subject,
      'trial': trial.trial,
      'outcome': outcome.code,
      'reason': outcome.reason,
      **self.account_facts(outcome),
    }

  @classmethod
  def check_account(cls, path, config):
    """Raises InputError if trials were lost in a way that `config` forbids."""
    rows = read_account(path)
    lost = [row for row in rows if row['outcome'] != 'ok']
    left = len(rows) - len(lost)
    forbidden = [row for row in lost if row['outcome'] not in config.allow_losses]
    if not forbidden and left:
      return
    first = '; '.join(
      f'{row["trial_id"]} {row["outcome"]} ({row["reason"]})'
      for row in (forbidden or lost)[:_LOSSES_SHOWN]
    )
    more = '; ...' if len(forbidden or lost) > _LOSSES_SHOWN else ''
    codes = ','.join(sorted({row['outcome'] for row in lost}))
    advice = (
      f'repair them, or go on without them by --config.data.allow_losses={codes}'
      if left
      else 'nothing is left'
    )
    raise InputError(
      f'{len(rows)} trials in, {left} out; {len(lost)} lost: '
      f'{first}{more}; see {path}; {advice}'
    )

  @property
  def interim_dir(self):
    """Where the results of single trials wait until the data set is whole."""
    config = self.builder_config
    return Path(
      config.interim_dir
      or Path(self.data_dir_root) / 'interim' / f'{self.name}_{config.name}'
    )

  def download_and_prepare(self, **kwargs):
    super().download_and_prepare(**kwargs)
    if self.builder_config.video and not self._rows_are_right():
      shutil.rmtree(self.data_dir)
      raise RuntimeError(
        'the frames were not written in the order of the trials; '
        'start again to write them anew'
      )
    shutil.rmtree(self.interim_dir, ignore_errors=True)

  def _rows_are_right(self):
    """Whether each trial's first and last chunk lie where the trial says."""
    trials = self.as_data_source('trials')
    chunks = self.as_data_source(
      'frames', deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    names = tfds.features.FeaturesDict(
      {name: self.info.features[name] for name in ('trial_id', 'chunk')}
    )
    for trial in trials:
      for chunk in (0, trial['num_chunks'] - 1):
        found = names.deserialize_example_np(chunks[trial['first_chunk'] + chunk])
        if (found['trial_id'], found['chunk']) != (trial['trial_id'], chunk):
          return False
    return len(chunks) == sum(trial['num_chunks'] for trial in trials)

  def _info(self):
    self.builder_config.check(self.name)
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          'trial_id': tfds.features.Text(),
          'subject': np.int32,
          'trial': np.int32,
          **self.trial_features(),
          'frame_times': array((None,), np.float32),
          'frame_valid': array((None,), np.bool_),
          'first_chunk': np.int64,
          'num_chunks': np.int32,
          'chunk': np.int32,
          'frames': tfds.features.Sequence(
            tfds.features.Image(shape=(None, None, 3), encoding_format='jpeg')
          ),
        }
      ),
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(),
    )

  def _shard_iterators_per_split(self, dl_manager):
    config = self.builder_config
    outcomes, metadata = self.prepare_trials(dl_manager.manual_dir)
    account = self.interim_dir / ACCOUNT
    write_account(account, [self.account_row(outcome) for outcome in outcomes])
    self.check_account(account, config)
    shutil.copy(account, Path(self.data_dir) / ACCOUNT)
    self.info.metadata.update(
      {
        'frame_rate': config.frame_rate if config.video else None,
        'frame_size': config.frame_size if config.video else None,
        'chunk': CHUNK,
        **metadata,
      }
    )

    kept = [outcome for outcome in outcomes if outcome.code == 'ok']
    first_chunks = np.cumsum([0, *(_num_chunks(outcome) for outcome in kept)])
    placed = list(zip(kept, first_chunks.tolist(), strict=False))
    splits = {
      'trials': [
        functools.partial(self._trials, placed[i : i + _TRIALS_PER_SHARD])
        for i in range(0, len(placed), _TRIALS_PER_SHARD)
      ]
    }
    if config.video:
      splits['frames'] = [
        functools.partial(self._frames, shard) for shard in _frame_shards(kept)
      ]
    return splits

  def _trials(self, placed):
    for outcome, first_chunk in placed:
      trial = outcome.trial
      example = self._blank() | {
        'trial_id': trial.trial_id,
        'subject': trial.subject,
        'trial': trial.trial,
      }
      if self.builder_config.video:
        example |= {'first_chunk': first_chunk, 'num_chunks': _num_chunks(outcome)}
      yield trial.trial_id, example | self.trial_example(outcome)

  def _frames(self, spans):
    for outcome, first, last in spans:
      trial_id = outcome.trial.trial_id
      jpegs = self.jpegs(outcome)
      for chunk in range(first, last):
        yield (
          f'{trial_id}_{chunk}',
          self._blank()
          | {
            'trial_id': trial_id,
            'chunk': chunk,
            'frames': jpegs[chunk * CHUNK : (chunk + 1) * CHUNK],
          },
        )

  def _blank(self):
    # TFDS has one set of features for all splits; those of the other split are
    # empty.
    return {
      'trial_id': '',
      'subject': 0,
      'trial': 0,
      **self.trial_example(None),
      'frame_times': np.zeros(0, np.float32),
      'frame_valid': np.zeros(0, bool),
      'first_chunk': 0,
      'num_chunks': 0,
      'chunk': 0,
      'frames': [],
    }


def rounded(facts, digits):
  """Some facts of an outcome with so many digits, {name: digits}; '' where unknown."""
  return {
    name: round(facts[name], count) if name in facts else ''
    for name, count in digits.items()
  }


def array(shape, dtype):
  """A feature for arrays; without this encoding they are 80 times slower."""
  return tfds.features.Tensor(
    shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES
  )


def unit_features():
  """Features of action units, see `action_units.on_clock`."""
  return {
    name: array((None, *value.shape[1:]), value.dtype.type)
    for name, value in no_units().items()
  }


def _num_chunks(outcome):
  return -(-outcome.facts.get('frames', 0) // CHUNK)


def _frame_shards(outcomes):
  """Lists of (outcome, first chunk, last chunk + 1), each of about a shard's size."""
  shards, size = [], 0
  for outcome in outcomes:
    chunks = _num_chunks(outcome)
    chunk_bytes = outcome.facts['bytes'] / chunks
    most = max(1, int(_SHARD_BYTES / chunk_bytes))  # A long trial has several shards.
    for first in range(0, chunks, most):
      last = min(first + most, chunks)
      if not shards or size + (last - first) * chunk_bytes > _SHARD_BYTES:
        shards.append([])
        size = 0
      shards[-1].append((outcome, first, last))
      size += (last - first) * chunk_bytes
  return shards
