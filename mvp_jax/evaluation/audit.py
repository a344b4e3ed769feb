"""The leak audit: a run whose test trials are known to its training stops.

Checks are made before training where that can be known; what is fitted later is noted
by `fitted` as it happens. run.json holds the result, a failed audit prints no scores.
"""

import collections
import dataclasses
import itertools

from mvp_jax.data.splits import PROTOCOLS, SIDES, tested_part
from mvp_jax.errors import InputError
from mvp_jax.evaluation import content

_SHOWN = 3
PEOPLE = 'subjects'  # the check that an official split may not pass
_CONTENT = 'content: '  # and the stream: the name of a check


@dataclasses.dataclass(frozen=True)
class Check:
  """What was looked for, whether all is well, and what was found: one line.

  What failed and is `accepted` by a setting has passed.
  """

  name: str
  passed: bool
  detail: str
  accepted: bool = False


def check_folds(folds, trials, protocol, standardise=None, choices=1, accept=()):
  """Checks that test trials share with the others only what the protocol allows.

  Args:
    folds: list of data.splits.Fold.
    trials: all that are to be tested.
    protocol: one of data.splits.PROTOCOLS.
    standardise: as in modalities.Physio; None where it plays no part.
    choices: models of a training among which the validation trials choose.
    accept: as config.evaluation.accept; with `PEOPLE` an official split passes that has
      the same people on several sides.

  Returns:
    list of Check.
  """
  of = {trial.trial_id: trial for trial in trials}
  new = PROTOCOLS[protocol]
  selected = f'choose one of {choices} settings' if choices > 1 else 'select nothing'
  return [
    _trials(folds, of, protocol),
    _as_accepted(
      _apart(folds, of, 'subject', PEOPLE, 'subject' in new, protocol), protocol, accept
    ),
    _apart(folds, of, 'stimulus', 'stimuli', 'stimulus' in new, protocol),
    Check(
      'selection',
      True,
      f'validation trials are apart from test trials and {selected}: there is no early '
      'stopping, the last step is taken',
    ),
    _normalisers(standardise, 'stimulus' in new, protocol),
  ]


def check_content(corpus, folds, trials, accept=()):
  """Checks that no test trial holds a recording that is also on another side.

  The trials set aside to pre-train an encoder on count as another side in every fold.

  Args:
    accept: as config.evaluation.accept; what it names passes, and its detail says so.

  Returns:
    list of Check.

  Raises:
    InputError: `accept` names a check or a trial that there is not.
  """
  streams = [
    kind
    for kind in corpus.metadata['streams']
    if any(kind in trial.streams for trial in corpus.trials)
  ]
  accepted = _accepted(accept, streams, corpus.trials)
  found, checks = content.copies(corpus), []
  aside = {t.trial_id for t in corpus.trials} - {t.trial_id for t in trials}
  for kind in streams:
    name, bad, words = f'{_CONTENT}{kind}', [], kind.replace('_', ' ')
    for copy in (copy for copy in found if copy.stream == kind):
      pair = {copy.first, copy.second}
      for fold in folds:
        others = aside | set(fold.train) | set(fold.validation)
        if pair & set(fold.test) and pair & others:
          bad.append(copy)
          break
    allowed = accepted.get(kind, ())
    left = [
      copy
      for copy in bad
      if allowed is not None and {copy.first, copy.second} not in allowed
    ]
    if bad:
      shown = [*left, *(copy for copy in bad if copy not in left)]
      told = f'the same {words} in training and test: {_some(map(_pair, shown))}'
      told += _way_on(name, left) if left else '; accepted by evaluation.accept'
    elif found:
      told = f'no test trial holds {words} that are also trained on, not even shifted; '
      told += f'{len(found)} copies in all'
    else:
      told = f'no two of {len(corpus.trials)} trials hold the same {words}'
    told += _untold(corpus, kind)
    checks.append(Check(name, not left, told, bool(bad) and not left))
  return checks


def _accepted(accept, streams, trials):
  """{stream: list of {trial, trial}, or None for all} of config.evaluation.accept."""
  names, ids = [_CONTENT + kind for kind in streams], {t.trial_id for t in trials}
  found = {}
  for item in accept:
    if item == PEOPLE:  # of `check_folds`
      continue
    name, of_two, pair = item.partition('/')
    if name not in names:
      raise InputError(
        f'evaluation.accept: there is no check {name!r} to accept; there are '
        f'{", ".join(names)}'
      )
    kind, pair = name.removeprefix(_CONTENT), pair.split('+')
    if not of_two:
      found[kind] = None
      continue
    wrong = [trial for trial in pair if trial not in ids]
    if wrong or len(set(pair)) != 2:
      what = f'no trial {wrong[0]!r}' if wrong else 'not two trials'
      raise InputError(
        f'evaluation.accept: {what} in {item!r}, give {name}/TRIAL_A+TRIAL_B; '
        f'there are {_some(sorted(ids))}'
      )
    if found.setdefault(kind, []) is not None:
      found[kind].append(set(pair))
  return found


def _pair(copy):
  shift = f' (shifted by {copy.shift:g} s)' if copy.shift else ''
  return f'{copy.first} and {copy.second}{shift}'


def _way_on(name, copies):
  """What to set for a check that found some copies to pass."""
  pairs = ','.join(f'{name}/{copy.first}+{copy.second}' for copy in copies)
  setting = pairs if len(copies) <= _SHOWN else name
  return (
    '; leave one of each out, or accept them with '
    f"--config.evaluation.accept='{setting}' (the report will say so)"
  )


def _untold(corpus, kind):
  """How many trials of a stream are too plain for copies to be told."""
  if corpus.metadata['streams'][kind]['kind'] != 'series':
    return ''
  plain = content.untold(corpus).get(kind)
  if not plain:
    return ''
  return f'; {len(plain)} trials vary too little for copies of them to be told'


def check_encoder(record, corpus, tested, allowed, name='encoder'):
  """Says what is known of those whom an encoder was pre-trained on: a Check.

  People are told apart by the identities of their recordings: a corpus has those of
  each subject in `metadata['people']`, a record those of all whom it was trained on.

  Args:
    record: of the encoder: `people`, a list of identities, and `labels`, what it was
      trained to tell of them, if anything; None = random weights.
    tested: numbers of the subjects in the folds.
    allowed: as config.evaluation.allow_encoder_overlap.
    name: of the check; 'encoder' is that of the video.
  """
  if record is None:
    told = 'random weights; at most trained in each fold, on its training trials alone'
    return Check(name, True, told)
  people = corpus.metadata.get('people') or {}
  known = frozenset(record.get('people', ()))
  unknown = 'imported: whom it was pre-trained on is not known here'
  if not known:
    return Check(name, True, unknown)
  seen = [s for s in sorted(tested) if known.intersection(people.get(str(s), ()))]
  if seen:
    labels = (
      f'with their {record["labels"]}' if 'labels' in record else 'without labels'
    )
    told = f'was pre-trained on test subjects {_some(seen)}, {labels}; '
    if allowed:
      told += 'accepted by evaluation.allow_encoder_overlap'
      return Check(name, True, told, accepted=True)
    told += 'pre-train on others, or accept it with '
    told += '--config.evaluation.allow_encoder_overlap=True (the report will say so)'
    return Check(name, False, told)
  nameless = [s for s in sorted(tested) if not people.get(str(s))]
  more = f'; whether on {_some(nameless)} is not known' if nameless else ''
  if record.get('imported_from'):  # and trained on others since
    more += f'; before that {unknown}'
  return Check(name, True, f'pre-trained on no test subject{more}')


def fitted(facts, fold, what, trials, values=None, validation=False):
  """Notes in run.json's facts on whom something was fitted, and checks it.

  `what` is a name, such as 'video scale'; `trials` are Trials or their ids; `values` go
  beside it. Raises InputError if some trials are not to train on, or if `validation`
  not to validate on.
  """
  ids = {getattr(trial, 'trial_id', trial) for trial in trials}
  # A subject that is not trained on may have a threshold of its own labels.
  own = what == 'thresholds' and bool(getattr(fold.target, 'own', None))
  side = 'validation' if validation else 'training'
  known = set(fold.validation if validation else fold.train)
  wrong = sorted(ids - known) if not own else []
  if wrong:
    raise InputError(
      f'audit: {what} of fold {fold.fold} saw {_some(wrong)}, which '
      f'is not among its {side} trials; no scores are given'
    )
  on = 'each subject for itself' if own else f'{side} trials'
  noted = facts['folds'][fold.fold].setdefault('fitted', {})
  noted[what] = {'on': on if ids else 'nothing', 'trials': len(ids), **(values or {})}


def report(checks, before=None):
  """What run.json says of an audit: `before` (or None) with some checks more."""
  known = {check['name']: check for check in (before or {}).get('checks', ())}
  known |= {check.name: dataclasses.asdict(check) for check in checks}
  return {
    'passed': all(check['passed'] for check in known.values()),
    'checks': list(known.values()),
  }


def stop_if_failed(audit):
  """Raises InputError, one line, if a check of `report` has failed."""
  failed = [f'{x["name"]}: {x["detail"]}' for x in audit['checks'] if not x['passed']]
  if failed:
    raise InputError(f'audit: {"; ".join(failed)}; repair it: no scores are given')


def _trials(folds, of, protocol):
  bad = []
  tested = collections.Counter(name for fold in folds for name in fold.test)
  # The official training set is never tested.
  official, part = protocol == 'official', tested_part(of.values())
  once = {n for n, trial in of.items() if not official or trial.part == part}
  for fold in folds:
    sides = [set(getattr(fold, side)) for side in SIDES]
    for a, b in itertools.combinations(sides, 2):
      bad += [f'{name} is on two sides of fold {fold.fold}' for name in sorted(a & b)]
  bad += [
    f'{name} is {"" if name in once else "of the training set and "}'
    f'tested {tested[name]} times'
    for name in of
    if tested[name] != (name in once)
  ]
  bad += [f'{name} is not in the corpus' for name in tested if name not in of]
  good = (
    f'each of {len(once)} trials is tested once, and on one side of its fold; '
    'windows and clips are cut from whole trials after the split'
  )
  return Check('trials', not bad, _some(bad) or good)


def _apart(folds, of, attribute, name, wanted, protocol):
  if not wanted:
    told = f'protocol {protocol!r} does not keep them apart'
    return Check(name, True, f'shared between training and test: {told}')
  bad = []
  for fold in folds:
    train, validation, test = (
      {name: getattr(of[name], attribute) for name in getattr(fold, side) if name in of}
      for side in SIDES
    )
    shared = set(test.values()) & {*train.values(), *validation.values()}
    if shared:
      trials = [name for name, value in test.items() if value in shared]
      bad.append(
        f'fold {fold.fold} tests {attribute} {_some(sorted(shared))} that it '
        f'also trains or validates on ({_some(trials)})'
      )
  good = f'no {attribute} is tested in a fold that trains or validates on it'
  return Check(name, not bad, _some(bad) or good)


def _as_accepted(check, protocol, accept):
  """The check of people, who are in several parts of some official splits."""
  if check.passed or protocol != 'official':
    return check
  if PEOPLE in accept:
    told = f'{check.detail}; accepted by evaluation.accept'
    return Check(check.name, True, told, accepted=True)
  return dataclasses.replace(
    check,
    detail=f"{check.detail}; split by people (evaluation.protocol='subjects'), or "
    f"accept it with --config.evaluation.accept='{PEOPLE}' (the report will say so)",
  )


def _normalisers(standardise, stimuli_apart, protocol):
  if standardise == 'subject' and stimuli_apart:
    return Check(
      'normalisers',
      False,
      "input.standardise 'subject' takes means over training and test "
      f"trials together under protocol {protocol!r}; use 'trial'",
    )
  signals = f'signals by their own {standardise}, ' if standardise else ''
  return Check(
    'normalisers',
    True,
    f"{signals}all else by the training trials of each fold, as noted under 'fitted'",
  )


def _some(items):
  items = list(items)
  shown = ', '.join(map(str, items[:_SHOWN]))
  more = len(items) - _SHOWN
  return f'{shown} and {more} more' if more > 0 else shown
