"""Your own recordings as a TFDS data set: whatever a manifest names.

The README beside this file says how to use it and what the splits hold.
"""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from mvp_jax.errors import InputError
from mvp_jax.raw import recordings
from mvp_jax.raw.action_units import no_units
from mvp_jax.raw.builder import (
  CorpusBuilder,
  FaceConfig,
  array,
  rounded,
  unit_features,
)
from mvp_jax.raw.channels import MEASURES, signal_columns
from mvp_jax.raw.face_quality import QUALITY
from mvp_jax.raw.manifest import CHANNELS, RATINGS, SCALE, read_manifest
from mvp_jax.raw.units import AS_RECORDED


@dataclasses.dataclass
class RecordingsConfig(FaceConfig):
  """What is prepared, and how; see also `FaceConfig`.

  Without `action_units` those trials have them whose rows name a CSV.

  Attributes:
    channels: names from `manifest.CHANNELS`; () = all that the manifest names;
      ('none',) = no signals.
    signal_rate: of the stored signals in Hz.
  """

  channels: tuple[str, ...] = ()
  signal_rate: float = 128.0

  def rules(self):
    channels = set(self.channels)
    return {
      f'channels: some of {", ".join(CHANNELS)}, each once; none of all, or none': (
        channels <= set(CHANNELS) and len(channels) == len(self.channels)
      )
      or self.channels == recordings.NO_CHANNELS,
      'signal_rate: 1 to 2000 Hz': 1 <= self.signal_rate <= 2000,
    } | super().rules()


class Builder(CorpusBuilder):
  """Face video, body signals, action units and ratings of your own recordings."""

  # Said outright, since TFDS cannot ask a module that is in no package.
  pkg_dir_path = epath.Path(__file__).parent
  VERSION = tfds.core.Version('2.0.0')
  RELEASE_NOTES = {
    '2.0.0': 'Any crop. Signals are cleaned; what cannot be used is masked, and '
    'quality is told of each channel.',
    '1.0.0': 'First version.',
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Put a manifest.csv into manual_dir; docs/recordings.md says what is in it.'
  )
  CONFIG = RecordingsConfig
  BUILDER_CONFIGS = [
    RecordingsConfig(name='video', description='Face video, with signals if any.'),
    RecordingsConfig(name='signals', video=False, description='Signals without video.'),
  ]

  @classmethod
  def describe(cls, config):
    parts = [f'signals_{config.signal_rate:g}hz']
    if config.video:
      parts = [
        'video',
        config.crop.lower(),
        f'{config.frame_size}px',
        f'{config.frame_rate:g}hz',
        *parts,
      ]
    if config.action_units:
      parts.append('au')
    raw = [] if config.clean else ['raw']
    return '_'.join([*parts, *raw, *(config.channels or ('all',))])

  @classmethod
  def fingerprint(cls, manual_dir, config):
    manifest = read_manifest(manual_dir)
    manifest.require()
    _check_wanted(manifest, config)
    return recordings.fingerprint(manifest)

  def prepare_trials(self, manual_dir):
    config = self.builder_config
    manifest = read_manifest(manual_dir)
    manifest.require()
    channels = recordings.channels_in_use(manifest, config.channels)
    frames = config.frames()
    outcomes = recordings.prepare_trials(
      manifest,
      channels,
      config.signal_rate,
      config.clean,
      frames,
      self.interim_dir,
      config.engine,
      config.action_units,
    )
    self._channels = channels
    marker = recordings.marker(manifest) or {}
    return outcomes, {
      'channels': list(channels),
      'units': _units(channels, outcomes),
      'signal_rate': config.signal_rate,
      'clean': config.clean,
      'quality_measures': list(MEASURES),
      'crop': config.crop if config.video else None,
      'subjects': {r.subject_name: r.subject for r in manifest.recordings},
      'stimuli': {r.stimulus_name: r.stimulus for r in manifest.recordings},
      'rating_scale': list(SCALE),
      'synthetic': bool(marker),
      'ceiling': marker.get('ceiling'),
      'fingerprint': recordings.fingerprint(manifest),
    }

  def trial_features(self):
    return {
      'subject_name': tfds.features.Text(),
      'stimulus': np.int32,
      'stimulus_name': tfds.features.Text(),
      'ratings': {name: np.float32 for name in RATINGS},
      'signals': array((None, None), np.float32),
      'signal_valid': array((None, None), np.bool_),
      'signal_quality': array((None, len(MEASURES)), np.float32),
      'signal_rate': np.float32,
      **unit_features(),
      'source': {
        'row': np.int32,
        'video': tfds.features.Text(),
        'video_rate': np.float32,
        'width': np.int32,
        'height': np.int32,
        'pixel_aspect': np.float32,
      },
      'face_boxes': array((None, 3), np.float32),
    }

  def trial_example(self, outcome):
    if outcome is None:
      return _blank()
    trial, config = outcome.trial, self.builder_config
    found = recordings.load_signals(self.interim_dir, trial)
    seconds = float(found.pop('seconds'))
    del found['units'], found['masked']
    # TFDS can't read back an array of two unknown sizes and less than two bytes.
    if not found['signals'].size:
      found |= {
        'signals': np.zeros((2, 1), np.float32),
        'signal_valid': np.zeros((2, 1), bool),
      }
    example = (
      _blank()
      | found
      | {
        'subject_name': trial.subject_name,
        'stimulus': trial.stimulus,
        'stimulus_name': trial.stimulus_name,
        'ratings': trial.ratings,
        'signal_rate': config.signal_rate,
      }
    )
    example['source'] |= {'row': trial.row, 'video': str(trial.video or '')}
    if config.video:
      frames = recordings.load_trial_frames(self.interim_dir, trial, seconds)
      rate, width, height, aspect = frames['info']
      example |= {
        'frame_times': frames['times'],
        'frame_valid': frames['valid'],
        'face_boxes': frames['boxes'],
      }
      example['source'] |= {
        'video_rate': rate,
        'width': int(width),
        'height': int(height),
        'pixel_aspect': aspect,
      }
    return example

  def jpegs(self, outcome):
    return recordings.load_trial_frames(
      self.interim_dir, outcome.trial, outcome.facts['seconds']
    )['jpegs']

  def account_facts(self, outcome):
    trial, facts = outcome.trial, outcome.facts
    return {
      'row': trial.row,
      'subject_name': trial.subject_name,
      'stimulus_name': trial.stimulus_name,
      **rounded(facts, {'seconds': 2}),
      **signal_columns(self._channels, facts),
      **rounded(
        facts, {'video_rate': 3, 'frames': 0, **QUALITY, 'au_frames': 0, 'au_valid': 0}
      ),
    }


def _check_wanted(manifest, config):
  """Raises InputError if no row at all has what is asked for."""
  missing = set(config.channels) - {*manifest.channels, *recordings.NO_CHANNELS}
  if missing:
    raise InputError(
      f'{manifest.path}: no row names a column for '
      f'{", ".join(sorted(missing))} (there are '
      f'{", ".join(manifest.channels) or "no channels"}); correct '
      'config.data.channels'
    )
  if config.video and not any(r.video for r in manifest.recordings):
    raise InputError(
      f'{manifest.path}: no row names a video; train on signals alone '
      'with --config.evaluation.models=physio'
    )
  if config.action_units and not any(r.openface for r in manifest.recordings):
    raise InputError(
      f'{manifest.path}: no row names a CSV of OpenFace in the column '
      'openface (docs/action_units.md)'
    )


def _units(channels, outcomes):
  """Each channel's unit, 'as recorded' if it is not the same in all trials."""
  units = [set() for _ in channels]
  for outcome in outcomes:
    for found, unit in zip(units, outcome.facts.get('units', ()), strict=False):
      found.add(unit)
  return [found.pop() if len(found) == 1 else AS_RECORDED for found in units]


def _blank():
  signal = np.zeros((0, 0), np.float32)
  return {
    'subject_name': '',
    'stimulus': 0,
    'stimulus_name': '',
    'ratings': dict.fromkeys(RATINGS, 0.0),
    'signals': signal,
    'signal_valid': signal.astype(bool),
    'signal_quality': np.zeros((0, len(MEASURES)), np.float32),
    'signal_rate': 0.0,
    **no_units(),
    'source': {
      'row': 0,
      'video': '',
      'video_rate': 0.0,
      'width': 0,
      'height': 0,
      'pixel_aspect': 0.0,
    },
    'face_boxes': np.zeros((0, 3), np.float32),
  }
