"""A tiny run in a process of its own, for tests that kill it.

python tests/training/job.py '{"folder": DIR, ...}'    see `run`
python tests/training/job.py SOCKET                    see `serve`
"""

import importlib
import json
import multiprocessing
import os
import pathlib
import resource
import signal
import socket
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mvp_jax import hosts
from mvp_jax.data.batches import training_batches
from mvp_jax.data.masks import MaskConfig, draw_masks
from mvp_jax.errors import InputError, Stopped, TrainingError
from mvp_jax.models.videomae import VideoMAEConfig
from mvp_jax.targets import Mean
from mvp_jax.training import sharding
from mvp_jax.training.loop import TrainConfig, fit
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.tasks import MaskedVideo
from mvp_jax.workdir import in_use

# TensorBoard's writer imports PyTorch if it can: a third of what starting takes.
sys.modules['torch'] = None
importlib.import_module('tensorboardX')
del sys.modules['torch']

BATCH = 8
VIDEO = MaskedVideo(
  VideoMAEConfig(
    width=16,
    depth=1,
    heads=2,
    mlp_width=32,
    decoder_width=8,
    decoder_depth=1,
    decoder_heads=2,
    frames=2,
    size=16,
    patch=8,
    drop_path=0.1,
  )
)


class Clips:
  """Eleven clips of noise."""

  def __len__(self):
    return 11

  def __getitem__(self, index):
    return int(index)

  def read(self, index, rng):
    frames = np.random.default_rng(index).integers(0, 256, (2, 16, 16, 3), np.uint8)
    visible, masked = draw_masks(rng, 1, 2, 2, MaskConfig(ratio=0.5))
    return {
      'frames': frames,
      'visible': visible,
      'masked': masked,
      'weight': np.float32(1),
    }


class Line:
  """A task that compiles quickly: a line through noisy points."""

  def create(self, rngs):
    return nnx.Linear(3, 4000, rngs=rngs)

  def loss(self, model, batch, key):
    noise = jax.random.normal(key, batch['x'].shape)
    error = model(batch['x'] + 0.1 * noise).mean(-1) - batch['y']
    return {'loss': Mean.of(error**2, jnp.ones_like(error))}


LINE = Line()


class Points:
  """Eleven points; which noise they have changes with each epoch."""

  def __len__(self):
    return 11

  def __getitem__(self, index):
    return int(index)

  def read(self, index, rng):
    return {'x': rng.normal(size=3).astype(np.float32), 'y': np.float32(index)}


def run(
  folder,
  video=False,
  devices=1,
  coordinator=None,
  processes=None,
  process=None,
  steps=6,
  seed=3,
  checkpoint_every=2,
  fsdp=1,
  workers=0,
  signal_at=None,
  send='SIGKILL',
  times=1,
  hold_at=None,
  full_at=None,
):
  """Trains, and writes `params.npz` and `metrics.jsonl` to the folder.

  Args:
    video: masked video, not a line.
    devices: of this process.
    signal_at: step before which this process is sent the signal `send`, `times`.
    hold_at: step before which this process waits to be killed.
    full_at: step before which files can no longer grow beyond 4 kB.
  """
  folder = pathlib.Path(folder)
  signal.signal(signal.SIGINT, signal.default_int_handler)  # if it was ignored
  jax.config.update('jax_num_cpu_devices', devices)
  jax.config.update('jax_disable_most_optimizations', True)
  jax.config.update('jax_compilation_cache_dir', str(folder.parent / 'compiled'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  hosts.connect(coordinator, processes, process, silence=10)
  optimiser = OptimiserConfig(learning_rate=0.02, steps=steps, warmup_steps=1)
  config = TrainConfig(
    batch_size=BATCH,
    log_every=1,
    validate_every=0,
    workers=workers,
    checkpoint_every=checkpoint_every,
    optimiser=optimiser,
  )
  hosts.check_same('config', {'seed': seed, 'steps': steps})
  mesh = make_mesh(MeshConfig(fsdp=fsdp))
  rows = sharding.rows_on(mesh)

  def batches(start):
    source = Clips() if video else Points()
    found = training_batches(
      source, BATCH, seed, workers, source.read, start=start, rows=rows
    )
    for step, batch in enumerate(found, start + 1):
      if step == signal_at:
        number = getattr(signal, send)
        if number == signal.SIGINT:  # a terminal sends it to the whole group
          for child in multiprocessing.active_children():
            os.kill(child.pid, number)
        for _ in range(times):
          os.kill(os.getpid(), number)
        if processes:  # the others hear of it while they wait for this one
          time.sleep(5)
      if step == hold_at:
        signal.pause()
      if step == full_at:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
      yield batch

  with in_use(folder), MetricLog(folder) as log:
    params = fit(
      VIDEO if video else LINE,
      batches,
      config,
      mesh=mesh,
      seed=seed,
      run='tiny',
      directory=folder / 'checkpoints',
      log=log,
    )
    gathered = jax.jit(
      lambda x: x,
      out_shardings=jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()),
    )(params)
    if hosts.is_main():
      np.savez(folder / 'params.npz', *jax.tree.leaves(jax.device_get(gathered)))


def main(**settings):
  """Runs, and says what is wrong in one line, as `launch.py` does."""
  status = 0
  try:
    run(**settings)
  except (InputError, Stopped, TrainingError) as error:
    print(f'error: {error}', file=sys.stderr)
    status = 3
  except KeyboardInterrupt:
    status = 5
  except jax.errors.JaxRuntimeError as error:
    print(f'error: has lost another process: {str(error)[:200]}', file=sys.stderr)
    status = 4
  hosts.leave(status)
  return status


def main_killed(kills, **settings):
  """Runs several times, each in a fork.

  Args:
    kills: [step, seconds] of each run but the last: it is killed that long after
      the save of that step has begun, and takes no further step until then.
  """
  checkpoints = pathlib.Path(settings['folder']) / 'checkpoints'
  for step, seconds in [*kills, (None, None)]:
    child = os.fork()
    if child == 0:
      os._exit(main(**settings, hold_at=step and step + 1))
    if step:
      while not list(checkpoints.glob(f'{step}*')):
        time.sleep(0.002)
      time.sleep(seconds)
      os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    names = sorted(path.name for path in checkpoints.iterdir())
    print(json.dumps({'status': status, 'checkpoints': names}), flush=True)
  return status


def start(settings):
  """Does what is asked for; returns the status to exit with."""
  return main_killed(**settings) if 'kills' in settings else main(**settings)


def serve(number):
  """Does what each message asks for in a fork: importing takes longer than a run.

  Args:
    number: of a socket. With each message, settings as JSON, come three pipes: for
      output, for errors, and for the number of the process and then its status.
  """
  with socket.socket(fileno=number) as messages:
    while True:
      text, pipes, _, _ = socket.recv_fds(messages, 1 << 16, 3)
      if not text:
        return 0
      if os.fork() == 0:
        break
      for pipe in pipes:
        os.close(pipe)
  *streams, told = pipes
  child = os.fork()
  if child == 0:
    for stream, pipe in enumerate([os.open(os.devnull, os.O_RDONLY), *streams]):
      os.dup2(pipe, stream)
      os.close(pipe)
    os.close(told)
    return start(json.loads(text))
  for pipe in streams:
    os.close(pipe)
  os.write(told, f'{child}\n'.encode())
  status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  os.write(told, str(status).encode())
  os._exit(0)


if __name__ == '__main__':
  given = sys.argv[1]
  sys.exit(serve(int(given)) if given.isdigit() else start(json.loads(given)))
