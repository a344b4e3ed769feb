"""Series in equal spans: means, deviations, what lasts and what is missing."""

import numpy as np
import pytest

from mvp_jax.data.spans import span_count, span_deviations, span_means
from mvp_jax.data.trial import Series


def _series(values, rate=None, times=None, valid=None):
  values = np.asarray(values, np.float32)[:, None]
  valid = np.ones(values.shape, bool) if valid is None else np.array(valid)[:, None]
  times = None if times is None else np.asarray(times, np.float32)
  return Series(values, valid, ('x',), rate, times)


def test_more_samples_than_spans_are_averaged():
  rng = np.random.default_rng(0)
  x = rng.normal(size=60)
  valid = rng.random(60) < 0.8
  valid[12:18] = False
  series = _series(x, 12.0, valid=valid)
  assert span_count(series, 2.0) == 10
  means, deviations = (f(series, 2.0, 10) for f in (span_means, span_deviations))
  for i, (rows, there) in enumerate(
    zip(x.reshape(10, 6), valid.reshape(10, 6), strict=True)
  ):
    if i == 2:
      assert np.isnan([means[2, 0], deviations[2, 0]]).all()
    else:
      assert means[i, 0] == pytest.approx(rows[there].mean(), abs=1e-6)
      assert deviations[i, 0] == pytest.approx(rows[there].std(), abs=1e-6)


@pytest.mark.parametrize('rate', [24, 25, 29.97, 30, 59.94])
def test_a_sample_for_each_span_is_itself_for_hours(rate):
  x = np.arange(200_000) % 1000.0
  found = span_means(_series(x, rate), rate, len(x))
  np.testing.assert_array_equal(found[:, 0], x)
  times = np.arange(9000) / rate  # in float32
  found = span_means(_series(x[:9000], times=times), rate, 9000)
  np.testing.assert_array_equal(found[:, 0], x[:9000])


def test_fewer_samples_than_spans_last_until_the_next():
  series = _series([1, 2, 3], 1.0, valid=[True, False, True])
  found = span_means(series, 4.0, 14)[:, 0]
  np.testing.assert_array_equal(found, [1] * 4 + [np.nan] * 4 + [3] * 4 + [np.nan] * 2)


def test_a_gap_in_irregular_times_is_a_gap():
  series = _series([1, 2, 3, 4, 5], times=[0, 1, 2, 6, 7])
  assert span_count(series, 2.0) == 15
  found = span_means(series, 2.0, 15)[:, 0]
  nan = np.nan
  wanted = [1, 1, 2, 2, 3, 3, 3, nan, nan, nan, nan, nan, 4, 4, 5]
  np.testing.assert_array_equal(found, wanted)
