"""AMIGOS: 40 people watch short and long films, alone and in groups.

`datasets/amigos/README.md` says how to get it and what the prepared data hold.
"""

import dataclasses

import numpy as np

from mvp_jax.corpora import Array, Corpus, Twin, register
from mvp_jax.corpora.amigos import tree
from mvp_jax.corpora.amigos.ratings import EXTERNAL, RATINGS, SCALES
from mvp_jax.corpora.amigos.trials import CHANNELS, AmigosTrials
from mvp_jax.corpora.amigos.twin import write_amigos_twin
from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.corpora.corpus import place, some
from mvp_jax.corpora.face_trials import FIELDS, NOTES, face_streams, signal_extras


@dataclasses.dataclass(frozen=True)
class AmigosSettings:
  """What only AMIGOS has.

  Attributes:
    experiment: 'short' (16 stimuli, watched alone) or 'long' (4, alone or in groups).
    annotation: the ratings that a trial must have: 'self', 'external' or both. What
      there is of the other is stored all the same.
    exclude: subjects to leave out, e.g. `tree.USUAL_EXCLUSION`.
    openface_dir: with action units, where OpenFace's CSVs are (P1_4_face.csv,
      however deep); '': `openface` in the folder that holds AMIGOS.
  """

  experiment: str = 'short'
  annotation: tuple[str, ...] = ('self',)
  exclude: tuple[int, ...] = ()
  openface_dir: str = place()

  def __post_init__(self):
    object.__setattr__(self, 'exclude', tuple(sorted(set(self.exclude))))


class Amigos(Corpus):
  """AMIGOS: 40 people watch short and long films, alone and in groups."""

  name = 'amigos'
  title = 'AMIGOS'
  Settings = AmigosSettings
  fields = FIELDS | {'channels': ('eda', 'ecg')}
  ratings = {
    **{name: (1, 9) if i < SCALES else (0, 1) for i, name in enumerate(RATINGS)},
    **dict.fromkeys(EXTERNAL, (-1, 1)),
  }
  # Macro-F1 as MVP (arXiv 2501.03103, abstract) reports it; its tables of ablations
  # could not be had.
  published = {
    'MVP, cross-attention (F1)': {'valence': '.66 ± .04', 'arousal': '.58 ± .06'}
  }
  always = ('signals',)
  twin = Twin(AmigosSpec, write_amigos_twin)
  version = '7.0.0'
  notes = NOTES
  download = (
    'Ask for AMIGOS at its home page, download the preprocessed data (MATLAB) and '
    'the face videos, and unpack them into manual_dir.'
  )
  presets = {
    'short': ('Short experiment, 640 trials.', {}),
    'long': ('Long experiment.', {'experiment': 'long'}),
    'short_signals': (
      'Short experiment, signals without video.',
      {'streams': ('signals',)},
    ),
    'long_signals': (
      'Long experiment, signals without video.',
      {'experiment': 'long', 'streams': ('signals',)},
    ),
  }

  def rules(self, wanted):
    settings = wanted.settings
    return {
      f'experiment: one of {", ".join(tree.EXPERIMENTS)}': settings.experiment
      in tree.EXPERIMENTS,
      f'channels: some of {", ".join(CHANNELS)}, each once': some(
        wanted.channels, CHANNELS
      ),
      f'annotation: some of {", ".join(tree.ANNOTATIONS)}, each once': some(
        settings.annotation, tree.ANNOTATIONS
      ),
      f'exclude: numbers of participants, 1 to {tree.SUBJECTS}': set(settings.exclude)
      <= set(range(1, tree.SUBJECTS + 1)),
    }

  def streams(self, wanted):
    units = [CHANNELS[name][1] for name in wanted.channels]
    before = tree.BASELINE_SECONDS
    return face_streams(tree.SIGNAL_RATE, wanted.channels, units, before, before)

  def extras(self, wanted):
    return signal_extras(wanted) | {
      'video_id': str,
      'segments': {
        'times': Array((None, 2), np.float32),
        'ratings': Array((None, 2), np.float32),
      },
      'source': {'video': str, 'signals': str, 'seat': np.int32, 'seats': np.int32},
    }

  def open(self, manual_dir, wanted):
    return AmigosTrials(manual_dir, wanted)


register(Amigos())
