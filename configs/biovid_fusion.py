"""MVP on BioVid: cross-attention fusion of face video with EDA, ECG and three EMGs.

  python launch.py --config=configs/biovid_fusion.py --config.data.manual_dir=DIR

DIR is part A of the BioVid Heat Pain Database; no pain (BL) is told from the strongest
(PA4), one person left out at a time. Without DIR the run uses a synthetic twin, at a
size that two cores finish in minutes:

  python launch.py --config=configs/biovid_fusion.py
  python launch.py --config=configs/biovid_fusion.py:null   (a twin without effect)
  python launch.py --config=configs/biovid_fusion.py:leaky  (identity tells the label)

Other levels, the raw signals, or without those who hardly react:

  --config.data.corpus.classes=2,3 --config.target.threshold=2.5
  --config.data.corpus.signals=raw
  --config.data.corpus.exclude=071309_w_21,...

docs/depression_and_pain.md says what such a score means, and what it must not be used
for.
"""

from configs import base
from mvp_jax.config import merge

CHANGES = {
  'target': {'ratings': ('pain',), 'threshold': 2.0},
  'input': {'max_seconds': 5.5},
  # A reaction may begin in the first seconds, which are no baseline here.
  'modalities': {'video': {'centre': 'recording'}},
  'evaluation': {'protocol': 'leave_one_subject_out'},
}
# Events last a second: ten frames of it, and a token for each fifth of it.
SMALL: dict = {}
merge(base.SMALL, SMALL)
merge(
  {
    'data': {'frame_rate': 10.0},
    'input': {'clips': {'stride': 1, 'spacing': 1.8}},
    'encoder': {'train': {'optimiser': {'steps': 400, 'warmup_steps': 40}}},
    'train': {'optimiser': {'steps': 150}},
  },
  SMALL,
)
EMBEDDED = {
  'twin': {
    'subjects': 20,
    'samples': 20,
    'classes': (0, 4),
    'frame_rate': 10.0,
    'width': 160,
    'height': 128,
  },
  'encoder': {'noise_floor': 0.05},  # drawn skin is all noise
  'evaluation': {'protocol': 'subjects', 'folds': 4},
}


def get_config(words=''):
  """The experiment at full size, and what the embedded default shrinks."""
  return base.get_config(
    'biovid', words, changes=CHANGES, embedded=EMBEDDED, presets={'small': SMALL}
  )
