import unicodedata

import pytest

from mvp_jax.corpora.recordings.manifest import read_manifest
from mvp_jax.corpora.recordings.names import normal, people, stimuli

_COMPOSED, _PARTED = (unicodedata.normalize(form, 'Zoë') for form in ('NFC', 'NFD'))


def test_a_number_is_one_person_however_it_is_written():
  found = people(['1', '2', '01', '1.0', '1,00', '10', '1'])
  assert found.first == {
    '1': '1',
    '2': '2',
    '01': '1',
    '1.0': '1',
    '1,00': '1',
    '10': '10',
  }
  assert found.numbers == {'1': 1, '2': 2, '10': 10} and not found.alike
  assert found.note == 'column subject: taken as one: 1 = 01 = 1.0 = 1,00'


@pytest.mark.parametrize(
  'one, other',
  [
    ('S1-11', 'S11-1'),
    ('1-11', '11-1'),
    ('1.5', '15'),
    ('A+', 'A-'),
    ('1', '-1'),
    ('-1.0', '1.0'),
    ('A%', 'A&'),
    ('P1', 'P10'),
    ('P100', 'P1'),
    ('कि', 'की'),
    ('1', 'P1'),
  ],
)
def test_two_people_stay_two(one, other):
  for found in (people([one, other]), stimuli([one, other])):
    assert len(set(found.numbers.values())) == 2 and not found.alike and not found.note


def test_letters_of_another_alphabet_that_look_alike_are_told():
  assert people(['P01', '\u0420\u0030\u0031']).alike == {'\u0420\u0030\u0031': 'P01'}
  assert not stimuli(['a', '\u03b1']).note  # two conditions


@pytest.mark.parametrize('other', ['p1', 'P 01', 'P-1', 'P_001', 'Ｐ１'])
def test_people_that_look_alike_are_told_not_made_one(other):
  found = people(['P01', other])
  assert found.alike == {other: 'P01'} and list(found.numbers) == ['P01']
  assert people([other]).numbers[other] == found.numbers['P01']  # in all manifests


@pytest.mark.parametrize('other', ['funny1', 'FUNNY_01', 'Funny-1', 'funny  1'])
def test_spellings_of_a_stimulus_are_one(other):
  found = stimuli(['Funny 1', other])
  assert found.first[other] == 'Funny 1' and len(found.numbers) == 1
  assert found.note == f'column stimulus: taken as one: Funny 1 = {other}'


def test_letters_that_are_composed_or_not():
  found = people([_COMPOSED, _PARTED])
  assert found.first[_PARTED] == _COMPOSED and len(found.numbers) == 1
  assert found.note.endswith(r"'Zo\xeb' = 'Zoe\u0308'")


def test_signs_that_nobody_sees():
  found = people(['P01', 'P01\u200b', '\ufeffP01', 'P02'])
  assert set(found.numbers) == {'P01', 'P02'} and not found.alike
  assert found.note.endswith(r"'P01' = 'P01\u200b' = '\ufeffP01'")


def test_a_name_of_signs_alone_stays():
  assert normal('???') == '???' and normal('---') == '---' and normal('0') == '0'


def test_no_person_and_no_clip_is_on_both_sides(tmp_path):
  """What is folded is one in everything that is told of a trial."""
  rows = [('1', 'Funny 1'), ('1.0', 'sad'), ('2', 'funny1'), ('A%', ''), ('A&', '')]
  lines = [f'{who},{what},{i}.mp4' for i, (who, what) in enumerate(rows)]
  path = tmp_path / 'manifest.csv'
  path.write_text('\n'.join(['subject,stimulus,video', *lines]))
  found = read_manifest(path)
  assert not found.problems and len(found.notes) == 2
  told = {r.row: r for r in found.recordings}
  assert told[2].subject == told[3].subject == 1 != told[4].subject
  assert (told[2].trial_id, told[3].trial_id) == ('1_trial01', '1_trial02')
  assert told[2].stimulus == told[4].stimulus != told[3].stimulus
  assert told[4].stimulus_name == 'Funny 1' and told[5].stimulus == 0
  assert len({r.trial_id for r in found.recordings}) == 5
