"""Writes a small set of made-up recordings with a manifest, as a lab would have them.

Per subject a folder with, for each trial, a face video and a CSV of EDA and PPG that
begins some seconds before the stimulus; under openface/ what OpenFace says of the
video. What is planted is what the twin of DEAP has
(see `deap`): valence in the face, arousal in EDA and pulse.
"""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np

from mvp_jax import checksums
from mvp_jax.corpora.corpus import MARKER
from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write, read_json, write_json
from mvp_jax.processes import parallel_map
from mvp_jax.progress import Progress
from mvp_jax.synthetic import ratings as said
from mvp_jax.synthetic.openface import write_openface
from mvp_jax.synthetic.signals import simulate_body
from mvp_jax.synthetic.spec import BASELINE_SECONDS, SIGNAL_RATE
from mvp_jax.synthetic.video import write_face_video

MANIFEST = 'manifest.csv'
_COLUMNS = (
  *('subject', 'trial', 'stimulus', 'video', 'signals', 'signals_onset', 'rate'),
  *('eda', 'eda_unit', 'ppg', 'openface', *said.TARGETS, 'rating_min', 'rating_max'),
)


def write_recordings_twin(root, spec, workers=None):
  """Writes the recordings of `spec` (TwinSpec) under `root`, every trial with a video.

  Interrupted, it continues where it stopped: files appear only when whole. Raises
  InputError if `root` holds recordings of another spec, or some that are not made up.
  """
  root = Path(root)
  marker, manifest = root / MARKER, root / MANIFEST
  if marker.exists():
    found = (read_json(marker, 'delete the folder') or {}).get('spec')
    if found != json.loads(json.dumps(dataclasses.asdict(spec))):
      raise InputError(
        f'{marker}: these are made up by another spec ({found}); give '
        'another directory or delete this one'
      )
    if manifest.exists():
      return
  elif manifest.exists():
    raise InputError(
      f'{manifest}: may be real, for there is no {MARKER}; a twin needs '
      'a directory of its own'
    )
  write_json(
    marker,
    {
      'corpus': 'recordings',
      'spec': dataclasses.asdict(spec),
      'ceiling': said.ceiling(spec),
      'subjects': spec.subjects,
      'trials': spec.trials,
    },
  )
  jobs = [
    (root, spec, subject, trial)
    for subject in range(1, spec.subjects + 1)
    for trial in range(1, spec.trials + 1)
  ]
  with Progress(len(jobs), 'writing made-up recordings', 'trials') as progress:
    for _ in parallel_map(_write, jobs, workers):
      progress.update()
  with atomic_write(manifest) as part, part.open('w', newline='') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(_COLUMNS)
    for subject in range(1, spec.subjects + 1):
      writer.writerows(_rows(spec, subject))
  checksums.seal(root)


def _rows(spec, subject):
  order, rated = said.stimulus_order(spec, subject), said.ratings(spec, subject)
  for trial in range(1, spec.trials + 1):
    video, signals, units = (path.as_posix() for path in _names(subject, trial))
    yield (
      f'P{subject:02}',
      trial,
      f'clip{order[trial - 1]:02}',
      video,
      signals,
      BASELINE_SECONDS,
      SIGNAL_RATE,
      'EDA',
      'microsiemens',
      'PPG',
      units if spec.openface else '',
      *(f'{value:.2f}' for value in rated[trial - 1, :2]),
      1,
      9,
    )


def _names(subject, trial):
  folder = Path(f'P{subject:02}')
  return (
    folder / f'trial{trial:02}.avi',
    folder / f'trial{trial:02}.csv',
    'openface' / folder / f'trial{trial:02}.csv',
  )


def _write(root, spec, subject, trial):
  writers = write_face_video, _write_signals, write_openface
  for path, write in zip(_names(subject, trial), writers, strict=True):
    if not (root / path).exists() and (write is not write_openface or spec.openface):
      with atomic_write(root / path) as part:
        write(part, spec, subject, trial)


def _write_signals(path, spec, subject, trial):
  body = simulate_body(spec, subject, trial)
  # As long as the video: both were stopped together.
  length = round((BASELINE_SECONDS + spec.video_seconds) * SIGNAL_RATE)
  values = np.stack([body.eda, body.ppg], 1)[:length]
  np.savetxt(path, values, '%.5f', ',', header='EDA,PPG', comments='')
