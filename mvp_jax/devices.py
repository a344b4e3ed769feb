"""What a job runs on, and whether it leaves an accelerator idle."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax

from mvp_jax import hosts

_ASKED_SECONDS = 10  # for nvidia-smi to answer
_GPU, _TPU = 'an NVIDIA GPU', 'a TPU'
_EXTRAS = {_GPU: 'requirements-cuda.txt', _TPU: 'requirements-tpu.txt'}
_PLUGINS = {_GPU: ('jax_cuda12_plugin', 'jax_cuda13_plugin'), _TPU: ('libtpu',)}
_HIDDEN = {_GPU: ('CUDA_VISIBLE_DEVICES',), _TPU: ('TPU_VISIBLE_CHIPS',)}


def tell():
  """Says in one line what the job runs on, and on stderr what it leaves idle."""
  if hosts.is_main():
    print(said(), flush=True)
    if line := idle():
      print(line, file=sys.stderr, flush=True)


def said():
  """Platform, devices, processes: 'runs on tpu: 32 x TPU v5 lite, 8 processes'."""
  count = jax.process_count()
  return (
    f'runs on {jax.default_backend()}: {jax.device_count()} x '
    f'{jax.devices()[0].device_kind}, {count} process{"es" if count > 1 else ""}'
  )


def idle():
  """What the machine has and JAX, on its CPU, does not use: a line, or None."""
  if jax.default_backend() != 'cpu':
    return None
  found = present()
  if found is None:
    return None
  return f'warning: {found} is there, but JAX runs on the CPU: {_why(found)}'


def present(root=Path('/')):
  """What accelerator this machine shows, or None: 'an NVIDIA GPU', 'a TPU'."""
  device = root / 'dev'
  if [*device.glob('nvidia[0-9]*'), *root.glob('proc/driver/nvidia/gpus/*')]:
    return _GPU
  if any(device.glob('accel[0-9]*')):
    return _TPU
  # Newer TPUs are handed over by vfio, as other devices may be: Google's are meant.
  vendors = root.glob('sys/bus/pci/devices/*/vendor')
  if any(device.glob('vfio/[0-9]*')) and any(_text(x) == '0x1ae0' for x in vendors):
    return _TPU
  return _GPU if _listed() else None


def _text(path):
  try:
    return path.read_text().strip()
  except OSError:
    return ''


def _listed():
  """Whether nvidia-smi lists a GPU: where there are no files, as under Windows."""
  command = shutil.which('nvidia-smi')
  if command is None:
    return False
  try:
    asked = subprocess.run(
      [command, '-L'], capture_output=True, text=True, timeout=_ASKED_SECONDS
    )
  except (OSError, subprocess.TimeoutExpired):
    return False
  return asked.returncode == 0 and 'GPU' in asked.stdout


def _why(found):
  """Why JAX does not use it, and what to do."""
  if platforms := jax.config.jax_platforms:
    return f'JAX_PLATFORMS is {platforms!r}; unset it to use it'
  for name in _HIDDEN[found]:
    if os.environ.get(name) in ('', '-1'):
      return f'{name} is {os.environ[name]!r}; unset it to use it'
  if not any(map(importlib.util.find_spec, _PLUGINS[found])):
    return (
      "JAX's build for it is not installed; pip install -r requirements.txt -r "
      f'{_EXTRAS[found]}'
    )
  if found == _GPU:
    return 'no device answers; does nvidia-smi list it, with a driver of 525 or newer?'
  return 'no device answers; does another process hold it?'
