"""Prepared corpora: trials in memory, frames and sound by random access."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from mvp_jax import checksums
from mvp_jax.array_types import Bool, Float32, Int, Int16, UInt8
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

  def __init__(self, directory: str | Path) -> None:
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

  # Reader processes open the files themselves.
  def __reduce__(self) -> tuple[type['PreparedCorpus'], tuple[Path]]:
    return PreparedCorpus, (self.directory,)

  def has(self, stream: str) -> bool:
    """Whether trials of this corpus can have a stream."""
    return stream in self.metadata['streams']

  @functools.cached_property
  def _rows(self) -> Sequence[Mapping[str, Any]]:
    """The split of trials as it is stored."""
    return tfds.builder_from_directory(self.directory).as_data_source('trials')

  @functools.cached_property
  def _chunks(self) -> dict[str, Callable[[int], dict[str, Any]]]:
    """For each stream of frames or sound, a function that reads one row of its split.

    It parses two features of the many: those of trials are there too, empty, and
    would take four times as long as these.
    """
    builder = tfds.builder_from_directory(self.directory)

    def reader(split: str) -> Callable[[int], dict[str, Any]]:
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

  def frames(
    self,
    trial: Trial,
    numbers: Sequence[int] | Int[np.ndarray, ' n'],
    flag: int = cv2.IMREAD_COLOR_RGB,
    stream: str = 'video',
  ) -> UInt8[np.ndarray, 'n height width *colours']:
    """Reads and decodes some frames, touching only the chunks that hold them.

    `numbers` count from the onset, -1 is the last of the baseline; `flag` is of
    `cv2.imdecode`. Colours are RGB; all frames of a trial have one size.
    """
    video, per_chunk = trial.streams[stream], self.metadata['chunk']
    assert isinstance(video, Frames), f'{stream} is no stream of frames'
    numbers = [int(n) + video.first for n in numbers]
    chunks = self._read(
      trial, stream, video.first_chunk, {n // per_chunk for n in numbers}
    )
    images = {}
    for n in set(numbers):
      frames = chunks[n // per_chunk]['frames']
      encoded = np.frombuffer(frames[n % per_chunk], np.uint8)
      if (image := cv2.imdecode(encoded, flag)) is None:
        raise InputError(
          f'{self.directory}: frame {n} of {stream} of {trial.trial_id} is no picture; '
          f'{checksums.ANEW}'
        )
      images[n] = image
    return np.stack([images[n] for n in numbers])

  def boxes(
    self, trial: Trial, stream: str = 'video'
  ) -> tuple[Float32[np.ndarray, 'n 3'], float]:
    """The crops of a trial's frames in the pictures that they were cut out of.

    Returns:
      Of each frame: centre x, centre y and side, in stored pixels of the upright
      picture, in which a crop is side / pixel_aspect columns wide; pixel_aspect.
    """
    row = next(i for i, one in enumerate(self.trials) if one.trial_id == trial.trial_id)
    found = self._rows[row]['streams'][stream]
    boxes = np.asarray(found['boxes'], np.float32)
    video = trial.streams[stream]
    assert isinstance(video, Frames), f'{stream} is no stream of frames'
    own = boxes[video.first : video.first + len(video.times)]
    return own, float(found['pixel_aspect'])

  def samples(
    self, trial: Trial, first: int, end: int, stream: str = 'audio'
  ) -> tuple[Int16[np.ndarray, ' n'], Bool[np.ndarray, ' n']]:
    """Reads a stretch of sound, touching only the chunks that hold it.

    `first` and `end` count samples from the onset on, and may lie outside of the trial.
    Returns n = end - first samples, 0 where nothing was recorded, and where something
    was.
    """
    sound, per_chunk = trial.streams[stream], self.metadata['sound_chunk']
    assert isinstance(sound, Sound), f'{stream} is no stream of sound'
    values = np.zeros(end - first, np.int16)
    valid = np.zeros(end - first, bool)
    low, high = max(0, first), min(end, sound.count)
    if low >= high:
      return values, valid
    place = sound.first  # of the stretch within what is stored
    wanted = range((place + low) // per_chunk, (place + high - 1) // per_chunk + 1)
    rows = self._read(trial, stream, sound.first_chunk, wanted)
    joined = np.concatenate([rows[chunk]['samples'] for chunk in wanted])
    begin = wanted[0] * per_chunk - place
    values[low - first : high - first] = joined[low - begin : high - begin]
    for begin, stop in sound.recorded:
      valid[max(0, begin - first) : max(0, stop - first)] = True
    return values, valid

  def _read(
    self, trial: Trial, stream: str, first: int, chunks: Collection[int]
  ) -> dict[int, dict[str, Any]]:
    """{number: row} of some chunks of a stream of a trial, which begin at `first`."""
    read = self._chunks[stream]
    # One by one: reading a batch of rows starts a pool of threads each time.
    with _damage_told(self.directory):
      rows = {chunk: read(first + chunk) for chunk in sorted(chunks)}
    if any(_text(row['trial_id']) != trial.trial_id for row in rows.values()):
      raise InputError(
        f'{self.directory}: the chunks of {stream} of {trial.trial_id} are not where '
        f'the index says; {checksums.ANEW}'
      )
    return rows

  def small_frames(
    self,
    trial: Trial,
    numbers: Sequence[int] | Int[np.ndarray, ' n'],
    stream: str = 'video',
  ) -> list[UInt8[np.ndarray, 'h w']]:
    """The same frames in grey, an eighth as wide and high, decoded as such: quickly."""
    return list(self.frames(trial, numbers, cv2.IMREAD_REDUCED_GRAYSCALE_8, stream))


@contextlib.contextmanager
def _damage_told(directory: Path) -> Iterator[None]:
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

  def decode_batch_example_np(self, examples: Any) -> Any:
    return examples


def _text(value: bytes | str) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)


def _trial(x: Mapping[str, Any], streams: Mapping[str, Mapping[str, Any]]) -> Trial:
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


def _stream(
  x: Mapping[str, Any], facts: Mapping[str, Any]
) -> Series | Frames | Sound | None:
  """None where the trial has none of it."""
  if facts['kind'] == 'sound':
    count, recorded = int(x['count']), np.asarray(x['recorded'], np.int64)
    found = Sound(count, recorded, int(x['first_chunk']), facts['rate'])
    return found if count else None
  valid, rate = np.asarray(x['valid'], bool), facts['rate']
  if facts['kind'] == 'frames':
    when, chunk = np.asarray(x['times'], np.float32), int(x['first_chunk'])
    early = int(x.get('before', 0))
    if len(when) <= early:
      return None
    rest = Frames(when[:early], valid[:early], chunk, rate) if early else None
    return Frames(when[early:], valid[early:], chunk, rate, early, rest)
  times = np.asarray(x['times'], np.float32) if 'times' in x else None
  values, channels = np.asarray(x['values'], np.float32), tuple(facts['channels'] or ())
  if not len(values) or not channels:
    return None
  before = np.asarray(x.get('before', ()), np.float32)
  if not len(before) or before.ndim != 2 or before.shape[1] != len(channels):
    return Series(values, valid, channels, rate, times)
  before_valid = np.asarray(x['before_valid'], bool)
  earlier = np.asarray(x['before_times'], np.float32) if 'before_times' in x else None
  return Series(values, valid, channels, rate, times, before, before_valid, earlier)
