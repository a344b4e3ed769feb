"""Writes a twin of AMIGOS: made-up data in exactly the official layout.

Under the root stand Data_Preprocessed_PXX/Data_Preprocessed_PXX.mat,
Exp1_PXX_face/PX_<VideoID>_face.mov, for the long stimuli Exp2_..._face/ with
PX_<VideoID>_face.mov or, of four people side by side, P(a,b,c,d)_<VideoID>_face.mov,
what OpenFace says of each video, openface/<its name>.csv, and, last of all, the
marker SYNTHETIC.json. What is planted and where: as in the twin of DEAP, see
`ratings`, `expression` and `signals`; here arousal shows in EDA and ECG.

Each `.mat` has 20 cells in an order of its own. Cells of stimuli that the spec leaves
out, or that a subject did not watch, are empty. As in AMIGOS there are NaNs: in the
EEG for whole trials, in GSR for moments.
"""

import functools
from pathlib import Path

import numpy as np

from mvp_jax.corpora.amigos.tree import LONG, SHORT, SUBJECT_WITHOUT_LONG_RATINGS
from mvp_jax.corpora.amigos.twin_spec import SECONDS
from mvp_jax.synthetic import ratings as said
from mvp_jax.synthetic.face import face_frames
from mvp_jax.synthetic.openface import write_openface, write_openface_together
from mvp_jax.synthetic.signals import SIGNAL_RATE, cut_noise, noise_bank, simulate_body
from mvp_jax.synthetic.spec import stream
from mvp_jax.synthetic.tree import write_twin
from mvp_jax.synthetic.video import side_by_side, write_video

_EEG, _ECG_RIGHT, _ECG_LEFT, _GSR, _CHANNELS = 14, 14, 15, 16, 17
_HEADER = b'MATLAB 5.0 MAT-file, Platform: GLNXA64, a synthetic twin'


def write_amigos_twin(root, spec, workers=None):
  """Writes the twin of `spec` (AmigosSpec) under `root`; see `write_twin`."""
  seconds = {stimulus: spec.seconds(stimulus) for stimulus in spec.stimuli}
  told = {'seconds': seconds, **said.told(spec)}
  write_twin(Path(root), spec, 'AMIGOS', _jobs, told, workers)


def _jobs(root, spec):
  """(function, path, arguments) of every file but the marker."""
  subjects = range(1, spec.subjects + 1)
  jobs = []
  for subject in subjects:
    name = f'Data_Preprocessed_P{subject:02}'
    jobs.append((_write_mat, root / name / f'{name}.mat', (subject,)))
    # Folders have two digits, their files have not.
    jobs += [
      (
        _write_alone,
        root / f'Exp1_P{subject:02}_face' / f'P{subject}_{stimulus}_face.mov',
        (subject, stimulus),
      )
      for stimulus in spec.stimuli
      if stimulus in SHORT
    ]
  long = [stimulus for stimulus in spec.stimuli if stimulus in LONG]
  grouped = {subject for group in spec.groups for subject in group}
  alone = [
    subject
    for subject in subjects
    if long and subject not in grouped and spec.has(subject, long[0])
  ]
  for number, subject in enumerate(alone, start=1):
    folder = root / f'Exp2_L{number:02}_Indiv_N{subject:02}_face'
    jobs += [
      (_write_alone, folder / f'P{subject}_{stimulus}_face.mov', (subject, stimulus))
      for stimulus in long
    ]
  for number, group in enumerate(spec.groups if long else (), start=len(alone) + 1):
    names = ','.join(map(str, group))
    folder = root / f'Exp2_L{number:02}_Group_N({names})_face'
    jobs += [
      (_write_together, folder / f'P({names})_{stimulus}_face.mov', (group, stimulus))
      for stimulus in long
    ]
  if spec.openface:
    jobs += [
      (_write_units, root / 'openface' / f'{path.stem}.csv', arguments)
      for _, path, arguments in jobs
      if path.suffix == '.mov'
    ]
  return jobs


def _write_alone(path, spec, subject, stimulus):
  trial = spec.stimuli.index(stimulus) + 1
  scene = spec.watching(trial)
  write_video(path, scene, scene.width, face_frames(scene, subject, trial))


def _write_units(path, spec, people, stimulus):
  trial = spec.stimuli.index(stimulus) + 1
  if isinstance(people, tuple):
    write_openface_together(path, spec.watching(trial, alone=False), people, trial)
  else:
    write_openface(path, spec.watching(trial), people, trial)


def _write_together(path, spec, group, stimulus):
  trial = spec.stimuli.index(stimulus) + 1
  scene = spec.watching(trial, alone=False)
  faces = zip(*(face_frames(scene, subject, trial) for subject in group), strict=True)
  write_video(
    path,
    scene,
    len(group) * scene.width,
    (side_by_side(images, scene.height) for images in faces),
  )


def _write_mat(path, spec, subject):
  from scipy.io import savemat  # .24 s, not needed where the twin is there

  order = stream(spec, 'order', subject).permutation(list(SECONDS))
  cells = {
    name: np.empty((1, len(order)), object)
    for name in (
      'VideoIDs',
      'joined_data',
      'labels_selfassessment',
      'labels_ext_annotation',
    )
  }
  for place, stimulus in enumerate(order.tolist()):
    cells['VideoIDs'][0, place] = stimulus
    if spec.has(subject, stimulus):
      found = (
        joined_data(spec, subject, stimulus),
        self_assessment(spec, subject, stimulus),
        external_annotation(spec, subject, stimulus),
      )
      if subject == SUBJECT_WITHOUT_LONG_RATINGS and stimulus in LONG:
        found = found[0], np.zeros((1, 0)), found[2]
    else:
      found = np.zeros((0, 0)), np.zeros((1, 0)), np.zeros((1, 0))
    for name, value in zip(list(cells)[1:], found, strict=True):
      cells[name][0, place] = value
  savemat(path, cells)
  with path.open('r+b') as file:  # SciPy writes the date there
    file.write(_HEADER.ljust(116))


def joined_data(spec, subject, stimulus):
  """EEG, ECG from the right and the left arm, GSR: float64 [time, 17]."""
  trial = spec.stimuli.index(stimulus) + 1
  body = simulate_body(spec.watching(trial), subject, trial)
  samples = len(body.eda)
  rng = stream(spec, 'filler', subject, trial)
  bank = _eeg(spec.seed, subject)
  data = np.empty((samples, _CHANNELS))
  shared = cut_noise(rng, bank, samples)
  for channel in range(_EEG):
    data[:, channel] = 5 * (0.6 * shared + 0.8 * cut_noise(rng, bank, samples))
  data[:, [_ECG_RIGHT, _ECG_LEFT]] = body.ecg
  data[:, _GSR] = 1000 / body.eda  # resistance, in a unit that nobody is told
  if rng.uniform() < 0.2:
    data[:, rng.integers(_EEG)] = np.nan
  if rng.uniform() < 0.2:
    start = rng.integers(samples - SIGNAL_RATE)
    data[start : start + rng.integers(1, SIGNAL_RATE // 2), _GSR] = np.nan
  return data


@functools.lru_cache(maxsize=1)
def _eeg(seed, subject):
  rng = np.random.default_rng([seed, subject, 1])
  return noise_bank(rng, 4, 45, slope=0.5, bump=10)


def self_assessment(spec, subject, stimulus):
  """Arousal, valence, dominance, liking, familiarity and emotions: [1, 12]."""
  trial = spec.stimuli.index(stimulus)
  valence, arousal, dominance, liking = said.ratings(spec, subject)[trial]
  rng = stream(spec, 'ratings', subject, trial=trial + 1)
  emotions = np.zeros(7)  # neutral, disgust, happiness, surprise, anger, fear, sadness
  emotions[rng.choice([0, 2, 3] if valence > 5 else [0, 1, 4, 5, 6])] = 1
  return np.array(
    [[arousal, valence, dominance, liking, round(rng.uniform(1, 9), 2), *emotions]]
  )


def external_annotation(spec, subject, stimulus):
  """What others saw in each 20 s: number, valence, arousal, [segments, 3].

  The rating of the trial, scaled to -1..1, with noise of each segment.
  """
  trial = spec.stimuli.index(stimulus)
  rating = said.ratings(spec, subject)[trial, :2]
  segments = int(spec.seconds(stimulus) // 20) + 2
  rng = stream(spec, 'ratings', subject, trial=trial + 100)
  seen = (rating - 5) / 5 + 0.1 * rng.standard_normal((segments, 2))
  return np.column_stack([np.arange(1, segments + 1), np.clip(seen, -1, 1)])
