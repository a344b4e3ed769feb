"""What a job runs on is said; an accelerator that is left idle is warned of."""

import subprocess

import jax
import pytest

from mvp_jax import devices


def machine(root, *names, vendor=None):
  """A root folder with some files."""
  for name in names:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).touch()
  if vendor:
    folder = root / 'sys/bus/pci/devices/0000:00:04.0'
    folder.mkdir(parents=True)
    (folder / 'vendor').write_text(f'{vendor}\n')
  return root


@pytest.fixture(autouse=True)
def _no_nvidia_smi(monkeypatch):
  monkeypatch.setattr(devices.shutil, 'which', lambda name: None)


@pytest.mark.parametrize(
  ('names', 'vendor', 'found'),
  [
    (['dev/null'], None, None),
    (['dev/nvidia0', 'dev/nvidiactl'], None, 'an NVIDIA GPU'),
    (['dev/nvidiactl', 'dev/nvidia-uvm'], None, None),
    (['proc/driver/nvidia/gpus/0000:17:00.0'], None, 'an NVIDIA GPU'),
    (['dev/accel0', 'dev/accel1'], None, 'a TPU'),
    (['dev/vfio/0', 'dev/vfio/vfio'], '0x1ae0', 'a TPU'),
    (['dev/vfio/0'], '0x8086', None),  # something else is handed over
    (['dev/vfio/vfio'], '0x1ae0', None),
  ],
)
def test_what_a_machine_shows(tmp_path, names, vendor, found):
  assert devices.present(machine(tmp_path, *names, vendor=vendor)) == found


@pytest.mark.parametrize(
  ('status', 'said', 'found'),
  [
    (0, 'GPU 0: Tesla T4 (UUID: GPU-1)\n', 'an NVIDIA GPU'),
    (0, 'No devices found.\n', None),
    (9, 'NVIDIA-SMI has failed\n', None),
  ],
)
def test_nvidia_smi_is_asked(tmp_path, monkeypatch, status, said, found):
  monkeypatch.setattr(devices.shutil, 'which', lambda name: f'/usr/bin/{name}')
  monkeypatch.setattr(
    devices.subprocess,
    'run',
    lambda command, **_: subprocess.CompletedProcess(command, status, said, ''),
  )
  assert devices.present(tmp_path) == found


@pytest.mark.parametrize('error', [OSError, subprocess.TimeoutExpired('nvidia-smi', 1)])
def test_an_nvidia_smi_that_does_not_answer(tmp_path, monkeypatch, error):
  def run(command, **_):
    raise error

  monkeypatch.setattr(devices.shutil, 'which', lambda name: f'/usr/bin/{name}')
  monkeypatch.setattr(devices.subprocess, 'run', run)
  assert devices.present(tmp_path) is None


@pytest.fixture
def on_cpu(monkeypatch):
  """Function of what is there and the packages that are installed."""
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)

  def there(found, installed=(), platforms=None):
    monkeypatch.setattr(devices, 'present', lambda: found)
    monkeypatch.setattr(
      devices.importlib.util, 'find_spec', lambda name: name in installed or None
    )
    monkeypatch.setattr(devices, 'jax', _Jax('cpu', platforms=platforms), raising=True)

  return there


class _Jax:
  """What is asked of JAX."""

  def __init__(self, backend, kind='cpu', count=1, processes=1, platforms=None):
    device = type('Device', (), {'device_kind': kind})()
    self.default_backend = lambda: backend
    self.devices = lambda: [device] * count
    self.device_count = lambda: count
    self.process_count = lambda: processes
    self.config = type('Config', (), {'jax_platforms': platforms})()


def test_an_accelerator_without_its_build_of_jax(on_cpu):
  on_cpu('an NVIDIA GPU')
  assert devices.idle() == (
    "warning: an NVIDIA GPU is there, but JAX runs on the CPU: JAX's build for it is "
    'not installed; pip install -r requirements.txt -r requirements-cuda.txt'
  )
  on_cpu('a TPU')
  assert devices.idle().endswith('-r requirements-tpu.txt')


def test_an_accelerator_whose_build_is_there(on_cpu):
  on_cpu('an NVIDIA GPU', ['jax_cuda13_plugin'])
  assert 'driver of 525' in devices.idle() and 'pip' not in devices.idle()
  on_cpu('a TPU', ['libtpu'])
  assert 'another process' in devices.idle()


def test_an_accelerator_that_is_hidden(on_cpu, monkeypatch):
  on_cpu('an NVIDIA GPU', platforms='cpu')
  assert devices.idle().endswith("JAX_PLATFORMS is 'cpu'; unset it to use it")
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  on_cpu('an NVIDIA GPU', ['jax_cuda12_plugin'])
  assert devices.idle().endswith("CUDA_VISIBLE_DEVICES is ''; unset it to use it")


def test_nothing_is_idle_on_a_plain_machine_or_where_it_is_used(on_cpu, monkeypatch):
  on_cpu(None)
  assert devices.idle() is None
  on_cpu('an NVIDIA GPU')
  monkeypatch.setattr(devices, 'jax', _Jax('gpu', 'NVIDIA H200'))
  assert devices.idle() is None


@pytest.mark.parametrize(
  ('there', 'line'),
  [
    (_Jax('cpu'), 'runs on cpu: 1 x cpu, 1 process'),
    (_Jax('gpu', 'NVIDIA H200', 8), 'runs on gpu: 8 x NVIDIA H200, 1 process'),
    (_Jax('tpu', 'TPU v5 lite', 32, 8), 'runs on tpu: 32 x TPU v5 lite, 8 processes'),
  ],
)
def test_the_first_line(monkeypatch, there, line):
  monkeypatch.setattr(devices, 'jax', there)
  assert devices.said() == line


def test_it_is_told_once_and_the_warning_apart(monkeypatch, capsys):
  monkeypatch.setattr(devices, 'idle', lambda: 'warning: idle')
  devices.tell()
  out, err = capsys.readouterr()
  assert out == f'runs on cpu: {jax.device_count()} x cpu, 1 process\n'
  assert err == 'warning: idle\n'
