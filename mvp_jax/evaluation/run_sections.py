"""The report's sections on the run: origin, audit, folds, data, encoder, curves."""

import json

from mvp_jax.evaluation import case_figures, cases, course_figures, figures
from mvp_jax.evaluation.document import (
  Banner,
  Bullets,
  Folded,
  Heading,
  Link,
  Paragraph,
  Section,
  Table,
  words,
)
from mvp_jax.evaluation.figures import picture
from mvp_jax.evaluation.results import in_order
from mvp_jax.evaluation.statistics import Difference
from mvp_jax.evaluation.summary import interval, number
from mvp_jax.targets import Binary, Target, from_dict

_SIDES = ('train_subjects', 'validation_subjects', 'test_subjects')  # of a fold


class Facts:
  """run.json, of which any key may be missing or be of another kind."""

  def __init__(self, facts):
    self._facts = facts

  def get(self, key, kind):
    value = self._facts.get(key)
    return value if isinstance(value, kind) else None

  @property
  def target(self) -> Target:
    """What was predicted; a Binary one of whatever ratings where it is silent."""
    described = self.get('target', dict)
    return from_dict(described) if described else Binary(())

  @property
  def main(self):
    """The main model, or None where run.json does not say."""
    models = self.get('models', list)
    return models[0] if models and isinstance(models[0], str) else None

  @property
  def audit(self):
    """The leak audit: None if not known, else whether it passed and its checks."""
    audit = self.get('audit', dict)
    if not audit or not isinstance(audit.get('passed'), bool):
      return None
    checks = _objects(audit.get('checks'))
    return (audit['passed'] and all(check.get('passed') for check in checks)), checks


def origin(run, facts, synthetic):
  if synthetic:
    yield Banner(
      'SYNTHETIC',
      'These numbers come from a computer-made twin of the '
      'corpus with planted effects. They show that the method runs and '
      'finds what was planted; they say nothing about people.',
    )
  elif facts.get('synthetic', bool) is None:
    where = 'run.json is absent' if run is None else 'run.json does not say'
    yield Banner(
      'Origin unknown', f'{where}: whether these data are synthetic is not known.'
    )


def accepted(facts):
  """What the audit found and a setting accepted, before anything else is said."""
  found = accepted_lines(facts)
  if found:
    yield Banner(
      'LEAK ACCEPTED',
      'The leak audit found that test trials are known to the training, and the '
      'config accepts it: scores may be too good. ' + ' '.join(found),
    )


def accepted_lines(facts):
  """A sentence for each check that has passed only because a setting accepts it."""
  checks = facts.audit[1] if facts.audit else []
  return [
    f'{text(check.get("name"))}: {text(check.get("detail"))}.'
    for check in checks
    if check.get('accepted') is True
  ]


def audit_failed(facts):
  """What stands in place of all scores."""
  checks = facts.audit[1]
  yield Banner(
    'LEAK AUDIT FAILED: NO SCORES',
    'Test trials are known to the training, '
    'so that any score would be too good. Repair what failed and rerun.',
  )
  failed = [c for c in checks if not c.get('passed')]
  yield Bullets([f'{text(c.get("name"))}: {text(c.get("detail"))}' for c in failed])
  yield _checks(checks)


def tested(results, facts):
  """What was tested and how, in a few sentences; on the first screen."""
  seeds = max(result.seeds for result in results)
  folds = len({(fold.seed, fold.fold) for r in results for fold in r.folds}) // seeds
  protocol = facts.get('protocol', str)
  said = [
    f'Protocol: {words(protocol)}, ' if protocol else 'Protocol: not stated, ',
    f'{folds} folds' if folds != 1 else '1 fold',
    f', {seeds} seeds' if seeds > 1 else '',
    '. ',
    meaning(facts),
    ' ',
  ]
  given, left = facts.get('trials_in', int), facts.get('trials_out', int)
  if given is not None and left is not None:
    said.append(f'{given - left} of {given} trials dropped in preparation. ')
  if windows := facts.get('windows', str):
    said.append(f'{windows} ')
  if facts.audit:
    count = len(accepted_lines(facts))
    more = f', {count} only since the config accepts what was found' if count else ''
    said.append(f'Leak audit: passed ({len(facts.audit[1])} checks{more}).')
  else:
    said.append('Leak audit: none in run.json.')
  yield Paragraph(''.join(said))


def audit_section(facts):
  if facts.audit:
    by = ', as accepted' if accepted_lines(facts) else ''
    yield Section(f'Leak audit: passed{by}', [_checks(facts.audit[1])])


def _checks(checks):
  rows = [[text(c.get(key)) for key in ('name', 'passed', 'detail')] for c in checks]
  return Table(['check', 'passed', 'what was found'], rows, text_columns=3)


def meaning(facts):
  """A sentence that says what is predicted."""
  if facts.get('target', dict):
    return facts.target.meaning()
  return 'What is predicted is not defined in run.json.'


def leak_meter(facts):
  """What wrong splits would have claimed; a warning, not a result."""
  keys, rows = ('honest', 'claimed', 'inflation', 'low', 'high'), []
  for row in _objects(facts.get('leak_meter', list)):
    values = [row.get(key) for key in keys]
    if all(isinstance(value, float) for value in values):
      honest, claimed, *gain = values
      names = [text(row.get(key)) for key in ('target', 'model', 'split')]
      gain = interval(Difference(*gain), sign=True)
      rows.append([*names, number(honest), number(claimed), gain])
  if rows:
    banner = Banner(
      'NOT RESULTS',
      'The same model under splits that leak, to show by how '
      'much they inflate the score. Never report these.',
    )
    header = ['target', 'model', 'tested on', 'honest', 'claimed', 'inflation']
    title = 'Leak meter: what wrong splits would have claimed'
    yield Section(title, [banner, Table(header, rows, text_columns=3)])


def folds(results, predictions, facts):
  blocks = []
  for result in results:
    many = result.seeds > 1
    target, composed = result.definition, result.composition or ()
    # Chance by another score than the headline says nothing here.
    names = [
      name
      for name in result.everyone
      if name in result.models
      or target.known_baselines[name].chance in ('', target.headline)
    ]
    counts = ['fold', *['seed'] * many, 'subjects', 'trials']
    rows = [[str(getattr(fold, x)) for x in counts] for fold in result.folds]
    for row, fold in zip(rows, result.folds, strict=True):
      row += [number(fold.composition[1])] if composed else []
      row += [number(fold.headline[name]) for name in names]
    header = [*counts, *composed[:1], *map(target.called, names)]
    header[0] = f'{result.target}: fold'
    blocks.append(Table(header, rows))
  name = results[0].headline_name
  blocks.append(
    Paragraph(f'{name[0].upper()}{name[1:]} of the held-out trials of each fold.')
  )
  yield Section('Folds', [*blocks, *_sides(predictions, facts)])


def _sides(predictions, facts):
  tested = {}
  for row in predictions:
    tested.setdefault(row.fold, set()).add(row.subject)
  folds = _objects(facts.get('folds', list))
  folds = [fold for fold in folds if isinstance(fold.get('fold'), int)]
  if not folds:
    rows = [[str(fold), _ranges(subjects)] for fold, subjects in sorted(tested.items())]
    yield Table(['fold', 'test subjects'], rows, text_columns=2)
    yield Paragraph(
      'The training and validation subjects of the folds are absent '
      'from run.json, so subject independence is not checked here.'
    )
    return
  rows = [
    [str(fold['fold']), *(_ranges(fold.get(x)) for x in _SIDES)] for fold in folds
  ]
  yield Table(['fold', 'training', 'validation', 'test'], rows, text_columns=4)
  if not facts.audit:
    yield Paragraph(_independence(folds, tested))
  listed = {subject for fold in folds for subject in _items(fold.get('test_subjects'))}
  lost = listed - {row.subject for row in predictions}
  if lost:
    yield Paragraph(f'Test subjects without any prediction: {_ranges(lost)}.')


def _independence(folds, tested):
  faults, listed = [], {fold['fold'] for fold in folds}
  for fold in folds:
    train, validation, test = (set(_items(fold.get(side))) for side in _SIDES)
    shared = (test | tested.get(fold['fold'], set())) & (train | validation)
    if shared:
      faults.append(
        f'fold {fold["fold"]} tests on subjects {_ranges(shared)}, '
        'which it also trains or validates on'
      )
  missing = sorted(set(tested) - listed)
  if missing:
    faults.append(f'run.json does not list fold {_ranges(missing)}')
  if faults:
    return f'NOT subject-independent as far as can be seen: {"; ".join(faults)}.'
  return 'Checked: no fold tests on a subject that it trains or validates on.'


def truth(predictions, facts, synthetic):
  """A figure of what was rated: its labels, or its course beside the predictions."""
  target = facts.target
  models, _ = in_order((row.model for row in predictions), target, facts.main)
  if target.level == 'frame':
    if chosen := cases.choose(predictions, target, facts.main):
      yield picture(
        'courses',
        course_figures.courses(predictions, chosen, models, synthetic),
        'Ratings (dark) and predictions over time, of all held-out recordings of '
        f'{models[0]} {cases.COURSE_RULE}.',
      )
  elif target.classes:
    threshold = getattr(target, 'threshold', None)
    known = facts.get('target', dict) and not isinstance(threshold, str)
    yield picture(
      'labels',
      figures.labels(predictions, threshold if known else None, synthetic),
      f'Ratings and labels of the held-out trials. {meaning(facts)}',
    )
  elif models:
    yield picture(
      'agreement',
      figures.agreement(predictions, models[0], synthetic),
      f'Held-out trials of {models[0]}: predicted and given ratings.',
    )


def data(workdir, predictions, facts, synthetic):
  yield from truth(predictions, facts, synthetic)
  rows = []
  for key in ('trials_in', 'trials_out'):
    value = facts.get(key, int)
    rows.append([words(key), 'absent from run.json' if value is None else str(value)])
  dropped = facts.get('dropped', dict)
  if dropped:
    rows += [[f'dropped: {code}', text(value)] for code, value in dropped.items()]
  else:
    rows.append(['dropped', 'absent from run.json' if dropped is None else 'none'])
  yield Table(['account', ''], rows, text_columns=2)
  yield from account(workdir)


def account(workdir):
  if (workdir / 'account.html').exists():
    told = 'Every trial as it was prepared, and what was dropped and why: account.html'
    yield Link(told, 'account.html')


def encoder(predictions, facts):
  checks = facts.audit[1] if facts.audit else []
  for name, record in (facts.get('pretrained', dict) or {}).items():
    yield _record(f'pre-trained {name}', record)
    for check in checks:
      if check.get('name') == f'{name} pre-training':
        yield Paragraph(f'Leak audit: {text(check.get("detail"))}.')
  encoder = facts.get('encoder', dict)
  if not encoder:
    told = 'Absent from run.json: what the video encoder was trained on is not known.'
    yield Paragraph(told)
    return
  yield _record('video encoder', encoder)
  told = [check for check in checks if check.get('name') == 'encoder']
  if told:  # by the identities of people, which numbers do not tell
    yield Paragraph(f'Leak audit: {text(told[0].get("detail"))}.')
    return
  trained_on = encoder.get('trained_on_subjects')
  if not isinstance(trained_on, list):
    yield Paragraph('Which subjects it was trained on is absent from run.json.')
    return
  shared = {row.subject for row in predictions} & set(_items(trained_on))
  yield Paragraph(
    f'Test subjects {_ranges(shared)} are among those that the encoder was trained '
    'on: their faces (not their labels) were seen before.'
    if shared
    else 'Checked: no test subject is among those that the encoder was trained on.'
  )


def _record(title, record):
  """A table of what an encoder is and has seen."""
  shown = {key: text(value) for key, value in record.items()}
  if isinstance(people := record.get('people'), list):
    shown['people'] = text(len(people))
  if 'trained_on_subjects' in shown:
    shown['trained_on_subjects'] = _ranges(record['trained_on_subjects'])
  rows = [[words(key), value] for key, value in shown.items()]
  return Table([title, ''], rows, text_columns=2)


def learning(curves, synthetic, models=()):
  if not curves or not curves[0]:
    yield Paragraph('Absent: metrics.jsonl is missing or holds no losses.')
    return
  yield picture(
    'learning_curves',
    figures.learning_curves(curves[0], synthetic, models),
    'Loss against training step. Thin: one run each; bold: their mean, '
    'with a band of one standard deviation over runs. Grey: training.',
  )
  if curves[1]:
    yield Paragraph(
      f'{curves[1]} lines of metrics.jsonl could not be read and were passed over.'
    )


def success_and_failure(workdir, predictions, facts, synthetic):
  """A figure for each rating of the trials that `cases.choose` chooses."""
  chosen = cases.choose(predictions, facts.target, facts.main)
  if not chosen:
    return
  yield Heading('Success and failure')
  files = {
    row.place: cases.read(cases.path(workdir / cases.FOLDER, row))
    for row in cases.rows_of(chosen)
  }
  if not any(files.values()):
    yield Paragraph('Absent: there are no files in cases/.')
    if facts.target.level == 'trial':  # else there is still what was predicted
      return
  first = cases.rows_of(chosen)[0]
  many = len({row.seed for row in predictions}) > 1
  for place, (target, of_target) in enumerate(chosen.items(), 1):
    found = [files[row.place] for row in of_target.rows]
    said = [
      f'{target}, held-out trials of {first.model}'
      + (f' (seed {first.seed})' if many else '')
      + f': {of_target.rule}.',
      *of_target.notes(),
    ]
    if any(arrays and 'weights' in arrays for arrays in found):
      said.append(
        'Colours: how much each moment that asks (of the modality that the fusion '
        'puts first) attends to each moment of the other, mean over layers and '
        'heads, 1 = evenly. Below, the mean over all moments that ask.'
      )
    if any(arrays and 'shares' in arrays for arrays in found):
      said.append(case_figures.SHARES)
    said.append('Grey: not valid, no model sees it.')
    yield picture(
      f'cases_{place}', case_figures.cases(of_target, found, synthetic), ' '.join(said)
    )


def how(predictions, facts, config):
  rows = [['seeds', _ranges({row.seed for row in predictions})]]
  for key in ('git', 'device'):
    rows.append([key, facts.get(key, str) or 'absent from run.json'])
  yield Table(['run', ''], rows, text_columns=2)
  if chosen := facts.get('chosen', dict):
    found = {name: x for name, x in chosen.items() if isinstance(x, dict)}
    rows = [[name, text(x.get('validation_loss'))] for name, x in found.items()]
    yield Table(['chosen on the validation trials', 'loss'], rows)
  for name in ('parameters', 'seconds'):
    if table := facts.get(name, dict):
      yield key_table(name, table)
    else:
      yield Paragraph(f'{name.capitalize()}: absent from run.json.')
  if versions := facts.get('versions', dict):
    lines = '\n'.join(f'{key} {text(value)}' for key, value in versions.items())
    yield Folded('Package versions', lines)
  else:
    yield Paragraph('Package versions: absent from run.json.')
  if config is None:
    yield Paragraph('Config: config.json is absent.')
  else:
    yield Folded('Config', json.dumps(config, indent=2))


def key_table(name, values):
  """A table of an object of a JSON file."""
  return Table([name, ''], [[words(key), text(x)] for key, x in values.items()])


def _items(value, kind=int | str):
  """Those of a list that are of a kind; none where it is no list."""
  return [x for x in value if isinstance(x, kind)] if isinstance(value, list) else []


def _objects(value):
  return _items(value, dict)


def _ranges(numbers):
  """`[1, 2, 3, 5]` as `1-3, 5`."""
  if not isinstance(numbers, list | set):
    return 'absent'
  if not all(isinstance(n, int) for n in numbers):
    return text(list(numbers))
  spans = []
  for n in sorted(numbers):
    if spans and n <= spans[-1][1] + 1:
      spans[-1][1] = n
    else:
      spans.append([n, n])
  return ', '.join(f'{a}' if a == b else f'{a}-{b}' for a, b in spans) or 'none'


def text(value):
  """A value of a JSON file for people."""
  match value:
    case bool():
      return 'yes' if value else 'no'
    case int():
      return f'{value:,}'
    case float():
      return f'{value:,.1f}' if abs(value) >= 10 else f'{value:.4g}'
    case list():
      return ', '.join(map(str, value)) or 'none'
    case None:
      return 'none'
  return str(value)
