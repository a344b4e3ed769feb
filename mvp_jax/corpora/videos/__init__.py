"""A plain folder of video files, for pre-training.

`datasets/videos/README.md` says what the prepared data hold.
"""

import dataclasses

from mvp_jax.corpora import Corpus, Stream, register
from mvp_jax.corpora.videos.files import Videos as Files


@dataclasses.dataclass(frozen=True)
class VideosSettings:
  """What only plain videos have: one with fewer stored frames is too_short."""

  min_frames: int = 1


class Videos(Corpus):
  """Any video files, for pre-training: no ratings, no signals, no face crops.

  `frame_size` is the shorter side.
  """

  name = 'videos'
  title = 'videos'
  Settings = VideosSettings
  fields = {'streams': ('video',), 'frame_rate': 25.0, 'frame_size': 256}
  version = '4.0.0'
  notes = {
    '4.0.0': 'Edit lists with a pause.',
    '3.0.0': 'One clock of a video; faces in any light.',
    '2.0.0': 'Named streams, each with its validity.',
    '1.0.0': 'First version.',
  }
  download = 'Put video files into manual_dir or folders below it.'
  presets = {'whole': ('Whole frames.', {})}

  def rules(self, wanted):
    least = wanted.settings.min_frames
    return {'min_frames: at least 1': isinstance(least, int) and least >= 1}

  def streams(self, wanted):
    return {'video': Stream('frames')}

  def extras(self, wanted):
    return {'source': {'video': str}}

  def open(self, manual_dir, wanted):
    return Files(manual_dir, wanted)


register(Videos())
