"""A stranger's additions: one file, one line each, and no file of the package changes.

A corpus of breathing people with a stream of its own and a twin, a modality that reads
it, a backbone with batch statistics, a fusion, and a target: a rating in time. The
whole job runs on them: prepare, train, predict, report.
"""

import csv
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import ClassVar

import cv2
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clu.metrics import Metric
from flax import nnx

from mvp_jax import corpora, targets
from mvp_jax.config import Config, parse
from mvp_jax.models import fusion, modalities
from mvp_jax.models.fusion import Fused, Tokens
from mvp_jax.models.physio import masked_mean
from mvp_jax.outcomes import Outcome
from mvp_jax.training import encoder as encoders
from tests import running

_SECONDS = 12.0
_BREATH_RATE, _STRAIN_RATE, _FRAME_RATE = 10.0, 4.0, 4.0  # Hz


# --- A corpus: people breathe, their faces grow brighter, strain is rated in time.


@dataclasses.dataclass(frozen=True)
class ToySpec:
  """What the twin holds."""

  subjects: int = 6
  trials: int = 3
  seed: int = 0


@dataclasses.dataclass(frozen=True)
class ToySettings:
  """What only this corpus has."""

  quietest: float = 0.0


@dataclasses.dataclass(frozen=True)
class ToyTrial:
  trial_id: str
  subject: int
  trial: int
  path: Path


def write_toy(root, spec, workers=None):
  """Files of the toy layout: S1/T1.npz, ... and SYNTHETIC.json."""
  for subject in range(1, spec.subjects + 1):
    for trial in range(1, spec.trials + 1):
      rng = np.random.default_rng((spec.seed, subject, trial))
      phase, rate = rng.uniform(0, 6), rng.uniform(0.1, 0.2)

      def strain(times, phase=phase, rate=rate):
        return np.sin(2 * np.pi * rate * times + phase)

      breath = strain(np.arange(_SECONDS * _BREATH_RATE) / _BREATH_RATE)
      path = root / f'S{subject}' / f'T{trial}.npz'
      path.parent.mkdir(parents=True, exist_ok=True)
      np.savez(
        path,
        breath=np.stack(
          [breath + rng.normal(0, 0.15, breath.shape), rng.normal(size=breath.shape)], 1
        ),
        strain=strain(np.arange(_SECONDS * _STRAIN_RATE) / _STRAIN_RATE),
        light=strain(np.arange(_SECONDS * _FRAME_RATE) / _FRAME_RATE),
      )
  (root / 'SYNTHETIC.json').write_text('{}')


class ToySource(corpora.Source):
  """The files of a folder."""

  def __init__(self, root, wanted):
    self.wanted, self.marker = wanted, {'ceiling': None}
    self.trials = [
      ToyTrial(
        f's{path.parent.name[1:]}_t{path.stem[1:]}',
        int(path.parent.name[1:]),
        int(path.stem[1:]),
        path,
      )
      for path in sorted(Path(root).glob('S*/T*.npz'))
    ]

  @property
  def fingerprint(self):
    digest = hashlib.sha256()
    for trial in self.trials:
      digest.update(trial.path.read_bytes())
    return digest.hexdigest()[:16]

  def prepare(self, directory, engine):
    frames = round(_SECONDS * _FRAME_RATE)
    return [
      Outcome(trial, 'ok', '', {'frames': frames, 'bytes': 1000 * frames})
      for trial in self.trials
    ]

  def example(self, outcome):
    with np.load(outcome.trial.path) as found:
      streams = {
        'breath': found['breath'].astype(np.float32),
        'strain': found['strain'].astype(np.float32)[:, None],
      }
    return {
      'ratings': {'effort': float(outcome.trial.trial)},
      'streams': {
        name: {'values': x, 'valid': np.ones(x.shape, bool)}
        for name, x in streams.items()
      },
    }

  def frames(self, outcome, stream):
    with np.load(outcome.trial.path) as found:
      light = found['light']
    rng = np.random.default_rng((outcome.trial.subject, outcome.trial.trial))
    pictures = [  # no two people look alike
      np.kron(rng.uniform(-40, 40, (4, 4, 1)), np.ones((16, 16, 3))) + 128 + 80 * x
      for x in light
    ]
    pictures = [np.clip(picture, 0, 255).astype(np.uint8) for picture in pictures]
    return {
      'jpegs': [cv2.imencode('.jpg', picture)[1].tobytes() for picture in pictures],
      'times': (np.arange(len(light)) / _FRAME_RATE).astype(np.float32),
    }


class Toy(corpora.Corpus):
  """Breathing people."""

  name = 'toy'
  title = 'TOY'
  Settings = ToySettings
  fields = {'streams': ('breath',), 'frame_rate': _FRAME_RATE, 'frame_size': 64}
  ratings = {'effort': (1.0, 3.0)}
  twin = corpora.Twin(ToySpec, write_toy)

  def streams(self, wanted):
    return {
      'breath': corpora.Stream(
        'series', _BREATH_RATE, ('chest', 'belly'), ('mm', 'mm')
      ),
      'strain': corpora.Stream('series', _STRAIN_RATE, ('strain',), ('',)),
      'video': corpora.Stream('frames', wanted.frame_rate),
    }

  def open(self, manual_dir, wanted):
    return ToySource(manual_dir, wanted)


# --- A modality, a backbone, a fusion


class _Breathing(nnx.Module):
  def __init__(self, sizes, rngs):
    self.linear = nnx.Linear(2, sizes.width, rngs=rngs)

  def __call__(self, arrays, key=None):
    return Tokens(self.linear(arrays['x']), arrays['valid'], arrays['times'])


@dataclasses.dataclass(frozen=True)
class BreathNetwork:
  def create(self, sizes, *, rngs):
    return _Breathing(sizes, rngs)


@dataclasses.dataclass(frozen=True)
class Breath:
  """Each sample is a token."""

  gain: float = 1.0

  streams: ClassVar = ('breath',)
  encoded: ClassVar = False
  face: ClassVar = False

  def inputs(self, corpus, windows, options, encoding=None):
    items = []
    for window in windows:
      stream = window.trial.streams['breath']
      items.append(
        {
          'x': stream.values * np.float32(self.gain),
          'valid': stream.valid.all(1),
          'times': stream.clock.astype(np.float32),
        }
      )
    return modalities.Inputs(items)

  def network(self, metadata, encoding=None):
    assert tuple(metadata['streams']['breath']['channels']) == ('chest', 'belly')
    return BreathNetwork()


class _Light(nnx.Module):
  """Mean light of a slot, normalised over the batch, and a linear layer."""

  def __init__(self, backbone, rngs):
    self.slots = backbone.slots
    self.norm = nnx.BatchNorm(3, momentum=0.5, rngs=rngs)
    self.linear = nnx.Linear(3, backbone.width, rngs=rngs)

  def __call__(self, frames, key=None):
    x = frames.astype(jnp.float32).mean((2, 3)) / 255
    x = x.reshape(x.shape[0], self.slots, -1, 3).mean(2)
    return self.linear(self.norm(x, use_running_average=key is None))

  features = __call__


@dataclasses.dataclass(frozen=True)
class LightBackbone:
  frames: int
  slots: int
  size: int
  width: int = 4

  @property
  def feature_width(self):
    return self.width

  def create(self, *, rngs, final_norm=True):
    return _Light(self, rngs)

  def with_drop_path(self, rate):
    return self

  def layer(self, path, shape):
    return 1


@dataclasses.dataclass(frozen=True)
class LightEncoder(encoders.EncoderConfig):
  kind: ClassVar[str] = 'light'
  pretrained: bool = False
  finetune: bool = True

  def backbone(self, clips, frame_size):
    return LightBackbone(clips.frames, clips.slots, frame_size)


class Together(nnx.Module):
  """All tokens one after another; the mean of those that are there."""

  def __init__(self, sizes, names, block, *, rngs, dtype):
    self.widths = (sizes.width,)

  def __call__(self, tokens, key=None, want_attention=False):
    parts = list(tokens.values())
    sequence = Tokens(
      jnp.concatenate([t.x for t in parts], 1),
      jnp.concatenate([t.valid for t in parts], 1),
      jnp.concatenate([jnp.broadcast_to(t.times, t.valid.shape) for t in parts], 1),
    )
    return Fused([masked_mean(sequence.x, sequence.valid)], sequence, {}, None)


# --- A target: a rating in time


@flax.struct.dataclass
class Discord(Metric):
  """1 - CCC of two variables, from sums of their moments."""

  sums: jax.Array  # n, x, y, xx, yy, xy

  def merge(self, other):
    return Discord(self.sums + other.sums)

  def compute(self):
    n, x, y, xx, yy, xy = self.sums
    n = jnp.maximum(n, 1)
    x, y = x / n, y / n
    return 1 - 2 * (xy / n - x * y) / (
      (xx / n - x**2) + (yy / n - y**2) + (x - y) ** 2 + 1e-6
    )


@dataclasses.dataclass(frozen=True)
class Following:
  """Fitted to nothing but the training trials' mean."""

  target: 'Follow'
  mean: float
  subjects: tuple
  trials: tuple

  def label(self, trial, seconds=None):
    count = round(seconds * self.target.rate)
    found = trial.streams[self.target.ratings[0]].values[:count]
    missing = count - len(found)
    label = np.pad(found, [(0, missing), (0, 0)]).astype(np.float32)
    return label, (np.arange(count) < len(found)).astype(np.float32)

  def describe(self):
    return {'mean': self.mean}


class _Moments:
  offset = 0.0

  def __init__(self, moments):
    self.moments = moments

  def scores(self, weights):
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(weights) @ self.moments, -1, 0)
    with np.errstate(all='ignore'):
      x, y, xx, yy, xy = (z / n for z in (x, y, xx, yy, xy))
      ccc = 2 * (xy - x * y) / ((xx - x**2) + (yy - y**2) + (x - y) ** 2)
    return np.stack([ccc, np.sqrt(np.maximum(xx + yy - 2 * xy, 0))], -1)

  cheap = scores


@dataclasses.dataclass(frozen=True)
class Follow(targets.Target):
  """A rating in time, as a number."""

  kind: ClassVar[str] = 'follow'
  level: ClassVar[str] = 'frame'
  streams: ClassVar = ('strain',)
  scores: ClassVar = {
    'ccc': targets.Score('CCC', -1.0, 1.0),
    'rmse': targets.Score('RMSE', 0.0, 9.0, lower_is_better=True),
  }
  headline: ClassVar[str] = 'ccc'
  short: ClassVar = ('ccc', 'rmse')
  known_baselines: ClassVar = {
    'training_mean': targets.Baseline('training mean', "The training trials' mean.")
  }

  ratings: tuple[str, ...] = ('strain',)
  rate: float = _STRAIN_RATE

  def fit(self, train, others=()):
    values = np.concatenate([t.streams['strain'].values for t in train])
    return Following(
      self,
      float(values.mean()),
      tuple(sorted({t.subject for t in train})),
      tuple(t.trial_id for t in train),
    )

  def loss(self, outputs, label, weight, smoothing=0.0):
    x, y, w = outputs[..., 0], label[..., 0], weight
    return {
      'loss': Discord(
        jnp.stack([jnp.sum(w * z) for z in (1.0 + 0 * x, x, y, x * x, y * y, x * y)])
      )
    }

  def baselines(self, fold, trials, features=None, groups=None, seed=0):
    of = {trial.trial_id: trial for trial in trials}
    return [
      targets.Said(
        'training_mean',
        name,
        np.full((len(of[name].streams['strain'].values), 1), fold.target.mean),
      )
      for name in fold.test
    ]

  def sums(self, name, rows, subjects, parts, number):
    found = []
    for part in parts:
      moments = np.zeros((number, 6))
      for row, subject, here in zip(rows, subjects, part, strict=True):
        if here:
          x, y = np.asarray(row.ratings), np.asarray(row.predictions)
          moments[subject] += [
            len(x),
            x.sum(),
            y.sum(),
            (x * x).sum(),
            (y * y).sum(),
            (x * y).sum(),
          ]
      found.append(_Moments(moments))
    return found


# --- One line each


@pytest.fixture(scope='module', autouse=True)
def registered():
  corpora.register(Toy())
  modalities.register('breath')(Breath)
  encoders.register(LightEncoder)
  fusion.register('together')(Together)
  targets.register(Follow)
  yield
  for registry, name in (
    (corpora.CORPORA, 'toy'),
    (modalities.MODALITIES, 'breath'),
    (encoders.ENCODERS, 'light'),
    (fusion.FUSIONS, 'together'),
    (targets.TARGETS, 'follow'),
  ):
    del registry[name]


@pytest.fixture(scope='module')
def config(tmp_path_factory, registered):
  """As a user gives it: plain words."""
  return parse(
    {
      'dataset': 'toy',
      'data': {
        'data_dir': str(tmp_path_factory.mktemp('data')),
        'frame_rate': _FRAME_RATE,
        'frame_size': 64,
        'workers': 1,
        'corpus': {'quietest': 0.1},
      },
      'twin': {'subjects': 6},
      'target': {'kind': 'follow'},
      'input': {
        'max_seconds': _SECONDS,
        'clips': {'frames': 4, 'stride': 1, 'spacing': 1.0},
      },
      'encoder': {'kind': 'light', 'subjects': 0},
      'modalities': {'breath': {'gain': 1.0}, 'video': {'centre': 'nothing'}},
      'models': {'all': 'breath+video', 'breath': 'breath'},
      'model': {'width': 8, 'heads': 2, 'fusion': 'together', 'mlp_width': 8},
      'train': {
        'batch_size': 4,
        'accumulate': 2,
        'validate_every': 30,
        'checkpoint_every': 30,
        'optimiser': {'learning_rate': 0.02, 'steps': 60, 'warmup_steps': 2},
      },
      'evaluation': {'models': ('breath', 'all'), 'folds': 2, 'batch_size': 4},
    }
  )


@pytest.fixture(scope='module')
def workdir(config, tmp_path_factory):
  from mvp_jax.jobs import train

  folder = tmp_path_factory.mktemp('run') / 'toy'
  running.run(train, config, folder, drawn=True)
  return folder


def test_the_whole_job_runs_and_learns_to_follow(workdir, config):
  with (workdir / 'frames.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  per_trial = round(_SECONDS * _STRAIN_RATE)
  assert len(rows) == 6 * 3 * per_trial * 3  # two models and a baseline
  assert {row['model'] for row in rows} == {'all', 'breath', 'training_mean'}
  facts = json.loads((workdir / 'run.json').read_text())
  assert facts['target'] == {'kind': 'follow', 'ratings': ['strain'], 'rate': 4.0}
  assert facts['synthetic'] and facts['trials_out'] == 18

  def ccc(model):
    x, y = (
      np.array([float(row[name]) for row in rows if row['model'] == model])
      for name in ('rating', 'prediction')
    )
    return 2 * np.cov(x, y)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)

  assert ccc('breath') > 0.9 and ccc('all') > 0.7
  assert abs(ccc('training_mean')) < 0.2


def test_the_report_tells_of_it(workdir):
  for name in ('report.html', 'report.md'):
    text = (workdir / name).read_text()
    for word in (
      'SYNTHETIC',
      'TOY',
      'strain',
      'CCC',
      'RMSE',
      'breath',
      'training mean',
    ):
      assert word in text, (name, word)
  losses = [line for line in running.metrics(workdir) if line['split'] == 'validation']
  assert {line['step'] for line in losses} == {30, 60}
  assert (workdir / 'account.csv').read_text().count('ok') == 18


def test_batch_statistics_are_learnt_and_kept(workdir, config):
  """The light's mean is near one half, not where batch statistics begin."""
  from mvp_jax.training.checkpoints import Checkpoints

  with Checkpoints(workdir / 'checkpoints' / 'fold0' / 'all') as checkpoints:
    variables = checkpoints.restore_params(checkpoints.abstract_params())
  norm = variables['modalities']['video']['encoder']['norm']
  assert abs(np.asarray(norm['mean']) - 0.5).max() < 0.2
  assert np.asarray(norm['var']).max() < 0.5


def test_a_second_run_changes_nothing(workdir, config):
  from mvp_jax.jobs import train

  before = (workdir / 'frames.csv').read_bytes()
  running.run(train, config, workdir)
  assert (workdir / 'frames.csv').read_bytes() == before


def test_the_concordance_of_the_house_learns_it_too(config, tmp_path):
  """In windows of JCA's segments, in parts, and with a bit of smoothing."""
  from mvp_jax.jobs import train

  own = targets.Concordance(('strain',), 'strain', _STRAIN_RATE, smooth=(0.5,))
  changed = dataclasses.replace(
    config,
    target=own,
    model=dataclasses.replace(
      config.model, fusion='joint', segments=4, segment_seconds=1.0
    ),
    evaluation=dataclasses.replace(config.evaluation, models=('all',)),
  )
  running.run(train, changed, tmp_path)
  with (tmp_path / 'frames.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  found = {}
  for model in dict.fromkeys(row['model'] for row in rows):
    x, y = (
      np.array([float(row[name]) for row in rows if row['model'] == model])
      for name in ('rating', 'prediction')
    )
    covariance = np.cov(x, y, ddof=0)[0, 1]
    found[model] = 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
  assert found['all'] > 0.9 and found['lagged_copy'] > 0.9 and found['ridge'] > 0.9
  assert abs(found['training_mean']) < 0.1
  text = (tmp_path / 'report.md').read_text()
  assert 'means over 0.5 s' in text and 'mean CCC of videos' in text


def test_what_there_is_is_listed():
  with pytest.raises(Exception, match='toy'):
    Config(dataset='deep')
