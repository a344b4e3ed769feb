"""The TFDS builder of any corpus: trials, and frames in chunks.

Single trials are prepared into files of their own (`tasks.run_tasks`), every one is
accounted for, and the split `trials` is written and, for each stream of frames or
sound, a split of its name: one example per `CHUNK` consecutive frames of a trial, as
JPEG, or per `raw.audio.CHUNK` samples, in the order of the trials. The builder is
shard-based since the generator-based kind sends more than 1 GB of ordered examples
through a single bucket held in memory.
"""

import dataclasses
import functools
import shutil
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from mvp_jax.corpora import Array, Wanted, find
from mvp_jax.errors import InputError
from mvp_jax.outcomes import DROP_CODES
from mvp_jax.preparation.account import ACCOUNT, check_account, write_account
from mvp_jax.raw import audio
from mvp_jax.raw.channels import MEASURES
from mvp_jax.tasks import beam as _beam
from mvp_jax.tasks.blobs import Blobs

CHUNK = 16  # Frames in one example of a frame split: one clip of VideoMAE.
_SHARD_BYTES = 128 << 20
_TRIALS_PER_SHARD = 500


@dataclasses.dataclass
class CorpusConfig(tfds.core.BuilderConfig):
  """What is prepared, and how it is done.

  Attributes:
    wanted: what `Corpus.want` gives; None = the corpus' defaults.
    workers: processes; None = one per processor.
    beam: options of an Apache Beam pipeline that does it instead; '' = this machine.
    allow_dropped: drop codes with which trials may be missing.
    interim_dir: where single trials wait; None = beside the data set.
  """

  wanted: Wanted | None = None
  workers: int | None = None
  beam: str = ''
  allow_dropped: tuple[str, ...] = ()
  interim_dir: str | None = None


class CorpusBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """Builds the corpus of its name; `load_builder` makes the subclasses."""

  @classmethod
  def configure(cls, *, workers=None, beam='', allow_dropped=(), **fields):
    """Makes a config named after its content; see `prepare` for the arguments.

    Raises:
      InputError: a field is unknown or has an impossible value.
    """
    wanted = find(cls.name).want(**fields)
    allowed = tuple(allow_dropped)
    if not set(allowed) <= set(DROP_CODES):
      raise InputError(
        f'{cls.name}: allow_dropped: some of {", ".join(DROP_CODES)}; it is {allowed!r}'
      )
    if beam:
      _beam.parse(beam)
    return CorpusConfig(
      name=find(cls.name).label(wanted),
      wanted=wanted,
      workers=workers,
      beam=beam,
      allow_dropped=allowed,
    )

  @property
  def corpus(self):
    return find(self.name)

  @property
  def interim_dir(self):
    """Where the results of single trials wait until the data set is whole."""
    config = self.builder_config
    return Path(
      config.interim_dir
      or Path(self.data_dir_root) / 'interim' / f'{self.name}_{config.name}'
    )

  @property
  def _streams(self):
    return self.corpus.stored(self.builder_config.wanted)

  @property
  def _chunked(self):
    """{name: kind} of the streams that have splits of their own."""
    kinds = {name: stream.kind for name, stream in self._streams.items()}
    return {name: kind for name, kind in kinds.items() if kind != 'series'}

  @property
  def _pictured(self):
    return 'frames' in self._chunked.values()

  def download_and_prepare(self, **kwargs):
    super().download_and_prepare(**kwargs)
    for stream in self._chunked:
      if not self._rows_are_right(stream):
        shutil.rmtree(self.data_dir)
        raise RuntimeError(
          f'the stream {stream} was not written in the order of the trials; '
          'start again to write them anew'
        )
    shutil.rmtree(self.interim_dir, ignore_errors=True)

  def _rows_are_right(self, stream):
    """Whether each trial's first and last chunk lie where the trial says."""
    trials = self.as_data_source('trials')
    chunks = self.as_data_source(
      stream, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    names = tfds.features.FeaturesDict(
      {name: self.info.features[name] for name in ('trial_id', 'chunk')}
    )
    total = 0
    for trial in trials:
      place = trial['streams'][stream]
      for chunk in {0, place['num_chunks'] - 1} if place['num_chunks'] else ():
        found = names.deserialize_example_np(chunks[place['first_chunk'] + chunk])
        if (found['trial_id'], found['chunk']) != (trial['trial_id'], chunk):
          return False
      total += place['num_chunks']
    return len(chunks) == total

  @functools.cached_property
  def _spec(self):
    """What an example holds: {name: NumPy type, str, Array or a dict of such}."""
    ratings = {name: np.float32 for name in self.corpus.ratings}
    return {
      'trial_id': str,
      'subject': np.int32,
      'trial': np.int32,
      'stimulus': np.int32,
      'group': str,
      'session': str,
      **({'ratings': ratings} if ratings else {}),
      'streams': {name: _stream_spec(s) for name, s in self._streams.items()},
      **self.corpus.extras(self.builder_config.wanted),
      **({'chunk': np.int32} if self._chunked else {}),
      **({'samples': _SAMPLES} if 'sound' in self._chunked.values() else {}),
    }

  def _info(self):
    pictures = {
      'frames': tfds.features.Sequence(
        tfds.features.Image(shape=(None, None, 3), encoding_format='jpeg')
      )
    }
    return self.dataset_info_from_configs(
      description=type(self.corpus).__doc__,
      features=tfds.features.FeaturesDict(
        _features(self._spec) | (pictures if self._pictured else {})
      ),
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(),
    )

  def _shard_iterators_per_split(self, dl_manager):
    config = self.builder_config
    source = self.corpus.open(Path(dl_manager.manual_dir), config.wanted)
    outcomes = source.prepare(self.interim_dir, config.beam or config.workers)
    account = self.interim_dir / ACCOUNT
    write_account(account, outcomes, source.about)
    check_account(account, config.allow_dropped)
    shutil.copy(account, Path(self.data_dir) / ACCOUNT)
    self.info.metadata.update(self._metadata(source, outcomes))

    kept = [outcome for outcome in outcomes if outcome.code == 'ok']
    places, splits = [{} for _ in kept], {}
    for stream, kind in self._chunked.items():
      row, spans = 0, []
      for outcome, place in zip(kept, places, strict=True):
        if kind == 'frames':
          found = source.frames(outcome, stream)
          example, size = _frames_example(found), _size(found['jpegs'])
          if self._streams[stream].before:
            example['before'] = int(found['before'])
          chunks = -(-len(found['times']) // CHUNK)
        else:
          found = source.sound(outcome, stream)
          example = {name: found[name] for name in ('count', 'recorded')}
          size, chunks = _size(found['chunks']), len(found['chunks'])
        place[stream] = example | {'first_chunk': row, 'num_chunks': chunks}
        row += chunks
        spans.append((outcome, chunks, size))
      rows = self._frames if kind == 'frames' else self._sound
      splits[stream] = [
        functools.partial(rows, source, stream, shard) for shard in _shards(spans)
      ]
    placed = list(zip(kept, places, strict=True))
    splits['trials'] = [
      functools.partial(self._trials, source, placed[i : i + _TRIALS_PER_SHARD])
      for i in range(0, len(placed), _TRIALS_PER_SHARD)
    ]
    return splits

  def _metadata(self, source, outcomes):
    wanted, own = self.builder_config.wanted, source.metadata(outcomes)
    marker = source.marker
    signals = {name: own.pop(name) for name in ('channels', 'units') if name in own}
    streams = {name: dataclasses.asdict(s) for name, s in self._streams.items()}
    for stream in streams.values():
      del stream['optional']
      if stream['kind'] == 'frames':
        stream['rate'] = wanted.frame_rate
      elif stream['kind'] == 'sound':
        stream['rate'] = float(audio.RATE)
    if 'signals' in streams:
      streams['signals'] |= signals
    people = source.people() or {
      t.subject: [f'{self.name}:{t.subject}'] for t in source.trials
    }
    made_up = '' if marker is None else 'synthetic:'
    return {
      'title': self.corpus.title,
      'streams': streams,
      'ratings': self.corpus.ratings,
      'frame_size': wanted.frame_size if self._pictured else None,
      'crop': wanted.crop if self._pictured and 'crop' in self.corpus.fields else None,
      'chunk': CHUNK,
      'sound_chunk': audio.CHUNK,
      'clean': wanted.clean,
      'quality_measures': list(MEASURES),
      'settings': dataclasses.asdict(wanted.settings),
      'synthetic': marker is not None,
      'ceiling': (marker or {}).get('ceiling'),
      'fingerprint': source.fingerprint,
      'people': {
        str(subject): [made_up + name for name in names]
        for subject, names in people.items()
      },
      **own,
    }

  def _trials(self, source, placed):
    for outcome, chunked in placed:
      trial = outcome.trial
      found = source.example(outcome)
      yield (
        trial.trial_id,
        _filled(
          self._spec,
          {
            'trial_id': trial.trial_id,
            'subject': trial.subject,
            'trial': trial.trial,
            'stimulus': getattr(trial, 'stimulus', None) or 0,
            'group': getattr(trial, 'group', ''),
            'session': getattr(trial, 'session', ''),
            **found,
            'streams': _series(found.get('streams', {})) | chunked,
          },
        )
        | ({'frames': []} if self._pictured else {}),
      )

  def _frames(self, source, stream, spans):
    for outcome, first, last in spans:
      trial_id = outcome.trial.trial_id
      jpegs = source.frames(outcome, stream)['jpegs']
      for chunk in range(first, last):
        # TFDS has one set of features for all splits; those of others are blank.
        row = _filled(self._spec, {'trial_id': trial_id, 'chunk': chunk})
        row['frames'] = jpegs[chunk * CHUNK : (chunk + 1) * CHUNK]
        yield f'{trial_id}_{chunk}', row
        row.clear()  # It is written. TFDS keeps it until the shard is counted.

  def _sound(self, source, stream, spans):
    for outcome, first, last in spans:
      trial_id = outcome.trial.trial_id
      chunks = source.sound(outcome, stream)['chunks']
      for chunk in range(first, last):
        samples = np.frombuffer(chunks[chunk], '<i2').astype(np.int16)
        row = _filled(
          self._spec, {'trial_id': trial_id, 'chunk': chunk, 'samples': samples}
        ) | ({'frames': []} if self._pictured else {})
        yield f'{trial_id}_{chunk}', row
        row.clear()


_SAMPLES = Array((None,), np.int16)


def _stream_spec(stream):
  if stream.kind == 'sound':
    return {
      'count': np.int64,
      'recorded': Array((None, 2), np.int64),
      'first_chunk': np.int64,
      'num_chunks': np.int32,
    }
  if stream.kind == 'frames':
    return {
      'times': Array((None,), np.float32),
      'valid': Array((None,), np.bool_),
      'boxes': Array((None, 3), np.float32),
      'rate': np.float32,
      'width': np.int32,
      'height': np.int32,
      'pixel_aspect': np.float32,
      'first_chunk': np.int64,
      'num_chunks': np.int32,
      # How many of the frames come before the onset.
      **({'before': np.int32} if stream.before else {}),
    }
  shape = (None, None if stream.channels is None else len(stream.channels))
  return {
    'values': Array(shape, np.float32),
    'valid': Array(shape, np.bool_),
    **({'times': Array((None,), np.float32)} if stream.rate is None else {}),
    **(
      {'before': Array(shape, np.float32), 'before_valid': Array(shape, np.bool_)}
      if stream.before or stream.rate is not None
      else {}
    ),
    **(
      {'before_times': Array((None,), np.float32)}
      if stream.before and stream.rate is None
      else {}
    ),
  }


def _frames_example(found):
  """What `_stream_spec` says of a frame stream, but where its chunks are."""
  count = len(found['times'])
  rate, width, height, aspect = map(float, found.get('info', (0, 0, 0, 0)))
  return {
    'times': found['times'],
    'valid': found.get('valid', np.ones(count, bool)),
    'boxes': found.get('boxes', np.zeros((0, 3), np.float32)),
    'rate': rate,
    'width': int(width),
    'height': int(height),
    'pixel_aspect': aspect,
  }


def _series(streams):
  """With a validity for each number, and zeros where it says no."""
  found = {}
  for name, stream in streams.items():
    found[name] = dict(stream)
    for part, known in (('values', 'valid'), ('before', 'before_valid')):
      if part not in stream:
        continue
      values, valid = np.asarray(stream[part]), np.asarray(stream[known])
      if valid.ndim == 1:
        valid = np.broadcast_to(valid[:, None], values.shape)
      found[name] |= {
        part: np.where(valid, values, 0).astype(np.float32),
        known: np.ascontiguousarray(valid),
      }
  return found


def _features(spec):
  """The TFDS feature that a spec stands for."""
  if isinstance(spec, dict):
    return {name: _features(part) for name, part in spec.items()}
  if isinstance(spec, Array):  # Without this encoding they are 80 times slower.
    return tfds.features.Tensor(
      shape=spec.shape, dtype=spec.dtype, encoding=tfds.features.Encoding.BYTES
    )
  return tfds.features.Text() if spec is str else spec


def _filled(spec, example):
  """An example with blanks for what it lacks."""
  if isinstance(spec, dict):
    example = {} if example is None else example
    unknown = set(example) - set(spec)
    assert not unknown, f'not declared: {", ".join(sorted(unknown))}'
    return {name: _filled(part, example.get(name)) for name, part in spec.items()}
  if isinstance(spec, Array):
    # TFDS can't read back an array of two unknown sizes and less than two bytes.
    unknown = sum(size is None for size in spec.shape) > 1
    if example is None or (unknown and not np.size(example)):
      least = (2, 1) if unknown else (0, 0)
      sizes = iter(least)
      return np.zeros(
        [next(sizes) if size is None else size for size in spec.shape], spec.dtype
      )
    return example
  return spec() if example is None else example


def _size(pieces):
  if isinstance(pieces, Blobs):
    return pieces.size  # without reading them
  return sum(map(len, pieces))


def _shards(spans):
  """Lists of (outcome, first chunk, last chunk + 1), each of about a shard's size.

  `spans`: (outcome, chunks, bytes) of all trials.
  """
  shards, size = [], 0
  for outcome, chunks, total in spans:
    chunk_bytes = total / chunks
    most = max(1, int(_SHARD_BYTES / chunk_bytes))  # A long trial has several shards.
    for first in range(0, chunks, most):
      last = min(first + most, chunks)
      if not shards or size + (last - first) * chunk_bytes > _SHARD_BYTES:
        shards.append([])
        size = 0
      shards[-1].append((outcome, first, last))
      size += (last - first) * chunk_bytes
  return shards
