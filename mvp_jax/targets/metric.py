"""The base of losses and metrics: clu's, where it is installed."""

try:
  from clu.metrics import Metric
except ImportError:  # a step needs nothing else of clu, see benchmarks/gpu.py

  class Metric:  # type: ignore[no-redef]
    """Sums that are merged over batches, `merge(other)`, and then `compute`d once."""


__all__ = ('Metric',)
