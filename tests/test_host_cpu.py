"""XLA computes with kernels of its own on a CPU, and is left alone elsewhere."""

import subprocess
import sys

import pytest

from mvp_jax import devices, host_cpu

_PROGRAM = """
from mvp_jax import devices, host_cpu
devices.present = lambda: None
host_cpu.use_own_kernels()
import jax
import jax.numpy as jnp
f = lambda x, y: jnp.maximum(x @ y, 0).sum(0)
text = jax.jit(f).lower(*[jnp.ones((512, 512))] * 2).compile().as_text()
print('dot' in text, 'ynn' in text)
"""


@pytest.mark.parametrize(
  ('present', 'given', 'after'),
  [
    (None, '', host_cpu._OWN_KERNELS),
    (None, '--other=1', f'--other=1 {host_cpu._OWN_KERNELS}'),
    (None, f'{host_cpu._OWN_KERNELS}1', f'{host_cpu._OWN_KERNELS}1'),
    ('a TPU', '--other=1', '--other=1'),
  ],
)
def test_flags_are_added_on_a_cpu_alone(monkeypatch, present, given, after):
  monkeypatch.setattr(devices, 'present', lambda: present)
  monkeypatch.setenv('XLA_FLAGS', given)
  host_cpu.use_own_kernels()
  assert host_cpu.os.environ['XLA_FLAGS'] == after


def test_xla_knows_the_flag_and_computes_itself(monkeypatch):
  monkeypatch.delenv('XLA_FLAGS', raising=False)
  run = subprocess.run(
    [sys.executable, '-c', _PROGRAM], capture_output=True, text=True, check=True
  )
  assert run.stdout.split() == ['True', 'False']
