"""The report's sections on scores, and the same as files of tables/."""

from mvp_jax.evaluation import score_figures, summary, tables
from mvp_jax.evaluation.document import Bullets, Heading, Paragraph, Section, Table
from mvp_jax.evaluation.metrics import CALIBRATION, METRICS, SCORES
from mvp_jax.evaluation.names import BASELINE_NOTES, METRIC_NAMES, model_name
from mvp_jax.evaluation.run_sections import picture
from mvp_jax.evaluation.statistics import Estimate

_MORE = tuple(name for name in METRICS if name not in summary.SHORT)
_UNCERTAINTY = (
  'In brackets: 95 % intervals for other subjects, with the trained models and the '
  'stimuli as they are (t intervals on what each subject contributes, by the '
  'jackknife; a percentile bootstrap over subjects stands beside them in '
  'tables/intervals.csv).'
)
_MEANINGS = (
  'AUROC ranks only trials of the same fold: scores of two trained models are not on '
  "one scale. MCC: Matthews' correlation. CCC: Lin's concordance of predicted and "
  'given ratings, where a model predicts ratings. n/a: there is only one class, or '
  'nothing was predicted.'
)


def result(results, ceiling, synthetic):
  """The first screen: the result in sentences and one figure."""
  yield Heading('The result')
  for one in results:
    yield Heading(one.target, level=3)
    yield Paragraph(f'{summary.counts_line(one)}.')
    yield Bullets(summary.reading(one, ceiling))
  if caution := summary.caution(results):
    yield Paragraph(caution)
  ticks = ' Ticks: single seeds.' if any(one.seeds > 1 for one in results) else ''
  yield picture(
    'scores',
    score_figures.scores(results, ceiling, synthetic),
    'Macro-F1 over all held-out trials. Bars: 95 % intervals over '
    f'subjects. Open circles: baselines.{ticks}',
  )


def scores(results, ceiling, synthetic):
  yield Heading('Scores')
  for one in results:
    yield _score_table(one, ceiling, summary.SHORT)
  notes = [
    note
    for name, note in BASELINE_NOTES.items()
    if any(name in one.scores for one in results)
  ]
  yield Paragraph(' '.join([_UNCERTAINTY, *notes]))
  if ceiling is None and synthetic:
    yield Paragraph('The best possible scores (ceiling) are absent from run.json.')
  more = [
    _score_table(one, ceiling, [name for name in _MORE if one.has(name)])
    for one in results
  ]
  yield Section(
    'More scores: F1 of high, weighted F1, MCC, CCC', [*more, Paragraph(_MEANINGS)]
  )
  if any(one.seeds > 1 for one in results):
    yield Section('Spread over seeds', list(_seeds(results)))


def _score_table(one, ceiling, columns):
  rows = summary.score_rows(one, ceiling, columns)
  return Table(
    [one.target, *(METRIC_NAMES[name] for name in columns)],
    rows,
    muted=frozenset(range(len(one.models), len(rows))),
  )


def _seeds(results):
  for one in results:
    columns = [name for name in summary.SHORT if one.has(name)]
    at = [SCORES.index(name) for name in columns]
    yield Table(
      [one.target, *(METRIC_NAMES[name] for name in columns)],
      [
        [
          model_name(name),
          *(
            f'{summary.number(x.mean())} ± {summary.number(x.std(ddof=1))}'
            for x in one.by_seed[name][:, at].T
          ),
        ]
        for name in one.everyone
      ],
    )
  yield Paragraph(
    'Mean ± standard deviation of the seeds. It tells of training '
    'anew, and of folds dealt anew; the intervals above tell of other '
    'subjects.'
  )


def comparisons(results):
  yield Heading('Paired tests')
  for one in results:
    if not one.differences:
      continue
    rows = [
      [
        model_name(a),
        model_name(b),
        summary.interval(gain['macro_f1'], sign=True),
        *(_p(p) for p in (gain['macro_f1'].p, gain['macro_f1'].corrected)),
        summary.interval(gain['accuracy'], sign=True),
      ]
      for (a, b), gain in one.differences.items()
    ]
    yield Table(
      [
        one.target,
        'against',
        'difference of macro-F1',
        'p',
        'p corrected',
        'difference of accuracy',
      ],
      rows,
      text_columns=2,
      muted=frozenset(
        i for i, (_, b) in enumerate(one.differences) if b in one.baselines
      ),
    )
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
  yield Heading('Subjects')
  constant = [
    f'{one.target} {sum(not both for both in one.both_classes)}'
    for one in results
    if not all(one.both_classes)
  ]
  note = (
    ''
    if not constant
    else ' Open marks: all trials of the subject are of one '
    f'class, so that macro-F1 can reach .5 only ({", ".join(constant)}).'
  )
  yield picture(
    'subjects',
    score_figures.subjects(results, synthetic),
    f'Macro-F1 of each subject, worst first for the main model.{note}',
  )


def calibration(results, synthetic):
  yield Heading('Calibration and abstention')
  yield picture(
    'calibration',
    score_figures.calibration(results, synthetic),
    'Left: does a probability mean what it says? Ten bins of equally many '
    'trials; on the diagonal it does. Right: errors among the trials that '
    'a model is surest of, if it may pass over the others.',
  )
  for one in results:
    yield Table(
      [one.target, *(METRIC_NAMES[name] for name in CALIBRATION), 'ECE if calibrated'],
      [
        [
          model_name(name),
          *(summary.interval(one.scores[name][metric]) for metric in CALIBRATION),
          summary.number(one.calibrations[name].floor),
        ]
        for name in one.everyone
        if name in one.calibrations
      ],
      muted=frozenset(range(len(one.models), len(one.everyone))),
    )
  yield Paragraph(
    'ECE: expected calibration error, mean of |share of high - probability| over the '
    'bins. It is above 0 by chance alone: the last column tells how far, on average, '
    'if all probabilities were true. AURC: area under the risk-coverage curve. '
    'Lower is better for both.'
  )


def confusions(results, synthetic):
  if any(one.models for one in results):
    yield Section(
      'Confusions',
      [
        picture(
          'confusions',
          score_figures.confusions(results, synthetic),
          'Trials by rated and predicted class; percentages are of the row.',
        )
      ],
    )


def write_tables(folder, results, ceiling=None):
  """Writes the tables of the results, of all targets, as CSV and LaTeX files."""

  def write(name, header, rows):
    tables.write_table(folder, name, header, rows)

  scored = [name for name in SCORES if any(one.has(name) for one in results)]
  names = [METRIC_NAMES[name] for name in scored]
  best = [
    [
      one.target,
      model_name('ceiling'),
      *(known.get(name, float('nan')) for name in scored),
    ]
    for one in results
    if (known := summary.ceiling_scores(ceiling, one.target))
  ]
  write(
    'scores',
    ['target', 'model', *names],
    [
      [one.target, model_name(name), *(one.scores[name][metric] for metric in scored)]
      for one in results
      for name in one.everyone
    ]
    + best,
  )
  write(
    'comparisons',
    ['target', 'model', 'compared with', *names],
    [
      [one.target, model_name(a), model_name(b), *(gain[name] for name in scored)]
      for one in results
      for (a, b), gain in one.differences.items()
    ],
  )
  write(
    'intervals',
    ['target', 'model', 'score', 't interval', 'bootstrap'],
    [
      [
        one.target,
        model_name(name),
        METRIC_NAMES[metric],
        found,
        Estimate(found.value, found.bootstrap_low, found.bootstrap_high),
      ]
      for one in results
      for name in one.everyone
      for metric in METRICS
      if one.has(metric)
      for found in [one.scores[name][metric]]
    ],
  )
  write(
    'subjects',
    ['target', 'dataset', 'subject', 'model', *names],
    [
      [
        one.target,
        dataset,
        str(subject),
        model_name(name),
        *(float(one.by_subject[name][i, SCORES.index(metric)]) for metric in scored),
      ]
      for one in results
      for i, (dataset, subject) in enumerate(one.persons)
      for name in one.everyone
    ],
  )
  write(
    'seeds',
    ['target', 'model', 'seed', *names],
    [
      [
        one.target,
        model_name(name),
        str(seed),
        *(float(x) for x in values[[SCORES.index(metric) for metric in scored]]),
      ]
      for one in results
      for name in one.everyone
      for seed, values in zip(one.seed_numbers, one.by_seed[name], strict=True)
    ],
  )
