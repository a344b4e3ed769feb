"""Writes a twin of Aff-Wild2: made-up data in exactly the official layout.

Under the root stand VA_Estimation_Challenge/{Train_Set,Validation_Set,Test_Set}/*.txt,
cropped_aligned/<name>/00001.jpg, batch1/*.mp4 and new_vids/*.mp4 with sound, and, last
of all, the marker SYNTHETIC.json. Valence shows in the face and arousal is heard in the
voice, or in 'coupled' both together tell either; see `synthetic.courses`. As in
Aff-Wild2 some videos have two people, some frames no crop, some no annotation, and
those of the test set are placeholders.
"""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from mvp_jax.corpora.affwild2.tree import CROPS, RATINGS, UNRATED
from mvp_jax.synthetic.courses import VARIANTS as COMMON
from mvp_jax.synthetic.courses import Courses, told
from mvp_jax.synthetic.expression import expression
from mvp_jax.synthetic.face import face_frames, face_track
from mvp_jax.synthetic.spec import Filmed, require
from mvp_jax.synthetic.tree import write_twin
from mvp_jax.synthetic.video import side_by_side, write_video
from mvp_jax.synthetic.voice import voice

VARIANTS = (*COMMON, 'coupled')
_ANNOTATIONS = 'VA_Estimation_Challenge'
_FOLDERS = {'train': 'Train_Set', 'validation': 'Validation_Set', 'test': 'Test_Set'}
_CROP = 112  # pixels
_MARGIN = 1.25  # side of a crop over the width of the face
_TWO = 8  # every eighth video has two people
_NO_CROP, _UNRATED = 0.03, 0.02  # shares of frames, in stretches


@dataclasses.dataclass(frozen=True)
class AffWild2Spec(Filmed):
  """One twin; equal specs give equal files, whatever the number of workers.

  Attributes:
    train, validation, test: numbers of videos.
    seconds: of each.
    lag: of ratings behind what they rate, seconds.
    frame_rate: of the videos and so of the annotation, Hz.
    width, height: of one person's picture, pixels.

  Raises InputError for a value that no twin can have.
  """

  train: int = 24
  validation: int = 12
  test: int = 2
  seed: int = 0
  variant: str = 'planted'
  seconds: float = 40.0
  lag: float = 1.0
  frame_rate: float = 30.0
  width: int = 160
  height: int = 128

  crf = 26
  pixel_aspect = (1, 1)

  def __post_init__(self):
    require(
      self,
      {
        'train, validation, test: 1 to 400': lambda: all(
          1 <= x <= 400 for x in (self.train, self.validation, self.test)
        ),
        'seed: not negative': lambda: self.seed >= 0,
        f'variant: one of {", ".join(VARIANTS)}': lambda: self.variant in VARIANTS,
        'seconds: 5 to 600': lambda: 5 <= self.seconds <= 600,
        'lag: 0 to 5': lambda: 0 <= self.lag <= 5,
        'frame_rate: 1 to 60 Hz': lambda: 1 <= self.frame_rate <= 60,
        'width and height: even, height a multiple of 4, at least 64 pixels': lambda: (
          min(self.width, self.height) >= 64 and self.width % 2 == self.height % 4 == 0
        ),
      },
    )

  @property
  def subjects(self):
    """Videos with annotation."""
    return self.train + self.validation

  @property
  def videos(self):
    """{number of a video, from 1: part}."""
    parts = ['train'] * self.train + ['validation'] * self.validation
    return dict(enumerate(parts + ['test'] * self.test, start=1))


def people(spec, video):
  """{name of the annotation: Courses} of the one or two people in a video."""
  name = f'video{video}'
  if video % _TWO:
    return {name: Courses((spec.seed, video, 1), spec.lag, spec.variant)}
  shared = (spec.seed, video, 0)  # they talk, and are aroused together
  return {
    f'{name}_{side}': Courses((spec.seed, video, i), spec.lag, spec.variant, shared)
    for i, side in enumerate(('left', 'right'), start=1)
  }


def write_affwild2_twin(root, spec, workers=None):
  """Writes the twin of `spec` (AffWild2Spec) under `root` (Path); see `write_twin`."""
  tested = [
    one
    for video, part in spec.videos.items()
    if part == 'validation'
    for one in people(spec, video).values()
  ]
  facts = told(tested, spec.seconds, spec.frame_rate, spec.lag, spec.variant)
  write_twin(Path(root), spec, 'Aff-Wild2', _jobs, facts, workers)


def _jobs(root, spec):
  """(function, path, arguments) of every file but the marker."""
  jobs = []
  for video, part in spec.videos.items():
    folder = root / ('batch1' if video % 2 else 'new_vids')
    for name in people(spec, video):
      annotation = root / _ANNOTATIONS / _FOLDERS[part] / f'{name}.txt'
      jobs.append((_write_annotation, annotation, (video, name)))
    # The crops of a video are written with it.
    jobs.append((_write_video, folder / f'video{video}.mp4', (video, root / CROPS)))
  return jobs


def _write_annotation(path, spec, video, name):
  lines = [','.join(RATINGS)]
  if spec.videos[video] == 'test':  # as shipped: placeholders
    lines += ['0.5,-0.5'] * spec.num_frames
  else:
    values = people(spec, video)[name].rated(spec.frame_times)
    values[_stretches(spec, (video, 7), _UNRATED)] = UNRATED
    lines += [f'{valence:.3f},{arousal:.3f}' for valence, arousal in values]
  path.write_text('\n'.join(lines) + '\n')


def _stretches(spec, key, share):
  """Some frames, in stretches of half a second: bool [frames]."""
  rng = np.random.default_rng((spec.seed, *key))
  length = max(1, round(spec.frame_rate / 2))
  count = -(-spec.num_frames // length)
  return np.repeat(rng.uniform(size=count) < share, length)[: spec.num_frames]


def _faces(spec, video):
  """(name, who, courses as `face_frames` takes them) of each person."""
  for i, (name, one) in enumerate(people(spec, video).items()):
    subject = 2 * video + i
    felt = one.felt(spec.frame_times)[:, 0]
    courses = expression(spec, subject, 1, felt)
    yield name, subject, courses | {'pulse': np.zeros(spec.num_frames)}


def _write_video(path, spec, video, crops):
  faces = list(_faces(spec, video))
  pictures = zip(
    *(_with_crops(spec, video, who, x, crops / name) for name, who, x in faces),
    strict=True,
  )
  one = next(iter(people(spec, video).values()))
  sound = voice(
    (spec.seed, video, 8), lambda times: one.felt(times)[:, 1], spec.seconds
  )
  together = (
    side_by_side(images, spec.height) if len(images) > 1 else images[0]
    for images in pictures
  )
  write_video(path, spec, len(faces) * spec.width, together, sound)


def _with_crops(spec, video, who, courses, folder):
  """Yields a person's frames as `face_frames`, and writes the crop of most."""
  folder.mkdir(parents=True, exist_ok=True)
  places = face_track(spec, who, 1, courses)
  missing = _stretches(spec, (video, who, 9), _NO_CROP)
  for i, image in enumerate(face_frames(spec, who, 1, courses)):
    if not missing[i]:
      crop = _crop(image, *places[i])
      (folder / f'{i + 1:05}.jpg').write_bytes(crop.tobytes())
    yield image


def _crop(image, x, y, width):
  """The JPEG of a crop about a face."""
  scale = _CROP / (_MARGIN * width)
  moved = np.array(
    [[scale, 0, _CROP / 2 - scale * x], [0, scale, _CROP / 2 - scale * y]]
  )
  crop = cv2.warpAffine(
    cv2.cvtColor(image, cv2.COLOR_YUV2BGR_I420),
    moved,
    (_CROP, _CROP),
    flags=cv2.INTER_LINEAR,
    borderMode=cv2.BORDER_REPLICATE,
  )
  _, jpeg = cv2.imencode('.jpg', crop)
  return jpeg
