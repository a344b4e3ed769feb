"""Writes a twin of AVEC 2014: made-up data in exactly the official layout.

Under the root stand AVEC2014_AudioVisual/{Video,Audio}/{Training,Development,Testing}/
{Freeform,Northwind}/203_1_Freeform_video.mp4 (..._audio.wav), the labels
Final_Labels/Training_DepressionLabels/203_1_Depression.csv, those of the test set in a
tree of their own, what OpenFace says, openface/203_1_Freeform_video.csv, and, last of
all, the marker SYNTHETIC.json. As in AVEC people come back in later sessions, also of
another part. What is planted says `synthetic.slowness`.
"""

import dataclasses
from pathlib import Path

import numpy as np

from mvp_jax.corpora.avec2014.tree import RATING, TASKS
from mvp_jax.synthetic.face import face_frames
from mvp_jax.synthetic.openface import write_openface
from mvp_jax.synthetic.slowness import VARIANTS, movement, score, told
from mvp_jax.synthetic.spec import Filmed, require, stream, wander
from mvp_jax.synthetic.tree import write_twin
from mvp_jax.synthetic.video import write_video, write_wav
from mvp_jax.synthetic.voice import voice

_MEDIA = 'AVEC2014_AudioVisual'
_TASKS = TASKS['avec2014']
_PARTS = ('Training', 'Development', 'Testing')
_FIRST = 203  # number of the first person
_SESSIONS = (1, 2, 3), (0.4, 0.4, 0.2)  # of a person, and how often


@dataclasses.dataclass(frozen=True)
class AvecSpec(Filmed):
  """One twin; equal specs give equal files, whatever the number of workers.

  Attributes:
    people: how many; each has one to three sessions of two recordings.
    seconds: of a recording.
    frame_rate: Hz.
    width, height: pixels.
    test_labels: whether the labels of the test set are there.
    openface: whether there is a CSV of action units for every video.

  Raises InputError for a value that no twin can have.
  """

  people: int = 84
  seed: int = 0
  variant: str = 'planted'
  seconds: float = 20.0
  frame_rate: float = 30.0
  width: int = 320
  height: int = 240
  test_labels: bool = True
  openface: bool = True

  crf = 26
  pixel_aspect = (1, 1)

  def __post_init__(self):
    require(
      self,
      {
        'people: 2 to 797': lambda: 2 <= self.people <= 797,
        'seed: not negative': lambda: self.seed >= 0,
        f'variant: one of {", ".join(VARIANTS)}': lambda: self.variant in VARIANTS,
        'seconds: 2 to 3000': lambda: 2 <= self.seconds <= 3000,
        'frame_rate: 1 to 60 Hz': lambda: 1 <= self.frame_rate <= 60,
        'width and height: even, height a multiple of 4, at least 64 pixels': lambda: (
          min(self.width, self.height) >= 64 and self.width % 2 == self.height % 4 == 0
        ),
      },
    )

  @property
  def subjects(self):
    return self.people

  @property
  def sessions(self):
    """{(person, session from 1): part}, a third of the sessions in each part."""
    found = []
    for person in range(_FIRST, _FIRST + self.people):
      count = stream(self, 'severity', person).choice(_SESSIONS[0], p=_SESSIONS[1])
      found += [(person, session) for session in range(1, int(count) + 1)]
    order = stream(self, 'severity', 0).permutation(len(found))
    return {
      one: _PARTS[place % len(_PARTS)] for one, place in zip(found, order, strict=True)
    }


def write_avec_twin(root, spec, workers=None):
  """Writes the twin of `spec` (AvecSpec) under `root` (Path); see `write_twin`."""
  scored = [
    one for one, part in spec.sessions.items() if spec.test_labels or part != _PARTS[-1]
  ]
  write_twin(Path(root), spec, 'AVEC 2014', _jobs, told(spec, scored, RATING), workers)


def _jobs(root, spec):
  """(function, path, arguments) of every file but the marker."""
  jobs = []
  for (person, session), part in spec.sessions.items():
    name = f'{person}_{session}'
    labels = root / 'Final_Labels'
    if part == _PARTS[-1]:
      labels = root / 'Test_Labels'
    if part != _PARTS[-1] or spec.test_labels:
      path = labels / f'{part}_DepressionLabels' / f'{name}_Depression.csv'
      jobs.append((_write_label, path, (person, session)))
    for number, task in enumerate(_TASKS, start=1):
      who = person, session, 10 * session + number
      for kind, ending, write in (
        ('Video', 'video.mp4', _write_video),
        ('Audio', 'audio.wav', _write_sound),
      ):
        folder = root / _MEDIA / kind / part / task
        jobs.append((write, folder / f'{name}_{task}_{ending}', who))
      if spec.openface:
        path = root / 'openface' / f'{name}_{task}_video.csv'
        jobs.append((_write_units, path, who))
  return jobs


def _write_label(path, spec, person, session):
  path.write_text(f'{score(spec, person, session)}\n')


def _write_video(path, spec, person, session, number):
  courses = movement(spec, person, session, number)
  write_video(path, spec, spec.width, face_frames(spec, person, number, courses))


def _write_units(path, spec, person, session, number):
  write_openface(path, spec, person, number, movement(spec, person, session, number))


def _write_sound(path, spec, person, session, number):
  rng = stream(spec, 'severity', person, 7000 + number)
  knots = np.arange(0, spec.seconds + 1, 0.1)
  aroused = 0.2 * wander(rng, knots)
  sound = voice(
    (spec.seed, person, number),
    lambda times: np.interp(times, knots, aroused),
    spec.seconds,
  )
  write_wav(path, sound)
