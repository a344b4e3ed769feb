"""The cache of compiled programs. JAX runs what lies in it, so it has checksums."""

import contextlib
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from mvp_jax import checksums, hosts
from mvp_jax.locks import waited_for

_SECONDS = 0.5  # what compiles faster is not kept
_DOING = 'looking through the compiled programs'
_known: dict[str, dict] = {}  # by folder: checksums of what was found whole in it


def use(folder):
  """Makes a folder the cache of this process: what in it is damaged is compiled anew.

  So is what a run has left that was killed before `seal`.
  """
  folder = Path(folder).absolute()

  def check():
    with waited_for(folder / '.lock', _DOING):
      return checksums.whole(folder, _is_program, 'it is compiled anew')

  _known[str(folder)] = hosts.on_main(check)
  if jax.config.jax_compilation_cache_dir != str(folder):
    jax.config.update('jax_compilation_cache_dir', str(folder))
    compilation_cache.reset_cache()  # or JAX would stay with the folder it used first
  jax.config.update('jax_persistent_cache_min_compile_time_secs', _SECONDS)


def seal():
  """Notes the checksums of what was compiled since `use`, if that was asked for."""
  folder = jax.config.jax_compilation_cache_dir
  if folder not in _known or not hosts.is_main():
    return
  with contextlib.suppress(OSError), waited_for(Path(folder, '.lock'), _DOING):
    _known[folder] = checksums.seal(Path(folder), _is_program, _known[folder])


def _is_program(name):
  return name.endswith('-cache')
