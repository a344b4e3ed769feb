"""The account page: numbers, order, drawings, size; and the command on a corpus."""

import base64
import csv
import re
import shutil
import types
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mvp_jax.corpora.recordings.twin import write_recordings_twin
from mvp_jax.data.trial import Frames, Series, Trial
from mvp_jax.evaluation import account, sketches
from mvp_jax.preparation import prepare
from mvp_jax.raw.openface import read_openface
from mvp_jax.synthetic.spec import TwinSpec

RATE, SECONDS = 16.0, 40
COLOURS = {1: (200, 40, 40), 2: (40, 200, 40), 3: (40, 40, 200)}


class Page(HTMLParser):
  """Texts of headings, cells and cards; insists that tags nest, and on data URIs."""

  def __init__(self, text):
    super().__init__()
    self.open, self.cells, self.titles, self.text = [], [], [], ''
    self.images, self.rects = [], []
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attributes):
    attributes = dict(attributes)
    assert 'href' not in attributes and tag not in ('script', 'link')
    if tag == 'img':
      assert attributes['src'].startswith('data:image/jpeg;base64,')
      self.images.append(base64.b64decode(attributes['src'].partition(',')[2]))
    if tag == 'rect':
      self.rects.append((float(attributes['x']), float(attributes['width'])))
    if tag not in ('meta', 'img'):
      self.open.append(tag)
    if tag == 'tr':
      self.cells.append([])
    if tag in ('td', 'th'):
      self.cells[-1].append('')
    if tag == 'h4':
      self.titles.append('')

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data
    if 'h4' in self.open:
      self.titles[-1] += data
    if {'td', 'th'} & set(self.open):
      self.cells[-1][-1] += data


def trial(subject, number, masked=False):
  length = round(SECONDS * RATE)
  signals = np.stack(
    [4 + np.arange(length) / length, np.sin(np.arange(length))], 1
  ).astype(np.float32)
  valid = np.ones((length, 2), bool)
  valid[:, 1] = not masked
  return Trial(
    f's{subject:02d}_trial{number:02d}',
    subject,
    number,
    1,
    {'arousal': 3.25, 'valence': 7.0},
    {
      'signals': Series(np.where(valid, signals, 0), valid, ('eda', 'ppg'), RATE),
      'video': Frames(
        np.arange(80, dtype=np.float32) / 2, np.arange(80) >= 20 * (number == 2), 0, 2.0
      ),
    },
  )


def row(name, outcome='ok', reason='', **facts):
  facts = {
    'eda_valid': '1.0',
    'eda_flags': 'good',
    'ppg_valid': '1.0',
    'ppg_flags': 'good',
    'face_share': '1.0',
    'broken_packets': '0',
    'video_notes': '',
  } | facts
  if outcome != 'ok':
    facts = dict.fromkeys(facts, '')
  return {
    'trial_id': name,
    'subject': str(int(name[1:3])),
    'trial': name[-1],
    'outcome': outcome,
    'reason': reason,
    **facts,
  }


@pytest.fixture
def corpus(tmp_path):
  """Two trials each of three subjects, of eight that should be there."""
  rows = [
    row('s01_trial01'),
    row('s01_trial02', face_share='0.75'),
    row('s02_trial01', ppg_valid='0.0', ppg_flags='flat 100%; masked: flat'),
    row('s02_trial02', face_share='0.9'),
    row('s02_trial03', 'no_face', 'a.avi: <b>a face</b> in 1.0% of the frames'),
    row('s03_trial01'),
    row('s03_trial02'),
    row('s03_trial03', 'missing_video', 'c.avi: no such file'),
  ]
  with (tmp_path / 'account.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)

  def frames(trial, numbers, stream):
    return np.stack(
      [np.full((96, 96, 3), COLOURS[trial.subject], np.uint8) for _ in numbers]
    )

  return types.SimpleNamespace(
    title='DEAP',
    directory=tmp_path,
    frames=frames,
    trials=[trial(s, n, masked=(s, n) == (2, 1)) for s in (1, 2, 3) for n in (1, 2)],
    metadata={
      'ratings': {'valence': [1, 9], 'arousal': [1, 9]},
      'streams': {
        'signals': {
          'kind': 'series',
          'rate': RATE,
          'channels': ['eda', 'ppg'],
          'units': ['microsiemens', 'as recorded'],
        },
        'video': {'kind': 'frames', 'rate': 2.0},
      },
      'frame_size': 96,
      'crop': 'X',
      'clean': True,
      'synthetic': True,
    },
  )


def page_of(corpus):
  path = account.write_page(corpus, corpus.directory / 'page.html')
  return Page(path.read_text())


def test_numbers(corpus):
  page = page_of(corpus)
  assert (
    '8 trials of 3 subjects went in, 6 came out, 2 were dropped; 2 of those that '
    'came out have a flag.'
  ) in page.text
  assert 'SYNTHETIC' in page.text
  for cells in (
    ['no_face: hardly any frame shows a face', '1'],
    ['s02_trial03', 'no_face: a.avi: <b>a face</b> in 1.0% of the frames'],
    ['1', '2', '2', '-', '1', '87.5%', '75.0%', '100.0%', '0', '100.0%', '0'],
    ['2', '3', '2', '1 no_face', '1', '95.0%', '90.0%', '100.0%', '0', '50.0%', '1'],
    [
      '3',
      '3',
      '2',
      '1 missing_video',
      '0',
      '100.0%',
      '100.0%',
      '100.0%',
      '0',
      '100.0%',
      '0',
    ],
    ['ppg', '16 Hz, as recorded, 83.3% valid'],
    ['signals', 'cleaned'],
    # 6 trials of 80 frames at 2 a second are 240 s.
    ['video', '480 frames at 2 a second, 0.07 hours; 96 pixels, crop X'],
  ):
    assert cells in page.cells, cells


def test_trials_with_a_flag_come_first(corpus):
  page = page_of(corpus)
  assert page.titles == [
    's01_trial02',
    's02_trial01',
    's01_trial01',
    's02_trial02',
    's03_trial01',
    's03_trial02',
  ]
  for text in (
    'face in 75% of the frames',
    'ppg: flat 100%; masked: flat',
    'valence 7, arousal 3.25',
    'All 6 are shown',
  ):
    assert text in page.text
  means = [
    cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB).mean((0, 1))
    for jpeg in page.images
  ]
  assert len(means) == 18
  for mean, subject in zip(means[::3], (1, 2, 1, 2, 3, 3), strict=True):
    np.testing.assert_allclose(mean, COLOURS[subject], atol=4)


def test_flags_of_faces_are_told(corpus):
  path = corpus.directory / 'account.csv'
  text = path.read_text().replace('face_share', 'face_flags,face_share', 1)
  lines = text.splitlines()
  column = lines[0].split(',').index('face_flags')
  for k, line in enumerate(lines[1:], 1):
    cells = line.split(',')
    cells.insert(column, 'frozen for 9 s' if k == 1 else 'good')
    lines[k] = ','.join(cells)
  path.write_text('\n'.join(lines) + '\n')
  page = page_of(corpus)
  assert page.titles[:3] == ['s01_trial01', 's01_trial02', 's02_trial01']
  assert page.text.count('face: frozen for 9 s') == 1
  assert '3 of those that came out have a flag' in page.text


def test_a_page_of_many_stays_small(corpus, monkeypatch):
  size = account._size(
    account._card(corpus, corpus.trials[0], {}, account._channels(corpus), '')
  )
  monkeypatch.setattr(account, '_MAX_BYTES', 4.5 * size)
  page = page_of(corpus)
  assert page.titles == ['s01_trial02', 's02_trial01', 's01_trial01', 's03_trial01']
  assert '4 of 6 are shown, so that' in page.text


def test_long_tables_are_cut_and_say_so(corpus, monkeypatch):
  monkeypatch.setattr(account, '_MAX_ROWS', 1)
  page = page_of(corpus)
  assert 'The first 1 of 2; account.csv has all.' in page.text
  assert 'The first 1 of 3; account.csv has all.' in page.text
  names = [cells[0] for cells in page.cells]
  assert 's02_trial03' in names and 's03_trial03' not in names


def test_what_cards_take_is_known(corpus):
  # In pages of a thousand cards it is what keeps the limit.
  sizes = sum(
    account._size(account._card(corpus, t, {}, account._channels(corpus), ''))
    for t in corpus.trials
  )
  empty = types.SimpleNamespace(**vars(corpus) | {'trials': []})
  bytes_ = [
    account.write_page(c, c.directory / 'page.html').stat().st_size
    for c in (corpus, empty)
  ]
  assert bytes_[0] - bytes_[1] == pytest.approx(sizes, rel=0.2)


def test_what_is_not_valid_is_shaded():
  valid = np.ones(1000, bool)
  valid[100:250] = valid[990:] = False
  assert sketches.shaded(valid) == [(20, 50), (198, 200)]
  assert sketches.shaded(np.zeros(10, bool)) == [(0, 200)]
  assert sketches.shaded(np.ones(10, bool)) == []
  valid = np.ones(100_000, bool)
  valid[50_000] = False
  ((start, end),) = sketches.shaded(valid)
  assert (start, end) == (100, 100.5)  # never too narrow to be seen
  (sketch,) = sketches.signal_sketches('ppg', np.ones(10), np.zeros(10, bool), 1.0)
  assert sketch.spans == [(0, 200)] and 'nothing valid' in sketch.label


def test_a_line_goes_where_the_signal_goes():
  values = np.linspace(10, 20, 4000)
  valid = np.ones(4000, bool)
  valid[1000:2000] = False
  values[1500] = 1e6  # not valid: leaves no trace
  (sketch,) = sketches.signal_sketches('eda', values, valid, 100.0)
  assert sketch.label == 'eda: 10 to 20, 40 s'
  one, other = sketch.lines.split('M')[1:]
  points = []
  for part in (one, other):
    steps = np.array([[int(n) for n in step.split()] for step in part.split('l')])
    points.append(np.cumsum(steps, axis=0))
  (x, y), (u, v) = points[0].T, points[1].T
  assert (x[0], x[-1], u[0], u[-1]) == (0, 49, 100, 199)
  np.testing.assert_allclose(y, 39 - 38 * (x + 0.5) / 200, atol=1)
  np.testing.assert_allclose(v, 39 - 38 * (u + 0.5) / 200, atol=1)


def test_beats_are_also_shown_closer():
  times = np.arange(60 * 100) / 100
  valid = times < 20
  whole, near = sketches.signal_sketches('ecg_left', np.sin(9 * times), valid, 100.0)
  heights = np.array(
    [
      [float(n) for n in re.split('[ V]', stroke)]
      for stroke in whole.lines.split('M')[1:]
    ]
  )
  assert heights[:, 0].max() < 200 / 3 and len(heights) > 60
  assert (heights[:, 1:] >= 0).all() and (heights[:, 1:] <= 40).all()
  assert heights[:, 2].max() - heights[:, 1].min() > 35
  assert near.label.startswith('8 s of it from ') and near.spans == []


def test_the_command(tmp_path, capsys):
  folder, data = tmp_path / 'own', tmp_path / 'data'
  write_recordings_twin(
    folder,
    TwinSpec(
      subjects=2,
      trials=1,
      frame_rate=2.0,
      width=64,
      height=64,
      pixel_aspect=(1, 1),
      video_seconds=20.0,
    ),
    workers=1,
  )
  for video in folder.rglob('*.avi'):
    video.unlink()
  directory = prepare(
    'recordings', folder, data, streams=('signals', 'action_units'), workers=1
  )
  out = tmp_path / 'page' / 'own.html'
  assert account.main([str(directory), f'--out={out}']) == 0
  assert capsys.readouterr().out.strip() == str(out)
  page = Page(out.read_text())
  assert page.titles == ['P01_trial01', 'P02_trial01'] and not page.images
  assert 'Nothing was dropped.' in page.text and 'Subject P02' in page.text
  units = [read_openface(path).valid for path in folder.glob('openface/*/*.csv')]
  share = np.concatenate(units).mean()
  assert [
    'action units',
    f'80 rows, {share:.1%} valid',
  ] in page.cells
  shutil.rmtree(data)
  assert account.main([str(directory), f'--out={out}']) == 2
  assert 'error:' in capsys.readouterr().err
