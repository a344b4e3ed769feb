"""UNBC-McMaster from its layout to prepared trials, by its twin."""

import shutil

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from mvp_jax import corpora
from mvp_jax.corpora.unbc.tree import UNITS, pspi
from mvp_jax.corpora.unbc.twin import UnbcSpec, coded, felt, told
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.preparation import prepare
from mvp_jax.preparation.account import read_account

SPEC = UnbcSpec(
  subjects=2, sequences=2, seconds=6.0, frame_rate=5.0, width=128, height=96, seed=3
)
_SETTINGS = {'frame_rate': 5.0, 'frame_size': 32, 'video_rate': 5.0, 'workers': 1}
_FIRST = 'aa042t2aaaff'


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
  root = tmp_path_factory.mktemp('unbc') / 'twin'
  corpora.find('unbc').twin.write(root, SPEC, 1)
  return root


@pytest.fixture(scope='module')
def directory(twin, tmp_path_factory):
  fields = _SETTINGS | {'streams': ('video', 'action_units')}
  return prepare('unbc', twin, tmp_path_factory.mktemp('data'), **fields)


@pytest.fixture(scope='module')
def corpus(directory):
  return PreparedCorpus(directory)


def _of(root, part, name=_FIRST):
  return root / part / '042-aa042' / name


def test_sequences_are_trials_of_people(corpus):
  names = ['aa042t1abaff', _FIRST, 'ab043t1abaff', 'ab043t2aaaff']
  assert [t.trial_id for t in corpus.trials] == names
  assert [t.subject for t in corpus.trials] == [42, 42, 43, 43]
  assert corpus.metadata['streams']['ratings']['channels'] == ['pspi']


def test_the_pain_of_every_frame_is_that_of_its_file(twin, corpus):
  some = 0
  for trial in corpus.trials:
    person = next((twin / 'Images').glob(f'*{trial.subject:03}'))
    folder = twin / 'Frame_Labels' / 'PSPI' / person.name / trial.trial_id
    said = {int(p.stem[-8:-5]): float(p.read_text()) for p in folder.iterdir()}
    ratings = trial.streams['ratings']
    np.testing.assert_allclose(ratings.times, np.arange(30) / 5)
    there = [number in said for number in range(1, 31)]
    assert ratings.valid[:, 0].tolist() == there
    values = [said.get(number, 0) for number in range(1, 31)]
    assert ratings.values[:, 0].tolist() == values
    some += max(values) > 4
  assert some


def test_action_units_are_beside_and_no_stream(corpus, directory):
  assert set(corpus.trials[0].streams) == {'video', 'ratings', 'action_units'}
  stored = tfds.builder_from_directory(directory).as_data_source('trials')
  for row, trial in zip(stored, corpus.trials, strict=True):
    ratings, units = trial.streams['ratings'], row['facs']
    assert units.shape == (30, len(UNITS))
    rated = ratings.valid[:, 0]
    np.testing.assert_array_equal(pspi(units)[rated], ratings.values[rated, 0])


def test_openface_counts_the_pictures_that_there_are(twin, corpus):
  for trial in corpus.trials:
    person = next((twin / 'Images').glob(f'*{trial.subject:03}'))
    numbers = sorted(int(p.stem[-3:]) for p in (person / trial.trial_id).iterdir())
    units = trial.streams['action_units']
    np.testing.assert_allclose(units.clock, (np.array(numbers) - 1) / 5, atol=1e-6)
    ratings = trial.streams['ratings']
    pain = ratings.values[np.array(numbers) - 1, 0]
    brows = units.values[:, units.channels.index('AU04_r')]
    sure = units.valid.all(1)
    if (pain[sure] > 6).any():
      assert brows[sure & (pain > 6)].mean() > brows[sure & (pain == 0)].mean() + 1


def test_frames_that_skip_numbers_keep_their_time(twin, tmp_path):
  root = tmp_path / 'copy'
  shutil.copytree(twin, root)
  for number in range(10, 15):
    for part, end in (('Images', '.png'), ('Frame_Labels/PSPI', '_facs.txt')):
      (_of(root, part) / f'{_FIRST}{number:03}{end}').unlink(missing_ok=True)
  directory = prepare('unbc', root, tmp_path / 'data', **_SETTINGS)
  trial = PreparedCorpus(directory).trials[1]
  video, ratings = trial.streams['video'], trial.streams['ratings']
  assert len(video.times) == len(ratings.times) == 30
  assert not video.valid[9:14].any() and not ratings.valid[9:14].any()
  assert video.valid[14:].mean() > 0.8
  (row,) = (
    x for x in read_account(directory / 'account.csv') if x['trial_id'] == _FIRST
  )
  assert int(row['unrated']) >= 5 and ' of 30 frames are missing: 10' in (
    row['video_notes'].replace(': 2, 10', ': 10')
  )


def test_no_action_units_are_needed(twin, tmp_path):
  root = tmp_path / 'copy'
  shutil.copytree(twin, root)
  shutil.rmtree(root / 'Frame_Labels' / 'FACS')
  fields = _SETTINGS | {'streams': ('ratings',)}
  directory = prepare('unbc', root, tmp_path / 'data', **fields)
  stored = tfds.builder_from_directory(directory).as_data_source('trials')
  assert all(row['facs'].shape == (0, len(UNITS)) for row in stored)


def test_labels_that_contradict_action_units_are_counted(twin, tmp_path):
  root = tmp_path / 'copy'
  shutil.copytree(twin, root)
  (_of(root, 'Frame_Labels/PSPI') / f'{_FIRST}001_facs.txt').write_text('16\n')
  fields = _SETTINGS | {'streams': ('ratings',)}
  directory = prepare('unbc', root, tmp_path / 'data', **fields)
  (row,) = (
    x for x in read_account(directory / 'account.csv') if x['trial_id'] == _FIRST
  )
  assert '1 labels are not what their action units give' in row['notes']


@pytest.mark.parametrize(
  ('change', 'code', 'message'),
  [
    (
      lambda root: (
        _of(root, 'Frame_Labels/PSPI') / f'{_FIRST}001_facs.txt'
      ).write_text('1 2'),
      'bad_rating',
      f"{_FIRST}001_facs.txt: '1 2' is not one number",
    ),
    (
      lambda root: shutil.rmtree(_of(root, 'Frame_Labels/PSPI')),
      'missing_rating',
      f'{_FIRST}: no folder Frame_Labels/PSPI/042-aa042/{_FIRST}',
    ),
    (
      lambda root: shutil.rmtree(_of(root, 'Images')),
      'missing_video',
      f'{_FIRST}: no folder Images/042-aa042/{_FIRST}',
    ),
    (
      lambda root: cv2.imwrite(
        str(_of(root, 'Images') / f'{_FIRST}030.png'), np.zeros((60, 80, 3), np.uint8)
      ),
      'broken_video',
      f'{_FIRST}030.png: 80 x 60 pixels, and {_FIRST}001.png 128 x 96',
    ),
    (
      lambda root: (_of(root, 'Images') / f'{_FIRST}001.png').rename(
        _of(root, 'Images') / f'{_FIRST}999999999.png'
      ),
      'no_face',
      'frames, number 1 to 999999999; name those rightly',
    ),
  ],
)
def test_what_is_wrong_is_lost_by_name(twin, tmp_path, change, code, message):
  root = tmp_path / 'copy'
  shutil.copytree(twin, root)
  change(root)
  with pytest.raises(InputError) as raised:
    prepare('unbc', root, tmp_path / 'data', **_SETTINGS)
  said = str(raised.value)
  assert '4 trials in, 3 out; 1 dropped' in said and code in said and message in said


# --- The twin


def test_most_frames_are_without_pain_and_events_are_short():
  spec = UnbcSpec(frame_rate=10.0)
  zero, lengths = [], []
  for subject in range(1, 26):
    for trial in range(1, 9):
      pain = pspi(coded(spec, subject, trial)) > 0
      zero.append(1 - pain.mean())
      edges = np.flatnonzero(np.diff(np.pad(pain.astype(int), 1)))
      lengths += np.diff(edges)[::2].tolist()
  assert 0.8 < np.mean(zero) < 0.95
  assert 5 < np.median(lengths) < 20  # tenths of a second


def test_the_best_scores_are_those_of_what_is_shown():
  spec = UnbcSpec(frame_rate=10.0)
  best = told(spec)['ceiling']['pspi']
  assert 0 < best['mae'] < 0.15 and 0.95 < best['icc'] <= 1
  rated, shown = (
    np.concatenate([f(spec, s, 1) for s in range(1, 26)])
    for f in (lambda *x: pspi(coded(*x)), felt)
  )
  assert np.corrcoef(rated, shown)[0, 1] > 0.95


@pytest.mark.parametrize('variant', ['null', 'leaky'])
def test_without_effect_nothing_shown_is_coded(variant):
  spec = UnbcSpec(frame_rate=10.0, variant=variant)
  people = range(1, 26)
  rated = [pspi(coded(spec, s, t)) for s in people for t in range(1, 9)]
  shown = [felt(spec, s, t) for s in people for t in range(1, 9)]
  correlation = np.corrcoef(np.concatenate(rated), np.concatenate(shown))[0, 1]
  assert abs(correlation) < 0.05
  best = told(spec)['ceiling']['pspi']
  assert best['ccc'] == best['icc'] == 0
  assert best['mae'] == pytest.approx(np.concatenate(rated).mean(), abs=1e-3)
  own = np.array(rated).reshape(25, -1).mean(1)
  hurt = np.array(shown).reshape(25, -1).mean(1)  # nor how much somebody hurts
  assert abs(np.corrcoef(own, hurt)[0, 1]) < 0.4
  assert (own[::2].mean() > 5 * own[1::2].mean()) == (variant == 'leaky')


def test_scores_of_known_pairs():
  from mvp_jax.corpora.unbc.twin import _scores

  x, y = np.array([0.0, 1, 2, 3]), np.array([0.0, 2, 2, 4])
  found = _scores(x, y)
  assert found['mae'] == 0.5 and found['mse'] == 0.5
  assert found['pearson'] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-4)
  for least in (1, 2, 3):
    pairs = x[y >= least][:, None] - x[y < least][None]
    area = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert found[f'auroc_{least}'] == pytest.approx(area, abs=1e-4)
  assert (found['f1_1'], found['f1_2']) == (1, 0.8)
  # ICC(3,1) by the table of a two-way analysis of variance.
  table = np.stack([x, y], 1)
  rows = 2 * ((table.mean(1) - table.mean()) ** 2).sum() / 3
  columns = 4 * ((table.mean(0) - table.mean()) ** 2).sum()
  rest = (((table - table.mean()) ** 2).sum() - 3 * rows - columns) / 3
  assert found['icc'] == pytest.approx((rows - rest) / (rows + rest), abs=1e-4)


def test_equal_specs_give_equal_files(twin, tmp_path):
  corpora.find('unbc').twin.write(tmp_path / 'again', SPEC, 1)
  for path in sorted(twin.rglob('*.*')):
    again = tmp_path / 'again' / path.relative_to(twin)
    if path.is_file():
      assert path.read_bytes() == again.read_bytes()
