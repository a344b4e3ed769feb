"""The report of an ablation: a table for each question, over several runs.

`write_ablation` writes report.html, report.md, figures/ and tables/ (CSV and LaTeX)
from the runs' predictions. Variants of one question are compared on the trials that
all have.
"""

import dataclasses
from pathlib import Path

from mvp_jax.evaluation import crops, files, run_sections, score_figures
from mvp_jax.evaluation.document import Banner, Heading, Paragraph, Table
from mvp_jax.evaluation.names import BASELINES, METRIC_NAMES, model_name
from mvp_jax.evaluation.predictions import CLASS_PRIOR
from mvp_jax.evaluation.report import save
from mvp_jax.evaluation.results import common_trials, evaluate
from mvp_jax.evaluation.run_sections import picture
from mvp_jax.evaluation.tables import shown, write_table

# Macro-F1 as MVP (arXiv 2501.03103, abstract) reports it; its tables of ablations
# could not be had, so only the headline stands here.
PUBLISHED = {
  'deap': {'valence': '.61', 'arousal': '.55'},
  'amigos': {'valence': '.66 ± .04', 'arousal': '.58 ± .06'},
}
_METRIC = 'macro_f1'


@dataclasses.dataclass(frozen=True)
class Variant:
  """A row of a question's table: a model of a run."""

  name: str
  model: str
  run: str  # a folder of runs/


def write_ablation(workdir, variants):
  """Writes the report; returns the path of report.html.

  Args:
    workdir: the ablation's, with runs/.
    variants: {question: list of Variant}; the first is what others are compared with.

  Raises:
    InputError: predictions of a run are missing or damaged.
  """
  workdir, rows = Path(workdir), {}
  for of_question in variants.values():
    for variant in of_question:
      if variant.run not in rows:
        rows[variant.run] = files.read_whole_predictions(workdir / 'runs' / variant.run)
  facts = files.read_json(workdir / 'runs' / next(iter(rows)) / 'run.json') or {}
  synthetic = bool(facts.get('synthetic'))
  blocks = [
    *_origin(facts, len(rows)),
    Heading('labels'),
    run_sections.labels(
      next(iter(rows.values())), run_sections.Facts(facts), synthetic
    ),
  ]
  for question, of_question in variants.items():
    blocks += _question(
      workdir, question, of_question, rows, facts.get('ceiling'), synthetic
    )
    blocks += _crops(workdir, question, of_question, synthetic)
  blocks += _published(facts.get('dataset'))
  return save(workdir, f'{str(facts.get("dataset", "")).upper()}: ablations', blocks)


def _origin(facts, runs):
  if facts.get('synthetic'):
    yield Banner(
      'SYNTHETIC',
      'A made-up twin with planted effects: the scores say '
      'that the program works, and nothing about emotion.',
    )
  yield Paragraph(
    f'{runs} runs of the main job; each is a folder of runs/ with a report of its '
    'own. Scores are macro-F1 over all held-out trials with 95 % intervals over '
    'subjects. Differences are to the first row of a table, on the same trials, '
    'with the p of a paired test by subject, corrected for the comparisons of the '
    'table (Holm).'
  )


def _question(workdir, question, variants, rows, ceiling, synthetic):
  """A heading and a table; writes the table's files too."""
  chosen = [
    dataclasses.replace(row, model=variant.name)
    for variant in variants
    for row in rows[variant.run]
    if row.model == variant.model
  ]
  known = {(row.trial_key, row.model) for row in chosen}
  base = variants[0].run
  chosen += [
    row
    for row in rows[base]
    if row.model == CLASS_PRIOR and (row.trial_key, variants[0].name) in known
  ]
  chosen, dropped = common_trials(chosen)
  results = evaluate(chosen, main=variants[0].name)
  header, table = (
    ['', *(f'{one.target}{part}' for one in results for part in ('', ': difference'))],
    [],
  )
  names = [variant.name for variant in variants]
  references = [name for name in BASELINES if name in results[0].scores]
  for name in (*names, *references):
    row = [model_name(name)]
    for one in results:
      gain = one.differences.get((names[0], name))
      row += [
        one.scores[name][_METRIC],
        _reversed(gain[_METRIC]) if gain and name in names else '',
      ]
    table.append(row)
  write_table(workdir / 'tables', question, header, table)
  yield Heading(question)
  yield Table(
    header,
    [[cell if isinstance(cell, str) else shown(cell) for cell in row] for row in table],
    muted=frozenset(range(len(names), len(table))),
  )
  yield picture(
    question,
    score_figures.scores(results, ceiling, synthetic),
    'Bars: 95 % intervals over subjects. Open circles: baselines.',
  )
  one = results[0]
  left_out = (
    f' {dropped} trials that not every variant has are left out.' if dropped else ''
  )
  yield Paragraph(
    f'{METRIC_NAMES[_METRIC]}; {one.trials} held-out trials of '
    f'{one.subjects} subjects.{left_out}'
  )


def _crops(workdir, question, variants, synthetic):
  """The same frames in each crop, of a question whose variants differ in it."""
  first = {}
  for variant in variants:
    config = files.read_json(workdir / 'runs' / variant.run / 'config.json') or {}
    first.setdefault(config.get('data', {}).get('crop'), variant)
  if len(first) < 2:
    return
  found = crops.common(
    {
      variant.name: crops.read(workdir / 'runs' / variant.run / crops.FILE)
      for variant in first.values()
    }
  )
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


def _published(dataset):
  if dataset in PUBLISHED:
    yield Heading('What the paper reports')
    yield Table(
      ['MVP, cross-attention', *PUBLISHED[dataset]],
      [['F1', *PUBLISHED[dataset].values()]],
    )
    yield Paragraph(
      'On the real corpus, with its own split, threshold and averaging, '
      'which the abstract does not tell: to be read beside, not against, '
      'the numbers above.'
    )
