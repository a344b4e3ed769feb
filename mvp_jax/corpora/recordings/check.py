"""Says what is wrong with a manifest and its files, without preparing them.

  python -m mvp_jax check manifest.csv [--channels=eda,ppg] [--ratings=valence]
      [--no-video] [--audio] [--action-units] [--quick] [--workers=N]

Every file is read, every video decoded and its face looked for, by the functions that
prepare them: what is said here is what becomes of each trial. With --quick videos are
not decoded beyond their first frame, so that pictures damaged further on, or without
a face, are not found.
Exit status: 0 nothing is wrong, and no trial is lost in preparation; 1 there are
problems, each in a line of its own.
"""

import argparse
import dataclasses
import re
import sys
from collections import Counter
from pathlib import Path

from mvp_jax.corpora import find
from mvp_jax.corpora.recordings import trials as recordings
from mvp_jax.corpora.recordings.manifest import (
  KINDS,
  Manifest,
  Problem,
  is_channel,
  read_manifest,
)
from mvp_jax.corpora.recordings.ratings import RATINGS, REQUIRED
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.processes import parallel_map
from mvp_jax.progress import Progress
from mvp_jax.raw.frames import face_frames

_SIDE = 16  # pixels of the faces that are cut out, which nobody sees


@dataclasses.dataclass
class Report:
  """What was found. `problems` in the order of rows; `usable`: rows without any.

  `notes`: lines on what costs no trial, such as a channel that is masked in one.
  `found`: {(channel, what was found out of its files): rows}. `watched`: whether videos
  were decoded.
  """

  manifest: Manifest
  channels: tuple[str, ...]
  video: bool
  problems: list[Problem]
  usable: int
  seconds: list[float]  # of the trials whose length is known
  rates: dict[str, Counter]  # of each channel, and of the videos: {Hz: trials}
  notes: list[str] = dataclasses.field(default_factory=list)
  found: dict[tuple[str, str], list] = dataclasses.field(default_factory=dict)
  watched: bool = False


def check(
  path,
  channels=(),
  video=None,
  action_units=False,
  *,
  audio=None,
  ratings=REQUIRED,
  watch=False,
  workers=1,
):
  """Checks a manifest (or the one in a folder) and all files that it names: Report.

  Args:
    channels: to be used; () = all that any row names.
    video: whether it is to be used; None = if any row names one.
    action_units: whether every trial must have them.
    audio: whether every trial must have sound; None = if any row names a file of it.
    ratings: that every trial must have.
    watch: whether videos are decoded beyond their first frame, and faces looked for.
    workers: processes; None = one per processor.

  Raises:
    InputError: the manifest can't be read as a table.
  """
  manifest = read_manifest(path, ratings)
  channels = recordings.channels_in_use(manifest, channels)
  if video is None:
    video = any(r.video for r in manifest.recordings)
  if audio is None:
    audio = any(r.audio for r in manifest.recordings)
  report = Report(
    manifest,
    channels,
    video,
    list(manifest.problems),
    0,
    [],
    {name: Counter() for name in (*channels, *(['video'] * video))},
    watched=video and watch,
  )
  wanted = find('recordings').want()
  options = channels, wanted.settings, wanted.clean, video, action_units, audio
  rows = sorted(manifest.recordings, key=lambda r: r.row)
  jobs = [(recording, *options) for recording in rows]
  seconds = {}
  for i, found in _parallel(_examine, jobs, 'Checking', 'trials', workers):
    report.problems += [_problem(dropped) for dropped in found.problems]
    for name, rate in found.rates.items():
      report.rates[name][round(rate, 2)] += 1
    seconds[i] = found.seconds
    for key in found.found:
      report.found.setdefault(key, []).append(rows[i].row)
    report.notes += [
      f'row {rows[i].row}, column {column}: {text}' for column, text in found.notes
    ]
  lost = {p.row for p in report.problems}
  good = [(r, seconds[i]) for i, r in enumerate(rows) if r.row not in lost]
  if report.watched and good:
    report.problems += _watch_all(good, wanted.faces, workers)
  lost = {p.row for p in report.problems}
  report.seconds = [lasts for r, lasts in good if r.row not in lost]
  columns = manifest.channels
  report.problems.sort(
    key=lambda p: (p.row, columns.index(p.column) if p.column in columns else -1)
  )
  report.notes.sort(key=lambda line: int(line.split()[1].rstrip(',')))
  report.usable = manifest.rows - len(lost)
  return report


def _parallel(function, jobs, what, unit, workers):
  """As `parallel_map`, with a display of progress."""
  with Progress(len(jobs), what, unit) as progress:
    for found in parallel_map(function, jobs, workers):
      progress.update()
      yield found


def _examine(*row):
  """As `trials.examine`, without the signals, which would be sent between processes."""
  return dataclasses.replace(recordings.examine(*row), arrays=None)


def _watch_all(good, spec, workers):
  """The problems that videos have: list of Problem.

  `good` are (recording, seconds), `spec` is the FrameSpec that they are stored by.
  """
  jobs = [(path, spec) for path in dict.fromkeys(r.video for r, _ in good)]
  watched, problems = {}, []
  for i, found in _parallel(_watch, jobs, 'Looking at', 'videos', workers):
    watched[jobs[i][0]] = found
  for recording, seconds in good:
    found = watched[recording.video]
    if isinstance(found, Dropped):
      problems.append(_problem(recordings.of_row(recording, found)))
      continue
    times, valid = found
    try:
      inside = recordings.of_trial(recording, times, seconds)
      recordings.require_face(recording, valid[inside])
    except Dropped as dropped:
      problems.append(_problem(dropped))
  return problems


def _watch(path, spec):
  """Times of the stored frames of a video and whether each has a face; or Dropped."""
  try:
    found = face_frames(path, dataclasses.replace(spec, size=_SIDE))
  except Dropped as dropped:
    return dropped
  return found['times'], found['valid']


def _problem(dropped):
  """The Problem that a Dropped tells of, whose reason begins with row and column."""
  where = re.match(r'row (\d+), column (\w+): (.*)', dropped.reason, re.DOTALL)
  return Problem(int(where[1]), where[2], dropped.code, where[3])


def describe(report):
  """The report as text: a line for each problem, then the summary."""
  manifest = report.manifest
  lines = [str(problem) for problem in report.problems]
  notes = [*manifest.notes, *(one.note for one in manifest.answers if one.note)]
  if report.video and not report.watched:
    notes.append('no video was decoded beyond its first frame (--quick)')
  notes += [
    f'column {name}: {note} ({_rows(rows)})'
    for (name, note), rows in report.found.items()
  ]
  lines += [f'note: {note}' for note in (*notes, *report.notes)]
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
  lines += map(str, manifest.answers)
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
    'python -m mvp_jax check',
    description='Says what is wrong with a manifest and its files.',
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
    '--audio',
    action='store_const',
    const=True,
    help="every trial must have sound, be it the video's own",
  )
  parser.add_argument(
    '--action-units',
    action='store_true',
    help='every trial must have them (video_backbone=au)',
  )
  parser.add_argument(
    '--ratings',
    default=','.join(REQUIRED),
    help='those that are trained on, which every trial must have',
  )
  parser.add_argument(
    '--quick', action='store_true', help='videos are not decoded, no face looked for'
  )
  parser.add_argument('--workers', type=int, help='processes; else one per processor')
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
    ratings = tuple(filter(None, args.ratings.split(',')))
    if unknown := sorted(set(ratings) - set(RATINGS)):
      raise InputError(
        f'--ratings: no rating {", ".join(unknown)}; there are {", ".join(RATINGS)}'
      )
    report = check(
      args.manifest,
      channels,
      args.video,
      args.action_units,
      audio=args.audio,
      ratings=ratings,
      watch=not args.quick,
      workers=args.workers,
    )
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  print(describe(report))
  return 1 if report.problems else 0


if __name__ == '__main__':
  sys.exit(main())
