"""The report of an ablation: a table for each question, over several runs.

`write_ablation` writes report.html, report.md, figures/ and tables/ (CSV and LaTeX)
from the runs' predictions. Variants of one question are compared on the trials that
all have, each scored against the labels and within the folds of its own run.
"""

import dataclasses
from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.evaluation import crops, files, run_sections, score_figures
from mvp_jax.evaluation.document import Banner, Heading, Paragraph, Table
from mvp_jax.evaluation.figures import picture
from mvp_jax.evaluation.report import save
from mvp_jax.evaluation.results import common_trials, evaluate
from mvp_jax.evaluation.run_sections import Facts
from mvp_jax.evaluation.summary import shown
from mvp_jax.evaluation.tables import write_table
from mvp_jax.files import read_json
from mvp_jax.workdir import require_whole

COSTS = 'costs.json'  # of the encoders, by run: see `training.costs`


@dataclasses.dataclass(frozen=True)
class Variant:
  """A row of a question's table: a model of a run."""

  name: str
  model: str
  run: str  # a folder of runs/


def write_ablation(workdir, variants):
  """Writes the report; returns the path of report.html.

  `workdir` has runs/. `variants` are {question: list of Variant}; the first is what
  others are compared with. Raises InputError if predictions are missing or damaged.
  """
  workdir, rows, facts = Path(workdir), {}, {}
  for variant in (v for of_question in variants.values() for v in of_question):
    if variant.run not in rows:
      folder = workdir / 'runs' / variant.run
      require_whole(folder)
      facts[variant.run] = Facts(read_json(folder / 'run.json') or {})
      target = facts[variant.run].target
      rows[variant.run] = files.read_whole_predictions(folder, target)
  base = next(iter(facts.values()))
  synthetic, dataset = bool(base.get('synthetic', bool)), base.get('dataset', str) or ''
  blocks = [
    *_origin(base, len(rows), synthetic),
    *_accepted(facts),
    Heading('labels'),
    *run_sections.truth(next(iter(rows.values())), base, synthetic),
  ]
  for question, of_question in variants.items():
    blocks += _question(workdir, question, of_question, rows, facts, synthetic)
    blocks += _costs(workdir, question, of_question, facts)
    blocks += _crops(workdir, question, of_question, synthetic)
  blocks += _published(base.get('published', dict))
  return save(workdir, f'{dataset.upper()}: ablations', blocks)


def _origin(facts, runs, synthetic):
  if synthetic:
    yield Banner(
      'SYNTHETIC',
      'A made-up twin with planted effects: the scores say '
      'that the program works, and nothing about emotion.',
    )
  target = facts.target
  yield Paragraph(
    f'{runs} runs of the main job; each is a folder of runs/ with a report of its '
    f'own. Scores are {target.scores[target.headline].name} over all held-out trials '
    'with 95 % intervals over subjects. Differences are to the first row of a table, '
    'on the same trials, with the p of a paired test by subject, corrected for the '
    'comparisons of the table (Holm).'
  )


def _accepted(facts):
  """What the audits of the runs found and the config accepts, once each."""
  checks = {
    check.get('name'): check
    for of_run in facts.values()
    for check in (of_run.audit or (True, ()))[1]
    if check.get('accepted') is True
  }
  yield from run_sections.accepted(
    Facts({'audit': {'passed': True, 'checks': list(checks.values())}})
  )


def _chosen(question, variants, rows, facts):
  """Rows of the variants under their names, and of the first one's chance.

  Those of the trials that all have, how many are left out, and whether all variants
  have the same labels and folds.
  """
  first = variants[0]
  target = facts[first.run].target
  for variant in variants:
    if facts[variant.run].target.kind != target.kind:
      raise InputError(
        f'ablation.{question}: {variant.name} predicts another kind of target than '
        f'{first.name}; ask of them in two questions'
      )
  chosen = [
    dataclasses.replace(row, model=variant.name)
    for variant in variants
    for row in rows[variant.run]
    if row.model == variant.model
  ]
  known = {row.trial_key for row in chosen if row.model == first.name}
  chance = {x.source or key for key, x in target.known_baselines.items() if x.chance}
  also = [row for row in rows[first.run] if row.model in chance]
  chosen += [row for row in also if row.trial_key in known]
  chosen, dropped = common_trials(chosen)
  if not chosen:
    raise InputError(
      f'ablation.{question}: no held-out trial is in all of '
      f'{", ".join(variant.name for variant in variants)}; compare variants that test '
      'the same trials'
    )
  held, same = {}, True
  for row in chosen:
    own = row.fold, getattr(row, 'label', None)
    same &= held.setdefault(row.trial_key, own) == own
  return chosen, dropped, same


def _question(workdir, question, variants, rows, facts, synthetic):
  """A heading and a table; writes the table's files too."""
  base = facts[variants[0].run]
  target, names = base.target, [variant.name for variant in variants]
  chosen, dropped, same = _chosen(question, variants, rows, facts)
  results = evaluate(chosen, target, main=names[0])
  parts = ('', ': difference')
  header = ['', *(f'{one.target}{part}' for one in results for part in parts)]
  table = []
  for name in (*names, *results[0].baselines):
    row = [target.called(name)]
    for one in results:
      gain = one.differences.get((names[0], name))
      row += [
        one.scores[name][target.headline],
        _reversed(gain[target.headline]) if gain and name in names else '',
      ]
    table.append(row)
  write_table(workdir / 'tables', question, header, table)
  yield Heading(question)
  muted = frozenset(range(len(names), len(table)))
  yield Table(header, [list(map(shown, row)) for row in table], muted=muted)
  ceiling = base.get('ceiling', dict) if same else None
  yield picture(
    question,
    score_figures.scores(results, ceiling, synthetic),
    'Bars: 95 % intervals over subjects. Open circles: baselines.',
  )
  one = results[0]
  said = [
    f'{target.scores[target.headline].name}; {one.trials} held-out trials of '
    f'{one.subjects} subjects.'
  ]
  if dropped:
    said.append(f'{dropped} trials that not every variant has are left out.')
  if not same:
    said.append(
      'The variants differ in labels or folds: each is scored against its own, the '
      'baselines against those of the first.'
    )
  yield Paragraph(' '.join(said))


def _costs(workdir, question, variants, facts):
  """What the encoders cost, of a question whose variants differ in that."""
  known = read_json(workdir / COSTS) or {}
  known = {variant.run: known.get(variant.run) or {} for variant in variants}
  if len({repr(of) for of in known.values()}) < 2:
    return
  header = [
    '',
    'encoder: parameters, M',
    'GMAC a clip',
    'clips/s',
    'all that is trained: parameters, M',
  ]
  rows = []
  for variant in variants:
    of = known[variant.run]
    trained = (facts[variant.run].get('parameters', dict) or {}).get(variant.model)
    numbers = (
      _over(of.get('parameters'), 1e6, 3),
      _over(of.get('macs'), 1e9, 3),
      _over(of.get('clips_per_second'), 1, 1),
      _over(trained, 1e6, 3),
    )
    rows.append([variant.name, *numbers])
  write_table(workdir / 'tables', f'{question}_costs', header, rows)
  yield Table(header, rows)
  devices = sorted({str(of['device']) for of in known.values() if 'device' in of})
  yield Paragraph(
    'Clips a second: a forward pass of the encoder alone, the median of several, '
    f'measured one variant after another on {", ".join(devices)}. GMAC: billions of '
    'multiply-adds of its convolutions, or matrix products.'
  )


def _over(number, unit, digits):
  """A number in a unit, as text; of what is not there, a dash."""
  return f'{number / unit:.{digits}f}' if isinstance(number, int | float) else '-'


def _crops(workdir, question, variants, synthetic):
  """The same frames in each crop, of a question whose variants differ in it."""
  first = {}
  for variant in variants:
    config = read_json(workdir / 'runs' / variant.run / 'config.json') or {}
    first.setdefault(config.get('data', {}).get('crop'), variant)
  if len(first) < 2:
    return
  runs = workdir / 'runs'
  found = {x.name: crops.read(runs / x.run / crops.FILE) for x in first.values()}
  found = crops.common(found)
  if not all(found.values()):
    yield Paragraph(
      f'Pictures of the crops: absent, no frame is in {crops.FILE} of all variants.'
    )
    return
  yield picture(
    f'{question}_frames',
    crops.figure(found, synthetic),
    'The same moment of the same trials in each crop: the middle of a '
    "person's first trial.",
  )


def _reversed(gain):
  """A difference the other way round."""
  return dataclasses.replace(gain, value=-gain.value, low=-gain.high, high=-gain.low)


def _published(published):
  """What papers report: run.json's `published`, {what: {rating: text}}."""
  rows = {
    what: of for what, of in (published or {}).items() if isinstance(of, dict)
  }  # that of older runs is another
  if rows:
    ratings = list(dict.fromkeys(name for of in rows.values() for name in of))
    yield Heading('What papers report')
    yield Table(
      ['', *ratings],
      [[what, *(str(of.get(x, 'n/a')) for x in ratings)] for what, of in rows.items()],
    )
    yield Paragraph(
      'On the real corpus, with their own splits, thresholds and averaging, which not '
      'all of them tell: to be read beside, not against, the numbers above.'
    )
