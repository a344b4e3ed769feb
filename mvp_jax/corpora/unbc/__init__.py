"""UNBC-McMaster: faces of people whose shoulder hurts, with the pain of every frame.

`datasets/unbc/README.md` says how to get it and what the prepared data hold.
"""

import dataclasses

import numpy as np

from mvp_jax.corpora import Array, Corpus, Stream, Twin, register
from mvp_jax.corpora.corpus import place
from mvp_jax.corpora.face_trials import ACTION_UNITS
from mvp_jax.corpora.unbc.tree import UNITS
from mvp_jax.corpora.unbc.trials import UnbcTrials
from mvp_jax.corpora.unbc.twin import UnbcSpec, write_unbc_twin


@dataclasses.dataclass(frozen=True)
class UnbcSettings:
  """Attributes:
  video_rate: frames a second of the sequences, which no file says.
  openface_dir: with action units, where OpenFace's CSVs are (named as the sequences,
    however deep); '': `openface` in the folder that holds the archive.
  """

  video_rate: float = 25.0
  openface_dir: str = place()


class Unbc(Corpus):
  """UNBC-McMaster shoulder pain archive: 25 people, 200 sequences, 48,398 frames."""

  name = 'unbc'
  title = 'UNBC-McMaster'
  Settings = UnbcSettings
  fields = {
    'streams': ('video',),
    'frame_rate': 25.0,
    'frame_size': 112,
    'crop': 'X',
  }
  twin = Twin(UnbcSpec, write_unbc_twin)
  version = '1.0.0'
  notes = {'1.0.0': 'First version.'}
  download = (
    'Ask for the UNBC-McMaster shoulder pain expression archive database at its home '
    'page, and unpack Images and Frame_Labels into manual_dir.'
  )
  presets = {'video': ('Faces and the pain of every frame.', {})}

  def rules(self, wanted):
    rate = wanted.settings.video_rate
    return {'video_rate: above 0, at most 240 Hz': 0 < rate <= 240}

  def streams(self, wanted):
    return {
      'video': Stream('frames'),
      'action_units': ACTION_UNITS,
      'ratings': Stream(channels=('pspi',), units=('0 to 16',), optional=True),
    }

  def extras(self, wanted):
    # No stream, so that nothing predicts pain from what its coders have seen.
    return {'person': str, 'facs': Array((None, len(UNITS)), np.float32)}

  def open(self, manual_dir, wanted):
    return UnbcTrials(manual_dir, wanted)


register(Unbc())
