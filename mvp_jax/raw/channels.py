"""From a recorded channel to a stored one: judged, cleaned, masked. For all corpora.

Samples that are no measurement, that cannot be one (`guard`), or that a fast signal
holds for a second, count as missing. Short gaps are bridged and long ones masked
(`signals.bridge_gaps`), and a channel that misses too much of a trial
(`signals.MAX_UNUSABLE_SHARE`) is masked as a whole. All else that is odd is a flag,
which informs and decides nothing.
"""

import dataclasses

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.cleaning import clean, kind
from mvp_jax.raw.guard import impossible
from mvp_jax.raw.resample import resample
from mvp_jax.raw.signal_quality import Quality, quality, unmeasured
from mvp_jax.raw.signals import bridge_gaps, unusable

GOOD = 'good'  # said of a channel without a flag
_AROUND_SECONDS = 60.0
_SETTLING_SECONDS = 5.0  # on either side of a trial, for the filters
MARGIN_SECONDS = 2 * _SETTLING_SECONDS  # of a recording around it that they see
MEASURES = tuple(field.name for field in dataclasses.fields(Quality))


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
  """A channel as recorded: float64 [time], NaN where it cannot be used.

  `problem` says why the channel cannot be used over the trial, or is ''; `note` which
  of its samples were masked that cannot be, or is ''.
  """

  values: np.ndarray
  quality: Quality
  problem: str
  note: str = ''


def judge(values, rate, channel, unit, trial=slice(None)):
  """Judges a channel by its samples of the trial, a slice of `values` [time]."""
  values = np.asarray(values, np.float64)
  values = np.where(np.isfinite(values), values, np.nan)
  around = round(_AROUND_SECONDS * rate)
  first, end, _ = trial.indices(len(values))
  near = slice(max(0, first - around), end + around)
  # In the trial, and in what is around it, which filters and the baseline see.
  bad = np.zeros(len(values), bool)
  bad[near] = impossible(values[near], rate, channel, unit)
  bad[trial] |= impossible(values[trial], rate, channel, unit)
  missing = 1 - np.isfinite(values[trial]).mean() if end > first else 1.0
  examples = values[trial][bad[trial]]
  values = np.where(bad, np.nan, values)
  told = dataclasses.replace(
    quality(values[trial], rate, channel, unit),
    missing=float(missing),
    impossible=float(bad[trial].mean()) if end > first else 0.0,
  )
  note, what = '', 'no measurement'
  if len(examples):
    few = ', '.join(f'{x:g}' for x in np.unique(examples)[:3])
    note = f'{len(examples)} of {end - first} samples cannot be, such as {few}: masked'
    what = f'no measurement or impossible (such as {few})'
  problem = unusable(values[trial], what)
  if not problem:
    still = unmeasured(values[trial], rate, channel)
    problem = unusable(np.where(still, np.nan, values[trial]), f'flat or {what}')
  values = np.where(unmeasured(values, rate, channel), np.nan, values)
  return Judged(values, told, problem, note)


def fill(values, rate, channel, cleaned):
  """Bridges short gaps, and cleans if `cleaned`; NaN is no measurement.

  Returns:
    (float32 [time] with 0 where invalid, bool [time] validity).
  """
  return bridge_gaps(clean(values, rate, channel) if cleaned else values, rate)


def require_one(where, problems):
  """Raises Dropped if every channel, {name: problem or ''}, has a problem."""
  if problems and all(problems.values()):
    raise Dropped(
      'bad_signal',
      where + '; '.join(f'{name}: {problem}' for name, problem in problems.items()),
    )


def prepare(columns, rate, units, onset, cleaned):
  """Prepares the channels of a trial that have one rate.

  Args:
    columns: {name: float [time]}, NaN where there is no measurement.
    rate: Hz.
    units: of each channel.
    onset: sample at which the trial begins; what is before is its baseline.

  Returns:
    dict: values float32 [time, channel], valid bool [time, channel], quality float32
    [channel, MEASURES], masked str [channel], why it is masked as a whole, or ''.
  """
  judged = {
    name: judge(column, rate, name, unit, slice(onset, None))
    for (name, column), unit in zip(columns.items(), units, strict=True)
  }
  return stored(
    [fill(found.values, rate, name, cleaned) for name, found in judged.items()],
    list(judged.values()),
  )


def stored(filled, judged):
  """Puts channels, as `fill` and `judge` give them, side by side; see `prepare`."""
  values, valid = (np.stack(part, axis=1) for part in zip(*filled, strict=True))
  problems = [one.problem for one in judged]
  usable = np.array([not problem for problem in problems], bool)
  return {
    'values': np.where(usable, values, np.float32(0)),
    'valid': valid & usable,
    'quality': np.array([dataclasses.astuple(x.quality) for x in judged], np.float32),
    'masked': np.array(problems, np.str_),
  }


def at_rate(channels, begins, judged, seconds, before, rate, cleaned):
  """Brings the channels of a trial, each of its own rate and clock, to one rate.

  Args:
    channels: {name: signal_files.Channel}.
    begins: {name: when the trial begins on the clock of `channel.times`}.
    judged: {name: Judged}.
    seconds, before: that the trial lasts, and that are kept of what was before it.
    rate: Hz.
    cleaned: whether they are cleaned.

  Returns:
    as `prepare`, from `before` seconds before the trial on.
  """
  length, lead = (round(x * rate) for x in (seconds, before))
  aside, filled = lead + round(_SETTLING_SECONDS * rate), []
  for name, channel in channels.items():
    begin = begins[name]
    margin = aside / rate + _SETTLING_SECONDS
    near = channel.times >= begin - margin
    near &= channel.times <= begin + seconds + margin
    values, fast = judged[name].values[near], cleaned and kind(name) == 'emg'
    if fast:  # It lies above what the rate of all keeps, its envelope does not.
      values = clean(values, channel.rate, name)
    values, valid = resample(
      values, channel.times[near], rate, length + 2 * aside, begin - aside / rate
    )
    values, good = fill(
      np.where(valid, values, np.nan), rate, name, cleaned and not fast
    )
    # The filter of another rate may swing below the zero of an envelope.
    values, valid = np.maximum(values, 0) if fast else values, valid & good
    trial = slice(aside - lead, aside + length)
    filled.append((np.where(valid, values, 0)[trial], valid[trial]))
  return stored(filled, list(judged.values()))


def none(length):
  """As `prepare` returns no channels, over some samples."""
  return {
    'values': np.zeros((length, 0), np.float32),
    'valid': np.zeros((length, 0), bool),
    'quality': np.zeros((0, len(MEASURES)), np.float32),
    'masked': np.zeros(0, np.str_),
  }


def facts(where, names, found, onset):
  """`signal_facts` of what `prepare` returned. Raises Dropped if all are masked."""
  masked = found['masked'].tolist()
  require_one(where, dict(zip(names, masked, strict=True)))
  return signal_facts(names, found['valid'][onset:], found['quality'], masked)


def signal_facts(names, valid, shares, masked):
  """What an account says of channels: {'eda_valid': share, 'eda_flags': text, ...}.

  Args:
    names: of the channels.
    valid: bool [time, channel].
    shares: float [channel, MEASURES].
    masked: why each channel is masked as a whole, or ''.
  """
  facts = {}
  for c, name in enumerate(names):
    told = Quality(*(round(float(share), 6) for share in shares[c]))
    flags = told.told
    if masked[c]:
      flags.append(f'masked: {masked[c]}')
    facts[f'{name}_valid'] = round(float(valid[:, c].mean()), 4)
    facts[f'{name}_flags'] = '; '.join(flags) or GOOD
  return facts
