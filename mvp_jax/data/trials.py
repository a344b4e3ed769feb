"""Prepared corpora: trials in memory, frames and sound by random access."""

import contextlib
import dataclasses
import functools
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds

from mvp_jax import checksums
from mvp_jax.data.trial import Frames, Series, Sound, Trial
from mvp_jax.errors import InputError


class PreparedCorpus:
  """A corpus that `mvp_jax.preparation.prepare` has prepared.

  Attributes:
    name, title: what it is called in configs, and by people.
    trials: list of Trial, in the order of subject and trial.
    metadata: streams ({name: {kind, rate, channels, units}}), ratings ({name: [least,
      most]}), people ({str(subject): identities of the person}; two corpora share a
      person exactly where these intersect), parts ({trial_id: part of the official
      split}, if there is one), settings, frame_size, crop, chunk,
      sound_chunk, clean, synthetic, ceiling, fingerprint, and what else the corpus
      tells.

  Raises:
    InputError: it was prepared by an older version of this program.
  """

  def __init__(self, directory):
    self.directory = Path(directory)
    checksums.require_texts(self.directory)
    with _damage_told(self.directory):
      builder = tfds.builder_from_directory(self.directory)
      self.name = builder.name
      self.metadata = dict(builder.info.metadata)
    if 'streams' not in self.metadata:
      raise InputError(
        f'{self.directory}: prepared by an older version; prepare it anew'
      )
    self.title = self.metadata['title']
    streams = self.metadata['streams']
    parts = self.metadata.get('parts', {})
    with _damage_told(self.directory):
      found = [_trial(x, streams) for x in builder.as_data_source('trials')]
    self.trials = [
      dataclasses.replace(trial, part=parts.get(trial.trial_id, '')) for trial in found
    ]

  def __reduce__(self):  # reader processes open the files themselves
    return PreparedCorpus, (self.directory,)

  def has(self, stream):
    """Whether trials of this corpus can have a stream."""
    return stream in self.metadata['streams']

  @functools.cached_property
  def _rows(self):
    """The split of trials as it is stored."""
    return tfds.builder_from_directory(self.directory).as_data_source('trials')

  @functools.cached_property
  def _chunks(self):
    """For each stream of frames or sound, a function that reads one row of its split.

    It parses two features of the many: those of trials are there too, empty, and
    would take four times as long as these.
    """
    builder = tfds.builder_from_directory(self.directory)

    def reader(split):
      pictures = self.metadata['streams'][split]['kind'] == 'frames'
      features = tfds.features.FeaturesDict(
        {
          name: builder.info.features[name]
          for name in ('trial_id', 'frames' if pictures else 'samples')
        }
      )
      decoders = {'frames': _Undecoded()} if pictures else None
      rows = builder.as_data_source(
        split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
      )
      return lambda row: features.deserialize_example_np(rows[row], decoders=decoders)

    return {split: reader(split) for split in builder.info.splits if split != 'trials'}

  def frames(self, trial, numbers, flag=cv2.IMREAD_COLOR_RGB, stream='video'):
    """Reads and decodes some frames, touching only the chunks that hold them.

    `numbers` [n] count within the trial; `flag` is of `cv2.imdecode`. Returns uint8 [n,
    height, width, 3], RGB; all frames of a trial have one size.
    """
    per_chunk = self.metadata['chunk']
    numbers = [int(n) + trial.streams[stream].first for n in numbers]
    chunks = self._read(trial, stream, {n // per_chunk for n in numbers})
    images = {}
    for n in set(numbers):
      frames = chunks[n // per_chunk]['frames']
      encoded = np.frombuffer(frames[n % per_chunk], np.uint8)
      images[n] = cv2.imdecode(encoded, flag)
    return np.stack([images[n] for n in numbers])

  def boxes(self, trial, stream='video'):
    """The crops of a trial's frames in the pictures that they were cut out of.

    Returns:
      float32 [n, 3]: centre x, centre y and side, in stored pixels of the upright
      picture, in which a crop is side / pixel_aspect columns wide; pixel_aspect.
    """
    row = next(i for i, one in enumerate(self.trials) if one.trial_id == trial.trial_id)
    found = self._rows[row]['streams'][stream]
    boxes = np.asarray(found['boxes'], np.float32)
    first, count = trial.streams[stream].first, len(trial.streams[stream].times)
    return boxes[first : first + count], float(found['pixel_aspect'])

  def samples(self, trial, first, end, stream='audio'):
    """Reads a stretch of sound, touching only the chunks that hold it.

    `first` and `end` count samples from the onset on, and may lie outside of the trial.
    Returns int16 [end - first], 0 where nothing was recorded, and bool [end - first]:
    where something was.
    """
    sound, per_chunk = trial.streams[stream], self.metadata['sound_chunk']
    values = np.zeros(end - first, np.int16)
    valid = np.zeros(end - first, bool)
    low, high = max(0, first), min(end, sound.count)
    if low >= high:
      return values, valid
    place = sound.first  # of the stretch within what is stored
    wanted = range((place + low) // per_chunk, (place + high - 1) // per_chunk + 1)
    rows = self._read(trial, stream, wanted)
    joined = np.concatenate([rows[chunk]['samples'] for chunk in wanted])
    begin = wanted[0] * per_chunk - place
    values[low - first : high - first] = joined[low - begin : high - begin]
    for begin, stop in sound.recorded:
      valid[max(0, begin - first) : max(0, stop - first)] = True
    return values, valid

  def _read(self, trial, stream, chunks):
    """{number: row} of some chunks of a stream of a trial."""
    first, read = trial.streams[stream].first_chunk, self._chunks[stream]
    # One by one: reading a batch of rows starts a pool of threads each time.
    with _damage_told(self.directory):
      rows = {chunk: read(first + chunk) for chunk in sorted(chunks)}
    if any(_text(row['trial_id']) != trial.trial_id for row in rows.values()):
      raise InputError(
        f'{self.directory}: the chunks of {stream} of {trial.trial_id} are not where '
        f'the index says; {checksums.ANEW}'
      )
    return rows

  def small_frames(self, trial, numbers, stream='video'):
    """The same frames in grey, an eighth as wide and high, decoded as such: quickly.

    A list of uint8 [height / 8, width / 8].
    """
    return list(self.frames(trial, numbers, cv2.IMREAD_REDUCED_GRAYSCALE_8, stream))


@contextlib.contextmanager
def _damage_told(directory):
  """Turns what the readers of TFDS raise at damaged files into one line."""
  try:
    yield
  except (InputError, MemoryError):
    raise
  except Exception as error:  # those of Protocol Buffers and TFDS have no common kind
    lines = str(error).splitlines() or [type(error).__name__]
    raise InputError(
      f'{directory}: is damaged ({lines[0]}); {checksums.ANEW}'
    ) from error


class _Undecoded(tfds.decode.SkipDecoding):
  """Leaves JPEGs as they are: OpenCV decodes the few that are wanted, faster."""

  def decode_batch_example_np(self, examples):
    return examples


def _text(value):
  return value.decode() if isinstance(value, bytes) else str(value)


def _trial(x, streams):
  found = {name: _stream(x['streams'][name], facts) for name, facts in streams.items()}
  return Trial(
    trial_id=_text(x['trial_id']),
    subject=int(x['subject']),
    trial=int(x['trial']),
    stimulus=int(x['stimulus']) or None,
    ratings={k: float(v) for k, v in x.get('ratings', {}).items()},
    streams={name: stream for name, stream in found.items() if stream is not None},
    group=_text(x['group']),
    session=_text(x['session']),
  )


def _stream(x, facts):
  """A Series, Frames or Sound; None where the trial has none of it."""
  if facts['kind'] == 'sound':
    count, recorded = int(x['count']), np.asarray(x['recorded'], np.int64)
    found = Sound(count, recorded, int(x['first_chunk']), facts['rate'])
    return found if count else None
  times = np.asarray(x['times'], np.float32) if 'times' in x else None
  valid, rate = np.asarray(x['valid'], bool), facts['rate']
  if facts['kind'] == 'frames':
    return Frames(times, valid, int(x['first_chunk']), rate) if len(times) else None
  values, channels = np.asarray(x['values'], np.float32), tuple(facts['channels'] or ())
  if not len(values) or not channels:
    return None
  before = np.asarray(x.get('before', ()), np.float32)
  if not len(before) or before.ndim != 2 or before.shape[1] != len(channels):
    return Series(values, valid, channels, rate, times)
  before_valid = np.asarray(x['before_valid'], bool)
  return Series(values, valid, channels, rate, times, before, before_valid)
