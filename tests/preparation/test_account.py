"""The account of what became of every trial."""

import dataclasses
import os

import pytest

from mvp_jax.errors import InputError
from mvp_jax.outcomes import Outcome
from mvp_jax.preparation.account import (
  check_account,
  check_trials,
  read_account,
  write_account,
)


@dataclasses.dataclass
class Trial:
  trial_id: str
  subject: int = 1
  trial: int = 2


def test_what_is_told_of_each_trial(tmp_path):
  outcomes = [
    Outcome(Trial('a'), 'ok', '', {'face_share': 0.123456, 'eda_flags': 'good'}),
    Outcome(Trial('b'), 'no_face', 'a, "b"\nc', {'units': ['volt']}),
  ]
  path = tmp_path / 'account.csv'
  write_account(path, outcomes, lambda trial: {'row': ord(trial.trial_id)})
  same = {'subject': '1', 'trial': '2'}
  assert read_account(path) == [
    {
      'trial_id': 'a',
      **same,
      'outcome': 'ok',
      'reason': '',
      'row': '97',
      'face_share': '0.1235',
      'eda_flags': 'good',
    },
    {
      'trial_id': 'b',
      **same,
      'outcome': 'no_face',
      'reason': 'a, "b"\nc',
      'row': '98',
      'face_share': '',
      'eda_flags': '',
    },
  ]
  assert os.listdir(tmp_path) == ['account.csv']


def _account(path, *codes):
  names = (f't{i}' for i in range(len(codes)))
  outcomes = [
    Outcome(Trial(n), code, '', {}) for n, code in zip(names, codes, strict=True)
  ]
  write_account(path, outcomes, lambda trial: {})
  return path


def test_an_account_of_other_trials_than_were_kept_is_not_believed(tmp_path):
  path = _account(tmp_path / 'account.csv', 'ok', 'no_face', 'ok')
  check_trials(path, ['t0', 't2'])
  for ids in (['t0'], ['t0', 't1', 't2'], ['t0', 't3'], []):
    with pytest.raises(InputError, match=r'account.csv: tells of 2 trials .* hold'):
      check_trials(path, ids)
  lines = path.read_text().splitlines(keepends=True)
  path.write_text(''.join(lines[:2]))
  with pytest.raises(
    InputError, match=r'tells of 1 trials .* hold 2, and differ in t2'
  ):
    check_trials(path, ['t0', 't2'])


@pytest.mark.parametrize(
  'content', [b'trial_id,out', b'outcome\n\xff', b'trial_id,outcome\nt0\n']
)
def test_an_account_that_cannot_be_read_is_one_line(tmp_path, content):
  path = tmp_path / 'account.csv'
  path.write_bytes(content + (b'\n1,2' if content.endswith(b'out') else b''))
  for check in (check_trials, check_account):
    with pytest.raises(InputError, match='account.csv: .*prepare anew') as error:
      check(path, ['t0'])
    assert '\n' not in str(error.value)
