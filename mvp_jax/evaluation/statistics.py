"""How sure a score or a difference is: intervals and paired tests over subjects.

One concept serves both: what each subject contributes to a score, from leaving
the subject out (the jackknife). Scores such as macro-F1, AUROC and the concordance
are no means over subjects, but their contributions are, so that a t interval and a
sign-flip test apply to each of them alike:

- With 20 to 40 subjects the t interval covers the true score in 90 of 100 simulated
  corpora or more, whichever the score; the percentile and the BCa bootstrap, which need
  fifty times as many evaluations, tend to cover less (`benchmarks/honesty.py`).
- Under the null hypothesis of a paired test the two models are interchangeable, so
  each subject's contribution to their difference is as likely as its negative.
  Flipping signs is exact with any number of subjects, and with fewer than six no
  difference can be shown at 5 %, as it should be.

They tell of other subjects, with the trained models and the stimuli as they are.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLES = 2000
_FLIPS = 20_000
_ALL_FLIPS = 14  # subjects up to which all 2 ** S are tried


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A score with its 95 % t interval; NaN bounds where there is none.

  `bootstrap_low` and `bootstrap_high` bound the percentile bootstrap's.
  """

  value: float
  low: float = math.nan
  high: float = math.nan
  bootstrap_low: float = math.nan
  bootstrap_high: float = math.nan


@dataclasses.dataclass(frozen=True)
class Difference:
  """A difference with its 95 % t interval, and p of the paired test.

  `corrected` is p after Holm's correction for all comparisons made beside it.
  """

  value: float
  low: float = math.nan
  high: float = math.nan
  p: float = math.nan
  corrected: float = math.nan

  @property
  def shown(self) -> bool:
    """Whether a difference is shown, at 5 % over all comparisons."""
    return self.corrected < 1 - LEVEL


def contributions(score: Callable, subjects: int) -> np.ndarray:
  """What each subject contributes: [subjects, ...], whose mean is the score.

  `score` takes weights [R, subjects] and gives [R, ...]. A contribution is the score
  plus S - 1 times what it loses without the subject, less the mean loss.
  """
  whole = score(np.ones((1, subjects)))[0]
  if subjects < 2:
    return np.full((subjects, *whole.shape), np.nan)
  without = score(1 - np.eye(subjects))
  return whole + (subjects - 1) * (without.mean(0) - without)


def t_interval(contributed) -> tuple[np.ndarray, np.ndarray]:
  """The 95 % t interval (low, high) of the mean of contributions [S, ...]."""
  subjects = len(contributed)
  if subjects < 2:
    return (np.full(contributed.shape[1:], np.nan),) * 2
  quantile = stats.t.ppf((1 + LEVEL) / 2, subjects - 1)
  half = quantile * contributed.std(0, ddof=1) / math.sqrt(subjects)
  return contributed.mean(0) - half, contributed.mean(0) + half


def bootstrap(
  score: Callable, subjects: int, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
  """`score` (see `contributions`) of subjects drawn anew: [resamples, ...]."""
  return score(drawn_anew(subjects, resamples, seed))


def drawn_anew(subjects: int, resamples: int, seed: int) -> np.ndarray:
  """How often each subject is drawn: float [resamples, subjects]."""
  shares = np.full(subjects, 1 / subjects)
  rng = np.random.default_rng(seed)
  return rng.multinomial(subjects, shares, resamples).astype(float)


def percentile_interval(drawn) -> tuple[np.ndarray, np.ndarray]:
  """The 95 % percentile interval (low, high) of `bootstrap`.

  Draws without a score, as of one class only, are left out; NaN if all are.
  """
  low, high = np.full((2, *drawn.shape[1:]), np.nan)
  some = np.isfinite(drawn).any(0)
  low[some], high[some] = np.nanquantile(
    drawn[:, some], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0
  )
  return low, high


def sign_flip(contributed, seed: int = 0) -> np.ndarray:
  """Two-sided p [...] that contributions [S, ...] to a difference have mean 0.

  All sign patterns are tried with up to 14 subjects, else 20,000 at random.
  """
  subjects = len(contributed)
  if subjects < 2:
    return np.full(contributed.shape[1:], np.nan)
  flat = contributed.reshape(subjects, -1)
  if subjects <= _ALL_FLIPS:
    signs = 1 - 2.0 * (np.arange(2**subjects)[:, None] >> np.arange(subjects) & 1)
  else:
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (_FLIPS, subjects))
    signs[0] = 1  # the data as they are
  rounding = 1e-9 * np.abs(flat).sum(0)
  reached = np.abs(signs @ flat) >= np.abs(flat.sum(0)) - rounding
  p = np.where(np.isfinite(flat).all(0), reached.mean(0), np.nan)
  return p.reshape(contributed.shape[1:])


def holm(p) -> np.ndarray:
  """p values [n, ...] corrected for n comparisons (Holm, 1979); NaN are none."""
  p = np.asarray(p, float)
  order = np.argsort(p, axis=0)  # NaN last
  number = np.isfinite(p).sum(0)
  ranks = np.arange(len(p)).reshape(-1, *[1] * (p.ndim - 1))
  factor = np.maximum(number - ranks, 1)
  stepped = np.maximum.accumulate(
    np.minimum(np.take_along_axis(p, order, 0) * factor, 1), axis=0
  )
  corrected = np.empty_like(p)
  np.put_along_axis(corrected, order, stepped, 0)
  return corrected
