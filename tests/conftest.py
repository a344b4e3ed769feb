"""Eight simulated devices, quick compilation, strict dtypes."""

import gc
import os
import pathlib

import jax
import pytest

# Read by XLA when JAX is first used, here and in the processes that tests start.
_FLAGS = ['--xla_cpu_parallel_codegen_split_count=1']
if jax.__version_info__ < (0, 11):
  _FLAGS.append('--xla_cpu_use_fusion_emitters=false')  # compiles in half the time
os.environ['XLA_FLAGS'] = ' '.join([*_FLAGS, os.environ.get('XLA_FLAGS', '')])

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_disable_most_optimizations', True)
jax.config.update('jax_numpy_dtype_promotion', 'strict')
jax.config.update('jax_numpy_rank_promotion', 'raise')

# Tracing makes so many objects that looking through them was 4 % of the time.
gc.set_threshold(50_000, 20, 20)

_MAPS = pathlib.Path('/proc/self/maps')


@pytest.fixture(scope='module', autouse=True)
def _forget_programs():
  """Compiled programs hold memory and maps of it; a process may have 65,000 maps."""
  yield
  if not _MAPS.exists() or _MAPS.read_text().count('\n') > 15_000:
    jax.clear_caches()
