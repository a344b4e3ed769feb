"""RECOLA's annotations, and all that may be wrong with them."""

import dataclasses

import numpy as np
import pytest

from mvp_jax.corpora.recola.annotation import RATERS, gold_standard, read_annotation
from mvp_jax.corpora.recola.tree import Person
from mvp_jax.outcomes import Dropped

_HEADER = 'time;FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3'
_GOOD = f"""{_HEADER}
0.00;0.10;0.20;0.30;0.40;0.50;0.60
0.04;-0.10;-0.20;-0.30;-0.40;-0.50;-1
0.08;0;0;0;0;0;0.6
"""


@pytest.fixture
def write(tmp_path):
  """A function of (text, name) -> Path."""

  def write(text, name='P16.csv'):
    path = tmp_path / 'arousal' / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path

  return write


def test_the_gold_standard_is_the_mean_of_the_chosen_raters(write):
  path = write(_GOOD)
  rated = read_annotation(path, RATERS)
  np.testing.assert_allclose(rated.values, [0.35, -2.5 / 6, 0.1])
  np.testing.assert_allclose(rated.times, [0, 0.04, 0.08])
  assert rated.end == pytest.approx(0.12) and not rated.notes
  without = read_annotation(path, RATERS[:-1])  # FF3 is often left out
  np.testing.assert_allclose(without.values, [0.3, -0.3, 0])


@pytest.mark.parametrize(
  'change',
  [
    lambda text: text.replace('.', ','),  # as spreadsheets in France write it
    lambda text: text.replace('.', ',').replace('\n', '\r\n').encode('utf-16'),
    lambda text: text.replace(';', ','),
    lambda text: text.replace(' ;', ';'),
    lambda text: text.replace('FM1', 'fm1'),
    lambda text: text.replace('\n', ';\n'),
    lambda text: '\ufeff' + text,
  ],
)
def test_however_a_spreadsheet_has_saved_it(write, change):
  rated = read_annotation(write(change(_GOOD)), RATERS)
  np.testing.assert_allclose(rated.values, [0.35, -2.5 / 6, 0.1])


def test_columns_go_by_their_names(write):
  rows = [line.split(';') for line in _GOOD.splitlines()]
  other = '\n'.join(';'.join([row[3], row[0], *row[4:], *row[1:3]]) for row in rows)
  rated = read_annotation(write(other), ('FM3', 'FF1'))
  np.testing.assert_allclose(rated.values, [0.35, -0.35, 0])


def test_a_moment_that_a_chosen_rater_left_out_is_unrated_and_told(write):
  path = write(_GOOD.replace('0.04;-0.10', '0.04;'))
  rated = read_annotation(path, RATERS)
  np.testing.assert_array_equal(np.isnan(rated.values), [False, True, False])
  assert rated.notes == ['arousal: 1 rows lack a rater and count as unrated']
  assert not read_annotation(path, RATERS[1:]).notes


def test_a_clock_that_begins_later_is_believed_and_told(write):
  late = _HEADER + '\n12.0;0;0;0;0;0;0\n12.04;0;0;0;0;0;0\n'
  rated = read_annotation(write(late), RATERS)
  np.testing.assert_allclose(rated.times, [12, 12.04])
  assert rated.notes == ['arousal: its annotation begins at 12 s']


@pytest.mark.parametrize(
  ('text', 'code', 'message'),
  [
    ('', 'missing_rating', 'it is empty'),
    (_HEADER + '\n', 'missing_rating', 'fewer than two rows'),
    (_HEADER + '\n0;0;0;0;0;0;0\n', 'missing_rating', 'fewer than two rows'),
    (_HEADER + '\n0;;0;0;0;0;0\n.04;;0;0;0;0;0\n', 'missing_rating', 'no moment that'),
    ('0;0;0;0;0;0;0\n.04;0;0;0;0;0;0\n.08;0;0;0;0;0;0', 'bad_rating', 'must name time'),
    (_GOOD.replace('FF3', 'FF4'), 'bad_rating', 'no rater FF3 in it (there are FM1'),
    (_GOOD.replace('FM2', 'FM1'), 'bad_rating', 'no rater FM2'),
    (_GOOD.replace('0.20', '1.20'), 'bad_rating', 'line 2: FM2 is 1.2, not from -1'),
    (_GOOD.replace('-1\n', '-1.01\n'), 'bad_rating', 'line 3: FF3 is -1.01, not'),
    (_GOOD.replace('0.20', 'high'), 'bad_rating', "line 2: FM2 is 'high', no number"),
    (_GOOD.replace('0.08;', '0.04;'), 'bad_rating', 'line 4: its time (0.04) does not'),
    (_GOOD.replace('0.04;', ';'), 'bad_rating', 'line 3: its time (nan) does not'),
    (_GOOD.replace('0.00;0.1', '-2;0.1'), 'bad_rating', 'begin at -2 s, before'),
    (
      _GOOD.replace('0.04;', '40;').replace('0.08;', '80;'),
      'bad_rating',
      'advances by 40 a row; it must count in seconds',
    ),
    (b'\x00\x01\x02' * 50, 'bad_rating', 'not a text file'),
    ('<!DOCTYPE html><html>login</html>', 'bad_rating', 'a web page saved'),
  ],
)
def test_what_is_wrong_with_an_annotation_is_said(write, text, code, message):
  path = write(text)
  with pytest.raises(Dropped) as raised:
    read_annotation(path, RATERS)
  assert raised.value.code == code
  assert message in raised.value.reason and str(path) in raised.value.reason
  assert '\n' not in raised.value.reason


@pytest.fixture
def person(write, tmp_path):
  """A function of (valence, arousal as text) -> Person."""

  def person(valence, arousal):
    (tmp_path / 'valence').mkdir(exist_ok=True)
    path = tmp_path / 'valence' / 'P16.csv'
    path.write_text(valence)
    return Person(16, 1, 1, '1', path, write(arousal), None, None, None)

  return person


def test_both_dimensions_are_on_one_clock(person):
  rated = gold_standard(person(_GOOD, _GOOD.replace('0.04;-', '0.06;-')), RATERS)
  np.testing.assert_allclose(rated.times, [0, 0.04, 0.06, 0.08])
  np.testing.assert_array_equal(
    np.isnan(rated.values), [[0, 0], [0, 1], [1, 0], [0, 0]]
  )
  assert rated.notes == ['3 rows of valence and 3 rows of arousal: their times differ']


def _long(seconds):
  rows = [f'{i / 25:.2f};0;0;0;0;0;0.1' for i in range(seconds * 25 + 1)]
  return '\n'.join([_HEADER, *rows]) + '\n'


def test_no_more_than_five_minutes_are_used_and_all_of_them_are(person):
  whole = gold_standard(person(_long(300), _long(300)), RATERS)
  assert len(whole.times) == 7501 and not whole.notes
  longer = gold_standard(person(_long(301), _long(301)), RATERS)
  assert len(longer.times) == 7501 and longer.end == pytest.approx(301.04)
  assert longer.notes == ['25 rows of annotation past 300 s are not used']


def test_what_two_dimensions_do_not_share_is_said(person):
  with pytest.raises(Dropped, match='of valence at 20.0 s and of arousal at 10.0 s'):
    gold_standard(person(_long(20), _long(10)), RATERS)
  alone = dataclasses.replace(person(_GOOD, _GOOD), valence=None)
  with pytest.raises(Dropped) as raised:
    gold_standard(alone, RATERS)
  assert raised.value.code == 'missing_rating'
  assert 'P16: no RECOLA-Annotation/emotional_behaviour/valence/P16.csv' in (
    raised.value.reason
  )
