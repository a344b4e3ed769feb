"""The report's sections on scores, and the same as files of tables/."""

import math

from mvp_jax.evaluation import score_figures, summary, tables
from mvp_jax.evaluation.document import (
  Banner,
  Bullets,
  Heading,
  Paragraph,
  Section,
  Table,
)
from mvp_jax.evaluation.figures import picture
from mvp_jax.evaluation.statistics import Estimate
from mvp_jax.targets import CEILING, promises

_UNCERTAINTY = (
  'In brackets: 95 % intervals for other subjects, with the trained models and the '
  'stimuli as they are (t intervals on what each subject contributes, by the '
  'jackknife; a percentile bootstrap over subjects stands beside them in '
  'tables/intervals.csv).'
)


def result(results, ceiling, synthetic):
  """The first screen: the result in sentences and one figure."""
  yield Heading('The result')
  for one in results:
    yield Heading(one.target, level=3)
    yield Paragraph(f'{summary.counts_line(one)}.')
    if said := summary.warnings(one):
      yield Banner('WARNING', ' '.join(said))
    yield Bullets(summary.reading(one, ceiling))
  if caution := summary.caution(results):
    yield Paragraph(caution)
  ticks = ' Ticks: single seeds.' if any(one.seeds > 1 for one in results) else ''
  yield picture(
    'scores',
    score_figures.scores(results, ceiling, synthetic),
    f'{_headline(results)} over all held-out trials. Bars: 95 % intervals over '
    f'subjects. Open circles: baselines.{ticks}',
  )


def _headline(results):
  """The name of the headline score, as a sentence begins with it."""
  name = results[0].headline_name
  return name[0].upper() + name[1:]


def scores(results, ceiling, synthetic):
  """The main tables, and others to open."""
  yield Heading('Scores')
  target = results[0].definition
  for one in results:
    yield _score_table(one, ceiling, target.short)
  notes = [
    known.note
    for key, known in target.known_baselines.items()
    if known.note and any(key in one.scores for one in results)
  ]
  yield Paragraph(' '.join([_UNCERTAINTY, *notes]))
  if ceiling is None and synthetic:
    yield Paragraph('The best possible scores (ceiling) are absent from run.json.')
  more = [key for key in target.cheap if key not in target.short]
  if more:
    names = ', '.join(summary.score_names(results[0], more))
    blocks = [
      _score_table(one, ceiling, list(filter(one.has, more))) for one in results
    ]
    yield Section(f'More scores: {names}', [*blocks, Paragraph(target.notes)])
  if any(one.seeds > 1 for one in results):
    yield Section('Spread over seeds', list(_seeds(results)))


def _table(one, header, rows, text_columns=1):
  """Of models and then others, which stand back."""
  return Table(
    [one.target, *header],
    [[summary.shown(cell) for cell in row] for row in rows],
    text_columns,
    frozenset(range(len(one.models), len(rows))),
  )


def _score_table(one, ceiling, columns):
  names = summary.score_names(one, columns)
  return _table(one, names, summary.score_rows(one, ceiling, columns))


def _seeds(results):
  for one in results:
    columns = [key for key in one.definition.short if one.has(key)]
    at = [one.place(key) for key in columns]
    rows = [[one.definition.called(name)] for name in one.everyone]
    for row, name in zip(rows, one.everyone, strict=True):
      for x in one.by_seed[name][:, at].T:
        row.append(f'{summary.number(x.mean())} ± {summary.number(x.std(ddof=1))}')
    yield _table(one, summary.score_names(one, columns), rows)
  yield Paragraph(
    'Mean ± standard deviation of the seeds. It tells of training '
    'anew, and of folds dealt anew; the intervals above tell of other '
    'subjects.'
  )


def comparisons(results):
  """The paired tests, of the headline and of what chance is measured by."""
  yield Heading('Paired tests')
  target = results[0].definition
  compared = dict.fromkeys(
    [target.headline, *(x.chance for x in target.known_baselines.values() if x.chance)]
  )
  compared = sorted(compared, key=lambda key: key != target.headline)
  for one in results:
    if not one.differences:
      continue
    names = [f'difference of {name}' for name in summary.score_names(one, compared)]
    header = [one.target, 'against', names[0], 'p', 'p corrected', *names[1:]]
    rows = []
    for (a, b), gain in one.differences.items():
      main, *more = (summary.interval(gain[key], sign=True) for key in compared)
      p = map(_p, (gain[target.headline].p, gain[target.headline].corrected))
      rows.append([target.called(a), target.called(b), main, *p, *more])
    muted = {i for i, (_, b) in enumerate(one.differences) if b in one.baselines}
    yield Table(header, rows, 2, frozenset(muted))
  if not any(one.differences for one in results):
    yield Paragraph('There is one model and nothing to compare it with.')
    return
  yield Paragraph(
    'Both sides are scored on the same trials. p: sign-flip test on the contribution '
    'of each subject to the difference; corrected by Holm for all comparisons of the '
    'table. Sentences above claim a difference where the corrected p is below .05. '
    'Intervals are not corrected. The other scores: tables/comparisons.csv.'
  )


def _p(p):
  return summary.p_value(p).removeprefix('p').replace('=', '').strip()


def subjects(results, synthetic):
  """The headline score of each subject, as a figure."""
  yield Heading('Subjects')
  open_marks = [f'{x.target} {sum(x.one_sided)}' for x in results if any(x.one_sided)]
  note = ''
  if open_marks:
    what = results[0].definition.one_sided_note
    note = f' Open marks: {what} ({", ".join(open_marks)}).'
  yield picture(
    'subjects',
    score_figures.subjects(results, synthetic),
    f'{_headline(results)} of each subject, worst first for the main model.{note}',
  )


def calibration(results, promised, synthetic):
  """Reliability and abstention, or intervals: what can be promised of new people.

  `promised` is `promises` of run.json, {model: {rating: dict}}, or None.
  """
  probable = all(one.calibrations for one in results)
  known = {
    (name, one.target): promises.from_dict(promised[name][one.target])
    for one in results
    for name in one.models
    if one.target in (promised or {}).get(name, {})
  }
  if probable:
    yield Heading('Calibration and abstention')
    yield picture(
      'calibration',
      score_figures.calibration(results, synthetic, known),
      'Left: does a probability mean what it says? Ten bins of equally many '
      'trials; on the diagonal it does. Right: errors among the trials that '
      'a model is surest of, if it may pass over the others.' + ' Stars: what it has '
      'learnt to answer, by the mean over seeds.' * bool(known),
    )
    for one in results:
      header = [*summary.score_names(one, ('ece', 'aurc')), 'ECE if calibrated']
      rows = [
        [*row, one.calibrations[name].floor]
        for name, row in zip(
          one.everyone, summary.score_rows(one, None, ('ece', 'aurc')), strict=True
        )
        if name in one.calibrations
      ]
      yield _table(one, header, rows)
    yield Paragraph(
      'ECE: expected calibration error, mean of |share of high - probability| over the '
      'bins. It is above 0 by chance alone: the last column tells how far, on average, '
      'if all probabilities were true. AURC: area under the risk-coverage curve. '
      'Lower is better for both.'
    )
  elif known:
    yield Heading('Intervals')
  if known:
    yield Bullets(
      [f'{rating}, {name}: {one.told()}.' for (name, rating), one in known.items()]
    )
    yield Paragraph(
      'This is what predictions of new people promise. Each person counts the same, '
      'and what a trial is told is the mean over the seeds (docs/predict.md).'
    )


def confusions(results, synthetic):
  """Truth by prediction, where there are classes."""
  if any(one.confusions for one in results):
    figure = score_figures.confusions(results, synthetic)
    caption = 'Trials by rated and predicted class; percentages are of the row.'
    yield Section('Confusions', [picture('confusions', figure, caption)])


def write_tables(folder, results, ceiling=None):
  """Writes the tables of the results, of all targets, as CSV and LaTeX files."""
  target = results[0].definition
  scored = [key for key in target.scores if any(one.has(key) for one in results)]
  names = summary.score_names(results[0], scored)
  each = [(one, name) for one in results for name in one.everyone]

  def values(one, row):
    return [float(row[one.place(key)]) for key in scored]

  best = [(one, summary.ceiling_scores(ceiling, one)) for one in results]
  rows = {
    'scores': [
      *(
        [one.target, *x]
        for one in results
        for x in summary.score_rows(one, None, scored)
      ),
      *(
        [one.target, target.called(CEILING), *(top.get(x, math.nan) for x in scored)]
        for one, top in best
        if top
      ),
    ],
    'comparisons': [
      [one.target, target.called(a), target.called(b), *(gain[x] for x in scored)]
      for one in results
      for (a, b), gain in one.differences.items()
    ],
    'intervals': [
      [
        *(one.target, target.called(name), target.scores[key].name, found),
        Estimate(found.value, found.bootstrap_low, found.bootstrap_high),
      ]
      for one, name in each
      for key, found in one.scores[name].items()
      if key in target.cheap and one.has(key)
    ],
    'subjects': [
      [one.target, dataset, str(subject), target.called(name)]
      + values(one, one.by_subject[name][i])
      for one in results
      for i, (dataset, subject) in enumerate(one.persons)
      for name in one.everyone
    ],
    'seeds': [
      [one.target, target.called(name), str(seed), *values(one, row)]
      for one, name in each
      for seed, row in zip(one.seed_numbers, one.by_seed[name], strict=True)
    ],
  }
  headers = {
    'scores': ['model', *names],
    'comparisons': ['model', 'compared with', *names],
    'intervals': ['model', 'score', 't interval', 'bootstrap'],
    'subjects': ['dataset', 'subject', 'model', *names],
    'seeds': ['model', 'seed', *names],
  }
  for name, header in headers.items():
    tables.write_table(folder, name, ['target', *header], rows[name])
