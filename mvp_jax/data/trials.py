"""Prepared corpora: trials in memory, frames by random access."""

import dataclasses
import functools
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds

from mvp_jax.errors import InputError
from mvp_jax.raw.openface import ActionUnits


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
  """One trial: a subject watching one stimulus. Time zero is its onset.

  A corpus of plain videos has no ratings ({}), signals ([0, 0]) and stimuli (0).
  """

  trial_id: str
  subject: int
  trial: int  # number in the order of presentation, from 1
  stimulus: int
  ratings: dict  # name -> float, NaN where not given
  signals: np.ndarray  # float32 [samples, channels]
  signals_valid: np.ndarray  # bool [samples, channels]
  frame_times: np.ndarray  # float32 [frames], seconds
  frame_valid: np.ndarray  # bool [frames], a face is there
  first_chunk: int  # row of the split `frames`
  action_units: ActionUnits | None = None  # times since the onset


class Corpus:
  """A corpus prepared by one of the builders in `datasets/`.

  Attributes:
    name: 'deap', 'amigos', 'videos'.
    trials: list of Trial, in the order of subject and trial.
    metadata: channels, units, signal_rate, frame_rate, frame_size, crop, chunk,
      synthetic, ceiling, fingerprint.
  """

  def __init__(self, directory):
    self.directory = Path(directory)
    builder = tfds.builder_from_directory(self.directory)
    self.name = builder.name
    self.metadata = dict(builder.info.metadata)
    self.trials = [_trial(x) for x in builder.as_data_source('trials')]
    self.has_video = 'frames' in builder.info.splits

  def __reduce__(self):  # reader processes open the files themselves
    return Corpus, (self.directory,)

  @functools.cached_property
  def _chunks(self):
    """A function that reads one row of the split `frames`.

    It parses two features of the many: those of trials are there too, empty, and
    would take four times as long as these.
    """
    builder = tfds.builder_from_directory(self.directory)
    rows = builder.as_data_source(
      'frames', deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )
    features = tfds.features.FeaturesDict(
      {name: builder.info.features[name] for name in ('trial_id', 'frames')}
    )
    decoders = {'frames': _Undecoded()}
    return lambda row: features.deserialize_example_np(rows[row], decoders=decoders)

  def frames(self, trial, numbers, flag=cv2.IMREAD_COLOR_RGB):
    """Reads and decodes some frames, touching only the chunks that hold them.

    Args:
      trial: Trial.
      numbers: int sequence [n], frame numbers within the trial.
      flag: of `cv2.imdecode`.

    Returns:
      uint8 [n, height, width, 3], RGB; all frames of a trial have one size.
    """
    per_chunk = self.metadata['chunk']
    wanted = sorted({int(n) // per_chunk for n in numbers})
    # One by one: reading a batch of rows starts a pool of threads each time.
    chunks = {c: self._chunks(trial.first_chunk + c) for c in wanted}
    images = {}
    for n in {int(n) for n in numbers}:
      row = chunks[n // per_chunk]
      if _text(row['trial_id']) != trial.trial_id:
        raise InputError(
          f'{self.directory}: frames of {trial.trial_id} are not where '
          'the index says; delete the folder and prepare anew'
        )
      encoded = np.frombuffer(row['frames'][n % per_chunk], np.uint8)
      images[n] = cv2.imdecode(encoded, flag)
    return np.stack([images[int(n)] for n in numbers])

  def small_frames(self, trial, numbers):
    """The same frames in grey, an eighth as wide and high, decoded as such: quickly.

    Returns:
      list of uint8 [height / 8, width / 8].
    """
    return list(self.frames(trial, numbers, cv2.IMREAD_REDUCED_GRAYSCALE_8))


class _Undecoded(tfds.decode.SkipDecoding):
  """Leaves JPEGs as they are: OpenCV decodes the few that are wanted, faster."""

  def decode_batch_example_np(self, examples):
    return examples


def _text(value):
  return value.decode() if isinstance(value, bytes) else str(value)


def _trial(x):
  return Trial(
    trial_id=_text(x['trial_id']),
    subject=int(x['subject']),
    trial=int(x['trial']),
    stimulus=int(x.get('stimulus', 0)),
    ratings={k: float(v) for k, v in x.get('ratings', {}).items()},
    signals=np.asarray(x.get('signals', np.zeros((0, 0))), np.float32),
    signals_valid=np.asarray(x.get('signal_valid', np.zeros((0, 0))), bool),
    frame_times=np.asarray(x['frame_times'], np.float32),
    frame_valid=np.asarray(x['frame_valid'], bool),
    first_chunk=int(x['first_chunk']),
    action_units=_action_units(x),
  )


def _action_units(x):
  if not len(x.get('au_times', ())):
    return None
  return ActionUnits(
    np.asarray(x['au_times'], np.float32),
    np.asarray(x['au_intensities'], np.float32),
    np.asarray(x['au_presences']) > 0.5,
    np.asarray(x['au_valid'], bool),
  )
