"""What raters said of a person in time, and the gold standard made of it."""

from typing import NamedTuple

import numpy as np

from mvp_jax.corpora.recola.tree import ANNOTATION, BEHAVIOUR, RATINGS
from mvp_jax.outcomes import Dropped
from mvp_jax.raw.frames import MAX_LENGTH_DIFFERENCE
from mvp_jax.raw.on_disk import instead, missing, shown
from mvp_jax.raw.text_table import parse, read_text

RATERS = ('FM1', 'FM2', 'FM3', 'FF1', 'FF2', 'FF3')
MAX_SECONDS = 300.0  # of a recording that are used
_MAX_STEP = 1.0  # seconds; ratings that are further apart are not in seconds
_EARLY = 1e-3  # seconds; times are rounded
_TOLD_SECONDS = 0.5  # by which an annotation may begin late, unsaid


class Rated(NamedTuple):
  """The gold standard of a person.

  Attributes:
    values: float64 [n, `RATINGS`], NaN where a chosen rater said nothing.
    times: float64 [n], seconds of the recording.
    end: when the last rating ends, seconds, that of the file.
    notes: what a person should know: a list.
  """

  values: np.ndarray
  times: np.ndarray
  end: float
  notes: list


def gold_standard(person, raters):
  """The mean of the chosen raters in the two files of a Person: Rated.

  Raises:
    Dropped: missing_rating or bad_rating.
  """
  parts = {}
  for name in RATINGS:
    path = getattr(person, name)
    if path is None:
      raise Dropped(
        'missing_rating',
        f'{person.trial_id}: no {ANNOTATION}/{BEHAVIOUR}/{name}/{person.trial_id}.csv; '
        "put it there, or take the person's other files away",
      )
    parts[name] = read_annotation(path, raters)
  # The two files have one clock, in rows of their own.
  clock = np.unique(np.concatenate([np.round(x.times, 3) for x in parts.values()]))
  values = np.full((len(clock), len(RATINGS)), np.nan)
  for column, one in enumerate(parts.values()):
    rows = np.searchsorted(clock, np.round(one.times, 3))
    values[rows, column] = one.values
  notes = [note for one in parts.values() for note in one.notes]
  lengths = [len(one.times) for one in parts.values()]
  if len(clock) > max(lengths) or len(set(lengths)) > 1:
    told = ' and '.join(
      f'{n} rows of {name}' for n, name in zip(lengths, RATINGS, strict=True)
    )
    notes.append(f'{told}: their times differ')
  used = clock <= MAX_SECONDS + _EARLY
  if not used.all():
    notes.append(
      f'{(~used).sum()} rows of annotation past {MAX_SECONDS:g} s are not used'
    )
  if not np.isfinite(values[used]).any(0).all():
    raise Dropped(
      'missing_rating', f'{person.trial_id}: no rating in its first {MAX_SECONDS:g} s'
    )
  ends = [one.end for one in parts.values()]
  if max(ends) - min(ends) > MAX_LENGTH_DIFFERENCE:
    told = ' and '.join(
      f'of {n} at {x:.1f} s' for n, x in zip(parts, ends, strict=True)
    )
    raise Dropped(
      'length_mismatch',
      f'{person.trial_id}: the annotation ends {told}; take both from one release',
    )
  return Rated(values[used], clock[used], max(ends), notes)


def read_annotation(path, raters):
  """The mean of the chosen raters in a file: Rated, with values [n].

  Any delimiter and decimal sign, columns in any order, spaces around names.

  Raises:
    Dropped: missing_rating (no file, no row, or no moment that all of them rated), or
      bad_rating.
  """
  where = shown(path)
  table = _table(path)
  names = [name.casefold() for name in table.headers[-1]] if table.headers else []
  if 'time' not in names:
    told = ', '.join(filter(None, table.headers[-1])) if table.headers else 'numbers'
    raise Dropped(
      'bad_rating',
      f'{where}: its first line must name time and the raters; it has {told}; take the '
      'official file',
    )
  times = _numbers(where, table, names.index('time'))
  lost = [rater for rater in raters if rater.casefold() not in names]
  if lost:
    others = [r for r in RATERS if r.casefold() in names]
    raise Dropped(
      'bad_rating',
      f'{where}: no rater {", ".join(lost)} in it (there are '
      f'{", ".join(others) or "none"}); take the official file, or choose among those '
      'that all files have (--config.data.corpus.raters=...)',
    )
  twice = [name for name in ('time', *raters) if names.count(name.casefold()) > 1]
  if twice:
    raise Dropped('bad_rating', f'{where}: column {twice[0]} is there twice; keep one')
  _check_times(where, table, times)
  values = np.stack(
    [_numbers(where, table, names.index(rater.casefold())) for rater in raters], axis=-1
  )
  off = ~((values >= -1) & (values <= 1)) & ~np.isnan(values)
  if off.any():
    row, column = (int(x[0]) for x in np.nonzero(off))
    raise Dropped(
      'bad_rating',
      f'{where}, line {_line(table, row)}: {raters[column]} is '
      f'{values[row, column]:g}, not from -1 to 1 ({off.any(1).sum()} such lines); '
      'take the official file',
    )
  gold = values.mean(1)  # NaN where one of them said nothing
  blank = int(np.isnan(gold).sum())
  if blank == len(gold):
    raise Dropped(
      'missing_rating',
      f'{where}: no moment that all of {", ".join(raters)} have rated; leave out who '
      'rated nothing (--config.data.corpus.raters=...)',
    )
  notes = list(table.notes)
  if blank:
    notes.append(f'{path.parent.name}: {blank} rows lack a rater and count as unrated')
  if times[0] > _TOLD_SECONDS:
    notes.append(f'{path.parent.name}: its annotation begins at {times[0]:g} s')
  return Rated(gold, times, float(times[-1] + np.median(np.diff(times))), notes)


def _table(path):
  """The TextTable of a file of annotations. Raises Dropped."""
  where = shown(path)
  try:
    if not path.is_file():
      raise Dropped('missing_rating', f'{where}: {missing(path)}')
    if told := instead(path):
      code = 'bad_rating' if path.stat().st_size else 'missing_rating'
      raise Dropped(code, f'{where}: {told}')
    text = read_text(path)
    if len(text.split()) and sum(map(bool, map(str.strip, text.split('\n')))) < 3:
      raise Dropped(
        'missing_rating', f'{where}: fewer than two rows in it; take the official file'
      )
    return parse(text)
  except OSError as error:
    raise Dropped('bad_rating', f'{where}: cannot be read ({error})') from None
  except ValueError as error:
    told = ' '.join(str(error).split())
    raise Dropped('bad_rating', f'{where}: {told}; take the official file') from None


def _numbers(where, table, column):
  """The numbers of a column, NaN where it is blank. Raises Dropped."""
  found, name = table.columns[column], table.headers[-1][column]
  if found.problem:
    raise Dropped('bad_rating', f'{where}: column {name}: {found.problem}')
  if found.cells is not None:
    text = found.cells.astype(bool).to_numpy() & np.isnan(found.values)
    if text.any():
      row = int(text.argmax())
      raise Dropped(
        'bad_rating',
        f'{where}, line {_line(table, row)}: {name} is {found.cells.iloc[row]!r}, no '
        'number; leave it blank where nobody rated',
      )
  return found.values


def _line(table, row):
  return len(table.above) + 1 + row


def _check_times(where, table, times):
  """Raises Dropped where they are no seconds of the recording."""
  lost = ~np.isfinite(times)
  steps = np.diff(times)
  if lost.any() or not (steps > 0).all():
    row = int(lost.argmax()) if lost.any() else int((steps <= 0).argmax()) + 1
    raise Dropped(
      'bad_rating',
      f'{where}, line {_line(table, row)}: its time ({times[row]:g}) does not follow '
      'the one above; take the official file',
    )
  if len(times) < 2:
    raise Dropped('missing_rating', f'{where}: a single row; take the official file')
  if times[0] < -_EARLY:
    raise Dropped(
      'bad_rating',
      f'{where}: its times begin at {times[0]:g} s, before the recording does; count '
      'them from its beginning',
    )
  if np.median(steps) > _MAX_STEP:
    raise Dropped(
      'bad_rating',
      f'{where}: its time advances by {np.median(steps):g} a row; it must count in '
      'seconds',
    )
