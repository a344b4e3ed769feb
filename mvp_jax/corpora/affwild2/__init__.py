"""Aff-Wild2: people in videos from the web, valence and arousal in every frame.

`datasets/affwild2/README.md` says how to get it and what the prepared data hold.
"""

import dataclasses

from mvp_jax.corpora import Corpus, Stream, Twin, register
from mvp_jax.corpora.affwild2.tree import RATINGS
from mvp_jax.corpora.affwild2.trials import AffWild2Trials
from mvp_jax.corpora.affwild2.twin import AffWild2Spec, write_affwild2_twin

FACES = ('cropped', 'video')


@dataclasses.dataclass(frozen=True)
class AffWild2Settings:
  """Attributes:
  faces: 'cropped': the official aligned crops; 'video': our own, out of the videos.
  video_rate: frames a second of a clip whose video is not there.
  """

  faces: str = 'cropped'
  video_rate: float = 30.0


class AffWild2(Corpus):
  """Aff-Wild2's training and validation sets of the valence and arousal track."""

  name = 'affwild2'
  title = 'Aff-Wild2'
  Settings = AffWild2Settings
  fields = {
    'streams': ('video', 'audio'),
    'frame_rate': 25.0,
    'frame_size': 112,
    'crop': 'X',
  }
  # On the official validation set. JCA's fall on the test set, to .374 and .363, stands
  # in its abstract (Praveen et al., 2022).
  published = {
    'Baseline (CCC)': {'valence': '.310', 'arousal': '.170'},
    'JCA (CCC)': {'valence': '.663', 'arousal': '.584'},
    'Recursive JCA (CCC)': {'valence': '.585', 'arousal': '.659'},
    'Gated recursive JCA (CCC)': {'valence': '.623', 'arousal': '.660'},
  }
  twin = Twin(AffWild2Spec, write_affwild2_twin)
  version = '2.0.0'
  notes = {
    '2.0.0': 'Of the twin, valence has no level of its own.',
    '1.0.0': 'First version.',
  }
  download = (
    'Ask for Aff-Wild2 at the home page of the ABAW challenges, and unpack the '
    'annotations (VA_Estimation_Challenge), cropped_aligned and the videos (batch1, '
    'batch2, new_vids) into manual_dir.'
  )
  presets = {
    'voice_and_face': ('Official crops and sound.', {}),
    'face': ('Official crops without sound.', {'streams': ('video',)}),
  }

  def rules(self, wanted):
    settings = wanted.settings
    return {
      f'faces: one of {", ".join(FACES)}': settings.faces in FACES,
      'video_rate: above 0, at most 240 Hz': 0 < settings.video_rate <= 240,
    }

  def streams(self, wanted):
    return {
      'video': Stream('frames'),
      'audio': Stream('sound'),
      'ratings': Stream(channels=RATINGS, units=('-1 to 1',) * 2, optional=True),
    }

  def extras(self, wanted):
    return {'source': {'part': str, 'video': str}}

  def open(self, manual_dir, wanted):
    return AffWild2Trials(manual_dir, wanted)


register(AffWild2())
