"""Models trained side by side get what each would get alone."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

from mvp_jax.data.batches import evaluation_batches, training_batches
from mvp_jax.errors import InputError, TrainingError
from mvp_jax.targets import Mean
from mvp_jax.training.loop import TrainConfig, fit
from mvp_jax.training.many import Member, Models, _Side
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import MeshConfig, make_mesh, put_batch
from mvp_jax.training.side_by_side import _fitting
from mvp_jax.training.state import forward
from tests.training.logs import CutLog, PowerCut, metrics_of
from tests.training.tiny import BATCH, OPTIMISER, emotion_example, make_batch

_TRIALS = 14
_CONFIG = TrainConfig(
  batch_size=BATCH,
  log_every=1,
  validate_every=3,
  checkpoint_every=3,
  optimiser=OPTIMISER,
)
_DATA = make_batch(emotion_example, 0, _TRIALS)


@dataclasses.dataclass(frozen=True)
class _Plane:
  """A task that compiles quickly: a plane through noisy points."""

  def create(self, rngs):
    return nnx.Linear(4, 2, rngs=rngs)

  def _error(self, model, batch, noise):
    outputs = model(batch['video/tokens'].mean(1) + noise)
    error = ((outputs - batch['label']) ** 2).mean(-1)
    return {'loss': Mean.of(error, batch['weight'])}

  def loss(self, model, batch, key):
    noise = 0.1 * jax.random.normal(key, (len(batch['label']), 4))
    return self._error(model, batch, noise)

  def evaluate(self, model, batch):
    return self._error(model, batch, 0)

  def scores(self, model, batch):
    return jax.nn.sigmoid(model(batch['video/tokens'].mean(1)))


_PLANE = _Plane()


def _member(i):
  """They differ in seed, trials and their number, scale and labels."""
  validation, train = (i,), tuple(j for j in range(i + 1, _TRIALS - 1 - i % 2))
  rng = np.random.default_rng(i)
  return Member(
    f'fold{i // 2}/seed{i % 2}/x',
    f'fold{i // 2}/x',
    7 + i,
    train,
    validation * (i != 1),  # one is not validated
    {'video/tokens': rng.uniform(1, 2, 4).astype(np.float32)},
    {'label': rng.integers(0, 2, (_TRIALS, 2)).astype(np.float32)},
  )


_MEMBERS = [_member(i) for i in range(3)]
_ASKED = [(0, 13), tuple(range(10)), (2,)]


class _Alone:
  """The trials of one model as a source of examples."""

  def __init__(self, member, rows):
    self.rows = rows
    scale, tokens = member.scale['video/tokens'], _DATA['video/tokens']
    mean, deviation = scale if isinstance(scale, tuple) else (np.float32(0), scale)
    tokens = (tokens - mean) / deviation
    self.data = {**_DATA, **member.own, 'video/tokens': tokens}

  def __len__(self):
    return len(self.rows)

  def __getitem__(self, index):
    return {name: x[self.rows[index]] for name, x in self.data.items()}


def _fit(
  task, mesh, folder, together=0, at=None, members=_MEMBERS, data=_DATA, config=_CONFIG
):
  folder.mkdir(exist_ok=True)
  models = Models(task, data, members, config, mesh, together)
  with CutLog(folder, at) as log:
    params = models.fit(
      run='x', directory=folder / 'checkpoints', log=log, batch_size=BATCH
    )
  return models, params


def _outcome(models, params):
  return (
    [jax.device_get(models.one(params, i)) for i in range(3)],
    models.scores(params, _ASKED, BATCH),
  )


def _assert_close(one, other, rtol=1e-3, atol=1e-4):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol, atol), one, other)


@pytest.fixture(scope='module')
def together(one_device, tmp_path_factory):
  """Folder and outcome of a run that nothing stopped."""
  folder = tmp_path_factory.mktemp('together')
  with jax.numpy_dtype_promotion('standard'):
    return folder, _outcome(*_fit(_PLANE, one_device, folder))


def _assert_as_alone(
  task, mesh, folder, config, params, scores, metrics, members=_MEMBERS
):
  """That each model has what `fit` gives it by itself."""
  for i, member in enumerate(members[: len(params)]):
    config = dataclasses.replace(
      config, optimiser=dataclasses.replace(config.optimiser, **member.settings)
    )
    validation = _Alone(member, member.validation)
    with MetricLog(folder) as log:
      alone = fit(
        task,
        lambda start, member=member: training_batches(
          _Alone(member, member.train), BATCH, member.seed, start=start
        ),
        config,
        mesh=mesh,
        seed=member.seed,
        run=member.run,
        directory=folder / str(i),
        log=log,
        validation=(lambda source=validation: evaluation_batches(source, BATCH))
        if len(validation)
        else None,
      )
    _assert_close(params[i], jax.device_get(alone))
    run = forward(task, mesh, 'scores')
    wanted = np.concatenate(
      [
        run(alone, put_batch(batch, mesh))
        for batch in evaluation_batches(_Alone(member, _ASKED[i]), BATCH)
      ]
    )
    _assert_close(scores[i], wanted[: len(_ASKED[i])])
  alone = metrics_of(folder)
  assert alone.keys() == metrics.keys()
  _assert_close(metrics, alone)


def test_each_gets_what_it_would_get_alone(one_device, together, tmp_path):
  folder, (params, scores) = together
  metrics = metrics_of(folder)
  assert len(metrics) == 3 * 8 + 2 * 3  # of steps; of validations
  _assert_as_alone(_PLANE, one_device, tmp_path, _CONFIG, params, scores, metrics)


def test_means_are_taken_off_where_there_are_some(one_device, tmp_path):
  """Of each number of an array, and each member its own."""
  rng = np.random.default_rng(0)
  members = [
    dataclasses.replace(
      member,
      scale={
        'video/tokens': (
          rng.normal(size=(6, 4)).astype(np.float32),
          rng.uniform(1, 2, (6, 4)).astype(np.float32),
        )
      },
    )
    for member in _MEMBERS
  ]
  folder = tmp_path / 'together'
  outcome = _outcome(*_fit(_PLANE, one_device, folder, members=members))
  _assert_as_alone(
    _PLANE, one_device, tmp_path, _CONFIG, *outcome, metrics_of(folder), members
  )


@pytest.mark.parametrize(
  ('name', 'changes', 'at_a_time'),
  [
    ('emotion', {'validate_every': 0}, 2),
    (
      'plane',
      {'accumulate': 2, 'optimiser': dataclasses.replace(OPTIMISER, ema=0.9)},
      0,
    ),
  ],
)
def test_other_tasks_and_settings_likewise(
  emotion, one_device, tmp_path, name, changes, at_a_time
):
  task = {'emotion': emotion, 'plane': _PLANE}[name]
  config = dataclasses.replace(_CONFIG, **changes)
  models, params = _fit(
    task, one_device, tmp_path / 'many', at_a_time, members=_MEMBERS[:2], config=config
  )
  _assert_as_alone(
    task,
    one_device,
    tmp_path,
    config,
    [jax.device_get(models.one(params, i)) for i in range(2)],
    models.scores(params, _ASKED[:2], BATCH),
    metrics_of(tmp_path / 'many'),
  )


def test_settings_of_the_optimiser_may_differ(one_device, tmp_path):
  config = dataclasses.replace(
    _CONFIG, optimiser=dataclasses.replace(OPTIMISER, min_learning_rate=1e-4)
  )
  members = [
    dataclasses.replace(
      _MEMBERS[i], settings={'learning_rate': 10.0**-i / 50, 'weight_decay': 0.5 * i}
    )
    for i in range(3)
  ]
  models, params = _fit(
    _PLANE, one_device, tmp_path / 'many', members=members, config=config
  )
  _assert_as_alone(
    _PLANE,
    one_device,
    tmp_path,
    config,
    *_outcome(models, params),
    metrics_of(tmp_path / 'many'),
    members,
  )


@pytest.mark.parametrize(
  ('devices', 'mesh', 'at_a_time'), [(1, {}, 2), (8, {'fsdp': 2, 'tensor': 2}, 0)]
)
def test_neither_devices_nor_bundles_change_the_result(
  together, tmp_path, devices, mesh, at_a_time
):
  mesh = make_mesh(MeshConfig(**mesh), jax.devices()[:devices])
  found = _outcome(*_fit(_PLANE, mesh, tmp_path, at_a_time))
  _assert_close(found, together[1])
  _assert_close(metrics_of(tmp_path), metrics_of(together[0]))


def test_models_lie_on_all_devices_and_the_trials_on_each():
  mesh = make_mesh(MeshConfig(fsdp=2), jax.devices())
  models = Models(_PLANE, _DATA, [_member(i) for i in range(4)] * 5, _CONFIG, mesh)
  side = _Side(models, 'x', None, None, BATCH)
  params = side.begin(_NoCheckpoints())[0].params
  for x in jax.tree.leaves(params):
    assert x.shape[0] == 24 and x.sharding.shard_shape(x.shape)[0] == 3
  for x in jax.tree.leaves(models._data):
    assert x.sharding.is_fully_replicated and x.shape[0] == _TRIALS
  assert models.parameters(params) == sum(
    x.size for x in jax.tree.leaves(models.one(params, 0))
  )


class _NoCheckpoints:
  def latest_step(self):
    return None


@pytest.mark.parametrize(('at', 'devices', 'at_a_time'), [(5, 1, 0), (7, 2, 2)])
def test_an_interrupted_run_goes_on_also_on_other_devices(
  one_device, together, tmp_path, at, devices, at_a_time
):
  with pytest.raises(PowerCut):
    _fit(_PLANE, one_device, tmp_path, at=at)
  lines = (tmp_path / 'metrics.jsonl').read_text().count('\n')
  mesh = make_mesh(MeshConfig(), jax.devices()[:devices])
  found = _outcome(*_fit(_PLANE, mesh, tmp_path, at_a_time))
  exact = (devices, at_a_time) == (1, 0)
  _assert_close(found, together[1], *(0, 0) if exact else ())
  _assert_close(metrics_of(tmp_path), metrics_of(together[0]), *(0, 0) if exact else ())
  again = [
    json.loads(line)
    for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()[lines:]
  ]
  assert min(x['step'] for x in again) == (at - 1) // 3 * 3 + 1  # from the checkpoint


def test_a_finished_run_trains_nothing(one_device, together):
  folder, wanted = together
  before = (folder / 'metrics.jsonl').read_bytes()
  _assert_close(_outcome(*_fit(_PLANE, one_device, folder)), wanted, 0, 0)
  assert (folder / 'metrics.jsonl').read_bytes() == before


def test_checkpoints_of_other_models_are_refused(one_device, together):
  other = [*_MEMBERS[:2], dataclasses.replace(_MEMBERS[2], train=(0, 1, 2))]
  with pytest.raises(InputError, match='models was .*, is now .* other batches'):
    _fit(_PLANE, one_device, together[0], members=other)
  with pytest.raises(InputError, match=r'fold1/seed0/x: there are no examples'):
    Models(
      _PLANE, _DATA, [dataclasses.replace(_MEMBERS[2], train=())], _CONFIG, one_device
    )


def test_the_model_that_is_not_finite_is_named(one_device, tmp_path):
  bad = dataclasses.replace(
    _MEMBERS[1], scale={'video/tokens': np.zeros(4, np.float32)}
  )
  with pytest.raises(TrainingError, match=r'^fold0/seed1/x: .* not finite at step 1'):
    _fit(_PLANE, one_device, tmp_path, members=[_MEMBERS[0], bad, _MEMBERS[2]])


@pytest.mark.parametrize(('limit', 'wanted'), [(1e9, 4), (1e12, 20), (1e8, 1)])
def test_as_many_at_a_time_as_fit_the_memory(limit, wanted):
  # 80 % of 1 GB, less 100 MB of data and 20 states of 5 MB twice: 500 MB.
  assert _fitting(limit, 100e6, 5e6, 120e6, 20) == wanted
