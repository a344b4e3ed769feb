"""AVEC 2014 (and 2013): people before a camera, and how depressed they say they are.

`datasets/avec2014/README.md` says how to get it and what the prepared data hold.
"""

import dataclasses

from mvp_jax.corpora import Corpus, Stream, Twin, register
from mvp_jax.corpora.avec2014.tree import RATING, SCALE, TASKS
from mvp_jax.corpora.avec2014.trials import AvecTrials
from mvp_jax.corpora.avec2014.twin import AvecSpec, write_avec_twin
from mvp_jax.corpora.corpus import place
from mvp_jax.corpora.face_trials import ACTION_UNITS


@dataclasses.dataclass(frozen=True)
class AvecSettings:
  """Attributes:
  edition: 'avec2014', two tasks of each session; 'avec2013', whole sessions.
  openface_dir: with action units, where OpenFace's CSVs are
    (203_1_Freeform_video.csv, however deep); '': `openface` in the folder that holds
    the corpus.
  """

  edition: str = 'avec2014'
  openface_dir: str = place()


class Avec2014(Corpus):
  """The depression corpus of AVEC 2014 and 2013: a BDI-II score for each session."""

  name = 'avec2014'
  title = 'AVEC 2014'
  Settings = AvecSettings
  fields = {
    'streams': ('video', 'audio'),
    'frame_rate': 25.0,
    'frame_size': 112,
    'crop': 'X',
  }
  ratings = {RATING: SCALE}
  # On the official test set; see docs/depression_and_pain.md.
  published = {
    'MSN (MAE / RMSE)': {RATING: '5.82 / 7.61'},
    'Best of 2026, windows of 3 minutes (MAE)': {RATING: '5.72'},
    'One system as claimed, and as others found it (MAE)': {RATING: '6.00; 8.5 to 9.4'},
  }
  twin = Twin(AvecSpec, write_avec_twin)
  version = '1.0.0'
  notes = {'1.0.0': 'First version.'}
  download = (
    'Ask the organisers of AVEC 2014 for the depression corpus, and unpack its Video '
    'and Audio folders and the labels into manual_dir.'
  )
  presets = {
    'face_and_voice': ('Face video and sound.', {}),
    'face': ('Face video alone.', {'streams': ('video',)}),
  }

  def rules(self, wanted):
    editions = ', '.join(TASKS)
    return {f'edition: one of {editions}': wanted.settings.edition in TASKS}

  def streams(self, wanted):
    return {
      'video': Stream('frames'),
      'audio': Stream('sound'),
      'action_units': ACTION_UNITS,
    }

  def extras(self, wanted):
    return {'source': {'part': str, 'task': str, 'video': str}}

  def open(self, manual_dir, wanted):
    return AvecTrials(manual_dir, wanted)


register(Avec2014())
