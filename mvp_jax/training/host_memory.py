"""Memory of the host: large arrays are kept for the next step, not given back."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # <malloc.h>


def keep_freed_memory():
  """Makes the C library keep freed memory; without effect where it is not glibc.

  XLA on CPU allocates a step's temporary arrays anew in every step. glibc takes
  arrays that large from the system and returns them at once, and the pages that
  the system then has to clear cost up to a quarter of the step.
  """
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError):
    return
  mallopt(_MMAP_MAX, 0)
  mallopt(_TRIM_THRESHOLD, -1)  # never
  mallopt(_TOP_PAD, 64 * 2**20)
  mallopt(_ARENA_MAX, 1)  # those of other threads cannot hold large arrays
