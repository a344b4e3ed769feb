"""A corpus from elsewhere: registered, made up, prepared and read back."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mvp_jax.corpora import CORPORA, Corpus, Source, Stream, Twin, find, register
from mvp_jax.corpora.corpus import MARKER, read_marker
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped, Outcome
from mvp_jax.preparation import load_builder, prepare
from mvp_jax.preparation.account import read_account
from mvp_jax.tasks import Task, load_result, run_tasks

_RATE = 10.0


@dataclasses.dataclass(frozen=True)
class _Spec:
  subjects: int = 2
  seconds: int = 4


def _write(root, spec, workers=None):
  """A file of breath a subject, and one of what they felt meanwhile."""
  root.mkdir(parents=True)
  for subject in range(1, spec.subjects + 1):
    times = np.arange(spec.seconds * _RATE) / _RATE
    breath = np.stack([np.sin(times * subject), np.cos(times)], 1)
    np.savetxt(root / f'{subject}.csv', breath, '%.6f', ',')
    with (root / f'{subject}.felt').open('w') as file:
      csv.writer(file).writerows([(0.0, 0.1), (1.5, 0.4 * subject), (3.25, -1)])
  marker = {'spec': dataclasses.asdict(spec), 'ceiling': {'comfort': 0.9}}
  (root / MARKER).write_text(json.dumps(marker))


@dataclasses.dataclass(frozen=True)
class _Settings:
  seat: str = 'any'
  scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class _Trial:
  subject: int
  trial: int = 1
  group: str = 'lab'

  @property
  def trial_id(self):
    return f'b{self.subject}'


class _Files(Source):
  def __init__(self, root, wanted):
    self.root, self.wanted, self.marker = root, wanted, read_marker(root)
    self.trials = [_Trial(int(path.stem)) for path in sorted(root.glob('*.csv'))]
    if not self.trials:
      raise InputError(f'{root} holds no breath')

  @property
  def fingerprint(self):
    return f'{len(self.trials)}breaths'

  def prepare(self, directory, engine):
    self.directory = directory
    tasks = []
    for t in self.trials:
      paths = self.root / f'{t.subject}.csv', self.root / f'{t.subject}.felt'
      tasks.append(Task(t.trial_id, (*paths, self.wanted.settings.scale), paths))
    drops = run_tasks(_read, tasks, directory, 'Breath', 'trials', engine)
    return [
      Outcome(t, 'ok', '', {'seconds': 4.0})
      if drop is None
      else Outcome(t, drop.code, drop.reason, {})
      for t, drop in zip(self.trials, drops, strict=True)
    ]

  def example(self, outcome):
    with load_result(self.directory, outcome.trial.trial_id) as found:
      breath, felt = found['breath'], found['felt']
    streams = {
      'breath': {'values': breath, 'valid': breath[:, 0] > -0.5},
      'comfort': {
        'values': felt[:, 1:],
        'valid': np.ones(len(felt), bool),
        'times': felt[:, 0].astype(np.float32),
      },
    }
    return {
      'ratings': {'comfort': 3.0},
      'streams': {name: streams[name] for name in self.wanted.streams},
      'seat': f'seat {outcome.trial.subject}',
    }


def _read(breath, felt, scale):
  values = np.loadtxt(breath, delimiter=',', ndmin=2)
  if len(values) < 2:
    raise Dropped('broken_signals', f'{breath}: no breath')
  return {'breath': scale * values, 'felt': np.loadtxt(felt, delimiter=',')}


class _Breath(Corpus):
  """How people breathe, and how comfortable they feel meanwhile."""

  name, title, Settings = 'breathing', 'Breathing', _Settings
  fields = {'streams': ('breath', 'comfort')}
  ratings = {'comfort': (1, 5)}
  twin = Twin(_Spec, _write)

  def streams(self, wanted):
    return {
      'breath': Stream(rate=_RATE, channels=('chest', 'belly'), units=('V', 'V')),
      'comfort': Stream(channels=('comfort',), units=('-1 to 1',)),
    }

  def extras(self, wanted):
    return {'seat': str}

  def open(self, manual_dir, wanted):
    return _Files(manual_dir, wanted)


@pytest.fixture(scope='module', autouse=True)
def corpus():
  register(_Breath())
  yield find('breathing')
  del CORPORA['breathing']


@pytest.fixture(scope='module')
def twin(corpus, tmp_path_factory):
  root = tmp_path_factory.mktemp('twin') / 'breathing'
  corpus.twin.write(root, corpus.twin.Spec())
  return root


def test_from_the_twin_to_named_streams(twin, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  directory = prepare('breathing', twin, 'data', workers=1, scale=2, crop='X')
  found = PreparedCorpus(directory)
  assert (found.name, found.title) == ('breathing', 'Breathing')
  assert found.has('breath') and not found.has('video')
  metadata = found.metadata
  assert metadata['synthetic'] and metadata['ceiling'] == {'comfort': 0.9}
  assert metadata['people'] == {
    '1': ['synthetic:breathing:1'],
    '2': ['synthetic:breathing:2'],
  }
  assert metadata['settings'] == {'seat': 'any', 'scale': 2}
  assert metadata['streams']['breath'] == {
    'kind': 'series',
    'before': 0.0,
    'rate': _RATE,
    'channels': ['chest', 'belly'],
    'units': ['V', 'V'],
  }
  for trial, subject in zip(found.trials, (1, 2), strict=True):
    assert (trial.trial_id, trial.group, trial.stimulus) == (f'b{subject}', 'lab', None)
    assert trial.ratings == {'comfort': 3.0}
    breath, comfort = trial.streams['breath'], trial.streams['comfort']
    told = 2 * np.loadtxt(twin / f'{subject}.csv', delimiter=',')
    valid = told[:, 0] > -0.5
    np.testing.assert_array_equal(breath.valid, np.stack([valid, valid], 1))
    np.testing.assert_allclose(breath.values[valid], told[valid], rtol=1e-5)
    assert not breath.values[~valid].any() and breath.channels == ('chest', 'belly')
    assert breath.seconds == 4 and breath.clock[1] == 0.1
    np.testing.assert_allclose(comfort.clock, [0, 1.5, 3.25])
    np.testing.assert_allclose(comfort.values[:, 0], [0.1, 0.4 * subject, -1])
    assert comfort.rate is None and comfort.seconds == 3.25
  rows = tfds.builder_from_directory(directory).as_data_source('trials')
  assert [row['seat'] for row in rows] == [b'seat 1', b'seat 2']
  account = read_account(directory / 'account.csv')
  assert [row['seconds'] for row in account] == ['4.0', '4.0']


def test_fewer_streams_are_other_data(twin, tmp_path):
  whole = prepare('breathing', twin, tmp_path, workers=1)
  fewer = prepare('breathing', twin, tmp_path, workers=1, streams=['breath'])
  assert fewer != whole
  assert set(PreparedCorpus(fewer).trials[0].streams) == {'breath'}


def test_what_is_dropped(twin, tmp_path):
  root = tmp_path / 'own'
  _write(root, _Spec())
  (root / '2.csv').write_text('0,0\n')
  with pytest.raises(InputError, match='2 trials in, 1 out; 1 dropped: b2 broken_sig'):
    prepare('breathing', root, tmp_path / 'data', workers=1)
  allowed = ('broken_signals',)
  found = prepare(
    'breathing', root, tmp_path / 'data', workers=1, allow_dropped=allowed
  )
  assert [t.subject for t in PreparedCorpus(found).trials] == [1]


def test_what_there_is_not(twin, tmp_path):
  for name, fields, told in [
    (
      'breth',
      {},
      "no data set 'breth'; there are affwild2, amigos, avec2014, biovid, ",
    ),
    ('breathing', {'sail': 1}, 'breathing: no field sail; there are scale, seat, str'),
    ('breathing', {'streams': ('eyes',)}, 'streams: some of breath, comfort; it is'),
  ]:
    with pytest.raises(InputError, match=told):
      prepare(name, twin, tmp_path / 'data', **fields)
  assert not (tmp_path / 'data').exists()


def test_names_tell_settings_apart():
  configure = load_builder('breathing').configure
  variants = [{}, {'seat': 'a b'}, {'scale': 2.0}, {'streams': ('comfort',)}]
  assert len({configure(**fields).name for fields in variants}) == len(variants)
