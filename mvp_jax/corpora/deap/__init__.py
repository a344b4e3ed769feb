"""DEAP: 32 people watch music videos of a minute each.

`datasets/deap/README.md` says how to get it and what the prepared data hold.
"""

import dataclasses

import numpy as np

from mvp_jax.corpora import Corpus, Twin, register
from mvp_jax.corpora.corpus import place, some
from mvp_jax.corpora.deap import tree
from mvp_jax.corpora.deap.trials import CHANNELS, DeapTrials
from mvp_jax.corpora.deap.twin import write_deap_twin
from mvp_jax.corpora.face_trials import FIELDS, NOTES, face_streams, signal_extras
from mvp_jax.synthetic.spec import TwinSpec


@dataclasses.dataclass(frozen=True)
class DeapSettings:
  """Attributes:
  openface_dir: with action units, where OpenFace's CSVs are (s01_trial01.csv,
    however deep); '': `openface` in the folder that holds DEAP.
  """

  openface_dir: str = place()


class Deap(Corpus):
  """DEAP: 32 subjects, 40 music videos each, rated for valence and arousal."""

  name = 'deap'
  title = 'DEAP'
  Settings = DeapSettings
  fields = FIELDS | {'channels': ('eda', 'ppg')}
  ratings = dict.fromkeys(tree.RATINGS, (1, 9)) | {'familiarity': (1, 5)}
  # Macro-F1 as MVP (arXiv 2501.03103, abstract) reports it; its tables of ablations
  # could not be had.
  published = {'MVP, cross-attention (F1)': {'valence': '.61', 'arousal': '.55'}}
  always = ('signals',)
  twin = Twin(TwinSpec, write_deap_twin)
  version = '7.0.0'
  notes = {
    **NOTES,
    '2.0.0': 'Faces are tracked and cut out more steadily. Signals are cleaned; '
    'what cannot be used is masked, and quality is told of each channel.',
  }
  download = (
    'Ask for DEAP at its home page, download metadata_csv.zip, '
    'data_preprocessed_python.zip and face_video.zip, and unpack them into manual_dir.'
  )
  presets = {
    'video': ('Face video and signals, 874 trials.', {}),
    'signals': ('Signals without video, 1280 trials.', {'streams': ('signals',)}),
  }

  def rules(self, wanted):
    return {
      f'channels: some of {", ".join(CHANNELS)}, each once': some(
        wanted.channels, CHANNELS
      )
    }

  def streams(self, wanted):
    units = [CHANNELS[name][1] for name in wanted.channels]
    before = tree.BASELINE_SAMPLES / tree.SIGNAL_RATE
    return face_streams(tree.SIGNAL_RATE, wanted.channels, units, before)

  def extras(self, wanted):
    source = {'video': str, 'signals': str, 'row': np.int32}
    return signal_extras(wanted) | {'source': source}

  def open(self, manual_dir, wanted):
    return DeapTrials(manual_dir, wanted)


register(Deap())
