"""Eight simulated devices, quick compilation, no cache of it, strict dtypes."""

import jax
import pytest

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_disable_most_optimizations', True)
jax.config.update('jax_numpy_dtype_promotion', 'strict')


@pytest.fixture(scope='module', autouse=True)
def _forget_programs():
  """Compiled programs hold memory maps, and a process may have some 65,000."""
  yield
  jax.clear_caches()
