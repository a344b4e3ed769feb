"""The account of what became of every trial."""

import dataclasses
import os

from mvp_jax.outcomes import Outcome
from mvp_jax.prepare.account import read_account, write_account


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
