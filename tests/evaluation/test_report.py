import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from unittest import mock

import matplotlib
import numpy as np
import pandas
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import f1_score

from mvp_jax.errors import InputError
from mvp_jax.evaluation import (
  figures,
  files,
  report,
  run_sections,
  score_figures,
  score_sections,
)
from mvp_jax.evaluation.document import to_html, to_markdown
from mvp_jax.evaluation.predictions import write_predictions
from mvp_jax.evaluation.results import evaluate
from mvp_jax.targets import Binary, promises

VOID = {'meta', 'img', 'br', 'link', 'hr', 'input'}


class Page(HTMLParser):
  """Collects text and resources, and insists that tags nest."""

  def __init__(self, text):
    super().__init__()
    self.text, self.tags, self.resources, self.cells = '', [], [], []
    self.open = []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    self.resources += [
      value
      for name, value in attributes
      if name in ('src', 'href', 'srcset', 'data', 'action')
    ]
    assert not [name for name, _ in attributes if name.startswith('on')]
    if tag not in VOID:
      self.open.append(tag)
    if tag == 'td':
      self.cells.append('')

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if not {'style', 'title'} & set(self.open):
      self.text += data
    if 'td' in self.open:
      self.cells[-1] += data


def made(workdir):
  path = report.write_report(workdir).path
  assert path == workdir / 'report.html'
  return Page(path.read_text()), (workdir / 'report.md').read_text()


def rewrite_run(workdir, **changes):
  path = workdir / 'run.json'
  run = json.loads(path.read_text()) | changes
  path.write_text(json.dumps({k: v for k, v in run.items() if v is not ...}))


def test_the_account_is_linked_where_it_is(tmp_path):
  assert not list(run_sections.account(tmp_path))
  (tmp_path / 'account.html').write_text('')
  blocks = list(run_sections.account(tmp_path))
  assert Page(to_html('', blocks)).resources == ['account.html']
  assert 'account.html](account.html)' in to_markdown('', blocks, '')


def test_whole_report(workdir, predictions):
  settings = dict(matplotlib.rcParams)
  page, markdown = made(workdir)
  assert dict(matplotlib.rcParams) == settings
  assert 'SYNTHETIC' in page.text and 'SYNTHETIC' in markdown
  assert 'script' not in page.tags and 'link' not in page.tags
  assert len(page.resources) == 8
  assert all(r.startswith('data:image/webp;base64,') for r in page.resources)
  for target in ('valence', 'arousal'):
    for model in ('fusion', 'video', 'physio', 'class_prior'):
      rows = [r for r in predictions if (r.target, r.model) == (target, model)]
      score = f1_score(
        [r.label for r in rows], [int(r.score >= 0.5) for r in rows], average='macro'
      )
      shown = f'{score:.3f}'[1:] + ' ['
      assert any(cell.startswith(shown) for cell in page.cells)
      assert f'| {shown}' in markdown
  for text in (
    's03_trial07',
    'abc1234',
    '0.10.2',
    '123,456',
    '61.2',
    '"seed": 0',
    'Checked: no fold tests on a subject',
    'Checked: no test subject is among',
    'held-out trials of fusion: of '
    'each class the surest right trial, and the two surest wrong ones',
    'mean over layers and heads, 1 = evenly',
  ):
    assert text in page.text and text in markdown
  for name in (
    'scores',
    'subjects',
    'calibration',
    'confusions',
    'labels',
    'learning_curves',
    'cases_1',
    'cases_2',
  ):
    png = (workdir / 'figures' / f'{name}.png').read_bytes()
    assert png.startswith(b'\x89PNG')
    assert f'(figures/{name}.png)' in markdown
  assert 'absent' not in page.text


def test_long_names_beside_an_axis_are_told_apart():
  for name in ('cross-attention, physio asks', 'cross-attention, video asks'):
    assert figures.in_two_lines(name).replace('\n', ' ') == name
  endless = figures.in_two_lines('x' * 200)
  assert endless.count('\n') == 1 and len(endless) < 50 and endless.endswith('…')


def test_the_report_opens_with_what_was_found_and_warns(workdir, predictions):
  shutil.rmtree(workdir / 'cases')
  write_predictions(
    workdir / 'predictions.csv',
    [
      dataclasses.replace(row, score=0.9)
      if (row.model, row.target) == ('physio', 'valence')
      else row
      for row in predictions
    ],
  )
  page, markdown = made(workdir)
  opening = 'How well can valence and arousal be predicted'
  assert markdown.split('\n\n')[1].startswith(opening)
  assert '</h1>\n<p>' + opening in (workdir / 'report.html').read_text()
  told = report.write_report(workdir).summary
  assert told.startswith(opening)
  for text in (page.text, markdown, told):
    assert text.count('WARNING') >= 2  # announced, and at the result
    assert 'physio says high to 100% of the trials' in text
  assert markdown.index('> **WARNING**') < markdown.index('### arousal')
  assert 'says high to 100%' not in markdown[markdown.index('### arousal') :]


AUDIT = {
  'passed': True,
  'checks': [{'name': 'trials', 'passed': True, 'detail': 'each of 160 trials once'}],
}


def test_audit_protocol_and_leak_meter_are_shown(workdir):
  meter = {
    'target': 'valence',
    'model': 'fusion',
    'split': 'other trials',
    'honest': 0.61,
    'claimed': 0.93,
    'inflation': 0.32,
    'low': 0.2,
    'high': 0.4,
  }
  shutil.rmtree(workdir / 'cases')
  rewrite_run(
    workdir,
    audit=AUDIT,
    protocol='leave_one_subject_out',
    target=Binary(threshold='subject_median').describe(),
    leak_meter=[meter],
  )
  page, markdown = made(workdir)
  for text in (
    'Protocol: leave one subject out, 4 folds.',
    'Leak audit: passed (1',
    'above the subject median of the ratings',
    '1 of 161 trials dropped',
    'each of 160 trials once',
    'NOT RESULTS',
    '+.320 [.200, .400]',
  ):
    assert text in page.text and text in markdown
  assert 'Checked: no fold tests on a subject' not in page.text  # the audit does


def test_what_was_accepted_stands_before_all_scores(workdir):
  shutil.rmtree(workdir / 'cases')
  check = {
    'name': 'content: signals',
    'passed': True,
    'accepted': True,
    'detail': 's01_trial01 and s02_trial07; accepted by evaluation.accept',
  }
  audit = {'passed': True, 'checks': [*AUDIT['checks'], check]}
  rewrite_run(workdir, audit=audit)
  page, markdown = made(workdir)
  for text in (page.text, markdown):
    assert text.index('LEAK ACCEPTED') < text.index('macro-F1')
    assert 's01_trial01 and s02_trial07; accepted by evaluation.accept' in text
    assert '2 checks, 1 only since the config accepts what was found' in text
  summary = report.write_report(workdir).summary
  assert summary.startswith('LEAK ACCEPTED: content: signals: s01_trial01 and')


def test_a_failed_audit_prints_no_scores(workdir, predictions):
  shutil.rmtree(workdir / 'cases')
  report.write_report(workdir)
  bad = {'name': 'content', 'passed': False, 'detail': 's01_trial01 is s02_trial07'}
  for passed in (True, False):  # whatever the summary says
    rewrite_run(workdir, audit={'passed': passed, 'checks': [*AUDIT['checks'], bad]})
    page, markdown = made(workdir)
    for text in (page.text, markdown):
      assert 'LEAK AUDIT FAILED: NO SCORES' in text
      assert 's01_trial01 is s02_trial07' in text
      assert 'macro-F1' not in text and '[.' not in text
    assert not page.resources
    assert not (workdir / 'tables').exists() and not (workdir / 'figures').exists()
  (workdir / 'predictions.csv').unlink()  # such a run may have none
  made(workdir)


def test_tables_hold_what_the_report_shows(workdir, predictions):
  shutil.rmtree(workdir / 'cases')
  report.write_report(workdir)
  table = pandas.read_csv(workdir / 'tables' / 'scores.csv')
  table = table.set_index(['target', 'model'])
  for result in evaluate(predictions):
    for model in ('fusion', 'video'):
      row = table.loc[result.target, model]
      for name, metric in (('macro-F1', 'macro_f1'), ('AUROC', 'auroc')):
        expected = result.scores[model][metric]
        assert [row[name], row[f'{name} low'], row[f'{name} high']] == pytest.approx(
          [expected.value, expected.low, expected.high]
        )
  assert 'CCC' not in table
  assert table.loc['valence', 'best possible']['accuracy'] == 0.9155
  pairs = pandas.read_csv(workdir / 'tables' / 'comparisons.csv')
  assert {'macro-F1', 'macro-F1 p', 'macro-F1 p holm'} <= set(pairs)
  assert len(pandas.read_csv(workdir / 'tables' / 'subjects.csv')) == 2 * 8 * 5
  latex = (workdir / 'tables' / 'scores.tex').read_text()
  assert latex.count('&') == 10 * (1 + 2 * 6)  # columns, header and rows
  for rule in ('toprule', 'midrule', 'bottomrule'):
    assert f'\\{rule}' in latex


@pytest.mark.parametrize(
  'subjects, models',
  [(1, ('fusion',)), (2, ('video', 'class_prior')), (3, ('class_prior',))],
)
@pytest.mark.parametrize('one_class', [True, False])
def test_little_is_enough(tmp_path, predictions, subjects, models, one_class):
  write_predictions(
    tmp_path / 'predictions.csv',
    [
      dataclasses.replace(row, label=row.label * (not one_class))
      for row in predictions
      if row.subject <= subjects and row.model in models and row.target == 'valence'
    ],
  )
  page, _ = made(tmp_path)
  assert 'The result' in page.text


def test_made_anew_it_is_the_same(workdir):
  shutil.rmtree(workdir / 'cases')
  report.write_report(workdir)
  before = (workdir / 'report.html').read_bytes()
  assert report.main([str(workdir)]) == 0
  assert (workdir / 'report.html').read_bytes() == before


def test_no_banner_on_real_data(workdir):
  (workdir / 'metrics.jsonl').unlink()
  shutil.rmtree(workdir / 'cases')
  rewrite_run(workdir, synthetic=False, ceiling=None)
  page, markdown = made(workdir)
  for text in (page.text, markdown):
    assert 'SYNTHETIC' not in text and 'synthetic' not in text
    assert 'best possible' not in text


def test_the_report_tells_when_a_model_may_answer(predictions):
  learnt = {'kind': 'abstention', 'risk': 0.2, 'share': 0.4, 'wrong': 0.05}
  learnt |= {'answered': 20, 'people': 24}
  results = evaluate(predictions, resamples=20)
  main, (first, second) = results[0].models[0], [one.target for one in results]
  promised = {first: learnt | {'threshold': 0.8}, second: learnt | {'threshold': None}}
  blocks = score_sections.calibration(results, {main: promised}, False)
  markdown = to_markdown('report', list(blocks), '.')
  people = '40% of held-out trials 5% were wrong (mean over 20 of 24 people)'
  assert (
    f'{first}, {main}: answers where it is at least 0.80 sure: at most 20% wrong, with '
    f'90% confidence; of the surest {people}.'
  ) in markdown
  assert (
    f'{second}, {main}: of the surest {people}: not enough to promise at most 20%.'
  ) in markdown
  known = {(main, first): promises.from_dict(promised[first])}
  figure = score_figures.calibration(results, False, known)
  stars = [
    (axes.get_title(loc='left'), line.get_xydata().tolist())
    for axes in figure.axes
    for line in axes.lines
    if line.get_marker() == '*'
  ]
  assert stars == [(f'{first}: abstention (area)', [[0.4, 0.05]])]


@pytest.mark.parametrize('synthetic', [True, False])
def test_every_figure_says_synthetic(predictions, synthetic):
  results = evaluate(predictions)
  losses = {'fold0/fusion': {'train': (np.arange(3.0), np.ones(3))}}
  for figure in (
    score_figures.scores(results, None, synthetic),
    score_figures.subjects(results, synthetic),
    score_figures.calibration(results, synthetic),
    figures.labels(predictions, 5.0, synthetic),
    figures.learning_curves(losses, synthetic),
    score_figures.confusions(results, synthetic),
  ):
    assert ('SYNTHETIC' in [text.get_text() for text in figure.texts]) == synthetic


def test_predictions_alone_are_enough(workdir):
  for name in ('run.json', 'config.json', 'metrics.jsonl'):
    (workdir / name).unlink()
  shutil.rmtree(workdir / 'cases')
  page, markdown = made(workdir)
  assert 'SYNTHETIC' not in page.text
  assert 'run.json is absent: whether these data are synthetic is not known' in (
    page.text
  )
  for text in (
    'there are no files in cases/',
    'metrics.jsonl is missing',
    'config.json is absent',
    'subject independence is not checked',
    'what the video encoder was trained on is not known',
  ):
    assert text in page.text and text in markdown


@pytest.mark.parametrize(
  'key',
  [
    'dataset',
    'synthetic',
    'ceiling',
    'git',
    'versions',
    'seconds',
    'encoder',
    'folds',
    'trials_in',
    'trials_out',
    'dropped',
    'target',
    'models',
    'device',
    'parameters',
    'audit',
    'protocol',
    'leak_meter',
  ],
)
def test_any_fact_may_be_missing_or_odd(workdir, key, monkeypatch):
  drawn, png = mock.Mock(), figures.png(Figure(figsize=(0.1, 0.1)))
  monkeypatch.setattr(figures, 'png', lambda figure: png)
  monkeypatch.setattr(run_sections, 'figures', drawn)
  monkeypatch.setattr(run_sections, 'case_figures', drawn)
  monkeypatch.setattr(score_sections, 'score_figures', drawn)
  for value in (..., None, 'odd', [{'odd': [1]}], {}):
    rewrite_run(workdir, **{key: value})
    made(workdir)


def test_missing_or_broken_files(workdir, tmp_path, capsys):
  (workdir / 'run.json').write_text('{"a":')
  with pytest.raises(InputError, match='run.json: not JSON'):
    report.write_report(workdir)
  (workdir / 'run.json').write_text('[1]')
  with pytest.raises(InputError, match='run.json: a JSON object'):
    report.write_report(workdir)
  assert report.main([str(tmp_path / 'nothing')]) == 2
  assert 'predictions.csv: no such file' in capsys.readouterr().err


def test_everything_from_files_is_escaped(workdir, predictions):
  evil = (
    '$x^$ <script>alert(1)</script>|[a](http://evil.example)![b](http://evil.example)'
  )
  write_predictions(
    workdir / 'predictions.csv',
    [
      dataclasses.replace(
        row,
        dataset=evil,
        target=evil + row.target,
        model=evil if row.model == 'video' else row.model,
      )
      for row in predictions
    ],
  )
  rewrite_run(
    workdir,
    git=evil,
    device=evil,
    dropped={evil: [evil]},
    versions={evil: evil},
    seconds={evil: 1.0},
    parameters={evil: evil},
    encoder={evil: evil, 'trained_on_subjects': [evil]},
    folds=[{'fold': 0, 'test_subjects': [evil]}],
  )
  (workdir / 'config.json').write_text(json.dumps({evil: evil}))
  for file in (workdir / 'cases').iterdir():
    with np.load(file) as arrays:
      changed = {**arrays, 'trial_id': evil, 'channels': np.array([evil, 'b'])}
    np.savez(file, **changed)
  page, markdown = made(workdir)
  assert 'script' not in page.tags and 'a' not in page.tags
  assert all(r.startswith('data:') for r in page.resources)
  code, prose = [], []
  for line in markdown.splitlines():
    (code if line.startswith('    ') else prose).append(line)
  assert 'evil.example' in ''.join(code)  # config, as an indented code block
  assert '<script' not in ''.join(prose)
  assert not re.search(r'(?<!\\)\]\(http', ''.join(prose))


def test_a_shared_subject_is_told(workdir, run_facts):
  shutil.rmtree(workdir / 'cases')
  run_facts['folds'][0]['train_subjects'].append(5)
  rewrite_run(
    workdir,
    folds=run_facts['folds'],
    encoder={'source': 'x', 'trained_on_subjects': [2, 3, 4, 30]},
  )
  page, _ = made(workdir)
  assert 'NOT subject-independent as far as can be seen: fold 0 tests on' in page.text
  assert 'subjects 5, which it also trains or validates on' in page.text
  assert 'Test subjects 2-4 are among those that the encoder' in page.text


def test_curves_last_step_wins_and_half_lines_are_counted(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  assert files.read_curves(path) is None
  line = {'run': 'fold0/fusion', 'split': 'train'}
  path.write_text(
    '\n'.join(
      [
        json.dumps(line | {'step': 10, 'loss': 3.0}),
        json.dumps(line | {'step': 0, 'loss': 4.0}),
        json.dumps(line | {'step': 10, 'loss': 2.0}),
        json.dumps(line | {'step': 20, 'rate': 2.0}),
        '{"run": "fold0/fus',
        '[]',
      ]
    )
  )
  curves, unreadable = files.read_curves(path)
  steps, losses = curves['fold0/fusion']['train']
  assert steps.tolist() == [0, 10] and losses.tolist() == [4, 2]
  assert unreadable == 2


def test_what_the_audit_says_of_the_encoder_stands_in_place_of_numbers(workdir):
  shutil.rmtree(workdir / 'cases')
  said = {'name': 'encoder', 'passed': True, 'detail': 'pre-trained on no test subject'}
  rewrite_run(
    workdir,
    audit={'passed': True, 'checks': [said]},
    encoder={'people': ['a', 'b'], 'trained_on_subjects': [2]},
  )
  page, _ = made(workdir)
  assert 'Leak audit: pre-trained on no test subject.' in page.text
  assert 'are among those that the encoder' not in page.text
  assert page.cells[page.cells.index('people') :][:2] == ['people', '2']
