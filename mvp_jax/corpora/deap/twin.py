"""Writes a twin of DEAP: made-up data in exactly the official layout.

Under the root stand metadata_csv/participant_ratings.csv,
data_preprocessed_python/sXX.dat, face_video/sXX/sXX_trialYY.avi, what OpenFace says
of them, openface/sXX_trialYY.csv, and, last of all, the marker SYNTHETIC.json. What
is planted and where: `ratings` (latents, variants, best possible scores),
`expression` (valence in the face) and `signals` (arousal in EDA and pulse).
"""

import csv
import io
import struct
from pathlib import Path

import numpy as np

from mvp_jax.corpora.deap.tree import KEYS, SCALES, has_video
from mvp_jax.synthetic import ratings as said
from mvp_jax.synthetic.openface import write_openface
from mvp_jax.synthetic.signals import NUM_SAMPLES, cut_noise, noise_bank, simulate_body
from mvp_jax.synthetic.spec import SIGNAL_RATE, stream, wander
from mvp_jax.synthetic.tree import write_twin
from mvp_jax.synthetic.video import write_face_video

_PARTS = ('metadata_csv', 'data_preprocessed_python', 'face_video', 'openface')
_HEADER = (*KEYS, 'Start_time', *SCALES)


def write_deap_twin(root, spec, workers=None):
  """Writes the twin of `spec` (TwinSpec) under `root` (Path); see `write_twin`."""
  told = {'trials': spec.trials, **said.told(spec)}
  write_twin(Path(root), spec, 'DEAP', _jobs, told, workers)


def videos(spec):
  """(subject, trial) of every face video, both from 1, in order."""
  return [
    (subject, trial)
    for subject in range(1, spec.subjects + 1)
    for trial in range(1, spec.trials + 1)
    if has_video(subject, trial)
  ]


def _jobs(root, spec):
  """(function, path, arguments) of every file but the marker."""
  ratings, signals, faces, units = (root / part for part in _PARTS)
  jobs = [(_write_ratings, ratings / 'participant_ratings.csv', ())]
  for subject in range(1, spec.subjects + 1):
    jobs.append((_write_dat, signals / f's{subject:02}.dat', (subject,)))
  for subject, trial in videos(spec):
    path = faces / f's{subject:02}' / f's{subject:02}_trial{trial:02}.avi'
    jobs.append((write_face_video, path, (subject, trial)))
    if spec.openface:
      jobs.append((write_openface, units / f'{path.stem}.csv', (subject, trial)))
  return jobs


def _write_ratings(path, spec):
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(_HEADER)
  for subject in range(1, spec.subjects + 1):
    order = said.stimulus_order(spec, subject)
    familiarity = said.familiarity(spec, subject)
    for trial, rating in enumerate(said.ratings(spec, subject), start=1):
      writer.writerow(
        [
          subject,
          trial,
          order[trial - 1],
          1_000_000 + 95_000_000 * trial,
          *(f'{value:.2f}' for value in rating),
          '' if familiarity is None else familiarity[trial - 1],
        ]
      )
  path.write_text(text.getvalue())


def _write_dat(path, spec, subject):
  rows = np.argsort(said.stimulus_order(spec, subject))  # row = Experiment_id - 1
  with path.open('wb') as file:
    write_python2_pickle(
      file,
      {
        'labels': said.ratings(spec, subject)[rows],
        'data': channels(spec, subject)[rows],
      },
    )


def write_python2_pickle(file, arrays):
  """Writes {name: float64 array} as Python 2 with old NumPy pickled it.

  NumPy 2 would name its own new modules and Python 3 would wrap the bytes, so
  that readers of the official files (and the strict ones above all) might
  refuse the twin. Hence the opcodes by hand, as `pickletools` documents them.
  """

  def number(value):
    return b'K%c' % value if value < 256 else b'J' + struct.pack('<i', value)

  file.write(b'\x80\x02}(')
  for name, array in arrays.items():
    array = np.ascontiguousarray(array, '<f8')
    shape = b'(' + b''.join(number(size) for size in array.shape) + b't'
    dtype = (
      b'cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R'
      b'(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
    )
    file.write(b'U%c' % len(name) + name.encode())
    file.write(
      b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R'
    )
    file.write(b'(K\x01' + shape + dtype + b'\x89T' + struct.pack('<i', array.nbytes))
    file.write(array.data)
    file.write(b'tb')
  file.write(b'u.')


def channels(spec, subject):
  """All channels, float64 [trials, 40, 8064] in presentation order."""
  data = np.empty((spec.trials, 40, NUM_SAMPLES))
  rng = stream(spec, 'filler', subject)
  eeg = noise_bank(rng, 4, 45, slope=0.5, bump=10)
  eog = noise_bank(rng, 0.3, 12, slope=1)
  emg = noise_bank(rng, 15, 60, slope=0)
  times = np.arange(NUM_SAMPLES) / SIGNAL_RATE
  scales = rng.uniform(3, 7, 32)
  for trial in range(spec.trials):
    shared = cut_noise(rng, eeg)
    for channel in range(32):
      data[trial, channel] = scales[channel] * (
        0.6 * shared + 0.8 * cut_noise(rng, eeg)
      )
    data[trial, 32] = 20 * cut_noise(rng, eog)
    data[trial, 33] = 20 * cut_noise(rng, eog) + _blink_potentials(rng, times)
    for channel in (34, 35):
      burst = 1 + np.maximum(0, wander(rng, times)) ** 2
      data[trial, channel] = 5 * burst * cut_noise(rng, emg) + 3 * cut_noise(rng, eog)
    body = simulate_body(spec, subject, trial + 1)
    data[trial, 36] = 1e6 / body.eda  # ohm
    data[trial, 37] = body.respiration
    data[trial, 38] = body.ppg
    data[trial, 39] = (
      rng.uniform(31, 34)
      + 0.05 * wander(rng, times, (20, 90))
      + 0.003 * rng.standard_normal(NUM_SAMPLES)
    )
  return data


def _blink_potentials(rng, times):
  moments = np.cumsum(rng.gamma(3, 1.3, size=40))
  moments = moments[moments < times[-1]]
  return 120 * np.exp(-(((times[:, None] - moments) / 0.08) ** 2)).sum(axis=1)
