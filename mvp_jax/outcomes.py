"""What became of a trial, and why one that should be there is not."""

import dataclasses
from typing import Any

# Of each code, what it says of a trial.
DROP_CODES = {
  'missing_video': 'the video file is not there',
  'broken_video': 'the video cannot be decoded, or ends before its own header says',
  'too_short': 'the video has fewer frames than are asked for',
  'no_face': 'hardly any frame shows a face',
  'length_mismatch': 'video and signals differ in length by more than 2 s',
  'missing_signals': 'the signal file is not there',
  'broken_signals': 'the signal file cannot be read, or has another shape',
  'bad_signal': 'every channel in use is flat or misses much, or the unit is wrong',
  'missing_openface': 'the CSV that OpenFace writes is not there',
  'broken_openface': 'the OpenFace file cannot be read, or is of another layout',
  'missing_audio': 'there is no sound: no file, no track in it, or none in the trial',
  'broken_audio': 'the sound cannot be decoded, or ends before its own header says',
  'missing_rating': 'the ratings have no row for the trial, or a blank',
  'bad_rating': 'a rating is blank, out of range, or contradicted',
}


class Dropped(Exception):
  """A trial is lost: `code` is one of `DROP_CODES`, `reason` one line."""

  def __init__(self, code, reason):
    assert code in DROP_CODES, code
    super().__init__(code, reason)
    self.code, self.reason = code, reason


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of a trial: `code` is 'ok' or a drop code with its `reason`.

  `trial` has at least trial_id, subject and trial; `facts` go into the account.
  """

  trial: Any
  code: str
  reason: str
  facts: dict
