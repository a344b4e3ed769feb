"""Numbers that are none are found, and nothing that a body or its sensor may have."""

import numpy as np
import pytest

from mvp_jax.raw import channels
from mvp_jax.raw.guard import impossible, rate_problem
from mvp_jax.synthetic import signals
from mvp_jax.synthetic.spec import TwinSpec

RATE = 64.0
T = np.arange(60 * 64) / RATE
RNG = np.random.default_rng(0)
EDA = 5 + 0.3 * np.sin(T / 9) + 0.002 * RNG.standard_normal(len(T))
PPG = np.maximum(np.sin(2.4 * np.pi * T), 0) ** 3 + 0.01 * RNG.standard_normal(len(T))
PACKETS = (np.array([100, 500, 900, 2000])[:, None] + np.arange(8)).ravel()
SOME = RNG.choice(len(T), 700, replace=False)
UNITS = {'eda': 'microsiemens', 'temp': 'celsius', 'ecg': 'millivolt'}


@pytest.mark.parametrize(
  'channel, values, where, number',
  [
    ('eda', EDA, SOME, -9999.0),
    ('eda', EDA, PACKETS, 0.0),
    ('eda', 5 + 3 * np.sin(T / 9), PACKETS, 0.0),
    ('eda', EDA, [0], 1.6e9),  # an E4's start
    ('eda', EDA, [0], 3840.0),  # a row of counts
    ('eda', EDA, [77], 13.0),  # a leap up and down within two samples
    ('temp', 33 + 0.1 * np.sin(T / 9), PACKETS, 382.21),
    ('temp', 33 + 0.1 * np.sin(T / 9), PACKETS, 0.0),
    ('ppg', PPG, [77], 1e6),
    ('ppg', PPG, SOME, -9999.0),
    ('ppg', PPG, PACKETS, 0.0),
    ('ppg', 20_000 + 100 * PPG, PACKETS, 0.0),
    ('ppg', np.round(512 + 200 * PPG), PACKETS, 0.0),
    ('ppg', np.round(512 + 200 * PPG), [5], 0.0),
    ('ppg', np.round(20_000 + 1000 * PPG), PACKETS, 65_535.0),
    ('ecg', PPG, PACKETS, 32.767),
    ('ecg', PPG, [9], 1e300),
    ('ppg', PPG, SOME, -1.0),  # a value that comes again, not far below the others
    ('ecg', np.round(512 + 200 * PPG), PACKETS, -1.0),
    # Spikes of up to three samples, some ranges away.
    ('eda', EDA, [0], 6.5),
    ('eda', EDA, [1200, 1201, 1202], 3.6),
    ('ppg', PPG, [700, 701], 3.5),
    ('ecg', PPG, [900], -2.5),
    ('resp', np.sin(T), [900, 901], 4.5),
    ('temp', 33 + 0.2 * np.sin(T / 9), [900], 34.5),
  ],
)
def test_exactly_what_cannot_be_is_found(channel, values, where, number):
  unit = UNITS.get(channel, '')
  assert not impossible(values, RATE, channel, unit).any()
  spoilt, expected = values.copy(), np.zeros(len(values), bool)
  spoilt[where], expected[where] = number, True
  np.testing.assert_array_equal(impossible(spoilt, RATE, channel, unit), expected)


@pytest.mark.parametrize(
  'channel, values',
  [
    ('eda', np.where(T < 20, 2.0, 8.0) + 0.1 * np.sin(T)),  # put on anew
    ('eda', 0.013 + 0.03 * RNG.standard_normal(len(T))),  # without contact
    ('ecg', 1.2 * np.exp(-((64 * T[:100] - 50) ** 2)) + 0.2 * np.sin(9 * T[:100])),
    ('eda', 1000 * EDA),  # of another unit: not for the guard to decide
    ('temp', np.where(T < 3, 33.0, 33.02)),  # of few steps
    ('ppg', np.clip(PPG, 0, 0.4)),
    ('ppg', np.minimum(np.round(512 + 3000 * PPG**9), 1023)),  # peaks cut off
    ('ppg', np.round(np.maximum(PPG, 0), 2)),  # zeros that are reached step by step
    ('emg', RNG.standard_normal(len(T)) * np.where((T > 30) & (T < 31), 50, 1)),
    ('other', np.where(T < 59, 0.0, -5.0)),
    ('ecg', np.zeros(len(T))),
  ],
)
def test_what_may_be_is_left_alone(channel, values):
  assert not impossible(values, RATE, channel, UNITS.get(channel, '')).any()


def test_no_sample_of_the_twin_is_impossible():
  body = signals.simulate_body(TwinSpec(subjects=2), 2, 3)
  for name, values, unit in (
    ('eda', body.eda, 'microsiemens'),
    ('ppg', body.ppg, ''),
    ('ecg', body.ecg[:, 0], 'millivolt'),
    ('resp', body.respiration, ''),
  ):
    assert not impossible(values, 128.0, name, unit).any(), name


def test_a_trial_is_not_drowned_and_the_loss_is_told():
  spoilt = PPG.copy()
  spoilt[77] = 1e6
  judged = channels.judge(spoilt, RATE, 'ppg', '', slice(64, None))
  assert not judged.problem and judged.quality.flags == ('impossible',)
  assert judged.note.startswith('1 of 3776 samples cannot be, such as 1e+06')
  assert np.isnan(judged.values[77]) and np.nanmax(judged.values) < 2
  before = channels.judge(spoilt, RATE, 'ppg', '', slice(640, None))
  assert np.isnan(before.values[77]) and not before.note  # the baseline sees it, too


def test_too_many_mask_the_channel_and_the_reason_is_the_true_one():
  spoilt = EDA.copy()
  spoilt[1000:2500] = -9999
  judged = channels.judge(spoilt, RATE, 'eda', 'microsiemens')
  assert judged.problem.startswith(
    '39% of its samples are no measurement or impossible'
  )
  assert '-9999' in judged.problem


@pytest.mark.parametrize(
  'channel, rate, good',
  [
    ('ecg', 130, True),
    ('ecg', 1, False),  # milliseconds at 1000 Hz taken as seconds
    ('ecg', 30_030, False),  # minutes at 500 Hz
    ('eda', 6000, False),  # minutes at 100 Hz
    ('eda', 4, True),
    ('eda', 1 / 60, False),  # a mean of each minute
    ('ppg', 1.78, False),  # packets
    ('temp', 1, True),
    ('emg_left', 2000, True),
  ],
)
def test_rates_that_a_channel_can_have(channel, rate, good):
  problem = rate_problem(channel, rate)
  assert (not problem) == good
  assert good or (f'{rate:.4g}' in problem and 'time_unit' in problem)
