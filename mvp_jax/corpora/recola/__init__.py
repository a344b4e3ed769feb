"""RECOLA: pairs of people solve a task over a video call, rated in time.

`datasets/recola/README.md` says how to get it and what the prepared data hold.
"""

import dataclasses

from mvp_jax.corpora import Corpus, Stream, Twin, register
from mvp_jax.corpora.corpus import some
from mvp_jax.corpora.face_trials import signal_extras
from mvp_jax.corpora.recola.annotation import RATERS
from mvp_jax.corpora.recola.tree import RATINGS
from mvp_jax.corpora.recola.trials import CHANNELS, SIGNAL_RATE, RecolaTrials
from mvp_jax.corpora.recola.twin import RecolaSpec, write_recola_twin
from mvp_jax.raw.units import AS_RECORDED


@dataclasses.dataclass(frozen=True)
class RecolaSettings:
  """Attributes:
  raters: those whose mean is the gold standard.
  """

  raters: tuple[str, ...] = RATERS


class Recola(Corpus):
  """RECOLA: voice, face, ECG and EDA of people who work together over a video call."""

  name = 'recola'
  title = 'RECOLA'
  Settings = RecolaSettings
  fields = {
    'streams': ('video', 'audio'),
    'frame_rate': 25.0,
    'frame_size': 112,
    'crop': 'X',
    'channels': tuple(CHANNELS),
    'clean': True,
  }
  twin = Twin(RecolaSpec, write_recola_twin)
  version = '3.0.0'
  notes = {
    '3.0.0': 'Spikes of single samples are masked.',
    '2.0.0': 'Of the twin, valence has no level of its own. More signals are masked.',
    '1.0.0': 'First version.',
  }
  download = (
    'Ask for RECOLA at its home page, and unpack RECOLA-Annotation, RECOLA-Metadata, '
    'RECOLA-Video-recordings, RECOLA-Audio-recordings and '
    'RECOLA-Biosignals-recordings into manual_dir.'
  )
  presets = {
    'voice_and_face': ('Voice and face; biosignals of those who have some.', {}),
    'all': (
      'Voice, face and biosignals, of those who have all.',
      {'streams': ('video', 'audio', 'signals')},
    ),
  }

  def rules(self, wanted):
    return {
      f'raters: some of {", ".join(RATERS)}, each once': some(
        wanted.settings.raters, RATERS
      ),
      f'channels: some of {", ".join(CHANNELS)}, each once': some(
        wanted.channels, CHANNELS
      ),
    }

  def streams(self, wanted):
    return {
      'video': Stream('frames'),
      'audio': Stream('sound'),
      'signals': Stream(
        rate=SIGNAL_RATE,
        channels=wanted.channels,
        units=(AS_RECORDED,) * len(wanted.channels),
        optional=True,
      ),
      'ratings': Stream(channels=RATINGS, units=('-1 to 1',) * 2, optional=True),
    }

  def extras(self, wanted):
    names = *RATINGS, 'video', 'audio', 'biosignals'
    return signal_extras(wanted) | {'source': dict.fromkeys(names, str)}

  def open(self, manual_dir, wanted):
    return RecolaTrials(manual_dir, wanted)


register(Recola())
