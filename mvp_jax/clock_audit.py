"""Finds trials of a prepared corpus whose video and signals are out of step.

  python -m mvp_jax clock-audit DIR [--out clock.csv] [--workers N]

DIR is a prepared corpus (the folder with dataset_info.json) with face video, stored
at 12 frames a second or more, better 25, and an ECG or a PPG. The pulse in the skin
of the face is held against the recorded one (`mvp_jax.raw.clock`). One row per trial
goes to the CSV, and one line per subject and per trial out of step to the screen.
Where the pulse does not outlast the video's compression the verdict is 'unclear'.
"""

import argparse
import collections
import csv
import functools
import sys
from pathlib import Path

import numpy as np

from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write
from mvp_jax.processes import parallel_map
from mvp_jax.progress import Progress
from mvp_jax.raw import clock
from mvp_jax.raw.cleaning import kind
from mvp_jax.raw.pulse import skin_colour

SURE = 0.95  # confidence from which an offset counts
TOLERANCE = 0.25  # seconds; hearts and arteries differ by some of it
_FRAMES = 128  # read at a time
_MEASURES = ('offset', 'confidence', 'agreement')
_COLUMNS = ('trial_id', 'subject', 'channel', *_MEASURES, 'verdict', 'reason')


def audit(corpus, workers=1):
  """Compares the clocks of every trial: list of (Trial, name of the channel, Clock).

  Raises:
    InputError: the corpus has no video, or neither ECG nor PPG.
  """
  channel = _channel(corpus)
  jobs = [(corpus.directory, i, channel) for i in range(len(corpus.trials))]
  name, clocks = _channels(corpus)[channel], {}
  with Progress(len(jobs), 'comparing pulses', 'trials') as progress:
    for i, found in parallel_map(_compare, jobs, workers):
      clocks[i] = found
      progress.update()
  return [(trial, name, clocks[i]) for i, trial in enumerate(corpus.trials)]


def verdict(found):
  """'in step', 'late', 'early' (the video) or 'unclear'."""
  if not found.confidence >= SURE:
    return 'unclear'
  if abs(found.offset) <= TOLERANCE:
    return 'in step'
  return 'late' if found.offset > 0 else 'early'


def write_csv(path, audited):
  """Writes one row a trial; `audited` is what `audit` returned."""
  with atomic_write(Path(path)) as part, part.open('w', newline='') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(_COLUMNS)
    for trial, channel, found in audited:
      measures = (getattr(found, name) for name in _MEASURES)
      writer.writerow(
        [
          trial.trial_id,
          trial.subject,
          channel,
          *('' if np.isnan(value) else f'{value:.2f}' for value in measures),
          verdict(found),
          found.reason,
        ]
      )


def summary(audited):
  """Lines for a person: each trial out of step, each subject, and the whole.

  One line, which says why, where the clock of no trial or subject can be told.
  """
  if not audited:
    return ['no trials']
  reasons = collections.Counter(
    found.reason for _, _, found in audited if found.support is None
  )
  if reasons.total() == len(audited):
    told = '; '.join(
      reason if count == len(audited) else f'{reason} ({count})'
      for reason, count in reasons.most_common(3)
    )
    return [f'nothing to compare in any of the {len(audited)} trials: {told}']
  subjects = {}
  for trial, _, found in audited:
    subjects.setdefault(trial.subject, []).append(found)
  pooled = {subject: clock.pool(clocks) for subject, clocks in sorted(subjects.items())}
  verdicts = [verdict(found) for _, _, found in audited]
  if {*verdicts, *map(verdict, pooled.values())} == {'unclear'}:
    return [
      f'no pulse stands out in the faces of any of the {len(audited)} trials, so '
      'nothing is known of their clocks; the videos may be compressed too much'
    ]
  lines = [
    f'{trial.trial_id}: {_words(found)}'
    for trial, _, found in audited
    if verdict(found) in ('late', 'early')
  ]
  lines += [
    f'subject {subject}, {len(subjects[subject])} trials as one: {_words(found)}'
    for subject, found in pooled.items()
  ]
  counts = ', '.join(
    f'{verdicts.count(word)} {word}' for word in ('in step', 'late', 'early', 'unclear')
  )
  return [*lines, f'{len(verdicts)} trials: {counts}']


def _words(found):
  if found.support is None:
    return found.reason
  word = verdict(found)
  if word in ('late', 'early'):
    word = f'video {abs(found.offset):.2f} s {word}'
  return f'{word} (offset {found.offset:+.2f} s, confidence {found.confidence:.2f})'


def _channels(corpus):
  return corpus.metadata['streams'].get('signals', {}).get('channels') or []


def _channel(corpus):
  names = _channels(corpus)
  kinds = [kind(name) for name in names]
  fit = [kinds.index(wanted) for wanted in clock.CHANNELS if wanted in kinds]
  has_video = 'video' in corpus.metadata['streams']
  if not has_video or not fit:
    raise InputError(
      f'{corpus.directory}: it has {"" if has_video else "no "}'
      f'video and the channels {", ".join(names) or "-"}; comparing '
      'clocks takes video and an ecg or ppg: prepare it anew with them'
    )
  return fit[0]


_corpus = functools.cache(PreparedCorpus)  # opened once in each process


def _compare(directory, index, channel):
  corpus = _corpus(directory)
  trial = corpus.trials[index]
  video, signals = trial.streams['video'], trial.streams['signals']
  colours = np.full((len(video.times), 3), np.nan)
  numbers = np.flatnonzero(video.valid)
  for start in range(0, len(numbers), _FRAMES):
    some = numbers[start : start + _FRAMES]
    colours[some] = [skin_colour(image) for image in corpus.frames(trial, some)]
  values = np.where(signals.valid, signals.values, np.nan)[:, channel]
  return clock.compare(
    colours, video.times, values, signals.rate, signals.channels[channel]
  )


def main(arguments=None):
  """Audits a corpus; the exit status is 1 if a trial is out of step, 2 on errors."""
  parser = argparse.ArgumentParser(
    prog='python -m mvp_jax clock-audit',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('directory', type=Path)
  parser.add_argument('--out', type=Path, default=Path('clock.csv'))
  parser.add_argument('--workers', type=int)
  given = parser.parse_args(arguments)
  try:
    audited = audit(PreparedCorpus(given.directory), given.workers)
  except (InputError, OSError) as error:
    print('error:', *str(error).split(), file=sys.stderr)
    return 2
  write_csv(given.out, audited)
  print('\n'.join(summary(audited)))
  print(f'rows of all trials: {given.out}')
  return int(any(verdict(found) in ('late', 'early') for _, _, found in audited))


if __name__ == '__main__':
  sys.exit(main())
