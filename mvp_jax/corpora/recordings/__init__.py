"""Your own recordings: whatever a manifest names (docs/recordings.md).

`datasets/recordings/README.md` says what the prepared data hold.
"""

import dataclasses

import numpy as np

from mvp_jax.corpora import Array, Corpus, Stream, Twin, register
from mvp_jax.corpora.corpus import some
from mvp_jax.corpora.face_trials import ACTION_UNITS, FIELDS, NOTES
from mvp_jax.corpora.recordings.manifest import KINDS, is_channel
from mvp_jax.corpora.recordings.ratings import RATINGS, REQUIRED, SCALE
from mvp_jax.corpora.recordings.source import RecordingTrials
from mvp_jax.corpora.recordings.trials import NO_CHANNELS
from mvp_jax.corpora.recordings.twin import write_recordings_twin
from mvp_jax.raw.channels import MEASURES
from mvp_jax.raw.people import CHANNELS as PEOPLE
from mvp_jax.synthetic.spec import TwinSpec


@dataclasses.dataclass(frozen=True)
class RecordingsSettings:
  """What only own recordings have.

  Attributes:
    signal_rate: Hz, of the stored signals.
    baseline_seconds: of signals, video and action units that are stored from before the
      onset, where the files begin earlier.
  """

  signal_rate: float = 128.0
  baseline_seconds: float = 2.0


class Recordings(Corpus):
  """Face video, sound, body signals, action units and ratings of your recordings.

  `channels`: () = all that the manifest names; ('none',) = no signals. Those trials
  have action units whose rows name a CSV, even if they were not asked for. `people` are
  all faces of the video, of whom `video` shows one.
  """

  name = 'recordings'
  title = 'manifest'
  Settings = RecordingsSettings
  fields = FIELDS | {'ratings': REQUIRED}
  ratings = dict.fromkeys(RATINGS, SCALE)
  always = ('signals',)
  twin = Twin(TwinSpec, write_recordings_twin)
  version = '7.0.0'
  notes = NOTES
  download = (
    'Put a manifest.csv into manual_dir; docs/recordings.md says what is in it.'
  )
  presets = {
    'video': ('Face video, with signals if any.', {}),
    'signals': ('Signals without video.', {'streams': ('signals',)}),
  }

  def rules(self, wanted):
    chosen, own = wanted.channels, wanted.settings
    known = ', '.join(KINDS)
    return {
      f'channels: some of {known}, also with more behind (emg_left), each once; none '
      'of all, or none': (
        chosen in ((), NO_CHANNELS) or some(chosen, filter(is_channel, chosen))
      ),
      'signal_rate: 1 to 2000 Hz': 1 <= own.signal_rate <= 2000,
      'baseline_seconds: 0 to 60': 0 <= own.baseline_seconds <= 60,
    }

  def streams(self, wanted):
    # Channels and their units are known when the manifest has been read.
    own = wanted.settings
    return {
      'signals': Stream(
        rate=own.signal_rate, channels=None, before=own.baseline_seconds
      ),
      'video': Stream('frames', before=own.baseline_seconds),
      'people': Stream(channels=PEOPLE, units=('number', *['pixels'] * 3)),
      'audio': Stream('sound'),
      'action_units': dataclasses.replace(
        ACTION_UNITS, before=own.baseline_seconds, optional=True
      ),
    }

  def extras(self, wanted):
    return {
      'subject_name': str,
      'stimulus_name': str,
      'signal_quality': Array((None, len(MEASURES)), np.float32),
      'source': {'row': np.int32, 'video': str},
    }

  def open(self, manual_dir, wanted):
    return RecordingTrials(manual_dir, wanted)


register(Recordings())
