"""Compiled programs that stay on disk, for this process and those after it."""

import jax
from jax.experimental.compilation_cache import compilation_cache

_LEAST_SECONDS = 0.5  # of compilation; what compiles faster is not kept


def keep_in(folder):
  """Keeps compiled programs in a folder from now on, also after another one."""
  if jax.config.jax_compilation_cache_dir != str(folder):
    jax.config.update('jax_compilation_cache_dir', str(folder))
    # Or JAX would stay with the folder that it used first.
    compilation_cache.reset_cache()
  jax.config.update('jax_persistent_cache_min_compile_time_secs', _LEAST_SECONDS)
