"""What is promised of new people is kept, as often as is said."""

import types

import numpy as np
import pytest
from scipy import integrate, stats

from mvp_jax.targets import Binary, Concordance, Regression, promises
from mvp_jax.targets.promises import RISK, SURE

PEOPLE, TRIALS = 40, 10
DRAWS = 60


def honest(rng, people, misread=0.0):
  """Probabilities that are true, but for some people who are the other way round."""
  who = np.repeat(np.arange(people), TRIALS)
  scores = 1 / (1 + np.exp(-rng.normal(0, 2.5, len(who))))
  true = np.where((rng.random(people) < misread)[who], 1 - scores, scores)
  return who, scores, (rng.random(len(who)) < true).astype(float)


def coin(rng, people):
  who = np.repeat(np.arange(people), TRIALS)
  return who, rng.random(len(who)), (rng.random(len(who)) < 0.5).astype(float)


def wrong_answers(learnt, who, scores, labels):
  """The share of wrong answers, the mean over people, by another way than there."""
  of_person: dict = {}
  for person, score, label in zip(who, scores, labels, strict=True):
    answer = learnt.answer(score)
    if answer is not None:
      of_person.setdefault(person, []).append(answer != ('high' if label else 'low'))
  return np.mean([np.mean(x) for x in of_person.values()])


@pytest.mark.parametrize('misread', [0.0, 0.12, 0.2])
def test_the_risk_holds_of_new_people_as_often_as_promised(misread):
  rng = np.random.default_rng(0)
  fresh = honest(rng, 150, misread)
  found = [promises.abstention(*honest(rng, PEOPLE, misread)) for _ in range(DRAWS)]
  learnt = [x for x in found if x.threshold is not None]
  broken = sum(wrong_answers(x, *fresh) > x.risk for x in learnt)
  assert stats.binom.sf(broken - 1, DRAWS, 1 - SURE) > 0.05
  if not misread:
    assert len(learnt) > 0.9 * DRAWS and not broken
    assert np.mean([x.share for x in learnt]) > 0.5
    answered = [np.mean([x.answer(s) is not None for s in fresh[1]]) for x in learnt]
    np.testing.assert_allclose(answered, [x.share for x in learnt], atol=0.1)


def test_who_tosses_a_coin_is_not_to_answer():
  rng = np.random.default_rng(0)
  found = [promises.abstention(*coin(rng, PEOPLE)) for _ in range(DRAWS)]
  assert all(x.threshold is None for x in found)
  assert found[0].answer(0.99) is None
  assert found[0].why(0.99).startswith("this run can't tell when it is wrong: of the ")
  assert found[0].wrong == pytest.approx(0.5, abs=0.1)


def test_who_always_says_the_same_is_not_to_answer():
  # 15 % are low, and a model that knows no more is wrong in less than the risk.
  rng = np.random.default_rng(0)
  who = np.repeat(np.arange(PEOPLE), TRIALS)
  for _ in range(20):
    labels = (rng.random(len(who)) < 0.85).astype(float)
    scores = np.clip(0.85 + rng.normal(0, 0.05, len(who)), 0, 1)
    found = promises.abstention(who, scores, labels)
    assert found.threshold is None and found.risk == pytest.approx(0.15, abs=0.06)


def test_one_person_who_is_always_misread_counts_as_one():
  who = np.repeat(np.arange(PEOPLE), TRIALS)
  labels = np.tile([0.0, 1.0], len(who) // 2)
  scores = np.where(labels, 0.9, 0.1)
  scores[:TRIALS] = 1 - scores[:TRIALS]
  found = promises.abstention(who, scores, labels)
  assert (found.share, found.wrong, found.answered) == (1, 1 / PEOPLE, PEOPLE)
  assert (found.risk, found.threshold, found.people) == (RISK, 0.5, PEOPLE)
  # However many trials he has: here almost half of all.
  many = np.concatenate([np.zeros(30 * TRIALS, int), who])
  more = promises.abstention(
    many,
    np.concatenate([np.tile(scores[:TRIALS], 30), scores]),
    np.concatenate([np.tile(labels[:TRIALS], 30), labels]),
  )
  assert more.wrong == pytest.approx(1 / PEOPLE) and more.threshold == 0.5


def test_the_threshold_lies_between_two_confidences():
  # Sure and right in half of each person's trials, half sure and wrong in the others.
  who = np.repeat(np.arange(PEOPLE), TRIALS)
  sure = np.arange(len(who)) % 2 == 0
  labels = (np.arange(len(who)) // 2 % 2).astype(float)
  right = np.where(labels == 1, 0.9, 0.1)
  scores = np.where(sure, right, np.where(labels == 1, 0.4, 0.6))
  found = promises.abstention(who, scores, labels)
  assert found.threshold == pytest.approx(0.75)
  assert (found.share, found.wrong) == (0.5, 0)
  assert [found.answer(x) for x in (0.8, 0.7, 0.5, 0.3, 0.2)] == [
    *('high', None, None, None, 'low')
  ]
  assert found.why(0.7) == (
    'it is 0.70 sure, and answers from 0.75 on are wrong in at most 20%'
  )
  assert promises.from_dict(promises.to_dict(found)) == found


@pytest.mark.parametrize('risk', [0.1, 0.2, 0.4])
def test_evidence_is_never_more_than_the_binomial_tail_allows(risk):
  # Of yes and no, the tail is the strongest test there is.
  for count in (5, 13, 40):
    for wrong in range(count + 1):
      outcomes = np.arange(count) < wrong
      tail = stats.binom.cdf(wrong, count, risk)
      assert 1 / promises.evidence(outcomes, risk) >= tail * (1 - 1e-9)
  # The stake's mean, by quadrature.
  values, low = np.array([0, 0.25, 0.5, 0, 0, 1]), 0.5 / (1 - risk)
  mean, _ = integrate.quad(
    lambda x: np.prod(1 + x * (risk - values)) / low, low, 2 * low
  )
  assert promises.evidence(values, risk) == pytest.approx(mean, rel=1e-4)


def test_so_many_people_as_is_said_can_show_it():
  needed = 1 / (1 - SURE)
  assert promises.evidence(np.zeros(12), RISK) < needed
  assert promises.evidence(np.zeros(13), RISK) >= needed
  assert promises.evidence(np.full(24, 0.1), RISK) < needed
  assert promises.evidence(np.full(25, 0.1), RISK) >= needed
  few = promises.abstention(*honest(np.random.default_rng(0), 4))
  assert few.threshold is None


@pytest.mark.parametrize('people', [5, 19])
def test_intervals_hold_the_ratings_of_new_people(people):
  # Errors of a person's trials go together, and some people have many trials.
  rng = np.random.default_rng(0)

  def draw(number):
    counts = rng.integers(1, 20, number)
    who = np.repeat(np.arange(number), counts)
    shift = rng.normal(0, 1, number)[who] * (1 + (counts[who] > 10))
    return who, shift + rng.normal(0, 0.5, len(who))

  inside = []
  for _ in range(300):
    half = promises.half_width(*map(np.abs, draw(people)), RISK)
    who, error = draw(1)
    inside.append(np.mean(np.abs(error) <= half))
  # At least so often, and not always: with few people by one of them more.
  least, most = 1 - RISK, 1 - RISK + 1 / (people + 1)
  slack = 3 * np.std(inside) / np.sqrt(len(inside))
  assert least - slack < np.mean(inside) < most + slack


def test_the_half_width_is_a_quantile_of_people():
  # One trial each: the k-th least error, k = ceil((n + 1) (1 - risk)).
  errors = np.random.default_rng(0).random(29)
  k = int(np.ceil(30 * 0.8))
  assert promises.half_width(np.arange(29), errors, 0.2) == np.sort(errors)[k - 1]
  # Doubling everybody's trials changes nothing.
  twice = np.tile(errors, 2), np.tile(np.arange(29), 2)
  assert promises.half_width(twice[1], twice[0], 0.2) == np.sort(errors)[k - 1]
  assert promises.half_width(np.arange(3), errors[:3], 0.2) is None
  assert promises.half_width(np.arange(4), errors[:4], 0.2) == errors[:4].max()


def row(subject, trial, seed, **values):
  place = ('x', subject, trial)
  return types.SimpleNamespace(place=place, seed=seed, **values)


def test_what_is_said_of_a_trial_is_the_mean_over_seeds():
  rows = [
    row(subject, trial, seed, score=0.9 if (trial == 1) == (seed < 2) else 0.3, label=1)
    for subject in (7, 3)
    for trial in (1, 2)
    for seed in (0, 1, 2)
  ]
  people, scores, labels = promises.by_trial(rows, 'score', 'label')
  assert people.tolist() == [1, 1, 0, 0] and labels == [1] * 4
  np.testing.assert_allclose(scores, [0.7, 0.5, 0.7, 0.5])
  assert Binary().promise(rows, 0.2).people == 2


def test_numbers_have_an_interval_and_those_in_time_one_of_moments():
  rows = [
    row(subject, 1, 0, predicted_rating=3.0, rating=3.0 + subject)
    for subject in range(9)
  ]
  found = Regression().promise(rows, 0.2)
  assert (found.half, found.moment, found.constant) == (7, None, 4)
  assert found.why() == (
    'the interval is no narrower than that of always saying the median rating'
  )
  low, high = found.answer(np.array([2.0]), (0, 5))
  assert (low, high) == (0, 5)
  times = np.arange(4.0)
  tracks = [
    row(
      subject,
      1,
      0,
      predictions=times,
      ratings=times + subject * np.array([1, -1, 1, -1]),
    )
    for subject in range(9)
  ]
  for target in (Concordance(), Regression(level='frame')):
    found = target.promise(tracks, 0.2)
    assert (found.half, found.moment, found.constant) == (0, 7, 0)
    assert promises.from_dict(promises.to_dict(found)) == found
