"""The loop: resumed runs, stopped runs, validation."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from mvp_jax.errors import InputError, TrainingError
from mvp_jax.training import loop
from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.loop import Called, TrainConfig, evaluate, fit
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.state import abstract_state, init_state
from tests.training.logs import CutLog, PowerCut
from tests.training.tiny import BATCH, OPTIMISER, Batches, emotion_example, make_batch

_STEPS = OPTIMISER.steps
_CONFIG = TrainConfig(
  batch_size=BATCH,
  log_every=1,
  validate_every=3,
  checkpoint_every=3,
  optimiser=OPTIMISER,
)


def _validation():
  return iter([make_batch(emotion_example, 1000)])


def _fit(task, mesh, folder, batches=None, config=_CONFIG, log_stops_at=None, **kwargs):
  folder.mkdir(exist_ok=True)
  with CutLog(folder, log_stops_at) as log:
    return fit(
      task,
      batches or Batches(),
      config,
      mesh=mesh,
      seed=4,
      run='fold0/x',
      directory=folder / 'checkpoints',
      log=log,
      validation=_validation,
      **kwargs,
    )


def _metrics(folder):
  """{(split, step): metrics} but for speed; the last line of a step counts."""
  found = {}
  for line in (folder / 'metrics.jsonl').read_text().splitlines():
    entry = json.loads(line)
    del entry['time']
    if entry['split'] != 'speed':
      found[entry['split'], entry['step']] = entry
  return found


def _latest(folder):
  with Checkpoints(folder / 'checkpoints') as checkpoints:
    return checkpoints.latest_step()


def _assert_equal(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.fixture(scope='module')
def through(emotion, one_device, tmp_path_factory):
  """Folder and parameters of a run that nothing stopped."""
  folder = tmp_path_factory.mktemp('through')
  with jax.numpy_dtype_promotion('standard'):
    return folder, jax.device_get(_fit(emotion, one_device, folder))


def test_a_run_logs_validates_and_saves_when_due(through):
  folder, _ = through
  metrics = _metrics(folder)
  assert [step for split, step in metrics if split == 'train'] == list(range(1, 9))
  assert [step for split, step in metrics if split == 'validation'] == [3, 6, 8]
  assert all(m['run'] == 'fold0/x' for m in metrics.values())
  assert set(metrics['train', 1]) >= {
    'loss',
    'grad_norm',
    'learning_rate',
    'accuracy_valence',
  }
  # Step n is taken at the learning rate of n - 1 steps done: warm-up from 0.
  np.testing.assert_allclose(
    [metrics['train', n]['learning_rate'] for n in (1, 2, 3)],
    [0, 0.01, 0.02],
    rtol=1e-5,
  )
  assert _latest(folder) == _STEPS
  assert len(list((folder / 'checkpoints').glob('[0-9]*'))) == 2  # keep_checkpoints


@pytest.mark.parametrize('stop', ['data at 5', 'log at 7', 'data at 1'])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
  emotion, one_device, through, tmp_path, stop
):
  what, _, at = stop.partition(' at ')

  def cut(number, batch):
    if number == int(at):
      raise PowerCut

  with pytest.raises(PowerCut):
    if what == 'data':
      _fit(emotion, one_device, tmp_path, Batches(change=cut))
    else:
      _fit(emotion, one_device, tmp_path, log_stops_at=int(at))
  assert _latest(tmp_path) == {'5': 3, '7': 6, '1': None}[at]

  asked = []
  params = _fit(
    emotion,
    one_device,
    tmp_path,
    Batches(change=lambda number, batch: asked.append(number)),
  )
  folder, wanted = through
  _assert_equal(jax.device_get(params), wanted)
  assert _metrics(tmp_path) == _metrics(folder)
  assert asked[0] == (_latest_before(at) + 1) and asked[-1] == _STEPS


@pytest.mark.parametrize(
  ('profile', 'stop', 'traced'), [(3, None, True), (_STEPS, None, True), (3, 5, False)]
)
def test_a_profile_is_traced_and_stops_nothing(
  emotion, one_device, through, tmp_path, profile, stop, traced
):
  if stop:  # the run goes on past the first step that it should trace
    with pytest.raises(PowerCut):
      _fit(emotion, one_device, tmp_path, log_stops_at=stop)
  config = dataclasses.replace(_CONFIG, profile=profile)
  params = _fit(emotion, one_device, tmp_path, config=config)
  assert bool(list((tmp_path / 'profile').rglob('*.xplane.pb'))) == traced
  _assert_equal(jax.device_get(params), through[1])


def _latest_before(at):
  return (int(at) - 1) // 3 * 3


def test_a_finished_run_reads_no_data(emotion, one_device, through):
  def refuse(number, batch):
    raise AssertionError

  folder, wanted = through
  before = (folder / 'metrics.jsonl').read_bytes()
  params = _fit(emotion, one_device, folder, Batches(change=refuse))
  _assert_equal(jax.device_get(params), wanted)
  assert (folder / 'metrics.jsonl').read_bytes() == before


@pytest.mark.parametrize(('at', 'saved'), [(5, 3), (6, 3), (8, 6)])
def test_nan_stops_the_run_before_it_is_saved(emotion, one_device, tmp_path, at, saved):
  def spoil(number, batch):
    if number == at:
      batch['video/tokens'][:] = math.nan

  with pytest.raises(TrainingError) as error:
    _fit(emotion, one_device, tmp_path, Batches(change=spoil))
  message = str(error.value)
  assert message.startswith('fold0/x: ')
  assert f' is not finite at step {at} ' in message
  assert 'loss nan' in message and '\n' not in message
  assert _latest(tmp_path) == saved
  with Checkpoints(tmp_path / 'checkpoints') as checkpoints:
    state, _ = checkpoints.restore(
      saved, abstract_state(emotion, OPTIMISER, one_device)
    )
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))


@pytest.mark.parametrize(
  'error',
  [
    MemoryError('Unable to allocate 3.00 GiB for an array'),
    jax.errors.JaxRuntimeError(
      'RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.'
    ),
  ],
)
def test_memory_that_runs_out_is_one_line(emotion, tmp_path, one_device, error):
  def batches(start):
    raise error

  asked = '3.00 GiB' if isinstance(error, MemoryError) else '123 bytes'
  with MetricLog(tmp_path) as log, pytest.raises(TrainingError) as told:
    fit(
      emotion,
      batches,
      TrainConfig(batch_size=4, optimiser=OPTIMISER),
      mesh=one_device,
      seed=0,
      run='encoder',
      directory=tmp_path / 'checkpoints',
      log=log,
      called=Called('config.encoder.train', 'config.encoder.remat'),
    )
  assert str(told.value) == (
    f'encoder: out of memory, {asked} were asked for; lower '
    'config.encoder.train.batch_size, raise config.encoder.train.accumulate or set '
    'config.encoder.remat=full, and run the same command again to go on'
  )


def test_a_reader_that_was_killed_is_one_line(emotion, tmp_path, one_device):
  def killed(start):
    raise RuntimeError('Worker process was terminated unexpectedly with exit code -9.')
    yield

  line = r'fold0/x: a process that reads batches has died .* lower config.train.workers'
  with pytest.raises(TrainingError, match=line):
    _fit(emotion, one_device, tmp_path / 'x', killed)


def test_a_batch_that_the_mesh_cannot_divide(emotion, tmp_path):
  mesh = make_mesh(MeshConfig(4, 1, 2))
  config = TrainConfig(batch_size=6, optimiser=OPTIMISER)
  with pytest.raises(InputError, match=r'fold0/x: batch_size: a batch of 6 cannot'):
    _fit(emotion, mesh, tmp_path, config=config)


def test_a_checkpoint_of_another_model(emotion, masked_video, one_device, through):
  with pytest.raises(InputError, match='checkpoint 8 does not fit this model') as error:
    _fit(masked_video, one_device, through[0])
  assert '\n' not in str(error.value)


def test_a_checkpoint_past_the_configured_steps(emotion, one_device, through):
  config = TrainConfig(batch_size=BATCH, optimiser=OptimiserConfig(steps=5))
  with pytest.raises(InputError, match='is at step 8, past the configured 5'):
    _fit(emotion, one_device, through[0], config=config)


def test_a_checkpoint_of_a_run_with_other_batches(emotion, one_device, through):
  config = TrainConfig(batch_size=2 * BATCH, optimiser=OPTIMISER)
  with pytest.raises(
    InputError, match='batch_size was 8, is now 16, which gives other batches'
  ):
    _fit(emotion, one_device, through[0], config=config)


def test_a_checkpoint_of_batches_in_an_older_order(
  monkeypatch, emotion, one_device, through
):
  monkeypatch.setattr(loop, 'ORDER', loop.ORDER + 1)
  with pytest.raises(InputError, match='order was .*, is now .* other batches'):
    _fit(emotion, one_device, through[0])


def test_given_parameters_are_the_start_and_survive(
  emotion, one_device, through, tmp_path
):
  ends = []
  for seed in (4, 99):  # 4 is the seed of all runs here
    params = init_state(emotion, OPTIMISER, one_device, seed).params
    kept = jax.tree.map(np.copy, jax.device_get(params))
    ends.append(
      jax.device_get(_fit(emotion, one_device, tmp_path / str(seed), params=params))
    )
    _assert_equal(jax.device_get(params), kept)  # the next fold starts from them
  _assert_equal(ends[0], through[1])
  kernels = [end['heads'][0]['linear']['kernel'] for end in ends]
  assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


def test_evaluation_weighs_every_example_once(emotion, emotion_params, one_device):
  params = emotion_params
  whole = make_batch(emotion_example, 0, 16)
  halves = [{k: v[i : i + 8] for k, v in whole.items()} for i in (0, 8)]
  last = {k: np.concatenate([v[8:11], v[:5]]) for k, v in whole.items()}
  last['weight'] = np.float32([1, 1, 1, 0, 0, 0, 0, 0])
  single = [
    evaluate(
      emotion, params, [{k: np.stack([v[i]] * 8) for k, v in whole.items()}], one_device
    )
    for i in range(16)
  ]
  for batches, count in ((halves, 16), ([halves[0], last], 11)):
    found = evaluate(emotion, params, batches, one_device)
    for name, value in found.items():
      wanted = np.mean([x[name] for x in single[:count]])
      np.testing.assert_allclose(value, wanted, rtol=1e-5)


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('batch_size', 0),
    ('log_every', 0),
    ('checkpoint_every', 0),
    ('keep_checkpoints', 0),
    ('validate_every', -1),
    ('workers', -1),
  ],
)
def test_numbers_that_make_no_sense(field, value):
  with pytest.raises(ValueError, match=field):
    TrainConfig(**{field: value})


def test_a_run_has_steps():
  with pytest.raises(ValueError, match='steps'):
    OptimiserConfig(steps=0)
