"""BioVid: the face and the body of people to whom heat is applied until it hurts.

`datasets/biovid/README.md` says how to get it and what the prepared data hold.
"""

import dataclasses

from mvp_jax.corpora import Corpus, Twin, register
from mvp_jax.corpora.biovid import tree
from mvp_jax.corpora.biovid.trials import CHANNELS, BioVidTrials
from mvp_jax.corpora.biovid.twin import BioVidSpec, write_biovid_twin
from mvp_jax.corpora.corpus import place, some
from mvp_jax.corpora.face_trials import FIELDS, face_streams, signal_extras


@dataclasses.dataclass(frozen=True)
class BioVidSettings:
  """What only BioVid has.

  Attributes:
    classes: levels of pain whose samples are read: 0 (none), 1 to 4.
    signals: which files are read, 'filtered' or 'raw'.
    exclude: names of people to leave out, such as 071309_w_21.
    openface_dir: with action units, where OpenFace's CSVs are (named as the samples,
      however deep); '': `openface` in the folder that holds BioVid.
  """

  classes: tuple[int, ...] = (0, 4)
  signals: str = 'filtered'
  exclude: tuple[str, ...] = ()
  openface_dir: str = place()

  def __post_init__(self):
    for name in ('classes', 'exclude'):
      object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))


class BioVid(Corpus):
  """BioVid Heat Pain Database, part A: 87 people, 100 samples of 5.5 s, five levels."""

  name = 'biovid'
  title = 'BioVid'
  Settings = BioVidSettings
  fields = FIELDS | {'channels': tuple(CHANNELS)}
  ratings = {'pain': (0, 4)}
  always = ('signals',)
  twin = Twin(BioVidSpec, write_biovid_twin)
  version = '3.0.0'
  notes = {
    '3.0.0': 'Spikes of single samples are masked.',
    '2.0.0': 'What a logger writes where nothing was measured is masked.',
    '1.0.0': 'First version.',
  }
  download = (
    'Ask for the BioVid Heat Pain Database at its home page, and unpack of part A '
    'starting_point, biosignals_filtered (or biosignals_raw) and video into manual_dir.'
  )
  presets = {
    'video': ('Face and body, no pain against the strongest.', {}),
    'signals': (
      'The body without the face, no pain against the strongest.',
      {'streams': ('signals',)},
    ),
    'levels': ('Face and body, all five levels.', {'classes': (0, 1, 2, 3, 4)}),
  }

  def rules(self, wanted):
    settings, levels = wanted.settings, range(len(tree.LEVELS))
    return {
      f'channels: some of {", ".join(CHANNELS)}, each once': some(
        wanted.channels, CHANNELS
      ),
      'classes: some of 0, 1, 2, 3, 4': some(settings.classes, levels),
      f'signals: one of {", ".join(tree.SIGNALS)}': settings.signals in tree.SIGNALS,
    }

  def streams(self, wanted):
    units = [CHANNELS[name][1] for name in wanted.channels]
    return face_streams(tree.RATE, wanted.channels, units, 0.0)

  def extras(self, wanted):
    return signal_extras(wanted) | {'person': str}

  def open(self, manual_dir, wanted):
    return BioVidTrials(manual_dir, wanted)


register(BioVid())
