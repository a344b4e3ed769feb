"""Channels side by side: what is masked, what is lost, what is only told."""

import numpy as np
import pytest

from mvp_jax.outcomes import Dropped
from mvp_jax.raw import channels

RATE = 64.0
TIMES = np.arange(40 * 64) / RATE
PULSE = np.exp(-(((TIMES % 0.8 - 0.4) / 0.1) ** 2) / 2)
EDA = 4 + 0.3 * np.sin(TIMES / 3)


def prepared(cleaned=False, onset=0, **columns):
  units = ['microsiemens'] * len(columns)
  return channels.prepare(columns, RATE, units, onset, cleaned)


def test_one_limit_for_gaps_of_all_kinds():
  for gap, bridged in ((64, True), (65, False)):
    for bad in (np.nan, np.inf, 1e39):
      eda = EDA.copy()
      eda[500 : 500 + gap] = bad
      for cleaned in (False, True):
        found = prepared(cleaned, eda=eda, ppg=PULSE)
        assert found['valid'][:, 0].all() == bridged, (gap, bad, cleaned)
        assert np.isfinite(found['values']).all()
        if not bridged:
          assert np.flatnonzero(~found['valid'][:, 0]).tolist() == [*range(500, 565)]


def test_what_a_heart_cannot_hold_is_missing():
  held = PULSE.copy()
  held[640:960] = 0.5  # 5 s of 40: less than makes the channel useless
  found = prepared(eda=np.where(TIMES < 5, 4.0, EDA), ppg=held)
  assert found['masked'].tolist() == ['', '']
  assert not found['valid'][640:960, 1].any() and found['valid'][:, 0].all()
  held[960:1200] = 0.7
  found = prepared(eda=EDA, ppg=held)
  assert found['masked'][1] == '22% of its samples are flat or no measurement'
  assert not found['valid'][:, 1].any() and not found['values'][:, 1].any()


def test_a_trial_is_judged_without_its_baseline():
  eda = EDA.copy()
  eda[:640] = np.nan
  assert prepared(eda=eda)['masked'][0] == '25% of its samples are no measurement'
  found = prepared(onset=640, eda=eda)
  assert found['masked'][0] == '' and found['quality'][0, 0] == 0


def test_flags_decide_nothing():
  noise = np.random.default_rng(0).standard_normal(len(TIMES))
  clipped = np.clip(PULSE, 0.1, 0.6)
  found = prepared(eda=1000 * EDA, ppg=noise, ppg_left=clipped)
  facts = channels.signal_facts(
    ['eda', 'ppg', 'ppg_left'], found['valid'], found['quality'], found['masked']
  )
  assert found['valid'].all()
  assert facts['eda_flags'] == 'out_of_range 100%'
  assert facts['ppg_flags'] == 'no_pulse 100%'
  assert facts['ppg_left_flags'].startswith('clipped ')
  assert facts['eda_valid'] == 1.0


def test_a_trial_is_lost_if_no_channel_is_left():
  channels.require_one('file: ', {'eda': 'flat', 'ppg': ''})
  channels.require_one('file: ', {})
  with pytest.raises(Dropped) as error:
    channels.require_one('file: ', {'eda': 'flat', 'ppg': 'gone'})
  assert error.value.args == ('bad_signal', 'file: eda: flat; ppg: gone')


def test_cleaning_leaves_the_mask_as_it_is():
  ppg = PULSE + 0.5 * TIMES
  ppg[1000:1100] = np.nan
  raw, cleaned = prepared(ppg=ppg), prepared(True, ppg=ppg)
  np.testing.assert_array_equal(raw['valid'], cleaned['valid'])
  inner = cleaned['values'][200:900, 0]
  np.testing.assert_allclose(np.polyfit(TIMES[200:900], inner, 1)[0], 0, atol=0.02)
