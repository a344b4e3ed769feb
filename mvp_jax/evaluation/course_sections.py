"""The report's sections on predictions in time, and the same as files of tables/."""

from mvp_jax.evaluation import course_figures, summary, tables
from mvp_jax.evaluation.document import Bullets, Heading, Paragraph, Section, Table
from mvp_jax.evaluation.figures import picture


def recordings(results, synthetic):
  """The headline score of each recording: a figure, and a table to open."""
  if not results:
    return
  target = results[0].definition
  name = target.scores[target.headline].name
  yield Heading('Recordings')
  yield picture(
    'recordings',
    course_figures.recordings(results, synthetic),
    f'{name} of each held-out recording by itself, worst first for the main model.',
  )
  at = list(target.scores).index(target.headline)
  blocks = []
  for one in results:
    header = [
      one.target,
      'subject',
      'trial',
      'moments',
      *map(target.called, one.scores),
    ]
    rows = [
      [
        *(dataset, str(subject), str(trial), f'{moments:,}'),
        *(summary.number(scores[i, at]) for scores in one.scores.values()),
      ]
      for i, ((dataset, subject, trial), moments) in enumerate(
        zip(one.recordings, one.moments, strict=True)
      )
    ]
    blocks.append(Table(header, rows))
  blocks.append(
    Paragraph(
      f'{name} of each recording by itself, over its rated moments; n/a where it has '
      'none. All scores: tables/recordings.csv.'
    )
  )
  yield Section(f'{name} of every recording', blocks)


def shifts(results, synthetic):
  """At which shift of its predictions a model would be best."""
  results = [one for one in results if one.shifts]
  if not results:
    return
  target = results[0].definition
  name = target.scores[target.headline].name
  yield Heading('Shifted predictions')
  yield picture(
    'shifts',
    course_figures.shifts(results, synthetic),
    f'{name} over all held-out moments together, if each rating were compared with the '
    'prediction of a later moment (left of 0: an earlier one). Dots: where it is best.',
  )
  yield Bullets(
    [
      f'{one.target}, {model}: {_best(name, found)}'
      for one in results
      for model, found in one.shifts.items()
    ]
  )
  yield Paragraph(
    'Above 0: predictions are late; below: early. A moment whose shifted one is not '
    'rated or beyond the recording is left out, so that shifts differ a little in '
    'their moments. The best shift is found on the held-out recordings themselves: it '
    'tells how a model errs and is no result.'
  )


def _best(name, found):
  """Where a model's predictions fit best, as a sentence."""
  seconds, score = found.seconds[found.best], found.scores[found.best]
  if seconds == 0:
    return f'no shift is better than none, {name} {summary.number(score)}.'
  end = ', the furthest tried' if found.best in {0, len(found.scores) - 1} else ''
  return (
    f'the best shift is {seconds:+.3g} s{end}, {name} {summary.number(score)} '
    f'({summary.number(found.unshifted)} without).'
  )


def write_tables(folder, results):
  """Writes the scores of recordings and of shifts as CSV and LaTeX files."""
  if not results:
    return
  target = results[0].definition
  names = [score.name for score in target.scores.values()]
  rows = [
    [one.target, dataset, str(subject), str(trial), target.called(model)]
    + [moments, *map(float, scores[i])]
    for one in results
    for i, ((dataset, subject, trial), moments) in enumerate(
      zip(one.recordings, one.moments, strict=True)
    )
    for model, scores in one.scores.items()
  ]
  header = ['target', 'dataset', 'subject', 'trial', 'model', 'moments', *names]
  tables.write_table(folder, 'recordings', header, rows)
  rows = [
    [one.target, target.called(model), f'{seconds:.3f}', float(score)]
    for one in results
    for model, found in one.shifts.items()
    for seconds, score in zip(found.seconds, found.scores, strict=True)
  ]
  header = ['target', 'model', 'seconds', target.scores[target.headline].name]
  tables.write_table(folder, 'shifts', header, rows)
