"""Predictions of a run: nothing that it tested may be missing, nothing else there."""

import csv
import dataclasses
import json

import pytest

from mvp_jax.errors import InputError
from mvp_jax.evaluation import files, report
from mvp_jax.evaluation.predictions import write_predictions
from mvp_jax.targets import Binary


@pytest.fixture
def account(workdir):
  """Function of (more rows): an account of the eight subjects and of subject 9."""

  def write(*more):
    rows = [(s, t, 'ok') for s in range(1, 10) for t in range(1, 21)]
    with (workdir / 'account.csv').open('w', newline='') as file:
      writer = csv.writer(file)
      writer.writerow(['trial_id', 'subject', 'trial', 'outcome', 'reason'])
      writer.writerows(
        [f's{s:02d}_trial{t:02d}', s, t, outcome, '']
        for s, t, outcome in [*rows, *more]
      )

  write()
  return write


def test_what_was_lost_or_set_aside_is_not_asked_for(workdir, predictions, account):
  account((1, 21, 'no_face'))
  assert files.read_whole_predictions(workdir) == predictions


@pytest.mark.parametrize(
  ('left_out', 'message'),
  [
    (
      lambda row: (row.subject, row.trial) == (3, 7),
      r'subject 3 trial 7 valence seed 0 was tested, as account\.csv and run\.json '
      r'say, but has no row of any model \(2 such\); restore',
    ),
    (
      lambda row: (row.subject, row.trial, row.target) == (3, 7, 'arousal'),
      'subject 3 trial 7 arousal seed 0 was tested, .* any model; restore',
    ),
    (lambda row: row.subject == 8, r'subject 8 trial 1 valence .* \(40 such\)'),
  ],
)
def test_trials_that_no_model_has(workdir, predictions, account, left_out, message):
  write_predictions(
    workdir / 'predictions.csv', [row for row in predictions if not left_out(row)]
  )
  with pytest.raises(InputError, match=rf'predictions\.csv: {message}') as error:
    report.write_report(workdir)
  assert '\n' not in str(error.value) and not (workdir / 'report.html').exists()


def test_seeds_and_targets_that_no_model_has(workdir, predictions, account):
  target, config = Binary(), {'seed': 0, 'evaluation': {'seeds': 2}}
  (workdir / 'config.json').write_text(json.dumps(config))
  with pytest.raises(InputError, match=r'valence seed 1 was tested, .*\(320 such\)'):
    files.read_whole_predictions(workdir, target)
  config['evaluation']['seeds'] = 1
  (workdir / 'config.json').write_text(json.dumps(config))
  assert files.read_whole_predictions(workdir, target) == predictions
  write_predictions(
    workdir / 'predictions.csv', [row for row in predictions if row.target == 'valence']
  )
  with pytest.raises(InputError, match=r'trial 1 arousal seed 0 .*\(160 such\)'):
    files.read_whole_predictions(workdir, target)


def test_trials_of_another_run(workdir, predictions, account):
  other = [
    dataclasses.replace(row, subject=9)
    for row in predictions
    if (row.subject, row.trial) == (1, 1)
  ]
  write_predictions(workdir / 'predictions.csv', [*predictions, *other])
  message = (
    r'subject 9 trial 1 arousal seed 0 is there, but account\.csv and '
    r'run\.json of this run do not say'
  )
  with pytest.raises(InputError, match=message):
    files.read_whole_predictions(workdir)


def test_an_account_that_cannot_be_read(workdir, account):
  for text in (
    'a,b\n1,2\n',
    'subject,trial,outcome\none,1,ok\n',
    'outcome,subject,trial\nok\n',
  ):
    (workdir / 'account.csv').write_text(text)
    with pytest.raises(InputError, match=r'account\.csv: subject, trial and') as error:
      files.read_whole_predictions(workdir)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'folds',
  [
    ...,
    None,
    'odd',
    [],
    [{'odd': 1}],
    [3],
    [{'test_subjects': 3}],
    [{'test_subjects': ['x']}],
  ],
)
def test_folds_that_are_not_known(workdir, predictions, account, folds, run_facts):
  some = [row for row in predictions if row.trial > 1]
  write_predictions(workdir / 'predictions.csv', some)
  (workdir / 'run.json').write_text(
    json.dumps(
      {
        key: value
        for key, value in (run_facts | {'folds': folds}).items()
        if value is not ...
      }
    )
  )
  assert files.read_whole_predictions(workdir) == some
