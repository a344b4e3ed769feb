"""A page on what went into a prepared corpus and what came out: look before training.

    python -m mvp_jax account DIR [--out account.html]

DIR is a prepared corpus (the folder with dataset_info.json). The page says what was
dropped and why, how well faces and signals of each subject are, and shows crops and
signals of trials, those with a flag first. It is one file that needs no network.
"""

import argparse
import collections
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mvp_jax.data import streams
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.evaluation import sketches
from mvp_jax.evaluation.document import (
  Banner,
  Bullets,
  Card,
  Cards,
  Heading,
  Paragraph,
  Table,
  to_html,
  words,
)
from mvp_jax.files import atomic_write
from mvp_jax.outcomes import DROP_CODES
from mvp_jax.preparation.account import read_account
from mvp_jax.raw.channels import GOOD

PAGE = 'account.html'
LEAST_FACE_SHARE = 0.8  # below it a trial is flagged
_MAX_BYTES = 10_000_000  # of cards
_MAX_CHANNELS = 4  # drawn
_MAX_RATINGS = 4  # of a trial
_THUMBNAILS = (1 / 6, 1 / 2, 5 / 6)  # of a trial's frames
_MAX_ROWS = 500  # of a table
_FLAGS = (
  'missing: over 20 % of its samples are no measurement',
  'flat: it holds one value, a second long (ECG, PPG, EMG) or 30 (others), for over '
  '20 % of what was measured',
  'clipped: it is cut off at its highest or lowest value for over 2 %',
  'out_of_range: over 2 % are beyond what its unit allows a living body; most often '
  'the unit is another',
  'no_pulse: in over half of its pieces of 10 s nothing comes back at the pace of a '
  'heart (ECG, PPG)',
  'no_contact: over half of it is below .05 microsiemens (EDA), as with an electrode '
  'that is off',
  'still: in over half of its pieces of 30 s it moves by less than .005 microsiemens '
  '(EDA), or by no more than one step of the sensor (EDA, EMG, breath)',
  'silent: for 95 % of the time a sound stays below -60 dB of full scale; of sound, '
  'missing is what was not recorded, and clipped over .1 % at full scale',
  'masked: the channel is left out of this trial, for over 20 % of it is missing or '
  'flat',
)


def write_page(corpus, path):
  """Writes the page of a prepared corpus; returns its path."""
  rows = read_account(corpus.directory / 'account.csv')
  channels = _channels(corpus)
  sounds = streams.sounds(corpus)
  flagged = {
    row['trial_id']: text
    for row in rows
    if row['outcome'] == 'ok' and (text := _flags(row, channels, sounds))
  }
  synthetic = Banner('SYNTHETIC', 'These are computer-made faces and signals.')
  blocks = [
    *[synthetic] * bool(corpus.metadata.get('synthetic')),
    *_totals(corpus, rows, channels, flagged),
    *_dropped(rows),
    *_subjects(rows, channels, flagged),
    *_trials(corpus, rows, channels, flagged),
  ]
  title = f'{corpus.title}: what went in, what came out'
  with atomic_write(Path(path)) as part:
    part.write_text(to_html(title, blocks), 'utf-8')
  return Path(path)


class _Channel(NamedTuple):
  """Where a channel is found, and what is said of it."""

  stream: str
  column: int
  rate: float
  unit: str


def _channels(corpus):
  """{name: _Channel} of all series that are sampled at a rate."""
  found = {}
  for stream, facts in streams.series(corpus, regular=True).items():
    units = facts.get('units') or [''] * len(facts['channels'])
    for column, name in enumerate(facts['channels']):
      found[name] = _Channel(stream, column, facts['rate'], units[column])
  return found


def _flags(row, channels, sounds):
  """What is odd about a trial that is kept, or ''."""
  said = [
    f'{name}: {row[f"{name}_flags"]}'
    for name in (*channels, *sounds)
    if row.get(f'{name}_flags') not in (None, '', GOOD)
  ]
  if row.get('face_flags') not in (None, '', GOOD):
    said.append(f'face: {row["face_flags"]}')
  share = _number(row, 'face_share')
  if share < LEAST_FACE_SHARE:
    said.append(f'face in {share:.0%} of the frames')
  if _number(row, 'broken_packets') > 0:
    said.append(f'{row["broken_packets"]} damaged packets in the video')
  notes = ('video_notes', *(f'{name}_notes' for name in sounds))
  said += [row[name] for name in notes if row.get(name)]
  return '; '.join(said)


def _number(row, name):
  """A number of the account, NaN where it has none."""
  return float(row.get(name) or 'nan')


def _totals(corpus, rows, channels, flagged):
  metadata = corpus.metadata
  dropped = sum(row['outcome'] != 'ok' for row in rows)
  yield Paragraph(
    f'{len(rows)} trials of {len({row["subject"] for row in rows})} subjects went in, '
    f'{len(rows) - dropped} came out, {dropped} were dropped; {len(flagged)} of those '
    'that came out have a flag.'
  )
  facts = []
  for name, stream in streams.frames(corpus).items():
    frames = sum(len(t.streams[name].times) for t in corpus.trials if name in t.streams)
    rate, size = stream['rate'], metadata['frame_size']
    told = f'{frames:,} frames at {rate:g} a second, {frames / rate / 3600:.2f} hours'
    crop = f', crop {metadata["crop"]}' if metadata.get('crop') else ''
    facts.append([words(name), f'{told}; {size} pixels{crop}'])
  if (mean := _mean(rows, 'face_share')) != '-':
    worst = _mean(rows, 'face_share', np.nanmin)
    facts.append(['face', f'in {mean} of the frames of a trial, {worst} of the worst'])
  for name in streams.sounds(corpus):
    seconds = sum(t.streams[name].seconds for t in corpus.trials if name in t.streams)
    told = f'{seconds / 3600:.2f} hours, {_mean(rows, f"{name}_recorded")} recorded'
    facts.append([words(name), told])
  for name in streams.series(corpus, regular=False):
    valid = [t.streams[name].valid.all(1) for t in corpus.trials if name in t.streams]
    measured = np.concatenate(valid) if valid else np.zeros(0)
    if len(measured):
      told = f'{len(measured):,} rows, {measured.mean():.1%} valid'
      facts.append([words(name), told])
  for name, channel in channels.items():
    valid = _mean(rows, f'{name}_valid')
    told = f', {valid} valid' if valid != '-' else ''
    facts.append([name, f'{channel.rate:g} Hz, {channel.unit}{told}'])
  if channels:
    facts.append(['signals', 'cleaned' if metadata.get('clean') else 'as recorded'])
  if facts:
    yield Table(['prepared', ''], facts, text_columns=2)


def _dropped(rows):
  yield Heading('Dropped')
  dropped = [row for row in rows if row['outcome'] != 'ok']
  if not dropped:
    yield Paragraph('Nothing was dropped.')
    return
  counts = collections.Counter(row['outcome'] for row in dropped)
  yield Table(
    ['why', 'trials'],
    [[f'{x}: {DROP_CODES.get(x, "?")}', str(n)] for x, n in sorted(counts.items())],
  )
  rows = [[row['trial_id'], f'{row["outcome"]}: {row["reason"]}'] for row in dropped]
  yield from _first(['trial', 'reason'], rows, text_columns=2)


def _first(header, rows, text_columns=1):
  yield Table(header, rows[:_MAX_ROWS], text_columns)
  if len(rows) > _MAX_ROWS:
    yield Paragraph(f'The first {_MAX_ROWS} of {len(rows)}; account.csv has all.')


def _subjects(rows, channels, flagged):
  yield Heading('Subjects')
  groups = {}
  for row in rows:
    groups.setdefault(row['subject'], []).append(row)
  has_face = any(row.get('face_share') for row in rows)
  table = []
  for subject, own in groups.items():
    kept = [row for row in own if row['outcome'] == 'ok']
    codes = collections.Counter(row['outcome'] for row in own)
    dropped = [f'{n} {code}' for code, n in sorted(codes.items()) if code != 'ok']
    cells = [
      own[0].get('subject_name') or subject,
      str(len(own)),
      str(len(kept)),
      ', '.join(dropped) or '-',
      str(sum(row['trial_id'] in flagged for row in kept)),
    ]
    if has_face:
      cells += [_mean(kept, 'face_share'), _mean(kept, 'face_share', np.nanmin)]
    for name in channels:
      odd = sum(row.get(f'{name}_flags') not in (None, '', GOOD) for row in kept)
      cells += [_mean(kept, f'{name}_valid'), str(odd)]
    table.append(cells)
  header = ['subject', 'in', 'out', 'dropped', 'flagged']
  header += ['face', 'lowest'] if has_face else []
  for name in channels:
    header += [f'{name} valid', 'flagged']
  yield from _first(header, table)
  parts = ['In, out: trials.']
  if has_face:
    parts.append('Face: mean share of frames with one, and that of the worst trial.')
  if channels:
    parts.append(
      'Valid: mean share of samples that models see. Flagged: trials in '
      'which the channel has a flag.'
    )
  yield Paragraph(' '.join(parts))


def _mean(rows, name, summary=np.nanmean):
  values = [_number(row, name) for row in rows]
  return f'{summary(values):.1%}' if np.isfinite(values).any() else '-'


def _trials(corpus, rows, channels, flagged):
  yield Heading('Trials')
  by_id = {row['trial_id']: row for row in rows}
  cards, size = {}, 0
  order = _order(corpus.trials, flagged)
  for trial in order:
    name = trial.trial_id
    card = _card(corpus, trial, by_id.get(name, {}), channels, flagged.get(name, ''))
    size += _size(card)
    if cards and size > _MAX_BYTES:
      break
    cards[name] = card
  said = f'All {len(order)} are shown'
  if len(cards) < len(order):
    said = (
      f'{len(cards)} of {len(order)} are shown, so that this page stays near '
      f'{_MAX_BYTES / 1e6:.0f} MB: those with a flag first, then as many of each '
      'subject'
    )
  yield Paragraph(
    f'{said}. What is shaded is not valid, and no model sees it. A flag '
    'informs; it leaves nothing out by itself:'
  )
  if channels or streams.sounds(corpus):
    yield Bullets(list(_FLAGS))
  odd, groups = [], {}
  for trial in corpus.trials:
    if trial.trial_id in cards:
      group = odd if trial.trial_id in flagged else groups.setdefault(trial.subject, [])
      group.append(cards[trial.trial_id])
  if odd:
    yield Heading('With a flag', 3)
    yield Cards(odd)
  names = {row['subject']: row.get('subject_name') for row in rows}
  for subject, own in groups.items():
    yield Heading(f'Subject {names.get(str(subject)) or subject}', 3)
    yield Cards(own)


def _order(trials, flagged):
  """Trials with a flag, then the first of each subject, then the second of each..."""
  count, keys = {}, {}
  for trial in trials:
    place = count[trial.subject] = count.get(trial.subject, 0) + 1
    keys[trial.trial_id] = (trial.trial_id not in flagged, place, trial.subject)
  return sorted(trials, key=lambda trial: keys[trial.trial_id])


def _card(corpus, trial, row, channels, flags):
  lines = [flags] if flags else []
  rated = [
    f'{name} {trial.ratings[name]:.3g}'
    for name in corpus.metadata.get('ratings') or ()
    if np.isfinite(trial.ratings.get(name, np.nan))
  ][:_MAX_RATINGS]
  lines += [', '.join(rated)] if rated else []
  jpegs, drawn = [], []
  pictured = streams.pictured(corpus, trial)
  if pictured is not None:
    valid = trial.streams[pictured].valid
    numbers = [int(share * len(valid)) for share in _THUMBNAILS]
    images = corpus.frames(trial, numbers, stream=pictured)
    jpegs = [sketches.thumbnail(image) for image in images]
    if row.get('face_share') and not valid.all():
      drawn.append(sketches.face_sketch(valid))
  for name, channel in list(channels.items())[:_MAX_CHANNELS]:
    series = trial.streams.get(channel.stream)
    if series is not None:
      values, valid = (x[:, channel.column] for x in (series.values, series.valid))
      drawn += sketches.signal_sketches(name, values, valid, channel.rate)
  return Card(trial.trial_id, lines, jpegs, drawn, bool(flags))


def _size(card):
  """About how many bytes a card takes in the page."""
  jpegs = sum(len(jpeg) * 4 // 3 for jpeg in card.jpegs)
  return (
    400 + jpegs + sum(len(x.lines) + 250 + 60 * len(x.spans) for x in card.sketches)
  )


def main(arguments=None):
  """Writes the page of a prepared corpus; the exit status is 2 on errors."""
  parser = argparse.ArgumentParser(
    prog='python -m mvp_jax account',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('directory', type=Path)
  parser.add_argument('--out', type=Path, default=Path(PAGE))
  given = parser.parse_args(arguments)
  try:
    print(write_page(PreparedCorpus(given.directory), given.out))
  except (InputError, OSError) as error:
    print('error:', *str(error).split(), file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main())
