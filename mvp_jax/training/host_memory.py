"""Host memory: freed arrays are kept for the next step instead of being returned."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # <malloc.h>


def keep_freed_memory():
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
