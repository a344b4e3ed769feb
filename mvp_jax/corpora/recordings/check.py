"""Says what is wrong with a manifest and its files, before any long work.

  python -m mvp_jax.corpora.recordings.check manifest.csv [--channels=eda,ppg]
      [--no-video] [--action-units]

Opens every file and reads the signals, but decodes no video beyond its first frame;
so a picture that is damaged further on, or shows no face, is found in preparation.
Exit status: 0 nothing is wrong; 1 there are problems, each in a line of its own.
"""

import argparse
import dataclasses
import sys
from collections import Counter
from pathlib import Path

from mvp_jax.corpora.recordings import trials as recordings
from mvp_jax.corpora.recordings.manifest import (
  KINDS,
  Manifest,
  Problem,
  is_channel,
  read_manifest,
)
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.progress import Progress


@dataclasses.dataclass
class Report:
  """What was found. `problems` in the order of rows; `usable`: rows without any.

  `masked`: lines on channels that can't be used in a trial which others save, or have
  samples that are masked, and on what is odd about a video. `found`: {(channel, what
  was found out): rows}.
  """

  manifest: Manifest
  channels: tuple[str, ...]
  video: bool
  problems: list[Problem]
  usable: int
  seconds: list[float]  # of the trials whose length is known
  rates: dict[str, Counter]  # of each channel, and of the videos: {Hz: trials}
  action_units: bool = False  # whether every trial must have them
  masked: list[str] = dataclasses.field(default_factory=list)
  found: dict[tuple[str, str], list] = dataclasses.field(default_factory=dict)


def check(path, channels=(), video=None, action_units=False):
  """Checks a manifest (or the one in a folder) and all files that it names: Report.

  Args:
    channels: to be used; () = all that any row names.
    video: whether it is to be used; None = if any row names one.
    action_units: whether every trial must have them.

  Raises:
    InputError: the manifest can't be read as a table.
  """
  manifest = read_manifest(path)
  channels = recordings.channels_in_use(manifest, channels)
  if video is None:
    video = any(r.video for r in manifest.recordings)
  report = Report(
    manifest,
    channels,
    video,
    list(manifest.problems),
    0,
    [],
    {name: Counter() for name in (*channels, *(['video'] * video))},
    action_units,
  )
  with Progress(len(manifest.recordings), 'Checking', 'trials') as progress:
    for recording in sorted(manifest.recordings, key=lambda r: r.row):
      _check_row(recording, report)
      progress.update()
  columns = manifest.channels
  report.problems.sort(
    key=lambda p: (p.row, columns.index(p.column) if p.column in columns else -1)
  )
  report.usable = manifest.rows - len({p.row for p in report.problems})
  return report


def _check_row(recording, report):
  found, shown, before = {}, None, len(report.problems)

  def attempt(column, function, *args):
    try:
      return function(*args)
    except Dropped as dropped:
      where = f'row {recording.row}, column '
      if dropped.reason.startswith(where):
        column, _, text = dropped.reason.removeprefix(where).partition(': ')
      else:
        text = dropped.reason
      report.problems.append(Problem(recording.row, column, dropped.code, text))
      return None

  for name in report.channels:
    channel = attempt(name, recordings.channel_of, recording, name)
    if channel is not None:
      found[name] = channel
      report.rates[name][round(channel.rate, 2)] += 1
      for note in channel.notes:
        report.found.setdefault((name, note), []).append(recording.row)
  if report.video:
    shown = attempt('video', recordings.video_times, recording)
    if shown is not None:
      rate = (len(shown.times) - 1) / (shown.times[-1] - shown.times[0])
      report.rates['video'][round(rate, 2)] += 1
      report.masked += [
        f'row {recording.row}, column video: {recording.video}: {note}'
        for note in shown.notes
      ]
  if recording.openface is not None or report.action_units:
    attempt('openface', recordings.units_of, recording, shown)
  if len(report.problems) == before and (found or shown is not None):
    frame_times = None if shown is None else shown.times
    seconds = attempt(
      'signals', recordings.trial_seconds, recording, found, frame_times
    )
    if seconds is None:
      return
    judged = attempt('signals', recordings.judge, recording, found, seconds) or {}
    for name, one in judged.items():
      where = f'row {recording.row}, column {name}: '
      if text := recordings.problem_of(recording, name, one):
        report.masked.append(f'{where}{text}; it is masked in this trial')
      elif one.note:
        report.masked.append(f'{where}{recording.channels[name].file}: {one.note}')
    if len(report.problems) == before:
      report.seconds.append(seconds)


def describe(report):
  """The report as text: a line for each problem, then the summary."""
  manifest = report.manifest
  lines = [str(problem) for problem in report.problems]
  found = [
    f'column {name}: {note} ({_rows(rows)})'
    for (name, note), rows in report.found.items()
  ]
  lines += [f'note: {note}' for note in (*manifest.notes, *found, *report.masked)]
  subjects = Counter(r.subject_name for r in manifest.recordings)
  lines.append(
    f'{manifest.rows} rows, {report.usable} of them without a problem; '
    f'{len(report.problems)} problems'
  )
  if subjects:
    lines.append(
      f'{len(subjects)} subjects with {min(subjects.values())} to '
      f'{max(subjects.values())} trials; '
      f'{len({r.stimulus_name for r in manifest.recordings} - {""})} stimuli'
    )
  if report.seconds:
    low, high = min(report.seconds), max(report.seconds)
    lines.append(
      f'trials last {low:.1f} to {high:.1f} s'
      + (
        f'; train with --config.input.max_seconds={-(-high // 10) * 10:.1f}'
        if high > 60.5
        else ''
      )
    )
  for name, rates in report.rates.items():
    told = ', '.join(f'{rate:g} Hz ({n})' for rate, n in sorted(rates.items()))
    lines.append(f'{name}: {told or "nothing that can be used"}')
  return '\n'.join(lines)


def _rows(rows):
  more = f' and {len(rows) - 3} more' if len(rows) > 3 else ''
  return f'row{"s" * (len(rows) > 1)} {", ".join(map(str, rows[:3]))}{more}'


def main(argv=None):
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(
    'python -m mvp_jax.corpora.recordings.check',
    description='Says what is wrong with a manifest.',
  )
  parser.add_argument('manifest', type=Path, help='manifest.csv, or its folder')
  parser.add_argument('--channels', default='', help='eda,ppg: only these are used')
  parser.add_argument(
    '--no-video',
    dest='video',
    action='store_const',
    const=False,
    help='the videos are not used',
  )
  parser.add_argument(
    '--action-units',
    action='store_true',
    help='every trial must have them (video_backbone=au)',
  )
  args = parser.parse_args(argv)
  try:
    channels = tuple(filter(None, args.channels.split(',')))
    unknown = [
      c for c in channels if not is_channel(c) and (c,) != recordings.NO_CHANNELS
    ]
    if unknown:
      raise InputError(
        f'--channels: no channel {", ".join(sorted(unknown))}; there '
        f'are {", ".join(KINDS)}, also with more behind: emg_left'
      )
    report = check(args.manifest, channels, args.video, args.action_units)
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  print(describe(report))
  return 1 if report.problems else 0


if __name__ == '__main__':
  sys.exit(main())
