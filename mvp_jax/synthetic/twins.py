"""The twins there are, by corpus."""

import dataclasses
from collections.abc import Callable

from mvp_jax.synthetic.deap import write_deap_twin
from mvp_jax.synthetic.recordings import write_recordings_twin
from mvp_jax.synthetic.spec import TwinSpec


@dataclasses.dataclass(frozen=True)
class Twin:
  """What a twin is a twin of, its settings, and what writes it."""

  corpus: str  # as people call it
  spec: type
  write: Callable  # (root, spec, workers)


TWINS = {
  'deap': Twin('DEAP', TwinSpec, write_deap_twin),
  'recordings': Twin('manifest', TwinSpec, write_recordings_twin),
}
