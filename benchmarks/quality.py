"""How often each flag of a channel's quality is raised: falsely, and on planted faults.

  python benchmarks/quality.py --manifest RECORDINGS/manifest.csv
    --table SIGNALS/resting.csv SIGNALS/events.csv --table_rate 100

Takes real recordings: those of a manifest whose signals are .npz files, trial by trial,
and CSV tables with a header, in pieces of 30 s; columns are channels by their names
(ECG, EDA, RSP, ...). Each is judged as recorded, rounded to 12 bits and, if it is skin
conductance, also as an Empatica E4 has it (4 Hz, steps of .001 microsiemens), the same
repeated to 64 Hz, and as a temperature of such a device (4 Hz, steps of .02). Each flag
there is a false alarm, but for faults that the recordings really have. Then faults are
planted in each. The last line is one JSON object.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from mvp_jax.raw.channels import MEASURES
from mvp_jax.raw.cleaning import kind
from mvp_jax.raw.signal_quality import quality

NAMES = {'rsp': 'resp'}  # of tables
KINDS = ('ecg', 'eda', 'emg', 'ppg', 'resp')
UNITS = {'eda': 'microsiemens'}
SECONDS = 30  # of a piece of a table
FULL_SCALE = {'eda': 50.0}  # of 12 bits; others: twice the range of the recording
E4_RATE, E4_STEP, TEMP_STEP = 4, 0.001, 0.02


class Trial(NamedTuple):
  """Samples [time] of a channel; `step` is None where the sensor's is not known."""

  values: np.ndarray
  rate: float
  kind: str
  step: float | None
  scale: float  # full scale of 12 bits

  @property
  def flags(self):
    return quality(self.values, self.rate, self.kind, UNITS.get(self.kind, '')).flags


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--manifest', type=Path, nargs='*', default=[])
  parser.add_argument('--table', type=Path, nargs='*', default=[])
  parser.add_argument('--table_rate', type=float, default=100.0)
  args = parser.parse_args()
  trials = [trial for path in args.manifest for trial in of_manifest(path)]
  trials += [x for path in args.table for x in of_table(path, args.table_rate)]
  summary = {'benchmark': 'quality', 'false': {}, 'found': {}}
  versions = {}
  for trial in trials:
    for name, made in as_sensors_have_it(trial):
      versions.setdefault((made.kind, name), []).append(made)
  print(
    f'{"kind":<6}{"sensor":<14}{"trials":>7}' + ''.join(f'{x:>14}' for x in MEASURES)
  )
  for (of, name), made in sorted(versions.items()):
    flags = [trial.flags for trial in made]
    counts = [sum(x in found for found in flags) for x in MEASURES]
    print(f'{of:<6}{name:<14}{len(made):7d}' + ''.join(f'{x:14d}' for x in counts))
    known = {x: count for x, count in zip(MEASURES, counts, strict=True) if count}
    summary['false'][f'{of}/{name}'] = {'trials': len(made), **known}
  print(f'\n{"kind":<6}{"sensor":<14}{"fault":<20}{"flag":<14}{"found":>6}{"of":>6}')
  for (of, name), made in sorted(versions.items()):
    for fault, flag, plant in FAULTS.get(of, ()):
      planted = [plant(trial, np.random.default_rng(i)) for i, trial in enumerate(made)]
      told = [
        flag in trial._replace(values=rounded(values, trial.step)).flags
        for trial, values in zip(made, planted, strict=True)
        if values is not None
      ]
      if told:
        print(f'{of:<6}{name:<14}{fault:<20}{flag:<14}{sum(told):6d}{len(told):6d}')
        summary['found'][f'{of}/{name}/{fault}'] = [flag, sum(told), len(told)]
  print(json.dumps(summary))


def of_manifest(path):
  """The trials of a manifest, channel by channel."""
  with path.open(newline='') as file:
    rows = list(csv.DictReader(file))
  for row in rows:
    with np.load(path.parent / row['signals']) as arrays:
      rate = float(row['rate'])
      first = round(float(row['signals_onset']) * rate)
      end = first + round(float(row['duration']) * rate)
      for name in (x for x in row if kind(x) in KINDS and row[x]):
        whole = arrays[row[name]].astype(np.float64)
        yield Trial(whole[first:end], rate, kind(name), None, scale(whole, kind(name)))


def of_table(path, rate):
  """The pieces of a CSV table, channel by channel."""
  table = np.genfromtxt(path, delimiter=',', names=True)
  length = round(SECONDS * rate)
  for name in table.dtype.names:
    of = NAMES.get(name.lower(), name.lower())
    if of in KINDS:
      for start in range(0, len(table) - length + 1, length):
        values = table[name][start : start + length]
        yield Trial(values, rate, of, None, scale(table[name], of))


def scale(values, of):
  return FULL_SCALE.get(of, 2 * np.ptp(values))


def as_sensors_have_it(trial):
  """Pairs of a name and the Trial as another sensor would have recorded it."""
  yield 'as recorded', trial
  step = trial.scale / 2**12
  yield '12 bits', trial._replace(values=rounded(trial.values, step), step=step)
  if trial.kind == 'eda':
    every = round(trial.rate / E4_RATE)
    slow = trial.values[: len(trial.values) // every * every].reshape(-1, every).mean(1)
    fine = rounded(slow, E4_STEP)
    yield 'E4', trial._replace(values=fine, rate=E4_RATE, step=E4_STEP)
    yield (
      'E4, repeated',
      trial._replace(values=np.repeat(fine, 16), rate=64, step=E4_STEP),
    )
    coarse = rounded(slow, TEMP_STEP)
    yield 'E4', trial._replace(values=coarse, rate=E4_RATE, kind='temp', step=TEMP_STEP)


def rounded(values, step):
  return values if step is None else np.round(values / step) * step


# --- Faults


def at_the_rail(trial, rng):
  """Cut off at the level that a fifth of it is above."""
  return np.minimum(trial.values, np.quantile(trial.values, 0.8))


def high_rail(trial, rng):
  """The same, of what goes beyond it by over ten steps; None of others."""
  values = at_the_rail(trial, rng)
  steps = np.ptp(trial.values - values) / (trial.step or np.inf)
  return values if trial.step and steps > 10 else None


def at_both_rails(trial, rng):
  """Cut off at one deviation from the mean."""
  mean, deviation = trial.values.mean(), trial.values.std()
  return np.clip(trial.values, mean - deviation, mean + deviation)


def constant(trial, rng):
  return np.full_like(trial.values, trial.values[0])


def stuck(trial, rng):
  """Three tenths of it hold one value."""
  values, first = trial.values.copy(), len(trial.values) // 2
  values[first : first + round(0.3 * len(values))] = values[first]
  return values


def unplugged(trial, rng):
  """The electrode comes off after three tenths: some noise of a few nanosiemens."""
  loose = np.abs(rng.normal(0.005, 0.003, len(trial.values)))
  first = round(0.3 * len(loose))
  return np.where(np.arange(len(loose)) < first, trial.values, loose)


def near_zero(trial, rng):
  """The whole course at a level of .02 microsiemens."""
  return trial.values * (0.02 / abs(trial.values.mean()))


def not_moving(trial, rng):
  """A level between two steps of the sensor, now here and now there."""
  step = trial.step or E4_STEP
  level = np.round(0.4 / step) if trial.kind == 'eda' else 0
  return step * (level + (rng.random(len(trial.values)) < 0.5))


FAULTS = {
  'eda': (
    ('rail', 'clipped', at_the_rail),
    ('rail, 10 steps', 'clipped', high_rail),
    ('constant', 'flat', constant),
    ('unplugged', 'no_contact', unplugged),
    ('near zero', 'no_contact', near_zero),
    ('not moving', 'still', not_moving),
  ),
  'emg': (
    ('both rails', 'clipped', at_both_rails),
    ('stuck', 'flat', stuck),
    ('not moving', 'still', not_moving),
  ),
  'ecg': (('both rails', 'clipped', at_both_rails), ('stuck', 'flat', stuck)),
  'ppg': (('both rails', 'clipped', at_both_rails), ('stuck', 'flat', stuck)),
  'resp': (
    ('both rails', 'clipped', at_both_rails),
    ('constant', 'flat', constant),
    ('not moving', 'still', not_moving),
  ),
  'temp': (
    ('rail', 'clipped', at_the_rail),
    ('rail, 10 steps', 'clipped', high_rail),
    ('constant', 'flat', constant),
  ),
}


if __name__ == '__main__':
  main()
