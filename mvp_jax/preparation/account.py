"""The account: a CSV that says what became of every trial."""

import csv

from mvp_jax.checksums import ANEW
from mvp_jax.errors import InputError
from mvp_jax.files import write_table
from mvp_jax.raw.face_quality import QUALITY

ACCOUNT = 'account.csv'
_DIGITS = QUALITY | {'seconds': 3, 'video_rate': 3}
_DROPS_SHOWN = 5


def write_account(path, outcomes, about):
  """Writes a line for each Outcome, blank where a fact is not known.

  Only facts that are texts or numbers are told; those of `about(trial)` come first.
  """
  rows = []
  for outcome in outcomes:
    trial, facts = outcome.trial, about(outcome.trial) | outcome.facts
    rows.append(
      {
        'trial_id': trial.trial_id,
        'subject': trial.subject,
        'trial': trial.trial,
        'outcome': outcome.code,
        'reason': outcome.reason,
        **{
          name: round(value, _DIGITS.get(name, 4))
          if isinstance(value, float)
          else value
          for name, value in facts.items()
          if isinstance(value, str | int | float)
        },
      }
    )
  write_table(path, rows)


def read_account(path):
  """Reads what `write_account` wrote, as a list of dicts of strings."""
  with path.open(newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def _rows(path):
  """As `read_account`; raises InputError if the file is damaged."""
  try:
    rows = read_account(path)
    if all(row['outcome'] for row in rows):
      return rows
  except (ValueError, KeyError, csv.Error) as error:
    raise InputError(f'{path}: cannot be read ({error!r}); {ANEW}') from None
  raise InputError(f'{path}: a row has no outcome; {ANEW}')


def check_trials(path, ids):
  """Raises InputError if the trials of an account are not those that were kept."""
  told = [row['trial_id'] for row in _rows(path) if row['outcome'] == 'ok']
  different = sorted({*told} ^ {*ids})
  if different or len(told) != len(ids):
    raise InputError(
      f'{path}: tells of {len(told)} trials that were kept, the prepared data hold '
      f'{len(ids)}, and differ in {different[0] if different else "their number"}; '
      f'{ANEW}'
    )


class TrialsLost(InputError):
  """Trials were dropped that must not be, or all: `rows` of the account."""

  def __init__(self, message, rows):
    super().__init__(message)
    self.rows = rows


def check_account(path, allowed):
  """Raises TrialsLost if trials were dropped under other codes than those allowed."""
  rows = _rows(path)
  dropped = [row for row in rows if row['outcome'] != 'ok']
  left = len(rows) - len(dropped)
  forbidden = [row for row in dropped if row['outcome'] not in allowed]
  if not forbidden and left:
    return
  first = '; '.join(
    f'{row["trial_id"]} {row["outcome"]} ({row["reason"]})'
    for row in (forbidden or dropped)[:_DROPS_SHOWN]
  )
  more = '; ...' if len(forbidden or dropped) > _DROPS_SHOWN else ''
  codes = ','.join(sorted({row['outcome'] for row in dropped}))
  advice = (
    f'repair them, or go on without them by --config.data.allow_dropped={codes}'
    if left
    else 'nothing is left'
  )
  raise TrialsLost(
    f'{len(rows)} trials in, {left} out; {len(dropped)} dropped: '
    f'{first}{more}; see {path}; {advice}',
    rows,
  )
