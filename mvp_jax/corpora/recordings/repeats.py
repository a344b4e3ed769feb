"""What two rows of a manifest must not share: a trial, or a part of a file."""

import os


def repeats(recordings):
  """Yields (row, column, text) of what a row names that one before it has named.

  A file is the same under whatever name. `recordings`: of `manifest`, in their order.
  """
  seen = {}
  for r in recordings:
    for column, what, key, remedy in _named(r):
      before = seen.setdefault(key, (r.row, column))
      if before != (r.row, column):
        yield r.row, column, f'{what} also in row {before[0]}; {remedy}'


def _named(r):
  """Yields the column, what a message calls it, what is the same, and the remedy."""
  yield (
    'trial',
    f'subject {r.subject_name} has trial {r.trial}',
    ('trial', r.trial_id),
    'number them apart',
  )
  remedy = 'name the file or the onset of this trial'
  if r.video is not None:
    yield (
      'video',
      f'{r.video.name} from {r.video_onset:g} s is',
      ('video', os.path.realpath(r.video), r.video_onset),
      remedy,
    )
  for channel, source in r.channels.items():
    yield (
      channel,
      f'{source.file.name}, {source.column}, from {r.signals_onset or 0:g} s is',
      ('signals', os.path.realpath(source.file), source.column, r.signals_onset),
      remedy,
    )
