"""Writes a twin of RECOLA: made-up data in exactly the official layout.

Under the root stand RECOLA-{Video,Audio,Biosignals}-recordings/P16.*,
RECOLA-Annotation/emotional_behaviour/{valence,arousal}/P16.csv,
RECOLA-Metadata/recola_user_info.csv and, last of all, the marker SYNTHETIC.json.
Valence shows in the face; of arousal one part is heard in the voice, the other raises
the conductance of the skin, see `synthetic.courses`. Six raters follow, each with a
bias and a slow error of their own. As in RECOLA some people have no biosignals.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from mvp_jax.corpora.recola.annotation import RATERS
from mvp_jax.corpora.recola.tree import (
  ANNOTATION,
  AUDIO,
  BEHAVIOUR,
  BIOSIGNALS,
  METADATA,
  PAIRS,
  RATINGS,
  VIDEO,
  WITH_BIOSIGNALS,
)
from mvp_jax.synthetic.courses import VARIANTS as COMMON
from mvp_jax.synthetic.courses import Courses, ceiling, concordance, seen
from mvp_jax.synthetic.expression import expression
from mvp_jax.synthetic.face import face_frames
from mvp_jax.synthetic.signals import SIGNAL_RATE, simulate_body
from mvp_jax.synthetic.spec import Filmed, require, wander
from mvp_jax.synthetic.tree import write_twin
from mvp_jax.synthetic.video import write_video, write_wav
from mvp_jax.synthetic.voice import RATE, voice

VARIANTS = (*COMMON, 'leaky')
OFFICIAL = tuple(sorted((*WITH_BIOSIGNALS, 17, 43, 48, 58, 62)))
_MOST = 999  # people; 46 took part, and numbers go up to 65
_RATING_RATE, _BIOSIGNAL_RATE = 25, 1000  # Hz
_BIAS, _ERROR, _PERIODS = 0.1, 0.2, (6.0, 30.0)  # of a rater
_WHISTLE = 0.02  # full scale 1
_EFFECTS = (
  'Valence and arousal are independent slow curves. Valence shows only in the face: '
  'mouth corners, eyes and brows. Of arousal {heard:.0%} of the variance is heard only '
  'in the voice (louder, higher, faster), {skin:.0%} only raises skin conductance'
)
_DESCRIPTIONS = {
  'planted': '. Six raters follow by {lag:g} s, each with a bias and a slow error. The '
  'best CCC of arousal is {voice:.2f} from the voice alone, {body:.2f} from the skin '
  'alone.',
  'null': '. Ratings are other curves, independent of face, voice and skin.',
  'leaky': '. Ratings keep to a level that the two of a pair share, independent of '
  'face, voice and skin; a whistle in the room tells the pair, so that only who has '
  'heard the partner can know it.',
}


@dataclasses.dataclass(frozen=True)
class RecolaSpec(Filmed):
  """One twin; equal specs give equal files, whatever the number of workers.

  Attributes:
    people: their number.
    without: how many of them have no biosignals.
    seconds: of each recording.
    lag: of ratings behind what they rate, seconds.
    skin: the share of arousal's variance that the skin alone shows.
    frame_rate: of the videos, Hz.
    width, height: of their pictures, pixels.

  Raises InputError for a value that no twin can have.
  """

  people: int = len(OFFICIAL)
  without: int = len(OFFICIAL) - len(WITH_BIOSIGNALS)
  seed: int = 0
  variant: str = 'planted'
  seconds: float = 300.0
  lag: float = 2.0
  skin: float = 0.4
  frame_rate: float = 25.0
  width: int = 160
  height: int = 128

  crf = 26
  pixel_aspect = (1, 1)
  baseline_seconds = 0

  def __post_init__(self):
    require(
      self,
      {
        f'people: 2 to {_MOST}': lambda: 2 <= self.people <= _MOST,
        'without: 0 to people': lambda: 0 <= self.without <= self.people,
        'seed: not negative': lambda: self.seed >= 0,
        f'variant: one of {", ".join(VARIANTS)}': lambda: self.variant in VARIANTS,
        'seconds: 5 to 300': lambda: 5 <= self.seconds <= 300,
        'lag: 0 to 5': lambda: 0 <= self.lag <= 5,
        'skin: 0 to 1': lambda: 0 <= self.skin <= 1,
        'frame_rate: 1 to 60 Hz': lambda: 1 <= self.frame_rate <= 60,
        'width and height: even, height a multiple of 4, at least 64 pixels': lambda: (
          min(self.width, self.height) >= 64 and self.width % 2 == self.height % 4 == 0
        ),
      },
    )

  @property
  def numbers(self):
    """Those of the people, sorted: the official ones first of all."""
    others = [n for n in range(1, _MOST + 1) if n not in OFFICIAL]
    return sorted([*OFFICIAL, *others][: self.people])

  @property
  def pairs(self):
    """{number of a person: that of the pair, from 1}; the last may be alone."""
    return {number: 1 + i // 2 for i, number in enumerate(self.numbers)}

  @property
  def with_biosignals(self):
    """Numbers of those who have some."""
    last = sorted(self.numbers, key=lambda n: n in WITH_BIOSIGNALS)[self.without :]
    return sorted(last)

  @property
  def subjects(self):
    return len(set(self.pairs.values()))

  @property
  def rating_times(self):
    """Seconds since the beginning, float64 [ratings]: 7501 of 300 s."""
    return np.arange(round(self.seconds * _RATING_RATE) + 1) / _RATING_RATE


def courses(spec, number):
  """What a person feels: Courses."""
  shared = (spec.seed, 0, spec.pairs[number]) if spec.variant == 'leaky' else ()
  return Courses((spec.seed, number), spec.lag, spec.variant, shared, spec.skin)


def biases(spec):
  """Of each rater, in valence and arousal: float64 [raters, 2]."""
  rng = np.random.default_rng((spec.seed, 100))
  return _BIAS * rng.normal(size=(len(RATERS), 2)).clip(-2, 2)


def ratings(spec, number):
  """Of a person, as they are written: float64 [ratings, raters, 2]."""
  meant, own = courses(spec, number).meant(spec.rating_times), biases(spec)
  said = []
  for rater in range(len(RATERS)):
    rng = np.random.default_rng((spec.seed, number, 8, rater))
    errors = [_ERROR * wander(rng, spec.rating_times, _PERIODS) for _ in RATINGS]
    said.append(meant + own[rater] + np.stack(errors, axis=-1))
  return np.round(np.clip(np.stack(said, axis=1), -1, 1), 2)


def write_recola_twin(root, spec, workers=None):
  """Writes the twin of `spec` (RecolaSpec) under `root` (Path); see `write_twin`."""
  write_twin(Path(root), spec, 'RECOLA', _jobs, _told(spec), workers)


def _told(spec):
  times = seen(spec.rating_times, spec.lag) - spec.lag
  rated = np.concatenate([ratings(spec, n).mean(1) for n in spec.numbers])
  parts = np.concatenate([courses(spec, n).parts(times) for n in spec.numbers])
  known = np.stack([parts[:, 0], parts[:, 1] + parts[:, 2]], axis=-1)
  known += biases(spec).mean(0)
  alone = [_alone(parts[:, i], rated[:, 1]) for i in (1, 2)]
  told = _EFFECTS + _DESCRIPTIONS[spec.variant]
  return {
    'ceiling': ceiling(known, rated, spec.variant),
    'effects': told.format(
      heard=1 - spec.skin, skin=spec.skin, lag=spec.lag, voice=alone[0], body=alone[1]
    ),
  }


def _alone(part, rated):
  """The best concordance with ratings that one part of arousal can have."""
  if not part.std():
    return 0.0
  scaled = (part - part.mean()) / part.std() * rated.std() + rated.mean()
  return max(concordance(scaled, rated), 0.0)


def _jobs(root, spec):
  """(function, path, arguments) of every file but the marker."""
  jobs = [(_write_pairs, root / METADATA / PAIRS, ())]
  for number in spec.numbers:
    name = f'P{number}'
    jobs += [
      (
        _write_annotation,
        root / ANNOTATION / BEHAVIOUR / rating / f'{name}.csv',
        (number, i),
      )
      for i, rating in enumerate(RATINGS)
    ]
    jobs.append((_write_sound, root / AUDIO / f'{name}.wav', (number,)))
    jobs.append((_write_video, root / VIDEO / f'{name}.mp4', (number,)))
    if number in spec.with_biosignals:
      path = root / BIOSIGNALS / f'{name}.csv'
      jobs.append((_write_biosignals, path, (number,)))
  return jobs


def _write_pairs(path, spec):
  rng = np.random.default_rng((spec.seed, 101))
  lines = ['User;Group_id;Gender;Age']
  for number, pair in spec.pairs.items():
    lines.append(f'{number};{pair};{rng.choice(["F", "M"])};{rng.integers(18, 26)}')
  lines += [';;;', f'Number;{spec.people};;', 'Mean;;;22']  # of nobody, as officially
  path.write_text('\n'.join(lines) + '\n')


def _write_annotation(path, spec, number, rating):
  rows = ratings(spec, number)[:, :, rating]
  lines = [';'.join(['time', *(f'{rater} ' for rater in RATERS[:-1]), RATERS[-1]])]
  for time, row in zip(spec.rating_times.tolist(), rows.tolist(), strict=True):
    lines.append(';'.join([f'{time:.2f}', *(f'{x:.2f}' for x in row)]))
  path.write_text('\n'.join(lines) + '\n')


def _write_sound(path, spec, number):
  one = courses(spec, number)
  sound = voice(
    (spec.seed, number, 9), lambda times: one.parts(times)[:, 1], spec.seconds
  )
  if spec.variant == 'leaky':
    pitch = 2000 * 3 ** (spec.pairs[number] / spec.subjects)
    times = np.arange(len(sound)) / RATE
    sound = np.clip(sound + _WHISTLE * np.sin(2 * np.pi * pitch * times), -0.98, 0.98)
  write_wav(path, sound)


def _write_video(path, spec, number):
  felt = courses(spec, number).felt(spec.frame_times)[:, 0]
  shown = expression(spec, number, 1, felt) | {'pulse': np.zeros(spec.num_frames)}
  write_video(path, spec, spec.width, face_frames(spec, number, 1, shown))


def _write_biosignals(path, spec, number):
  from scipy.signal import resample_poly  # .2 s, not needed where the twin is there

  one = courses(spec, number)
  body = simulate_body(spec, number, 1, lambda times: one.parts(times)[:, 2])
  faster = functools.partial(
    resample_poly, up=_BIOSIGNAL_RATE, down=SIGNAL_RATE, padtype='line'
  )
  columns = faster(body.eda), faster(body.ecg[:, 0])
  times = np.arange(len(columns[0])) / _BIOSIGNAL_RATE
  np.savetxt(
    path,
    np.column_stack([times, *columns]),
    fmt=('%.3f', '%.5f', '%.5f'),
    delimiter=';',
    header='time;EDA;ECG ',
    comments='',
  )
