"""Writes report.html and report.md from the files of a work directory.

    python -m mvp_jax.evaluation.report WORKDIR

makes them anew. Only predictions.csv must be there; a section whose file or fact is
missing says so.
"""

import argparse
import json
import sys
from pathlib import Path

from mvp_jax.errors import InputError
from mvp_jax.evaluation import figures, files, summary
from mvp_jax.evaluation.document import (
  Banner,
  Bullets,
  Folded,
  Heading,
  Link,
  Paragraph,
  Picture,
  Table,
  to_html,
  to_markdown,
)
from mvp_jax.evaluation.metrics import METRICS, RESAMPLES
from mvp_jax.evaluation.predictions import read_predictions
from mvp_jax.files import whole

_FIGURES = 'figures'


def write_report(workdir: Path) -> Path:
  """Writes report.html, report.md and figures/*.png; returns the HTML's path.

  Raises InputError if predictions.csv is missing, or any file is not as it
  should be.
  """
  workdir = Path(workdir)
  predictions = read_predictions(workdir / 'predictions.csv')
  run = files.read_json(workdir / 'run.json')
  config = files.read_json(workdir / 'config.json')
  curves = files.read_curves(workdir / 'metrics.jsonl')
  attention = files.read_attention(workdir / 'attention.npz')
  results = summary.evaluate(predictions)

  facts = _Facts(run or {})
  synthetic = facts.get('synthetic', bool) or False
  ceiling = facts.get('ceiling', dict)
  blocks = [
      *_origin(run, facts, synthetic),
      *_scores(results, ceiling, synthetic),
      *_folds(results, predictions, facts),
      *_data(predictions, facts, synthetic),
      *_account(workdir),
      *_encoder(predictions, facts),
      *_learning(curves, synthetic),
      *_attention(attention, predictions, synthetic),
      *_how(predictions, facts, config),
  ]
  dataset = ', '.join(dict.fromkeys(row.dataset.upper() for row in predictions))
  title = f'{dataset}: emotion from face video and body signals'
  return save(workdir, title, blocks)


def save(workdir, title, blocks):
  """Writes blocks as report.html, report.md and figures/; returns the first."""
  for block in blocks:
    if isinstance(block, Picture):
      with whole(workdir / _FIGURES / f'{block.name}.png') as part:
        part.write_bytes(block.png)
  with whole(workdir / 'report.md') as part:
    part.write_text(to_markdown(title, blocks, _FIGURES), 'utf-8')
  path = workdir / 'report.html'
  with whole(path) as part:
    part.write_text(to_html(title, blocks), 'utf-8')
  return path


class _Facts:
  """run.json, of which any key may be missing or be of another kind."""

  def __init__(self, facts):
    self._facts = facts

  def get(self, key, kind):
    value = self._facts.get(key)
    return value if isinstance(value, kind) else None


def _origin(run, facts, synthetic):
  if synthetic:
    yield Banner('SYNTHETIC', 'These numbers come from a computer-made twin of the '
                 'corpus with planted effects. They show that the method runs and '
                 'finds what was planted; they say nothing about people.')
  elif facts.get('synthetic', bool) is None:
    where = 'run.json is absent' if run is None else 'run.json does not say'
    yield Banner('Origin unknown',
                 f'{where}: whether these data are synthetic is not known.')


def _scores(results, ceiling, synthetic):
  yield Heading('The result')
  for result in results:
    yield Heading(result.target, level=3)
    yield Paragraph(f'{summary.counts_line(result)}.')
    yield Bullets(summary.reading(result, ceiling))
  if caution := summary.caution(results):
    yield Paragraph(caution)
  yield picture('scores', figures.scores(results, ceiling, synthetic),
                 'Macro-F1 over all held-out trials. Bars: 95 % intervals from '
                 'resampling subjects. Open circles: what needs no model.')
  yield Heading('Scores')
  for result in results:
    rows = summary.score_rows(result, ceiling)
    yield Table([result.target, *summary.METRIC_NAMES.values()], rows,
                muted=frozenset(range(len(result.models), len(rows))))
  yield Paragraph(
      f'In brackets: 95 % percentile intervals of {RESAMPLES} bootstrap samples of '
      'subjects with the trained models as they are. Majority class: what is more '
      'frequent among the training trials of the fold. Class-prior coin: says high at '
      'random with the share of high among those trials; its scores are exact '
      'expectations.')
  if ceiling is None and synthetic:
    yield Paragraph('The best possible scores (ceiling) are absent from run.json.')

  yield Heading('Paired differences')
  for result in results:
    yield Table(
        [result.target, *summary.METRIC_NAMES.values()],
        [[f'{summary.model_name(a)} − {summary.model_name(b)}',
          *(summary.interval(difference[name], sign=True) for name in METRICS)]
         for (a, b), difference in result.differences.items()],
        muted=frozenset(i for i, (_, b) in enumerate(result.differences)
                        if b in summary.REFERENCES))
  yield Paragraph('Both sides are scored on the same trials and the same resampled '
                  'subjects. An interval that holds 0 is no difference shown.')
  if any(result.models for result in results):
    yield Heading('Confusions')
    yield picture('confusions', figures.confusions(results, synthetic),
                   'Trials by rated and predicted class; percentages are of the row.')


def _folds(results, predictions, facts):
  yield Heading('Folds')
  for result in results:
    many = result.seeds > 1
    models = [*result.models, *(['coin'] if 'coin' in result.scores else [])]
    yield Table(
        [f'{result.target}: fold', *(['seed'] if many else []), 'subjects', 'trials',
         'share of high', *map(summary.model_name, models)],
        [[str(fold.fold), *([str(fold.seed)] if many else []), str(fold.subjects),
          str(fold.trials), summary.number(fold.share_high),
          *(summary.number(fold.macro_f1[model]) for model in models)]
         for fold in result.folds])
  yield Paragraph('Macro-F1 of the held-out trials of each fold.')

  tested = {}
  for row in predictions:
    tested.setdefault(row.fold, set()).add(row.subject)
  folds = [fold for fold in facts.get('folds', list) or []
           if isinstance(fold, dict) and isinstance(fold.get('fold'), int)]
  if not folds:
    yield Table(['fold', 'test subjects'], [[str(fold), _ranges(subjects)] for
                                            fold, subjects in sorted(tested.items())],
                text_columns=2)
    yield Paragraph('The training and validation subjects of the folds are absent '
                    'from run.json, so subject independence is not checked here.')
    return
  parts = ('train_subjects', 'validation_subjects', 'test_subjects')
  yield Table(['fold', 'training', 'validation', 'test'],
              [[str(fold['fold']),
                *(_ranges(fold.get(part)) for part in parts)] for fold in folds],
              text_columns=4)
  yield Paragraph(_independence(folds, tested))


def _independence(folds, tested):
  faults, listed = [], {fold['fold'] for fold in folds}
  for fold in folds:
    train, validation, test = (
        set(_list(fold.get(part)))
        for part in ('train_subjects', 'validation_subjects', 'test_subjects'))
    test |= tested.get(fold['fold'], set())
    shared = test & (train | validation)
    if shared:
      faults.append(f'fold {fold["fold"]} tests on subjects {_ranges(shared)}, '
                    'which it also trains or validates on')
  missing = sorted(set(tested) - listed)
  if missing:
    faults.append(f'run.json does not list fold {_ranges(missing)}')
  if faults:
    return f'NOT subject-independent as far as can be seen: {"; ".join(faults)}.'
  return 'Checked: no fold tests on a subject that it trains or validates on.'


def _data(predictions, facts, synthetic):
  yield Heading('Data')
  threshold = facts.get('threshold', int | float)
  label = ('the threshold is absent from run.json' if threshold is None
           else f'the threshold between low and high is {threshold:g}')
  yield picture('labels', figures.labels(predictions, threshold, synthetic),
                 f'Ratings and labels of the held-out trials; {label}.')
  rows = []
  for key, name in (('trials_in', 'trials in'), ('trials_out', 'trials out')):
    value = facts.get(key, int)
    rows.append([name, 'absent from run.json' if value is None else str(value)])
  losses = facts.get('losses', dict)
  if losses is None:
    rows.append(['losses', 'absent from run.json'])
  elif losses:
    rows += [[f'lost: {code}', text(value)] for code, value in losses.items()]
  else:
    rows.append(['losses', 'none'])
  yield Table(['account', ''], rows, text_columns=2)


def _account(workdir):
  if (workdir / 'account.html').exists():
    yield Link('Every trial as it was prepared, and what was lost and why: '
               'account.html', 'account.html')


def _encoder(predictions, facts):
  yield Heading('Video encoder')
  encoder = facts.get('encoder', dict)
  if not encoder:
    yield Paragraph('Absent from run.json: what the video encoder was trained on is '
                    'not known.')
    return
  trained_on = encoder.get('trained_on_subjects')
  yield Table(['video encoder', ''],
              [[words(key), _ranges(value) if key == 'trained_on_subjects' else
                text(value)] for key, value in encoder.items()], text_columns=2)
  if not isinstance(trained_on, list):
    yield Paragraph('Which subjects it was trained on is absent from run.json.')
    return
  shared = {row.subject for row in predictions} & set(_list(trained_on))
  yield Paragraph(
      f'Test subjects {_ranges(shared)} are among those that the encoder was trained '
      'on: their faces (not their labels) were seen before.' if shared else
      'Checked: no test subject is among those that the encoder was trained on.')


def _learning(curves, synthetic):
  yield Heading('Learning curves')
  if not curves or not curves[0]:
    yield Paragraph('Absent: metrics.jsonl is missing or holds no losses.')
    return
  yield picture('learning_curves', figures.learning_curves(curves[0], synthetic),
                 'Loss against training step. Thin: one run each; bold: their mean, '
                 'with a band of one standard deviation over runs. Grey: training.')
  if curves[1]:
    yield Paragraph(f'{curves[1]} lines of metrics.jsonl could not be read and were '
                    'passed over.')


def _attention(arrays, predictions, synthetic):
  yield Heading('Cross-attention of one trial')
  if arrays is None:
    yield Paragraph('Absent: there is no attention.npz.')
    return
  said = [f'{row.target} {summary.number(row.score, 2)} (rated {row.rating:g}, '
          f'{"high" if row.label else "low"})' for row in predictions
          if (row.subject, row.trial) == (arrays.get('subject'), arrays.get('trial'))
          and row.model == summary.MAIN_MODEL]
  caption = ('Where the physio queries look in the video, mean over layers and heads. '
             'Below it, the mean over queries, relative to even attention (dashed).')
  if said:
    caption += f' Probability of high: {", ".join(said)}.'
  yield picture('attention', figures.attention(arrays, synthetic), caption)


def _how(predictions, facts, config):
  yield Heading('How it was made')
  seconds, versions = facts.get('seconds', dict), facts.get('versions', dict)
  parameters = facts.get('parameters', dict)
  rows = [['seeds', _ranges({row.seed for row in predictions})],
          *([key, facts.get(key, str) or 'absent from run.json']
            for key in ('git', 'device'))]
  yield Table(['run', ''], rows, text_columns=2)
  for name, table in (('parameters', parameters), ('seconds', seconds)):
    if table:
      yield Table([name, ''], [[words(key), text(value)]
                               for key, value in table.items()])
    else:
      yield Paragraph(f'{name.capitalize()}: absent from run.json.')
  if versions:
    yield Folded('Package versions', '\n'.join(
        f'{key} {text(value)}' for key, value in versions.items()))
  else:
    yield Paragraph('Package versions: absent from run.json.')
  if config is None:
    yield Paragraph('Config: config.json is absent.')
  else:
    yield Folded('Config', json.dumps(config, indent=2))


def picture(name, figure, caption):
  """A figure as a block."""
  return Picture(name, caption, figures.png(figure))


def _list(value):
  if not isinstance(value, list):
    return []
  return [item for item in value if isinstance(item, int | str)]


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


def words(key):
  """A key of a JSON file for people."""
  return str(key).replace('_', ' ')


def main(arguments=None) -> int:
  parser = argparse.ArgumentParser(
      prog='python -m mvp_jax.evaluation.report',
      description='Makes the report of a work directory anew.')
  parser.add_argument('workdir', type=Path)
  workdir = parser.parse_args(arguments).workdir
  try:
    print(write_report(workdir))
  except InputError as error:
    print(error, file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main())
