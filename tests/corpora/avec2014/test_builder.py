"""AVEC 2014 from its official layout to prepared trials, by its twin."""

import json
import shutil

import numpy as np
import pytest

from mvp_jax import corpora
from mvp_jax.corpora.corpus import MARKER
from mvp_jax.data.splits import make_folds, official
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.evaluation import audit
from mvp_jax.preparation import prepare
from mvp_jax.targets import Regression

SPEC = corpora.find('avec2014').twin.Spec(
  people=6, seed=4, seconds=4.0, frame_rate=5.0, width=96, height=96
)
_SETTINGS = {'frame_rate': 5.0, 'frame_size': 32, 'workers': 1}
_STREAMS = ('video', 'audio', 'action_units')


@pytest.fixture(scope='module')
def twin(tmp_path_factory):
  root = tmp_path_factory.mktemp('avec') / 'twin'
  corpora.find('avec2014').twin.write(root, SPEC, 2)
  return root


@pytest.fixture(scope='module')
def corpus(twin, tmp_path_factory):
  data = tmp_path_factory.mktemp('data')
  return PreparedCorpus(prepare('avec2014', twin, data, streams=_STREAMS, **_SETTINGS))


def _label(twin, name):
  (path,) = twin.rglob(f'{name}_Depression.csv')
  return path


def test_all_recordings_are_there_with_the_label_of_their_session(twin, corpus):
  assert len(corpus.trials) == len(list(twin.rglob('*_video.mp4')))
  assert len(corpus.trials) == 2 * len(SPEC.sessions)
  for trial in corpus.trials:
    person, session, _ = trial.trial_id.split('_')
    assert trial.subject == int(person) and trial.session == session
    label = float(_label(twin, f'{person}_{session}').read_text())
    assert trial.ratings == {'depression': label}
  (path,) = twin.rglob('203_1_Freeform_video.mp4')
  assert path.parent.name == 'Freeform' and path.parent.parent.parent.name == 'Video'


def test_streams_are_on_one_clock(corpus):
  for trial in corpus.trials:
    assert set(trial.streams) == set(_STREAMS)
    for stream in trial.streams.values():
      assert stream.seconds == pytest.approx(4.0, abs=0.25)
    assert trial.streams['video'].valid.mean() > 0.9
  found = corpus.trials[0]
  assert corpus.frames(found, [0]).shape == (1, 32, 32, 3)
  assert np.abs(corpus.samples(found, 0, 44_100)[0]).max() > 300


def test_people_are_kept_apart_unless_the_official_parts_are_asked_for(corpus):
  target = Regression(ratings=('depression',), scale=(0.0, 63.0))
  for fold in make_folds(corpus.trials, folds=3, target=target):
    people = [
      {name.split('_')[0] for name in getattr(fold, side)} for side in ('train', 'test')
    ]
    assert not people[0] & people[1]
  several = corpus.metadata['people_in_several_parts']
  assert 'test' in several['205']
  train, watched, test = official(corpus.trials)
  assert {t.part for t in train} == {'train'} and {t.part for t in test} == {'test'}
  assert {t.part for t in watched} == {'validation'}
  folds = make_folds(corpus.trials, 'official', target=target)
  found = {c.name: c for c in audit.check_folds(folds, corpus.trials, 'official')}
  assert not found['subjects'].passed and 'subject 205' in found['subjects'].detail


def test_people_are_the_same_in_both_editions(corpus):
  assert corpus.metadata['people']['203'] == ['synthetic:avec:203']


def test_a_test_set_without_labels_is_named(tmp_path, capfd):
  twin = corpora.find('avec2014').twin
  spec = twin.Spec(
    **vars(SPEC) | {'people': 4, 'test_labels': False, 'openface': False}
  )
  twin.write(tmp_path / 'twin', spec, 1)
  hidden = [name for name, part in spec.sessions.items() if part == 'Testing']
  fields = _SETTINGS | {'streams': ('video',)}
  found = PreparedCorpus(
    prepare('avec2014', tmp_path / 'twin', tmp_path / 'data', **fields)
  )
  assert len(found.trials) == 2 * (len(spec.sessions) - len(hidden))
  told = capfd.readouterr().err
  assert f'{2 * len(hidden)} recordings of the test set have no label' in told
  person, session = hidden[0]
  assert f'{person}_{session}_Freeform' in told


@pytest.fixture
def damaged(twin, tmp_path):
  """A function of (change of a copy of the twin, fields) -> the line of the error."""

  def run(change, **fields):
    root = tmp_path / 'copy'
    others = [f'{p}_{n}_*' for p, n in SPEC.sessions if (p, n) != (203, 1)]
    shutil.copytree(twin, root, ignore=shutil.ignore_patterns(*others))
    change(root)
    with pytest.raises(InputError) as raised:
      fields = _SETTINGS | {'streams': ('audio',)} | fields
      prepare('avec2014', root, tmp_path / 'data', **fields)
    return str(raised.value)

  return run


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('12 13\n', 'more than one number'),
    ('12,5', 'has a comma'),
    ('64', 'out of range'),
  ],
)
def test_a_label_that_is_wrong_costs_both_tasks_by_name(damaged, text, message):
  told = damaged(lambda root: _label(root, '203_1').write_text(text))
  assert 'bad_rating' in told and message in told and '203_1_Depression.csv' in told


def test_a_session_without_its_label_is_named(damaged):
  told = damaged(lambda root: _label(root, '203_1').unlink())
  assert 'missing_rating' in told and 'no label 203_1_Depression.csv' in told


def test_a_video_without_its_sound_is_named(damaged):
  def change(root):
    (path,) = root.rglob('203_1_Freeform_audio.wav')
    path.unlink()

  told = damaged(change)
  assert 'missing_audio' in told and 'no file 203_1_Freeform_audio.wav' in told


def test_sound_of_another_length_is_named(damaged):
  def change(root):
    (path,) = root.rglob('203_1_Freeform_audio.wav')
    content = path.read_bytes()
    size = len(content) - 44 - 3 * 32_000  # a second of it
    header = bytearray(content[:44])
    header[4:8], header[40:44] = ((size + x).to_bytes(4, 'little') for x in (36, 0))
    path.write_bytes(bytes(header) + content[44 : 44 + size])

  told = damaged(change)
  assert (
    'length_mismatch' in told and '1.0 s of sound' in told and 'lasts 4.0 s' in told
  )


def test_the_marker_says_what_is_best(twin):
  marker = json.loads((twin / MARKER).read_text())
  best = marker['ceiling']['depression']
  assert marker['subjects'] == 6 and 3 < best['mae'] < 5.5 and best['oracle_mae'] > 0
