"""What makes jobs quick on a CPU; where an accelerator works, nothing is changed."""

import ctypes
import os

import jax

from mvp_jax import devices

_OWN_KERNELS = '--xla_cpu_experimental_ynn_fusion_type='  # of no operation
_QUICKLY_COMPILED = (
  '--xla_llvm_disable_expensive_passes=true',
  '--xla_backend_optimization_level=1',
)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # <malloc.h>


def make_quick():
  """Sets XLA and the C library up, if JAX will run on the CPU; call it before it does.

  A GPU's or TPU's compiler would read the same flags and may not know this one.
  """
  if jax.config.jax_platforms == 'cpu' or devices.present() is None:
    _set_flags()
    _keep_freed_memory()


def _set_flags():
  """Adds to XLA_FLAGS; what they say of a flag already counts.

  XLA's own kernels compute what it would hand to YNNPACK: with that library two cores
  were busy for 1.3 of them, and a training step of DMSN-C took half as long again.

  LLVM optimises the rest less: a step of fusion at the embedded size of
  configs/deap_fusion.py compiles in 8.8 s instead of 14.6, and takes as long as before;
  one of DMSN-C at full size takes 3 to 5 % longer.
  """
  flags = os.environ.get('XLA_FLAGS', '').split()
  given = {flag.partition('=')[0] for flag in flags}
  for flag in (_OWN_KERNELS, *_QUICKLY_COMPILED):
    if flag.partition('=')[0] not in given:
      flags.append(flag)
  os.environ['XLA_FLAGS'] = ' '.join(flags)


def _keep_freed_memory():
  """Makes glibc keep freed memory; does nothing with another C library.

  XLA on CPU allocates its temporary arrays anew in every step. glibc maps arrays that
  large and unmaps them at once, and clearing the new pages costs up to a quarter of
  the step.
  """
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError):
    return
  mallopt(_MMAP_MAX, 0)
  mallopt(_TRIM_THRESHOLD, -1)  # never
  mallopt(_TOP_PAD, 64 * 2**20)
  mallopt(_ARENA_MAX, 1)  # arenas of other threads cannot hold large arrays
