"""BioVid from its official layout to prepared trials, by its twin."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mvp_jax import corpora
from mvp_jax.corpora.biovid.twin import SHARES, BioVidSpec, courses, reactions, told
from mvp_jax.data.examples import InputConfig
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.data.windows import trial_windows
from mvp_jax.errors import InputError
from mvp_jax.models.modalities.physio import Physio
from mvp_jax.preparation import prepare
from mvp_jax.synthetic.tree import MARKER

SPEC = BioVidSpec(subjects=2, samples=2, frame_rate=10.0, width=128, height=96)
_SETTINGS = {'frame_rate': 5.0, 'frame_size': 32, 'workers': 1}


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
  root = tmp_path_factory.mktemp('biovid') / 'twin'
  corpora.find('biovid').twin.write(root, SPEC, 1)
  return root


@pytest.fixture(scope='module')
def directory(twin, tmp_path_factory):
  data = tmp_path_factory.mktemp('data')
  streams = ('video', 'signals', 'action_units')
  return prepare('biovid', twin, data, **_SETTINGS, streams=streams)


@pytest.fixture(scope='module')
def corpus(directory):
  return PreparedCorpus(directory)


def _listed(twin):
  with (twin / 'starting_point' / 'samples.csv').open(newline='') as file:
    return list(csv.DictReader(file, delimiter='\t'))


def test_no_pain_and_the_strongest_are_trials(twin, corpus, directory):
  rows = [row for row in _listed(twin) if row['class_id'] in '04']
  assert [t.trial_id for t in corpus.trials] == [row['sample_name'] for row in rows]
  assert len(corpus.trials) == 8 and len(_listed(twin)) == 20
  for trial, row in zip(corpus.trials, rows, strict=True):
    assert trial.ratings == {'pain': float(row['class_id'])}
    assert trial.subject == int(row['subject_id']) and trial.stimulus is None
  stored = tfds.builder_from_directory(directory).as_data_source('trials')
  assert [x['person'].decode() for x in stored] == [row['subject_name'] for row in rows]


def test_signals_are_those_of_the_file(twin, tmp_path):
  fields = _SETTINGS | {'streams': ('signals',), 'channels': ('eda', 'emg_corrugator')}
  corpus = PreparedCorpus(prepare('biovid', twin, tmp_path, **fields, clean=False))
  facts = corpus.metadata['streams']['signals']
  assert (facts['rate'], facts['before']) == (512.0, 0.0)
  assert facts['units'] == ['microsiemens', 'as recorded']
  trial = corpus.trials[3]
  folder = twin / 'biosignals_filtered' / trial.trial_id.partition('-')[0]
  told = np.loadtxt(folder / f'{trial.trial_id}_bio.csv', delimiter='\t', skiprows=1)
  signals = trial.streams['signals']
  assert signals.values.shape == (2816, 2) and signals.seconds == 5.5
  np.testing.assert_allclose(signals.values, told[:, [1, 4]], rtol=1e-5)


def test_video_and_action_units_are_on_the_same_clock(corpus):
  for trial in corpus.trials:
    video, units = trial.streams['video'], trial.streams['action_units']
    assert len(video.times) == 28 and video.valid.mean() > 0.9
    assert units.clock[-1] == pytest.approx(5.4)


def test_the_body_is_read_as_it_is(corpus):
  """Of an ECG beside EMGs no logarithm is taken: a warning would fail here."""
  options = InputConfig(max_seconds=5.5)
  windows = trial_windows(corpus.trials, 5.5)
  items = Physio().inputs(corpus, windows, options).items
  for item, trial in zip(items, corpus.trials, strict=True):
    signals = trial.streams['signals'].values.astype(np.float64)
    assert item['values'].shape == item['levels'].shape == (2816, 5)
    ecg, emg = (
      signals[:, 1],
      np.log(np.maximum(signals[:, 2], signals[:, 2].mean() / 100)),
    )
    for channel, known in ((1, ecg), (2, emg)):
      told = (known - known.mean()) / known.std()
      np.testing.assert_allclose(item['values'][:, channel], told, atol=2e-3)


def test_all_levels_and_some_people(twin, tmp_path):
  person = _listed(twin)[0]['subject_name']
  fields = _SETTINGS | {'streams': ('signals',), 'classes': (0, 1, 2, 3, 4)}
  corpus = PreparedCorpus(
    prepare('biovid', twin, tmp_path, **fields, exclude=(person,))
  )
  assert {t.subject for t in corpus.trials} == {2}
  assert sorted(t.ratings['pain'] for t in corpus.trials) == [
    0,
    0,
    1,
    1,
    2,
    2,
    3,
    3,
    4,
    4,
  ]


def test_what_is_not_there_is_lost_by_name(twin, tmp_path, capsys):
  root = tmp_path / 'copy'
  shutil.copytree(twin, root)
  names = [row['sample_name'] for row in _listed(twin) if row['class_id'] in '04']
  person = names[0].partition('-')[0]
  (root / 'video' / person / f'{names[0]}.mp4').unlink()
  (root / 'biosignals_filtered' / person / f'{names[1]}_bio.csv').unlink()
  shutil.copy(
    root / 'video' / person / f'{names[1]}.mp4', root / 'video' / person / 'other.mp4'
  )
  with pytest.raises(InputError) as raised:
    prepare('biovid', root, tmp_path / 'data', **_SETTINGS)
  assert '8 trials in, 6 out; 2 dropped' in str(raised.value)
  assert f'{names[0]} missing_video' in str(raised.value)
  assert f'{names[1]} missing_signals' in str(raised.value)
  said = capsys.readouterr().err
  assert f'1 files are not in samples.csv and are not read: {person}/other.mp4' in said


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'classes': (0, 5)}, 'classes: some of 0, 1, 2, 3, 4'),
    ({'signals': 'clean'}, 'signals: one of filtered, raw'),
    ({'channels': ('ppg',)}, 'channels: some of eda, ecg, emg_trapezius'),
  ],
)
def test_settings_that_cannot_be(twin, tmp_path, fields, message):
  with pytest.raises(InputError, match=message):
    prepare('biovid', twin, tmp_path, **fields)


# --- The twin


def _shown(spec):
  """Level, and whether face and body react, of all samples: int [n, 3]."""
  people = range(1, spec.subjects + 1)
  return np.array(
    [
      (one.level, one.face is not None, one.body is not None)
      for subject in people
      for one in reactions(spec, subject)
    ]
  )


def test_face_and_body_react_the_more_often_the_stronger_the_pain():
  level, face, body = _shown(BioVidSpec()).T
  for shown in (face, body):
    shares = [shown[level == k].mean() for k in range(5)]
    np.testing.assert_allclose(shares, SHARES, atol=0.04)
  strong = level == 4  # each independent of the other
  assert abs(np.corrcoef(face[strong], body[strong])[0, 1]) < 0.06


def test_the_best_scores_are_those_of_who_knows_both():
  spec = BioVidSpec(samples=40, classes=(0, 4))
  ceiling = told(spec)['ceiling']['pain']
  level, face, body = _shown(spec).T
  high = level == 4
  said = (face | body).astype(bool)
  assert ceiling['accuracy'] == pytest.approx((said == high).mean(), abs=0.01)
  assert ceiling['face_accuracy'] == pytest.approx((face == high).mean(), abs=0.01)
  score = face + body  # either alone tells as much, both more
  pairs = score[high][:, None] - score[~high][None]
  area = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
  assert ceiling['auroc'] == pytest.approx(area, abs=0.01)
  assert ceiling['accuracy'] > ceiling['face_accuracy'] + 0.05


@pytest.mark.parametrize('variant', ['null', 'leaky'])
def test_without_effect_levels_show_alike(variant):
  spec = BioVidSpec(variant=variant, classes=(0, 4), samples=40)
  level, face, body = _shown(spec).T
  for shown in (face, body):
    assert abs(shown[level == 4].mean() - shown[level == 0].mean()) < 0.04
  assert told(spec)['ceiling']['pain']['accuracy'] == 0.5
  shares = [
    np.mean([one.level == 4 for one in reactions(spec, subject)]) for subject in (1, 2)
  ]
  leans = variant == 'leaky'
  assert (max(shares) > 0.7 and min(shares) < 0.3) == leans


def test_a_face_that_reacts_lowers_brows_and_shuts_eyes():
  spec = dataclasses.replace(SPEC, samples=20)
  seen = set()
  for trial, one in enumerate(reactions(spec, 1), start=1):
    shown = courses(spec, 1, trial)
    strong = shown['frown'] > 0.6
    assert strong.any() == (one.face is not None)
    seen.add(one.face is not None)
    if one.face is not None:
      first = spec.frame_times[strong.argmax()]
      assert 0 <= first - one.face < 0.6 and shown['eyes'][strong].min() < 0.1
  assert seen == {True, False}


def test_the_marker_says_what_is_planted(twin):
  marker = json.loads((twin / MARKER).read_text())
  assert marker['ceiling']['pain']['task'] == 'BL1 against PA4'
  assert 'body' in marker['effects'] and marker['subjects'] == 2


def test_a_twin_that_cannot_be():
  with pytest.raises(InputError, match='classes: two or more of'):
    BioVidSpec(classes=(4,))
