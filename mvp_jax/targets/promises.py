"""What a run can promise of its answers about new people, by held-out predictions.

People are exchangeable, their trials are not: who is misread in one is misread in the
next. So both promises count people, however many trials they have:

- `Abstention`: how sure a model has to be to answer high or low, so that of the answers
  about a person at most a share (the risk) is wrong, on average over people, said with
  `SURE`. Selective classification with a guaranteed risk (Geifman and El-Yaniv, 2017),
  where the binomial tail over trials has given way to a bet over people (Waudby-Smith
  and Ramdas, Estimating means of bounded random variables by betting, 2024). Shares of
  trials, the surest first, are tried in a fixed order until one fails, so that no
  correction is needed for trying many (Angelopoulos et al., Learn then test, 2021).
- `Interval`: how far ratings are from what is said of them, in all but a share of new
  people's trials: conformal prediction of hierarchical data, in which each person has
  the same weight, and one more the worst error (Lee, Barber and Willett, 2023).

They hold for the models as they were tested: the mean over the seeds of a fold. That of
all folds lies nearer to one half, so it abstains rather more.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from scipy.special import logsumexp

from mvp_jax.array_types import Float, Int, Num, Shaped
from mvp_jax.targets.calibration import confidence

if TYPE_CHECKING:  # it imports targets
  from mvp_jax.evaluation.predictions import Prediction, Track

SURE = 0.9
# Four answers of five right. To show it takes 13 people who are never misread, or 25 of
# whom each is one time of ten.
RISK = 0.2
_SHARES = np.arange(1, 11) / 10  # of the trials, the surest first
# The first share that is tried is one in which so many of the people have an answer. On
# 37 real people of 8 trials each half of them were too few to show a risk of 0.3 (25
# people, 18 % wrong), three quarters showed it (32 people, 12 %).
_MOST = 0.75
_STAKES = 200


@dataclasses.dataclass(frozen=True)
class Abstention:
  """From which confidence on a model answers high or low.

  Attributes:
    risk: at most this share of the answers about a person is wrong, on average over
      people. That which was asked for or, where it is less, what is wrong if always
      the same is answered.
    threshold: the least confidence (see `calibration.confidence`) of an answer; None:
      there is no such one, the run has learnt none.
    share: of the held-out trials that were answered. Without a threshold this and all
      below are of the first share of them that was tried.
    wrong: of these answers, the mean over people.
    answered: how many people got one.
    people: how many there are.
  """

  risk: float
  threshold: float | None
  share: float
  wrong: float | None
  answered: int
  people: int

  def answer(self, value: float) -> Literal['high', 'low'] | None:
    """'high', 'low' or None, of a probability of high."""
    if self.why(value):
      return None
    return 'high' if value >= 0.5 else 'low'

  def why(self, value: float) -> str:
    """Why there is no answer, in a few words; '' where there is one."""
    if self.threshold is None:
      return f"this run can't tell when it is wrong: {self.told()}"
    if not confidence(value) >= self.threshold:
      return (
        f'it is {confidence(value):.2f} sure, and answers from {self.threshold:.2f} on '
        f'are wrong in at most {self.risk:.0%}'
      )
    return ''

  def told(self) -> str:
    """What was learnt, in a sentence's part."""
    if not self.answered:
      return f'it was tested on too few people ({self.people}) to learn it'
    held_out = (
      f'of the surest {self.share:.0%} of held-out trials {self.wrong:.0%} were wrong '
      f'(mean over {self.answered} of {self.people} people)'
    )
    if self.threshold is None:
      return f'{held_out}: not enough to promise at most {self.risk:.0%}'
    return (
      f'answers where it is at least {self.threshold:.2f} sure: at most '
      f'{self.risk:.0%} wrong, with {SURE:.0%} confidence; {held_out}'
    )


@dataclasses.dataclass(frozen=True)
class Interval:
  """How far a rating may be from what is said of it.

  Attributes:
    risk: at most this share of ratings lies farther away.
    half: by how much the rating of a trial does, of one in time the mean of its rated
      moments; None: there are too few people to say.
    moment: the same of a moment, of a target in time.
    constant: `half` of who always says the median rating.
    people, trials: that it was learnt from.
  """

  risk: float
  half: float | None
  moment: float | None
  constant: float | None
  people: int
  trials: int

  def answer(
    self,
    value: float | Float[np.ndarray, ' n'],
    scale: tuple[float, ...] = (),
    half: float | None = None,
  ) -> tuple[Float[np.ndarray, '*n'], Float[np.ndarray, '*n']] | None:
    """(low, high) about a value, or None: as far as the scale goes.

    Args:
      value: float or [n].
      half: that of a trial, if not given.
    """
    half = self.half if half is None else half
    if half is None:
      return None
    low, high = scale or (-math.inf, math.inf)
    return np.clip(value - half, low, high), np.clip(value + half, low, high)

  def why(self, value: object = None) -> str:
    """Why there is no answer, or it says little; '' otherwise."""
    if self.half is None or self.constant is None:
      return f'{self.people} people are too few to learn an interval of'
    if self.half >= self.constant:
      return 'the interval is no narrower than that of always saying the median rating'
    return ''

  def told(self) -> str:
    """What was learnt, in a sentence's part."""
    if self.half is None:
      return self.why()
    of = '' if self.moment is None else f' ({self.moment:.3g} of a moment)'
    return (
      f'within {self.half:.3g}{of} of the rating in {1 - self.risk:.0%} of new '
      f"people's trials; the median rating within {self.constant:.3g}"
    )


Promise: TypeAlias = Abstention | Interval
People: TypeAlias = Int[np.ndarray, ' n']  # whose trial each is, from 0
KINDS: dict[str, type[Promise]] = {'abstention': Abstention, 'interval': Interval}


def to_dict(promise: Promise) -> dict[str, Any]:
  """A promise as JSON has it."""
  (kind,) = (name for name, one in KINDS.items() if type(promise) is one)
  return {'kind': kind, **dataclasses.asdict(promise)}


def from_dict(given: dict[str, Any]) -> Promise:
  """A promise of `to_dict`."""
  fields = dict(given)
  return KINDS[fields.pop('kind')](**fields)


def abstention(
  people: People,
  scores: Sequence[float] | Float[np.ndarray, ' n'],
  labels: Sequence[float] | Num[np.ndarray, ' n'],
  risk: float = RISK,
) -> Abstention:
  """Learns from which confidence on to answer.

  Args:
    people: whose trial each is.
    scores: probabilities of high of people that were not trained on.
    labels: 0 or 1 (or the mean of several).
    risk: see `Abstention`.
  """
  people, labels = np.asarray(people), np.asarray(labels, float)
  scores, number = np.asarray(scores, float), int(np.max(people)) + 1
  sure, wrong = confidence(scores), np.abs(labels - (scores >= 0.5))
  _, high = _means(people, labels, number)
  risk = min(risk, float(np.mean(high)), float(1 - np.mean(high)))
  found = Abstention(risk, None, 0.0, None, 0, number)
  for share in _SHARES:
    threshold = _threshold(sure, share)
    answered = sure >= threshold
    whose, of_person = _means(people[answered], wrong[answered], number)
    if len(whose) < _MOST * number and share < 1:
      continue
    known = evidence(of_person, risk) >= 1 / (1 - SURE)
    if known or not found.answered:
      found = Abstention(
        risk,
        threshold if known else None,
        float(answered.mean()),
        float(of_person.mean()),
        len(whose),
        number,
      )
    if not known:
      break
  return found


def evidence(wrong: Shaped[np.ndarray, ' n'], risk: float) -> float:
  """How much `wrong`, independent and from 0 to 1, says that their mean is less.

  What a bet against a mean of `risk` or more has come to, begun with 1: were it so, it
  would reach x with a chance of 1 / x at most, of whatever n. It is shared evenly
  between stakes from a half to all of what cannot ruin; smaller ones pay where people
  are hundreds.
  """
  if not 0 < risk < 1:
    return 0.0
  stakes = (1 + (np.arange(_STAKES) + 0.5) / _STAKES) / 2 / (1 - risk)
  gains = np.log1p(stakes[:, None] * (risk - np.asarray(wrong, float)[None]))
  return float(np.exp(min(logsumexp(gains.sum(1)) - math.log(_STAKES), 700.0)))


def interval(
  people: People,
  said: Sequence[float] | Sequence[Float[np.ndarray, ' _']],
  ratings: Sequence[float] | Sequence[Float[np.ndarray, ' _']],
  risk: float = RISK,
) -> Interval:
  """Learns how far ratings are from what is said of them.

  Args:
    people: whose trial each is.
    said, ratings: of people that were not trained on: of each trial a number, or those
      of its moments.
    risk: see `Interval`.
  """
  moment = None
  if np.ndim(said[0]):
    lengths = [np.size(x) for x in said]
    errors = np.abs(np.concatenate(said) - np.concatenate(ratings))
    moment = half_width(np.repeat(people, lengths), errors, risk)
  mine, given = (np.array([np.mean(x) for x in of]) for of in (said, ratings))
  constant = np.abs(given - np.median(given))
  return Interval(
    risk,
    half_width(people, np.abs(mine - given), risk),
    moment,
    half_width(people, constant, risk),
    int(np.max(people)) + 1,
    len(said),
  )


def half_width(
  people: People, errors: Float[np.ndarray, ' n'], risk: float
) -> float | None:
  """What the error of a new person's trial exceeds with a chance of `risk` at most.

  None where there are too few people.
  """
  people, errors = np.asarray(people), np.asarray(errors, float)
  counts = np.bincount(people)
  order = np.argsort(errors, kind='stable')
  weights = 1 / counts[people[order]] / (np.count_nonzero(counts) + 1)
  reached = np.cumsum(weights) >= 1 - risk - 1e-9
  return float(errors[order][np.argmax(reached)]) if reached.any() else None


def by_trial(
  rows: Sequence['Prediction | Track'], said: str, truth: str
) -> tuple[People, list[Any], list[Any]]:
  """Predictions of held-out trials, the mean over seeds.

  Args:
    rows: of one model and rating, `evaluation.predictions.Prediction` or `Track`.
    said, truth: names of numbers, or of arrays [n], of a row.

  Returns:
    whose each trial is, and of both columns a list of [] or [n].
  """
  trials: dict[tuple[str, int, int], list[Prediction | Track]] = {}
  for row in rows:
    trials.setdefault(row.place, []).append(row)
  persons = sorted({place[:2] for place in trials})
  number = {person: i for i, person in enumerate(persons)}
  people = np.array([number[place[:2]] for place in trials])
  mine, given = (
    [np.mean([getattr(row, name) for row in own], axis=0) for own in trials.values()]
    for name in (said, truth)
  )
  return people, mine, given


def _threshold(sure: Float[np.ndarray, ' n'], share: float) -> float:
  """Half-way below the surest share of trials; 0.5, all of them, at the end."""
  levels, counts = np.unique(-sure, return_counts=True)
  last = int(np.searchsorted(counts.cumsum(), round(share * len(sure)) - 0.5))
  if last >= len(levels) - 1:
    return 0.5
  return float(-(levels[last] + levels[last + 1]) / 2)


def _means(
  people: People, values: Num[np.ndarray, ' n'], number: int
) -> tuple[Int[np.ndarray, ' m'], Float[np.ndarray, ' m']]:
  """Who there is, and the mean of each one's values."""
  counts = np.bincount(people, minlength=number)
  whose = np.flatnonzero(counts)
  return whose, np.bincount(people, values, number)[whose] / counts[whose]
