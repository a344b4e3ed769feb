"""The audit of a corpus: rows, verdicts and lines for a person."""

import csv
import types

import numpy as np
import pytest

from mvp_jax import clock_audit
from mvp_jax.errors import InputError
from mvp_jax.raw import clock
from mvp_jax.synthetic import signals
from mvp_jax.synthetic.spec import TwinSpec
from tests.data.tiny_trials import make_trial

SPEC = TwinSpec(subjects=4, frame_rate=25.0)
_BLOOD = np.array([0.33, 0.77, 0.53]) / 0.77


def _trial(subject, late, valid=None):
  """A trial and its frames: flat skin, dithered; stamped `late` s too late."""
  blood = np.interp(
    SPEC.frame_times - late, SPEC.frame_times, signals.face_pulse(SPEC, subject, 1)
  )
  colour = np.array([190, 140, 115]) * (1 - 0.01 * blood[:, None] * _BLOOD)
  dither = np.random.default_rng(subject).uniform(size=(len(colour), 64, 64, 3))
  frames = np.floor(colour[:, None, None] + dither).astype(np.uint8)
  body = signals.simulate_body(SPEC, subject, 1)
  values = np.stack([body.eda, body.ppg], axis=1)[384:].astype(np.float32)
  valid = np.ones(SPEC.num_frames, bool) if valid is None else valid
  return make_trial(
    f's{subject:02d}_trial01',
    subject,
    1,
    1,
    {},
    values,
    np.ones_like(values, bool),
    SPEC.frame_times.astype(np.float32),
    valid,
    frame_rate=SPEC.frame_rate,
  ), frames


@pytest.fixture(scope='module')
def audited():
  pairs = [_trial(2, 0.0), _trial(3, 1.4), _trial(4, 0.0, np.zeros(1500, bool))]
  frames = {trial.trial_id: images for trial, images in pairs}
  corpus = types.SimpleNamespace(
    directory='d',
    trials=[trial for trial, _ in pairs],
    metadata={'streams': {'signals': {'channels': ['eda', 'ppg']}, 'video': {}}},
    frames=lambda trial, numbers: frames[trial.trial_id][numbers],
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(clock_audit, '_corpus', lambda directory: corpus)
    return clock_audit.audit(corpus)


def test_every_trial_has_a_row(audited, tmp_path):
  clock_audit.write_csv(tmp_path / 'clock.csv', audited)
  with (tmp_path / 'clock.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert [row['trial_id'] for row in rows] == [
    's02_trial01',
    's03_trial01',
    's04_trial01',
  ]
  assert [row['verdict'] for row in rows] == ['in step', 'late', 'unclear']
  assert all(row['channel'] == 'ppg' for row in rows)
  assert float(rows[1]['offset']) == pytest.approx(1.4, abs=0.1)
  assert rows[2]['offset'] == '' and rows[2]['reason'] == 'no face'


def test_trials_out_of_step_have_a_line(audited):
  lines = clock_audit.summary(audited)
  assert lines[0].startswith('s03_trial01: video 1.4')
  assert [line.partition(',')[0] for line in lines[1:4]] == [
    'subject 2',
    'subject 3',
    'subject 4',
  ]
  assert lines[-1] == '3 trials: 1 in step, 1 late, 0 early, 1 unclear'


def _found(trial, **fields):
  return trial, 'ppg', clock.Clock(**fields)


def test_nothing_to_find_is_one_line(audited):
  trials = [trial for trial, _, _ in audited]
  slow = '5 frames a second; a pulse takes 12, better 25'
  assert clock_audit.summary([_found(t, reason=slow) for t in trials]) == [
    f'nothing to compare in any of the 3 trials: {slow}'
  ]
  assert clock_audit.summary(
    [
      _found(trials[0], reason='no face'),
      _found(trials[1], reason=slow),
      _found(trials[2], reason=slow),
    ]
  ) == [f'nothing to compare in any of the 3 trials: {slow} (2); no face (1)']
  # Every shift fits as well as any other.
  even = dict(offset=-1.0, confidence=0.05, agreement=0.1, support=np.zeros(401))
  lines = clock_audit.summary([_found(t, **even) for t in trials])
  assert len(lines) == 1 and lines[0].startswith('no pulse stands out in the faces of')
  assert clock_audit.summary([]) == ['no trials']


@pytest.mark.parametrize(
  ('offset', 'confidence', 'word'),
  [
    (0.1, 0.97, 'in step'),
    (-0.1, 0.97, 'in step'),
    (0.3, 0.97, 'late'),
    (-2.0, 0.97, 'early'),
    (-2.0, 0.9, 'unclear'),
    (float('nan'), 0.0, 'unclear'),
  ],
)
def test_verdicts(offset, confidence, word):
  assert clock_audit.verdict(clock.Clock(offset, confidence)) == word


@pytest.mark.parametrize(('has_video', 'channels'), [(False, ['ppg']), (True, ['eda'])])
def test_a_corpus_without_what_it_takes(has_video, channels):
  corpus = types.SimpleNamespace(
    directory='d',
    trials=[],
    metadata={
      'streams': {'signals': {'channels': channels}}
      | ({'video': {}} if has_video else {})
    },
  )
  with pytest.raises(InputError, match='takes video and an ecg or ppg'):
    clock_audit.audit(corpus)


def test_a_folder_that_is_no_corpus(tmp_path, capsys):
  assert clock_audit.main([str(tmp_path), '--workers=1']) == 2
  assert 'error:' in capsys.readouterr().err
