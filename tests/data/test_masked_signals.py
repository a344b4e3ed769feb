"""Examples to pre-train on: spans, channels of several corpora, long recordings."""

import types

import numpy as np
import pytest

from mvp_jax.data.masked_signals import MaskedTrials
from mvp_jax.data.random_clips import mix
from mvp_jax.data.trial import Series, Trial
from mvp_jax.models.masked_signals import SignalBackbone
from mvp_jax.models.modalities.physio import Physio

RATE = 32.0
PHYSIO = Physio(
  widths=(8, 16), kernels=(16, 8), strides=(4, 2), depth=1, heads=2, mlp_width=32
)
BACKBONE = SignalBackbone(PHYSIO, ('eda', 'ppg', 'ecg'), RATE, 16, 16 + 20 * 32)


def _corpus(channels, before):
  facts = {'kind': 'series', 'rate': RATE, 'channels': list(channels), 'before': before}
  return types.SimpleNamespace(
    name='made', metadata={'streams': {'signals': facts}, 'clean': True}
  )


def _trial(number, channels, seconds, before):
  rng = np.random.default_rng(number)

  def course(duration):
    values = rng.standard_normal((round(duration * RATE), len(channels)))
    return values.astype(np.float32), np.ones(values.shape, bool)

  series = Series(
    *course(seconds), tuple(channels), RATE, None, *(course(before) if before else ())
  )
  return Trial(f't{number}', number, 1, 1, {}, {'signals': series})


def _source(channels=('ppg', 'eda'), seconds=20.0, before=0.25, hidden=0.5, count=3):
  trials = [_trial(n, channels, seconds, before) for n in range(count)]
  corpus = _corpus(channels, before)
  return MaskedTrials(corpus, trials, BACKBONE, hidden, 0.5)


@pytest.mark.parametrize('hidden', [0.2, 0.5, 0.8])
def test_the_share_that_is_hidden(hidden):
  source = _source(hidden=hidden)
  shares = [
    source.read(0, np.random.default_rng(seed))['hidden'].mean() for seed in range(200)
  ]
  assert np.mean(shares) == pytest.approx(hidden, abs=0.03)


def test_a_span_is_no_shorter_than_asked_for():
  hidden = _source(hidden=0.3).read(0, np.random.default_rng(0))['hidden']
  edges = np.flatnonzero(np.diff(np.r_[False, hidden, False].astype(int)))
  lengths = np.diff(edges)[::2]
  assert len(lengths) > 3
  assert (lengths[1:-1] >= 0.5 * RATE).all()  # those at the ends are cut


def test_channels_stand_by_name_and_onsets_agree():
  source = _source()
  example = source.read(1, np.random.default_rng(0))
  assert example['values'].shape == (BACKBONE.samples, 3)
  assert not example['values'][:, 2].any()  # no ECG here
  raw = source.trials[1].streams['signals'].values[:, 1]  # EDA
  found = example['values'][BACKBONE.lead :, 0]
  np.testing.assert_allclose(np.corrcoef(found, raw)[0, 1], 1, atol=1e-6)
  # A baseline of 8 samples, where the backbone leaves room for 16.
  assert not example['valid'][:8].any() and example['valid'][8:].all()


def test_of_a_long_recording_a_random_stretch_is_read():
  source = _source(seconds=60.0, count=1)
  starts = set()
  whole = source.read(0, np.random.default_rng(0))
  for seed in range(5):
    example = source.read(0, np.random.default_rng(seed))
    assert example['valid'].sum() >= 20 * RATE
    starts.add(float(example['values'][100, 0]))
  assert len(starts) > 1 and whole['values'].shape == (BACKBONE.samples, 3)


def test_corpora_of_other_channels_are_mixed():
  both = mix([_source(), _source(('ecg',), seconds=12.0, before=0.0)], (1.0, 1.0), 0)
  channels = {tuple(both[i]['values'].any(0)) for i in range(6)}
  assert channels == {(True, True, False), (False, False, True)}
