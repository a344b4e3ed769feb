"""XLA computes with kernels of its own on a CPU, and is left alone elsewhere."""

import subprocess
import sys
from types import SimpleNamespace as Namespace

import pytest

from mvp_jax import devices, host_cpu

_ALL = ' '.join([host_cpu._OWN_KERNELS, *host_cpu._QUICKLY_COMPILED])
_PROGRAM = """
from mvp_jax import devices, host_cpu
devices.present = lambda: None
host_cpu.make_quick()
import jax
import jax.numpy as jnp
f = lambda x, y: jnp.maximum(x @ y, 0).sum(0)
text = jax.jit(f).lower(*[jnp.ones((512, 512))] * 2).compile().as_text()
print('dot' in text, 'ynn' in text)
"""


@pytest.mark.parametrize(
  ('present', 'platforms', 'given', 'after'),
  [
    (None, None, '', _ALL),
    (None, None, '--other=1', f'--other=1 {_ALL}'),
    (
      None,
      None,
      _ALL.replace('level=1', 'level=3'),
      _ALL.replace('level=1', 'level=3'),
    ),
    ('a TPU', None, '--other=1', '--other=1'),
    ('a TPU', 'cpu', '', _ALL),
  ],
)
def test_flags_are_added_on_a_cpu_alone(monkeypatch, present, platforms, given, after):
  monkeypatch.setattr(host_cpu, '_keep_freed_memory', lambda: None)
  monkeypatch.setattr(devices, 'present', lambda: present)
  asked = Namespace(config=Namespace(jax_platforms=platforms))
  monkeypatch.setattr(host_cpu, 'jax', asked)
  monkeypatch.setenv('XLA_FLAGS', given)
  host_cpu.make_quick()
  assert host_cpu.os.environ['XLA_FLAGS'] == after


def test_xla_knows_the_flag_and_computes_itself(monkeypatch):
  monkeypatch.delenv('XLA_FLAGS', raising=False)
  run = subprocess.run(
    [sys.executable, '-c', _PROGRAM], capture_output=True, text=True, check=True
  )
  assert run.stdout.split() == ['True', 'False']
