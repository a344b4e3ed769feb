"""What an encoder costs: counted, and measured in clips a second."""

import types

import jax

from mvp_jax.models.backbones.multiscale import DMSN
from mvp_jax.training import costs


def test_costs_of_a_network(monkeypatch):
  network = DMSN(8, 16, 8, 4, (8, 8, 8, 16), (1, 1, 1, 1), variant='A')
  seconds = iter([0, 9, 10, 10.5, 20, 22, 30, 31, 40, 40.1, 50, 51])
  clock = types.SimpleNamespace(perf_counter=lambda: next(seconds))
  monkeypatch.setattr(costs, 'time', clock)
  with jax.numpy_dtype_promotion('standard'):
    found = costs.costs(network, 2)
  # Of the passes after the first, the median takes a second.
  assert found['clips_per_second'] == 2.0
  assert found['macs'] == network.macs
  norms = found['parameters'] - network.parameters  # two numbers for each channel
  assert norms == 2 * (
    4 + sum(5 * (w // k) + 2 * w for w, k in ((8, 4), (8, 4), (8, 8), (16, 8)))
  )
