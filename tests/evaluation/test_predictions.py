import dataclasses

import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.evaluation.predictions import (
  COLUMNS,
  Prediction,
  read_predictions,
  write_predictions,
)

HEADER = 'dataset,subject,trial,stimulus,fold,seed,model,target,rating,label,score'
FULL = f'{HEADER},predicted_rating'
ROWS = [
  'deap,1,5,7,0,0,fusion,valence,6.96,1,0.75',
  'deap,1,5,7,0,0,class_prior,valence,6.96,1,0.5',
  'deap,2,1,N1,1,0,fusion,valence,3.0,0,0.0',
  'deap,2,1,N1,1,0,class_prior,valence,3.0,0,1.0',
]


def write(path, rows, header=HEADER):
  path.write_text('\n'.join([header, *rows]) + '\n')
  return path


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'predictions.csv'


def test_columns_are_those_promised():
  assert ','.join(COLUMNS['trial']) == FULL


def test_reads_what_is_written_by_hand(path):
  first, *_, last = read_predictions(write(path, ROWS))
  assert first == Prediction(
    'deap', 1, 5, '7', 0, 0, 'fusion', 'valence', 6.96, 1, 0.75
  )
  assert last.stimulus == 'N1' and last.score == 1.0


def test_predicted_ratings_may_be_there_in_any_column(path):
  rows = [f'{[6.5, ""][i % 2]},{row}' for i, row in enumerate(ROWS)]
  found = read_predictions(write(path, rows, header=f'predicted_rating,{HEADER}'))
  assert [row.predicted_rating for row in found] == [6.5, None, 6.5, None]
  write_predictions(path, found)
  assert read_predictions(path) == found
  half = [f'{rows[0]}', *rows[1:2], rows[2].removeprefix('6.5'), rows[3]]
  with pytest.raises(InputError, match='line 4 .*for some trials of this model'):
    read_predictions(write(path, half, header=f'predicted_rating,{HEADER}'))


def test_one_subject_number_in_two_corpora_is_two_people(path):
  other = [row.replace('deap', 'amigos') for row in ROWS]
  assert len(read_predictions(write(path, [*ROWS, *other]))) == 8


def test_round_trip_is_exact(path, predictions):
  write_predictions(path, predictions)
  assert read_predictions(path) == predictions
  assert path.read_text().splitlines()[0] == FULL
  assert [entry.name for entry in path.parent.iterdir()] == ['predictions.csv']


def test_numpy_scalars_lose_nothing(path):
  score = np.float32(0.1)
  row = Prediction(
    'deap',
    np.int64(1),
    np.int32(2),
    '3',
    np.int64(0),
    0,
    'fusion',
    'valence',
    np.float32(6.96),
    np.bool_(True),
    score,
  )
  write_predictions(path, [row])
  assert read_predictions(path)[0].score == float(score)
  assert read_predictions(path)[0].label == 1


def test_text_with_commas_and_quotes_survives(path):
  row = Prediction('a,"b"', 1, 1, '=1+1', 0, 0, 'fusion', 'valence', 6.0, 1, 0.5)
  write_predictions(path, [row])
  assert read_predictions(path) == [row]


@pytest.mark.parametrize(
  'change, message',
  [
    ({'score': float('nan')}, 'score'),
    ({'score': 1.01}, 'score'),
    ({'score': -0.01}, 'score'),
    ({'rating': float('inf')}, 'rating'),
    ({'predicted_rating': float('nan')}, 'predicted_rating is nan'),
    ({'label': 2}, 'label'),
    ({'model': ''}, 'model'),
    ({'model': 'coin'}, 'coin'),
    ({'stimulus': 'a\nb'}, 'stimulus'),
  ],
)
def test_bad_values_leave_the_old_file(path, predictions, change, message):
  write_predictions(path, predictions)
  before = path.read_bytes()
  bad = [dataclasses.replace(predictions[0], **change), *predictions[1:]]
  with pytest.raises(InputError, match=f'line 2 .*{message}'):
    write_predictions(path, bad)
  assert path.read_bytes() == before


@pytest.mark.parametrize(
  'rows, message',
  [
    ([*ROWS, ROWS[0]], 'line 6 .*twice'),
    (ROWS[:3], 'line 4.*subject 2 trial 1.*no row for class_prior'),
    (ROWS[1:], 'line 2.*no row for fusion'),
    ([ROWS[0], ROWS[1].replace(',1,0.5', ',0,0.5'), *ROWS[2:]], 'line 3 .*label is 0'),
    ([ROWS[0], ROWS[1].replace('6.96', '6.9'), *ROWS[2:]], 'line 3 .*rating'),
    ([ROWS[0], ROWS[1].replace(',7,0,0', ',7,1,0'), *ROWS[2:]], 'line 3 .*fold'),
    ([ROWS[0].replace('deap,1', 'deap,one')], "line 2: subject is 'one'"),
    ([ROWS[0] + ',9'], 'line 2: 12 values'),
    ([''], 'line 2: 0 values'),
    ([ROWS[0].replace('0.75', 'high')], "line 2: score is 'high'"),
    (['deap,"1'], 'line 2'),
    ([], 'no predictions'),
  ],
)
def test_bad_rows_are_named(path, rows, message):
  with pytest.raises(InputError, match=message) as caught:
    read_predictions(write(path, rows))
  assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_bad_files_are_named(path):
  with pytest.raises(InputError, match='no such file'):
    read_predictions(path)
  with pytest.raises(InputError, match="line 1: columns 'p' unknown; expected"):
    read_predictions(write(path, ROWS, header=HEADER.replace('score', 'p')))
  with pytest.raises(InputError, match="columns 'rating' missing"):
    read_predictions(write(path, ROWS, header=HEADER.replace('rating,', '')))
  with pytest.raises(InputError, match="columns 'score' twice"):
    read_predictions(write(path, ROWS, header=HEADER + ',score'))
  nothing = [row.replace('6.96', 'nan').replace('3.0', 'nan') for row in ROWS]
  with pytest.raises(InputError, match='line 2 .*no trial has a finite rating of val'):
    read_predictions(write(path, nothing))
  path.write_bytes(b'\xff\xfe\x00')
  with pytest.raises(InputError, match='UTF-8'):
    read_predictions(path)
  path.write_text('')
  with pytest.raises(InputError, match='line 1'):
    read_predictions(path)


def test_the_same_trial_under_another_seed_is_no_duplicate(path):
  other = [
    row.replace(',0,fusion', ',1,fusion').replace(',0,class', ',1,class')
    for row in ROWS
  ]
  assert len(read_predictions(write(path, [*ROWS, *other]))) == 8
