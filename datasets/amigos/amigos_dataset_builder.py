"""AMIGOS as a TFDS data set: trials with signals and ratings, face frames in chunks.

The README beside this file says how to use it and what the splits hold.
"""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from mvp_jax.raw import amigos, amigos_trials
from mvp_jax.raw.action_units import load_units, no_units
from mvp_jax.raw.amigos_ratings import EXTERNAL, RATINGS, read_sheets
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
class AmigosConfig(FaceConfig):
  """What is prepared, and how; see also `FaceConfig`.

  Attributes:
    experiment: 'short' (16 stimuli, watched alone) or 'long' (4, alone or in groups).
    channels: names from `amigos_trials.CHANNELS`.
    annotation: the ratings that a trial must have: 'self', 'external' or both. What
      there is of the other is stored all the same.
    exclude: subjects to leave out, e.g. `amigos.USUAL_EXCLUSION`.
    openface_dir: with `action_units`, where OpenFace's CSVs are (P1_4_face.csv,
      however deep); '': `openface` in the folder that holds AMIGOS.
  """

  experiment: str = 'short'
  channels: tuple[str, ...] = ('eda', 'ecg')
  annotation: tuple[str, ...] = ('self',)
  exclude: tuple[int, ...] = ()
  openface_dir: str = ''

  def rules(self):
    def some(chosen, known):
      return (
        bool(chosen) and set(chosen) <= set(known) and (len(set(chosen)) == len(chosen))
      )

    return {
      f'experiment: one of {", ".join(amigos.EXPERIMENTS)}': self.experiment
      in amigos.EXPERIMENTS,
      f'channels: some of {", ".join(amigos_trials.CHANNELS)}, each once': some(
        self.channels, amigos_trials.CHANNELS
      ),
      f'annotation: some of {", ".join(amigos.ANNOTATIONS)}, each once': some(
        self.annotation, amigos.ANNOTATIONS
      ),
      f'exclude: numbers of participants, 1 to {amigos.SUBJECTS}': set(self.exclude)
      <= set(range(1, amigos.SUBJECTS + 1)),
    } | super().rules()


class Builder(CorpusBuilder):
  """AMIGOS: 40 people watch short and long films, alone and in groups."""

  # Said outright, since TFDS cannot ask a module that is in no package.
  pkg_dir_path = epath.Path(__file__).parent
  VERSION = tfds.core.Version('2.0.0')
  RELEASE_NOTES = {
    '2.0.0': 'Any crop. Signals are cleaned; what cannot be used is masked, and '
    'quality is told of each channel.',
    '1.0.0': 'First version.',
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Ask for AMIGOS at its home page, download the preprocessed data (MATLAB) and '
    'the face videos, and unpack them into manual_dir.'
  )
  CONFIG = AmigosConfig
  BUILDER_CONFIGS = [
    AmigosConfig(name='short', description='Short experiment, 640 trials.'),
    AmigosConfig(name='long', experiment='long', description='Long experiment.'),
    AmigosConfig(
      name='short_signals',
      video=False,
      description='Short experiment, signals without video.',
    ),
    AmigosConfig(
      name='long_signals',
      experiment='long',
      video=False,
      description='Long experiment, signals without video.',
    ),
  ]

  @classmethod
  def describe(cls, config):
    parts = [config.experiment, 'signals']
    if config.video:
      parts = [
        config.experiment,
        'video',
        config.crop.lower(),
        f'{config.frame_size}px',
        f'{config.frame_rate:g}hz',
      ]
    if config.action_units:
      parts.append('au')
    parts += [
      *([] if config.clean else ['raw']),
      *config.channels,
      *sorted(config.annotation),
    ]
    if config.exclude:
      parts.append('without' + '-'.join(map(str, sorted(set(config.exclude)))))
    return '_'.join(parts)

  @classmethod
  def fingerprint(cls, manual_dir, config):
    return amigos.fingerprint(*_sources(manual_dir, config))

  def prepare_trials(self, manual_dir):
    config = self.builder_config
    tree, trials = _sources(manual_dir, config)
    metadata = _metadata(config, tree, trials)
    frames = config.frames()
    self._tree = tree
    return amigos_trials.prepare_trials(
      tree,
      trials,
      config.channels,
      config.clean,
      config.annotation,
      frames,
      self.interim_dir,
      config.engine,
    ), metadata

  def trial_features(self):
    channels = len(self.builder_config.channels)
    return (unit_features() if self.builder_config.action_units else {}) | {
      'stimulus': np.int32,
      'video_id': tfds.features.Text(),
      'ratings': {name: np.float32 for name in RATINGS + EXTERNAL},
      'segments': {
        'times': array((None, 2), np.float32),
        'ratings': array((None, 2), np.float32),
      },
      'signals': array((None, channels), np.float32),
      'signal_valid': array((None, channels), np.bool_),
      'signal_quality': array((channels, len(MEASURES)), np.float32),
      'baseline': array((None, channels), np.float32),
      'signal_rate': np.float32,
      'source': {
        'video': tfds.features.Text(),
        'seat': np.int32,
        'seats': np.int32,
        'video_rate': np.float32,
        'width': np.int32,
        'height': np.int32,
        'pixel_aspect': np.float32,
        'signals': tfds.features.Text(),
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
      'video_id': trial.video_id,
      'signal_rate': amigos.SIGNAL_RATE,
      **amigos_trials.load_trial(self.interim_dir, trial),
    }
    example['source'] |= {'signals': self._tree.signals[trial.subject].as_posix()}
    if config.action_units:
      example |= load_units(self.interim_dir, trial.trial_id)
    if config.video:
      frames = self._load_frames(outcome)
      rate, width, height, aspect = frames['info']
      video = self._tree.videos[trial.subject, trial.video_id]
      example |= {
        'frame_times': frames['times'],
        'frame_valid': frames['valid'],
        'face_boxes': frames['boxes'],
      }
      example['source'] |= {
        'video': video.path,
        'seat': video.seat,
        'seats': video.seats,
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
      **rounded(facts, {'seconds': 3}),
      'unrated': facts.get('unrated', ''),
      **signal_columns(self.builder_config.channels, facts),
      **rounded(
        facts, {'video_rate': 3, 'frames': 0, **QUALITY, 'au_frames': 0, 'au_valid': 0}
      ),
    }


def _sources(manual_dir, config):
  tree = amigos.find_tree(
    manual_dir,
    config.experiment,
    config.video,
    config.openface_dir if config.action_units else None,
  )
  return tree, amigos.list_trials(
    tree, config.experiment, config.exclude, config.annotation
  )


def _blank(channels):
  signal = np.zeros((0, channels), np.float32)
  pairs = np.zeros((0, 2), np.float32)
  return {
    'stimulus': 0,
    'video_id': '',
    'ratings': dict.fromkeys(RATINGS + EXTERNAL, 0.0),
    'segments': {'times': pairs, 'ratings': pairs},
    'signals': signal,
    'signal_valid': signal.astype(bool),
    'baseline': signal,
    'signal_quality': np.zeros((channels, len(MEASURES)), np.float32),
    'signal_rate': 0.0,
    'source': {
      'video': '',
      'seat': 0,
      'seats': 0,
      'video_rate': 0.0,
      'width': 0,
      'height': 0,
      'pixel_aspect': 0.0,
      'signals': '',
    },
    'face_boxes': np.zeros((0, 3), np.float32),
  }


def _metadata(config, tree, trials):
  marker = tree.marker or {}
  return {
    'experiment': config.experiment,
    'annotation': list(config.annotation),
    'exclude': sorted(set(config.exclude)),
    'channels': list(config.channels),
    'units': [amigos_trials.CHANNELS[name][1] for name in config.channels],
    'signal_rate': amigos.SIGNAL_RATE,
    'clean': config.clean,
    'quality_measures': list(MEASURES),
    'crop': config.crop if config.video else None,
    'participants': read_sheets(tree),
    'sheets_not_read': list(tree.unread),
    'synthetic': tree.marker is not None,
    'ceiling': marker.get('ceiling'),
    'fingerprint': amigos.fingerprint(tree, trials),
  }
