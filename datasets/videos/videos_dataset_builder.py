"""A folder of video files as a TFDS data set: whole frames in chunks.

The README beside this file says how to use it and what the splits hold.
"""

import dataclasses
import sys

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from mvp_jax.raw import videos
from mvp_jax.raw.builder import CorpusBuilder, CorpusConfig
from mvp_jax.raw.frames import load_frames


@dataclasses.dataclass
class VideosConfig(CorpusConfig):
  """What is prepared, and how; see also `CorpusConfig`.

  Attributes:
    frame_size: the shorter side of stored frames in pixels.
    min_frames: a video with fewer stored frames is lost as too_short.
  """

  frame_size: int = 256
  min_frames: int = 1

  def rules(self):
    return {
      'video: True, for there is nothing else': self.video is True,
      'min_frames: at least 1': isinstance(self.min_frames, int)
      and self.min_frames >= 1,
    } | super().rules()


class Builder(CorpusBuilder):
  """Any video files, for pre-training: no ratings, no signals, no face crops."""

  # Said outright, since TFDS cannot ask a module that is in no package.
  pkg_dir_path = epath.Path(__file__).parent
  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = 'Put video files into manual_dir or folders below it.'
  CONFIG = VideosConfig
  BUILDER_CONFIGS = [VideosConfig(name='whole', description='Whole frames.')]

  @classmethod
  def describe(cls, config):
    name = f'whole_{config.frame_size}px_{config.frame_rate:g}hz'
    return name + (f'_{config.min_frames}frames' if config.min_frames > 1 else '')

  @classmethod
  def fingerprint(cls, manual_dir, config):
    return videos.fingerprint(videos.find_videos(manual_dir))

  def prepare_trials(self, manual_dir):
    config = self.builder_config
    folder = videos.find_videos(manual_dir)
    if folder.others:
      print(
        f'{folder.root}: {len(folder.videos)} videos; not read, for their '
        'endings: '
        + ', '.join(
          f'{n} {ending or "without"}' for ending, n in sorted(folder.others.items())
        ),
        file=sys.stderr,
      )
    outcomes = videos.prepare_videos(
      folder,
      config.frame_rate,
      config.frame_size,
      config.min_frames,
      self.interim_dir,
      config.engine,
    )
    return outcomes, {
      'channels': [],
      'units': [],
      'signal_rate': None,
      'crop': None,
      'synthetic': folder.synthetic,
      'ceiling': None,
      'fingerprint': videos.fingerprint(folder),
    }

  def trial_features(self):
    return {
      'source': {
        'video': tfds.features.Text(),
        'video_rate': np.float32,
        'width': np.int32,
        'height': np.int32,
        'pixel_aspect': np.float32,
      }
    }

  def trial_example(self, outcome):
    if outcome is None:
      return {
        'source': {
          'video': '',
          'video_rate': 0.0,
          'width': 0,
          'height': 0,
          'pixel_aspect': 0.0,
        }
      }
    times = self._load_frames(outcome)['times']
    names = 'video_rate', 'width', 'height', 'pixel_aspect'
    return {
      'frame_times': times,
      'frame_valid': np.ones(len(times), bool),
      'source': {
        'video': outcome.trial.path,
        **{name: outcome.facts[name] for name in names},
      },
    }

  def jpegs(self, outcome):
    return self._load_frames(outcome)['jpegs']

  def _load_frames(self, outcome):
    return load_frames(self.interim_dir, videos.task_name(outcome.trial))

  def account_facts(self, outcome):
    names = (
      'video_rate',
      'width',
      'height',
      'pixel_aspect',
      'stored_height',
      'stored_width',
      'frames',
      'bytes',
    )
    return {
      'video': outcome.trial.path,
      **{name: outcome.facts.get(name, '') for name in names},
    }
