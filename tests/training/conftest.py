"""Tiny tasks."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import jax
import pytest

from mvp_jax.models.emotion import EmotionConfig, ModelSizes
from mvp_jax.models.modalities.physio import Physio, PhysioNetwork
from mvp_jax.models.modalities.video import Video, VideoNetwork
from mvp_jax.models.videomae import VideoMAEConfig
from mvp_jax.targets.binary import Binary
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.state import init_state
from mvp_jax.training.tasks import Emotion, MaskedVideo
from tests.training.films import Films
from tests.training.tiny import OPTIMISER


@pytest.fixture(autouse=True)
def _jax_for_tests():
  """Optax raises floats to the power of an int32 count."""
  with jax.numpy_dtype_promotion('standard'):
    yield


@pytest.fixture(scope='session')
def emotion():
  physio = Physio(
    widths=(16,),
    kernels=(8,),
    strides=(8,),
    depth=0,
    heads=2,
    mlp_width=16,
    dropout=0.1,
    levels=False,
  )
  networks = (
    ('physio', PhysioNetwork(physio, channels=2, rate=8.0)),
    ('video', VideoNetwork(Video(depth=0), feature_width=4)),
  )
  return Emotion(
    EmotionConfig(
      ModelSizes(width=16, depth=1, heads=2, mlp_width=16, dropout=0.1),
      networks,
      Binary(),
      names=('physio', 'video'),
    )
  )


@pytest.fixture(scope='session')
def masked_video():
  return MaskedVideo(
    VideoMAEConfig(
      width=16,
      depth=2,
      heads=2,
      mlp_width=32,
      decoder_width=8,
      decoder_depth=1,
      decoder_heads=2,
      frames=4,
      size=16,
      patch=8,
      drop_path=0.1,
    )
  )


@pytest.fixture(scope='session')
def one_device():
  return make_mesh(MeshConfig(), jax.devices()[:1])


@pytest.fixture(scope='session')
def emotion_params(emotion, one_device):
  with jax.numpy_dtype_promotion('standard'):
    return init_state(emotion, OPTIMISER, one_device, 0).params


@pytest.fixture(scope='session')
def video_params(masked_video, one_device):
  with jax.numpy_dtype_promotion('standard'):
    return init_state(masked_video, OPTIMISER, one_device, 0).params


class _Job:
  """A run of `job.py` in a process of its own, used as a Popen is."""

  def __init__(self, messages, settings):
    ends = [os.pipe() for _ in range(3)]
    socket.send_fds(messages, [json.dumps(settings).encode()], [end for _, end in ends])
    for _, end in ends:
      os.close(end)
    *self._streams, self._told = (os.fdopen(end) for end, _ in ends)
    self.pid, self.returncode = int(self._told.readline()), None

  def communicate(self, timeout):
    """What it wrote: output and errors."""
    with concurrent.futures.ThreadPoolExecutor(2) as readers:
      found = [readers.submit(stream.read) for stream in self._streams]
      if concurrent.futures.wait(found, timeout).not_done:
        self.kill()
        raise TimeoutError(f'{self.pid} ran for more than {timeout} s')
    self.returncode = int(self._told.read())
    for pipe in (*self._streams, self._told):
      pipe.close()
    return [one.result() for one in found]

  def kill(self):
    if self.returncode is None:
      with contextlib.suppress(ProcessLookupError):
        os.kill(self.pid, signal.SIGKILL)


@pytest.fixture(scope='session')
def start_job():
  """Function of settings that starts `job.py` with them; returns its _Job."""
  root = pathlib.Path(__file__).parents[2]
  messages, other = socket.socketpair()
  with messages, other:
    command = [sys.executable, root / 'tests/training/job.py', str(other.fileno())]
    environment = os.environ | {'PYTHONPATH': str(root)}
    with subprocess.Popen(command, env=environment, pass_fds=[other.fileno()]):
      other.close()
      yield lambda **settings: _Job(messages, settings)
      messages.close()  # which ends it


@pytest.fixture(scope='session')
def jobs_folder(tmp_path_factory):
  """Where runs of `job.py` lie; they share what they have compiled."""
  return tmp_path_factory.mktemp('jobs')


@pytest.fixture(scope='session')
def through(start_job, jobs_folder):
  """Function of settings that gives the folder of a run that nothing stopped."""

  def start(name, **settings):
    job = start_job(folder=str(jobs_folder / name), **settings)
    _, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    return jobs_folder / name

  return start


@pytest.fixture
def corpus():
  return Films()
