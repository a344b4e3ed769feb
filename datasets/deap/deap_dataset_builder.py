"""DEAP as a TFDS data set: trials with signals and ratings, face frames in chunks.

The README beside this file says how to use it and what the splits hold.
"""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from mvp_jax.raw import deap, deap_trials
from mvp_jax.raw.action_units import load_units, no_units
from mvp_jax.raw.builder import (
  CorpusBuilder,
  FaceConfig,
  array,
  rounded,
  unit_features,
)
from mvp_jax.raw.channels import MEASURES, signal_columns
from mvp_jax.raw.face_quality import QUALITY
from mvp_jax.raw.frames import load_frames


@dataclasses.dataclass
class DeapConfig(FaceConfig):
  """What is prepared, and how; see also `FaceConfig`.

  Attributes:
    channels: names from `deap_trials.CHANNELS`.
    openface_dir: with `action_units`, where OpenFace's CSVs are (s01_trial01.csv,
      however deep); '': `openface` in the folder that holds DEAP.
  """

  channels: tuple[str, ...] = ('eda', 'ppg')
  openface_dir: str = ''

  def rules(self):
    channels = set(self.channels)
    return {
      f'channels: some of {", ".join(deap_trials.CHANNELS)}, each once': bool(channels)
      and channels <= set(deap_trials.CHANNELS)
      and len(channels) == len(self.channels),
    } | super().rules()


class Builder(CorpusBuilder):
  """DEAP: 32 subjects, 40 music videos each, rated for valence and arousal."""

  # Said outright, since TFDS cannot ask a module that is in no package.
  pkg_dir_path = epath.Path(__file__).parent
  VERSION = tfds.core.Version('2.0.0')
  RELEASE_NOTES = {
    '2.0.0': 'Faces are tracked and cut out more steadily. Signals are cleaned; '
    'what cannot be used is masked, and quality is told of each channel.',
    '1.0.0': 'First version.',
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Ask for DEAP at its home page, download metadata_csv.zip, '
    'data_preprocessed_python.zip and face_video.zip, and unpack them into '
    'manual_dir.'
  )
  CONFIG = DeapConfig
  BUILDER_CONFIGS = [
    DeapConfig(name='video', description='Face video and signals, 874 trials.'),
    DeapConfig(
      name='signals', video=False, description='Signals without video, 1280 trials.'
    ),
  ]

  @classmethod
  def describe(cls, config):
    parts = ['signals']
    if config.video:
      parts = [
        'video',
        config.crop.lower(),
        f'{config.frame_size}px',
        f'{config.frame_rate:g}hz',
      ]
    if config.action_units:
      parts.append('au')
    return '_'.join([*parts, *([] if config.clean else ['raw']), *config.channels])

  @classmethod
  def fingerprint(cls, manual_dir, config):
    tree = _tree(manual_dir, config)
    return deap.fingerprint(tree, deap.read_trials(tree))

  def prepare_trials(self, manual_dir):
    config = self.builder_config
    tree = _tree(manual_dir, config)
    trials = deap.read_trials(tree)
    frames = config.frames()
    outcomes = deap_trials.prepare_trials(
      tree,
      trials,
      config.channels,
      config.clean,
      frames,
      self.interim_dir,
      config.engine,
    )
    return outcomes, _metadata(config, tree, trials)

  def trial_features(self):
    channels = len(self.builder_config.channels)
    return (unit_features() if self.builder_config.action_units else {}) | {
      'stimulus': np.int32,
      'ratings': {name: np.float32 for name in (*deap.RATINGS, 'familiarity')},
      'signals': array((None, channels), np.float32),
      'signal_valid': array((None, channels), np.bool_),
      'signal_quality': array((channels, len(MEASURES)), np.float32),
      'baseline': array((None, channels), np.float32),
      'signal_rate': np.float32,
      'source': {
        'video': tfds.features.Text(),
        'video_rate': np.float32,
        'width': np.int32,
        'height': np.int32,
        'pixel_aspect': np.float32,
        'signals': tfds.features.Text(),
        'row': np.int32,
      },
      'face_boxes': array((None, 3), np.float32),
    }

  def trial_example(self, outcome):
    config = self.builder_config
    example = _blank(len(config.channels)) | (no_units() if config.action_units else {})
    if outcome is None:
      return example
    trial = outcome.trial
    example |= {
      'stimulus': trial.stimulus,
      'ratings': trial.ratings,
      'signal_rate': deap.SIGNAL_RATE,
      **deap_trials.load_signals(self.interim_dir, trial),
    }
    example['source'] |= {'signals': trial.signals_name, 'row': trial.row}
    if config.action_units:
      example |= load_units(self.interim_dir, trial.trial_id)
    if config.video:
      frames = self._load_frames(outcome)
      rate, width, height, aspect = frames['info']
      example |= {
        'frame_times': frames['times'],
        'frame_valid': frames['valid'],
        'face_boxes': frames['boxes'],
      }
      example['source'] |= {
        'video': trial.video_name,
        'video_rate': rate,
        'width': int(width),
        'height': int(height),
        'pixel_aspect': aspect,
      }
    return example

  def jpegs(self, outcome):
    return self._load_frames(outcome)['jpegs']

  def _load_frames(self, outcome):
    return load_frames(self.interim_dir / 'frames', outcome.trial.trial_id)

  def account_facts(self, outcome):
    facts = outcome.facts
    return {
      **signal_columns(self.builder_config.channels, facts),
      **rounded(
        facts, {'video_rate': 3, 'frames': 0, **QUALITY, 'au_frames': 0, 'au_valid': 0}
      ),
    }


def _tree(manual_dir, config):
  return deap.find_tree(
    manual_dir, config.video, config.openface_dir if config.action_units else None
  )


def _blank(channels):
  signal = np.zeros((0, channels), np.float32)
  return {
    'stimulus': 0,
    'ratings': dict.fromkeys((*deap.RATINGS, 'familiarity'), 0.0),
    'signals': signal,
    'signal_valid': signal.astype(bool),
    'baseline': signal,
    'signal_quality': np.zeros((channels, len(MEASURES)), np.float32),
    'signal_rate': 0.0,
    'source': {
      'video': '',
      'video_rate': 0.0,
      'width': 0,
      'height': 0,
      'pixel_aspect': 0.0,
      'signals': '',
      'row': 0,
    },
    'face_boxes': np.zeros((0, 3), np.float32),
  }


def _metadata(config, tree, trials):
  marker = tree.marker or {}
  return {
    'channels': list(config.channels),
    'units': [deap_trials.CHANNELS[name][1] for name in config.channels],
    'signal_rate': deap.SIGNAL_RATE,
    'clean': config.clean,
    'quality_measures': list(MEASURES),
    'crop': config.crop if config.video else None,
    'synthetic': tree.marker is not None,
    'ceiling': marker.get('ceiling'),
    'fingerprint': deap.fingerprint(tree, trials),
  }
