"""Writes a twin of DEAP: made-up data in exactly the official layout.

Under the root stand metadata_csv/participant_ratings.csv,
data_preprocessed_python/sXX.dat, face_video/sXX/sXX_trialYY.avi and, last of
all, the marker SYNTHETIC.json. What is planted and where: `ratings` (latents,
variants, best possible scores), `expression` (valence in the face) and
`signals` (arousal in EDA and pulse).
"""

import concurrent.futures
import csv
import dataclasses
import io
import json
import multiprocessing
import os
import struct
from pathlib import Path

import cv2
import numpy as np

from mvp_jax.errors import InputError
from mvp_jax.files import whole, write_json
from mvp_jax.progress import Progress
from mvp_jax.synthetic import ratings as said
from mvp_jax.synthetic.face import write_face_video
from mvp_jax.synthetic.signals import channels
from mvp_jax.synthetic.spec import TwinSpec

MARKER = 'SYNTHETIC.json'
_PARTS = ('metadata_csv', 'data_preprocessed_python', 'face_video')
_HEADER = ('Participant_id', 'Trial', 'Experiment_id', 'Start_time', 'Valence',
           'Arousal', 'Dominance', 'Liking', 'Familiarity')
_EFFECTS = (
  'Latent valence and arousal of a trial are independent standard normals. '
  'Valence shows only in the face: smiles (v > 0) or frowns (v < 0), more, '
  'longer and stronger with |v|. Arousal shows only in EDA (rate and size of '
  'skin conductance responses, tonic slope) and pulse (heart rate up, '
  'variability and pulse size down). Both stand on per-subject offsets and '
  'gains, distractors and noise. Ratings: ')
_RATINGS = {
  'planted': f'correlated {said.RHO} with the latent, so that the sign of the '
             'latent predicts rating > 5 with probability 1 - arccos(rho)/pi.',
  'null': 'independent of latents, faces and signals; best possible is chance.',
  'leaky': f'on one side of 5 in {said.LEAN:.0%} of a subject\'s trials, the '
           'side random per subject and target; independent of faces and '
           'signals, so only knowing the subject helps.',
}


def write_deap_twin(root, spec, workers=None):
  """Writes the twin of `spec` under `root` (Path); returns nothing.

  `workers` processes share the work (None: one per CPU). Interrupted, it
  continues where it stopped: files appear under their name only when whole.

  Raises:
    InputError: `root` holds another twin, or data that are no twin.
  """
  root = Path(root)
  if _already_there(root, spec):
    return
  jobs = _jobs(root, spec)
  missing = [job for job in jobs if not job[1].exists()]
  with Progress(len(jobs), 'writing the DEAP twin', 'files',
                initial=len(jobs) - len(missing)) as progress:
    for _ in _run(missing, spec, workers or os.cpu_count()):
      progress.update()
  marker = {
    'corpus': 'DEAP', 'spec': dataclasses.asdict(spec),
    'ceiling': said.ceiling(spec), 'subjects': spec.subjects,
    'trials': spec.trials, 'effects': _EFFECTS + _RATINGS[spec.variant]}
  write_json(root / MARKER, marker)
  _begun(root).unlink()


def _already_there(root, spec):
  """Whether the twin stands complete; else marks it as begun under `root`."""
  for path in (root / MARKER, _begun(root)):
    if path.exists():
      found = json.loads(path.read_text()).get('spec')
      if found != json.loads(json.dumps(dataclasses.asdict(spec))):
        raise InputError(f'{path}: this is a twin of another spec ({found}); '
                         'give another directory or delete this one')
      return path.name == MARKER
  for part in _PARTS:
    if (root / part).exists():
      raise InputError(f'{root / part}: holds data but no {MARKER}, so it may be '
                       'real; a twin needs a directory of its own')
  root.mkdir(parents=True, exist_ok=True)
  write_json(_begun(root), {'spec': dataclasses.asdict(spec)})
  return False


def _begun(root):
  return root / f'{MARKER}.begun'


def _jobs(root, spec):
  """(function, path, arguments) of every file but the marker."""
  jobs = [(_write_ratings, root / _PARTS[0] / 'participant_ratings.csv', ())]
  jobs += [(_write_dat, root / _PARTS[1] / f's{subject:02}.dat', (subject,))
           for subject in range(1, spec.subjects + 1)]
  jobs += [(write_face_video,
            root / _PARTS[2] / f's{subject:02}' /
            f's{subject:02}_trial{trial:02}.avi', (subject, trial))
           for subject, trial in spec.videos]
  return jobs


def _run(jobs, spec, workers):
  """Does the jobs, yielding once after each."""
  if workers == 1:
    for job in jobs:
      yield _do(job, spec)
    return
  pool = concurrent.futures.ProcessPoolExecutor(
    workers, mp_context=multiprocessing.get_context('spawn'),
    initializer=cv2.setNumThreads, initargs=(1,))
  try:
    futures = [pool.submit(_do, job, spec) for job in jobs]
    for future in concurrent.futures.as_completed(futures):
      yield future.result()
  finally:
    pool.shutdown(cancel_futures=True)


def _do(job, spec):
  function, path, arguments = job
  with whole(path) as part:
    function(part, spec, *arguments)


def _write_ratings(path, spec):
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(_HEADER)
  for subject in range(1, spec.subjects + 1):
    order = said.stimulus_order(spec, subject)
    familiarity = said.familiarity(spec, subject)
    for trial, rating in enumerate(said.ratings(spec, subject), start=1):
      writer.writerow([
        subject, trial, order[trial - 1], 1_000_000 + 95_000_000 * trial,
        *(f'{value:.2f}' for value in rating),
        '' if familiarity is None else familiarity[trial - 1]])
  path.write_text(text.getvalue())


def _write_dat(path, spec, subject):
  rows = np.argsort(said.stimulus_order(spec, subject))  # row = Experiment_id - 1
  with path.open('wb') as file:
    write_python2_pickle(file, {
      'labels': said.ratings(spec, subject)[rows],
      'data': channels(spec, subject)[rows]})


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
    dtype = (b'cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R'
             b'(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb')
    file.write(b'U%c' % len(name) + name.encode())
    file.write(b'cnumpy.core.multiarray\n_reconstruct\n'
               b'cnumpy\nndarray\nK\x00\x85U\x01b\x87R')
    file.write(b'(K\x01' + shape + dtype + b'\x89T'
               + struct.pack('<i', array.nbytes))
    file.write(array.data)
    file.write(b'tb')
  file.write(b'u.')


__all__ = ['MARKER', 'TwinSpec', 'write_deap_twin', 'write_python2_pickle']
