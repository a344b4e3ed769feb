"""Loggers' files are right by their numbers, broken ones are that or refused."""

import numpy as np
import pytest

from mvp_jax.corpora.recordings.check import check, describe
from tests.corpora.recordings import logger_files
from tests.corpora.recordings.broken_files import BROKEN, spoilt
from tests.corpora.recordings.export_files import EXPORTS, UNTOLD
from tests.corpora.recordings.logger_files import LAYOUTS, Body, verdict
from tests.corpora.recordings.program_files import PROGRAMS, UNSURE, table

# Some of each kind; benchmarks/signal_files.py tries all.
_SOME = 3


def _written(folder, seed, write, how):
  body = Body(np.random.default_rng(seed))
  return write(folder, body, **how), body


@pytest.mark.parametrize('name', [*LAYOUTS][::_SOME])
def test_layouts_are_right(tmp_path, name):
  row, body = _written(tmp_path, 0, *LAYOUTS[name])
  said, text = verdict(tmp_path, row, body)
  assert said == 'right', text


@pytest.mark.parametrize('name', [*PROGRAMS, *EXPORTS])
def test_files_of_programs_are_right(tmp_path, name):
  row, body = _written(tmp_path, 0, *(PROGRAMS | EXPORTS)[name])
  said, text = verdict(tmp_path, row, body)
  assert said == 'right' and 'masked' not in text, text


@pytest.mark.parametrize(
  'name, told',
  [
    (
      'a resistance of no unit',
      'Skin Resistance is a resistance of no unit; give eda_',
    ),
    ('rows of events', "have no number, but 'stimulus': are they samples?"),
    ('a row of each channel', 'are of several channels in turn (EDA, PPG)'),
    ('a row of each channel by number', '2 rows share each time, and their values al'),
    ('objects of JSON', 'a.csv: '),
    ('lines of words', "6 of its lines hold words, the first 'mark one': are they sam"),
    (
      'columns called 0, 1',
      'its columns are called 0, 1, ...; give them names of lett',
    ),
    (
      'decimal commas or two columns',
      'may be of two whole numbers or of one with a dec',
    ),
  ],
)
def test_what_is_not_sure_is_refused(tmp_path, name, told):
  row, body = _written(tmp_path, 0, *UNSURE[name])
  said, text = verdict(tmp_path, row, body)
  assert said == 'refused' and told in text


@pytest.mark.parametrize('name', UNTOLD)
def test_what_an_export_does_not_tell_is_refused(tmp_path, name):
  write, how, told = UNTOLD[name]
  row, body = _written(tmp_path, 0, write, how)
  said, text = verdict(tmp_path, row, body)
  assert said == 'refused' and told in text, text


@pytest.mark.parametrize('name', [*BROKEN][::_SOME])
def test_broken_files_are_right_or_refused(tmp_path, name):
  row, body = _written(tmp_path, 0, *BROKEN[name])
  said, text = verdict(tmp_path, row, body)
  assert said in ('right', 'refused'), text
  if said == 'refused':
    assert row['signals'] in text


@pytest.mark.parametrize(
  'name, told',
  [
    ('unit EDA (nS) ', 'column eda: its unit is nS, as the file says (row 2)'),
    ('clock time_ms', 'time_ms counts in milliseconds, as its header says (row 2)'),
    ('unit row ms', 't counts in milliseconds, as its header says (row 2)'),
    (
      'packets 73 130 all 0',
      'a stamp for 73 samples each: they are spread evenly, 130',
    ),
    (
      'iMotions False',
      'column eda: one of 32 rows has it: its own rate is 4 Hz (row 2)',
    ),
    ('E4 file', 'its first lines are its start and rate, 4 Hz (row 2)'),
    ('Shimmer 1 True False', 'column eda: its unit is kOhms, as the file says (row 2)'),
  ],
)
def test_what_was_found_out_is_said(tmp_path, name, told):
  row, body = _written(tmp_path, 0, *LAYOUTS[name])
  assert verdict(tmp_path, row, body)[0] == 'right'
  assert told in describe(check(tmp_path))


def test_what_is_masked_is_said(tmp_path):
  row, body = _written(tmp_path, 0, *BROKEN['PPG: one sample of 1e6'])
  assert verdict(tmp_path, row, body)[0] == 'right'
  text = describe(check(tmp_path))
  assert 'note: row 2, column ppg: ' in text
  assert '1 of 2560 samples cannot be, such as 1e+06: masked' in text


def test_lost_rows_are_as_the_same_gap_of_no_numbers(tmp_path):
  texts = []
  for name, change in (
    (
      'rows',
      lambda columns, rng: {k: np.r_[v[:600], v[1400:]] for k, v in columns.items()},
    ),
    ('cells', _blank),
  ):
    (tmp_path / name).mkdir()
    row, body = _written(tmp_path / name, 0, spoilt, {'spoil': change})
    said, text = verdict(tmp_path / name, row, body)
    assert said == 'refused' and '31% of its samples are no measurement' in text
    texts.append(text.replace(f'/{name}/', '/'))
  assert texts[0] == texts[1]


def _blank(columns, rng):
  columns['EDA'][600:1400] = columns['PPG'][600:1400] = np.nan


def test_onsets_on_clocks_that_tell_the_day(tmp_path):
  for i, (onset, name) in enumerate(
    ((logger_files.START + 8, 'clock iso'), (8, 'clock iso'), (8, 'clock unix_ms'))
  ):
    folder = tmp_path / str(i)
    folder.mkdir()
    row, body = _written(folder, 0, *LAYOUTS[name])
    later = Body(np.random.default_rng(0))
    later.seconds = body.seconds - 8
    for channel in ('eda', 'ppg'):
      function = getattr(body, channel)
      setattr(later, channel, lambda t, function=function: function(t + 8))
    said, text = verdict(folder, row | {'signals_onset': onset}, later)
    assert said == 'right', text


def test_the_counter_of_opensignals_shows_lost_samples(tmp_path):
  row, body = _written(tmp_path, 0, logger_files.opensignals, {})
  lines = (tmp_path / 'a.txt').read_text().splitlines()
  (tmp_path / 'a.txt').write_text('\n'.join([*lines[:900], *lines[905:], '']))
  said, text = verdict(tmp_path, row, body)
  assert said == 'right' and '5 samples were lost' in text
  (tmp_path / 'a.txt').write_text('\n'.join([*lines[:900], *lines[897:], '']))
  said, text = verdict(tmp_path, row, body)
  assert said == 'refused' and 'its counter runs backwards' in text


@pytest.mark.parametrize('name', ['counts above', 'counts above, with a clock'])
def test_a_row_of_counts_is_no_sample(tmp_path, name):
  row, body = _written(tmp_path, 0, *BROKEN[name])
  said, text = verdict(tmp_path, row, body)
  assert said == 'right' and 'its first row says that it has 2560 samples' in text


def test_parts_of_names_that_two_columns_have_are_refused(tmp_path):
  row, body = _written(tmp_path, 0, logger_files.shimmer, {'rows': 4})
  said, text = verdict(tmp_path, row | {'eda': 'CAL'}, body)
  assert said == 'refused' and "'CAL' is part of Shimmer_1_Timestamp_CAL, " in text


def test_raw_data_of_an_embrace_plus_are_named(tmp_path):
  (tmp_path / 'a.avro').write_bytes(b'Obj\x01')
  said, text = verdict(tmp_path, {'signals': 'a.avro', 'eda': 'EDA'}, None)
  assert said == 'refused' and 'raw data of an EmbracePlus; make CSVs of it' in text


def test_one_minute_means_are_no_signal(tmp_path):
  rows = [f'{1_774_745_940_000_000 + i * 60_000_000},{5 + i / 9}' for i in range(30)]
  (tmp_path / 'eda.csv').write_text('\n'.join(['unix_timestamp,eda', *rows, '']))
  row = {'signals': 'eda.csv', 'eda': 'eda', 'time': 'unix_timestamp'}
  said, text = verdict(tmp_path, row, None)
  assert said == 'refused' and 'which no eda has' in text


@pytest.mark.parametrize(
  'head, more, told',
  [
    ('participant,EDA,PPG', {}, 'its column participant names 2 people (P01, P02); ma'),
    ('x,EDA (nS),PPG', {'eda': 'EDA (nS)', 'eda_unit': 'uS'},
     'its unit is uS as eda_unit says, not nS'),
  ],
)  # fmt: skip
def test_what_may_be_a_mistake_is_said(tmp_path, head, more, told):
  row, body = _written(
    tmp_path,
    0,
    table,
    {
      'head': [head],
      'row': lambda a, b, c, i: f'P0{1 + (i > 900)},{b:.5f},{c:.5f}',
    },
  )
  said, text = verdict(tmp_path, row | more, body)
  assert said == 'right' and told in text, text
