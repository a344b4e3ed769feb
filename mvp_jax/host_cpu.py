"""What makes jobs quick on a CPU; where an accelerator works, nothing is changed."""

import ctypes
import os

import jax

from mvp_jax import devices

_OWN_KERNELS = '--xla_cpu_experimental_ynn_fusion_type='  # of no operation
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # <malloc.h>


def make_quick():
  """Sets XLA and the C library up, if JAX will run on the CPU; call it before it does.

  A GPU's or TPU's compiler would read the same flags and may not know this one.
  """
  if jax.config.jax_platforms == 'cpu' or devices.present() is None:
    _use_own_kernels()
    _keep_freed_memory()


def _use_own_kernels():
  """Makes XLA's own kernels compute what it would hand to YNNPACK.

  With that library two cores were busy for 1.3 of them, and a training step of DMSN-C
  took half as long again. What XLA_FLAGS says of it already counts.
  """
  given = os.environ.get('XLA_FLAGS', '')
  if _OWN_KERNELS not in given:
    os.environ['XLA_FLAGS'] = f'{given} {_OWN_KERNELS}'.strip()


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
