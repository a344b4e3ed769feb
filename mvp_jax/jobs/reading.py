"""What of each trial the job 'train' reads, and how it says so."""

import collections

import numpy as np

from mvp_jax import hosts
from mvp_jax.data.windows import part_of, stretches, used


def read(config, trials):
  """What examples are made of: trials, or stretches or windows of them, in order."""
  options = config.input
  if config.target.level == 'frame':
    return stretches(trials, config.target, options.max_seconds)
  if options.windows == 'random':
    return [
      part_of(trial, options.first_seconds, options.last_seconds) for trial in trials
    ]
  return [window for trial in trials for window in used(trial, options)]


def tell_windows(config, trials, examined, facts):
  """Notes, and says, what becomes of trials that are longer than an example."""
  windows = collections.Counter(one.trial_id for one in examined)
  longer = sum(count > 1 for count in windows.values())
  if not longer or config.target.level == 'frame':
    return
  seconds = config.input.max_seconds
  facts['windows'] = (
    f'{longer} of {len(trials)} trials are longer than {seconds:g} s '
    f'(input.max_seconds): each is read in windows of that length, '
    f'{config.input.hop_seconds or seconds / 2:g} s apart; one of them at random each '
    'time it is trained on, and the mean over all of them where it is tested.'
  )
  _say(facts['windows'])


def tell_lengths(examples, facts):
  """Notes, and says, how much of what is computed is padding."""
  plan, target = examples.plan, examples.target
  if plan.rows is None or 'lengths' in facts:
    return
  # Of a trial in windows, one counts.
  own = {
    x.stretch_id if target.level == 'frame' else x.trial_id: i
    for i, x in enumerate(examples.trials)
  }
  seconds = np.minimum(examples.seconds[[*own.values()]], plan.lengths[-1])
  share = np.dot(plan.lengths, plan.rows) / sum(plan.rows) / seconds.mean()
  facts['lengths'] = (
    f'Examples last {seconds.min():.0f} to {seconds.max():.0f} s (median '
    f'{np.median(seconds):.0f}) and are padded to '
    f'{", ".join(f"{x:g}" for x in plan.lengths)} s: {share:.2f} times the seconds '
    'that they last. Every batch has the same mix of lengths.'
  )
  _say(facts['lengths'])


def _say(line):
  if hosts.is_main():
    print(line, flush=True)
