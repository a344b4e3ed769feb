"""Training on trials of several lengths: as if there were one, at less cost."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from mvp_jax.data.batches import evaluation_batches, in_order, training_batches
from mvp_jax.data.lengths import Plan, drawn, grown, plan
from mvp_jax.targets import Mean
from mvp_jax.training.laid import Laid, rows_of
from mvp_jax.training.loop import TrainConfig, fit
from mvp_jax.training.many import Member, Models
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import MeshConfig, make_mesh, put_batch, rows_on
from mvp_jax.training.state import forward, init_state, train_step
from tests.training.logs import CutLog, PowerCut, assert_close, metrics_of
from tests.training.tiny import BATCH, OPTIMISER

_COUNT, _RATE = 20, 2  # tokens a second
_SECONDS = np.random.default_rng(4).permutation(
  np.r_[np.linspace(1, 3, 16), [5, 6, 7, 12]]
)
_CONFIG = TrainConfig(
  batch_size=BATCH,
  log_every=1,
  validate_every=4,
  checkpoint_every=3,
  optimiser=OPTIMISER,
)


def _example(number, most):
  """Tokens of a trial, padded to `most` seconds."""
  rng = np.random.default_rng(number)
  tokens = rng.normal(size=(int(_SECONDS[number] * _RATE), 3)).astype(np.float32)
  label = tokens.sum(0)[:2] > 0
  return grown(
    {'x/tokens': tokens, 'label': label.astype(np.float32), 'weight': np.float32(1)},
    {'x/tokens': (round(most * _RATE), 3)},
  )


class _Source:
  """Some trials, each padded to its own length of a plan."""

  def __init__(self, plan, rows=range(_COUNT)):
    self.plan, self.rows = plan, list(rows)
    self.seconds = _SECONDS[self.rows]
    self.lengths = np.array([plan.number(x) for x in self.seconds])

  def shapes(self):
    return [{'x/tokens': (round(most * _RATE), 3)} for most in self.plan.lengths]

  def __len__(self):
    return len(self.rows)

  def __getitem__(self, index):
    return _example(self.rows[index], self.plan.lengths[self.lengths[index]])


@dataclasses.dataclass(frozen=True)
class _Sums:
  """A task that compiles quickly, and to which padding is nothing."""

  noise: float = 0.1

  def create(self, rngs):
    return nnx.Linear(3, 2, rngs=rngs)

  def _error(self, model, batch, noise):
    outputs = model(batch['x/tokens'].sum(1) + noise)
    error = ((outputs - batch['label']) ** 2).mean(-1)
    return {'loss': Mean.of(error, batch['weight'])}

  def loss(self, model, batch, key):
    noise = self.noise * jax.random.normal(key, (len(batch['label']), 3))
    return self._error(model, batch, noise)

  def evaluate(self, model, batch):
    return self._error(model, batch, 0)

  def scores(self, model, batch):
    return model(batch['x/tokens'].sum(1))


def _member(i):
  """They differ in trials and their number; the last one has trials of two windows."""
  train = tuple(j for j in range(_COUNT - 2) if j % 4 != i)
  if i == 2:
    train = (*train[:-2], (train[-2], train[-1]))
  return Member(f'fold{i}/x', f'fold{i}/x', 7 + i, train, tuple(range(i, _COUNT, 4)))


_MEMBERS = [_member(i) for i in range(3)]
_FIRSTS = [[np.atleast_1d(x)[0] for x in member.train] for member in _MEMBERS]
_PLAN = plan([_SECONDS[firsts] for firsts in _FIRSTS], 12.0, BATCH, most=3)
_ASKED = [(0, 13, 4), tuple(range(_COUNT)), ()]


def _laid():
  source = _Source(_PLAN)
  trainings = [member.train for member in _MEMBERS]
  rows = rows_of(_PLAN, trainings, source.seconds, source.lengths)
  arrays = []
  for own, most in zip(rows, _PLAN.lengths, strict=True):
    items = [_example(i, most) for i in own]
    arrays.append({name: np.stack([x[name] for x in items]) for name in items[0]})
  return Laid(_PLAN, source.seconds, source.lengths, rows, tuple(arrays))


def _fit(mesh, folder, at=None, together=0):
  members = [dataclasses.replace(x, own=({},) * len(_PLAN.lengths)) for x in _MEMBERS]
  models = Models(_Sums(), _laid(), members, _CONFIG, mesh, together)
  with CutLog(folder, at) as log:
    found = models.fit(run='x', directory=folder / 'many', log=log, batch_size=BATCH)
  return (
    [jax.device_get(models.one(found, i)) for i in range(3)],
    models.scores(found, _ASKED, BATCH),
  )


@pytest.fixture(scope='module')
def together(one_device, tmp_path_factory):
  folder = tmp_path_factory.mktemp('together')
  with jax.numpy_dtype_promotion('standard'):
    return folder, _fit(one_device, folder)


class _Windows(_Source):
  """One window each of some trials."""

  def __init__(self, plan, items):
    super().__init__(plan, [np.atleast_1d(item)[0] for item in items])
    self.items = items

  def __getitem__(self, index):
    return self.items[index]

  def read(self, item, rng):
    number = drawn(item, rng)
    return _example(number, self.plan.lengths[self.plan.number(_SECONDS[number])])


def test_there_are_several_lengths():
  assert len(_PLAN.lengths) == 3 and sum(_PLAN.rows) == BATCH
  assert [len(rows) for rows in _laid().rows] != [_COUNT] * 3
  padded = sum(
    len(x) * most for x, most in zip(_laid().rows, _PLAN.lengths, strict=True)
  )
  assert padded < 0.6 * _COUNT * 12


def test_each_gets_what_it_would_get_alone(one_device, together, tmp_path):
  folder, (params, scores) = together
  for i, member in enumerate(_MEMBERS):
    train, watched = _Windows(_PLAN, member.train), _Source(_PLAN, member.validation)
    with MetricLog(tmp_path) as log:
      alone = fit(
        _Sums(),
        lambda start, train=train, seed=member.seed: training_batches(
          train, BATCH, seed, read=train.read, start=start, plan=_PLAN
        ),
        _CONFIG,
        mesh=one_device,
        seed=member.seed,
        run=member.run,
        directory=tmp_path / str(i),
        log=log,
        validation=lambda watched=watched: evaluation_batches(watched, BATCH),
      )
    assert_close(params[i], jax.device_get(alone))
    assert len(scores[i]) == len(_ASKED[i])
    if not _ASKED[i]:
      continue
    asked, run = _Source(_PLAN, _ASKED[i]), forward(_Sums(), one_device, 'scores')
    found = [
      np.asarray(run(alone, put_batch(batch, one_device)))
      for batch in evaluation_batches(asked, BATCH)
    ]
    wanted = in_order(found, asked, BATCH)
    assert_close(scores[i], wanted)
    # As if all were padded to the longest, in one batch.
    whole = [_example(number, 12.0) for number in _ASKED[i]]
    whole = {'x/tokens': np.stack([x['x/tokens'] for x in whole])}
    assert_close(scores[i], run(alone, put_batch(whole, one_device)))
  alone = metrics_of(tmp_path)
  assert alone.keys() == metrics_of(folder).keys()
  assert_close(metrics_of(folder), alone)


@pytest.mark.parametrize(('at', 'devices', 'at_a_time'), [(5, 1, 0), (7, 2, 2)])
def test_an_interrupted_run_goes_on(
  one_device, together, tmp_path, at, devices, at_a_time
):
  with pytest.raises(PowerCut):
    _fit(one_device, tmp_path, at)
  mesh = make_mesh(MeshConfig(), jax.devices()[:devices])
  found = _fit(mesh, tmp_path, together=at_a_time)
  exact = (0, 0) if devices == 1 else ()
  assert_close(found, together[1], *exact)
  assert_close(metrics_of(tmp_path), metrics_of(together[0]), *exact)


def test_more_devices_read_the_same_batches(one_device, tmp_path):
  """Rows are then dealt to fewer lengths, for each is split over the devices."""
  losses = []
  for devices, unit in ((1, 1), (4, 4)):
    mesh = make_mesh(MeshConfig(), jax.devices()[:devices])
    own = plan([_SECONDS], 12.0, BATCH, most=3, unit=unit)
    assert not np.any(np.array(own.rows) % unit)
    source = _Source(own)
    with MetricLog(tmp_path / str(devices)) as log:
      fit(
        _Sums(noise=0.0),
        lambda start, source=source, own=own, mesh=mesh: training_batches(
          source,
          BATCH,
          3,
          start=start,
          rows=rows_on(mesh),
          plan=own,
        ),
        dataclasses.replace(_CONFIG, validate_every=0),
        mesh=mesh,
        seed=3,
        run='x',
        directory=tmp_path / str(devices) / 'checkpoints',
        log=log,
      )
    losses.append([x['loss'] for x in metrics_of(tmp_path / str(devices)).values()])
  assert len(losses[0]) == OPTIMISER.steps
  assert_close(*losses)


def test_processes_read_shares_of_the_very_same_batches():
  whole = iter(training_batches(_Source(_PLAN), BATCH, 1, plan=_PLAN, start=2))
  some = training_batches(
    _Source(_PLAN), BATCH, 1, plan=_PLAN, rows=lambda count: range(0, count, 2)
  )
  some = iter(some)
  next(some), next(some)
  for one, other in zip(next(whole), next(some), strict=True):
    np.testing.assert_array_equal(one['x/tokens'][::2], other['x/tokens'])


def test_evaluation_has_each_once_and_one_length_at_a_time():
  source = _Source(_PLAN)
  found = []
  for batch in evaluation_batches(source, 6, unit=2):
    assert len(batch['weight']) % 2 == 0 and len(batch['weight']) <= 6
    found.append(np.abs(batch['x/tokens']).sum((1, 2)))
  wanted = [np.abs(_example(i, 12.0)['x/tokens']).sum() for i in range(_COUNT)]
  assert_close(in_order(found, source, 6, 2), np.array(wanted))


@pytest.mark.parametrize('accumulate', [1, 2])
def test_a_step_is_that_of_all_padded_to_the_longest(one_device, accumulate):
  rows = [[0, 1], [2, 3, 4, 5]]
  parts = [
    [_example(i, most) for i in own] for own, most in zip(rows, (3, 12), strict=True)
  ]
  parts[1][-1]['weight'] = np.float32(0.25)

  def stacked(items):
    return {name: np.stack([x[name] for x in items]) for name in items[0]}

  shapes = {'x/tokens': (12 * _RATE, 3)}
  whole = stacked([grown(x, shapes) for part in parts for x in part])
  found = []
  for batch in (whole, tuple(map(stacked, parts))):
    state = init_state(_Sums(noise=0.0), OPTIMISER, one_device, 0)
    step = train_step(_Sums(noise=0.0), OPTIMISER, one_device, accumulate)
    for _ in range(3):  # the first learning rate is zero
      state, metrics = step(state, put_batch(batch, one_device))
    found.append(jax.device_get((metrics, state.params)))
  assert_close(*found)
  assert found[0][0]['grad_norm'] > 0


def test_one_length_is_read_as_without_a_plan():
  source = _Source(Plan((12.0,)))
  found, wanted = (
    iter(training_batches(source, BATCH, 2, plan=one)) for one in (Plan((12.0,)), None)
  )
  for _ in range(4):
    one, other = next(found), next(wanted)
    np.testing.assert_array_equal(one['x/tokens'], other['x/tokens'])
