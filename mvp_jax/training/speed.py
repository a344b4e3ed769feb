"""Speed of a run: throughput, utilisation of the hardware, time waiting for data."""

import contextlib
import functools
import re
import time

import jax
import jax.numpy as jnp

# Dense bf16 FLOP/s of a device (fp16 of V100 and T4, which have no bf16), as published
# by its maker; keys are parts of its name, the longest of which counts.
_PEAKS = {
  'GH200': 989e12,
  'H200': 989e12,
  'H100': 989e12,
  'H100 PCIe': 756e12,
  'H100 NVL': 835e12,
  'A100': 312e12,
  'L40': 181e12,
  'L40S': 362e12,
  'L4': 121e12,
  'A10': 125e12,
  'A10G': 70e12,
  'V100': 125e12,
  'T4': 65e12,
  'B200': 2250e12,
  'GB200': 2500e12,
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5p': 459e12,
  'TPU v5': 459e12,
  'TPU v6 lite': 918e12,
  'TPU v6e': 918e12,
  'TPU7x': 2307e12,
}
_MATMUL = 2048


def known_peak(kind):
  """Peak FLOP/s of a device by its name, such as 'NVIDIA L4'; None if not known."""
  found = [
    name for name in _PEAKS if re.search(rf'(?<!\w){re.escape(name)}(?!\w)', kind)
  ]
  return _PEAKS[max(found, key=len)] if found else None


def peak_flops(devices=None):
  """Peak FLOP/s of devices together, the reference of utilisation; None: of all.

  The maker's figure for dense bf16 if known; otherwise, as on CPU, the measured speed
  of a large float32 matrix product.
  """
  devices = jax.devices() if devices is None else devices
  if peak := known_peak(devices[0].device_kind):
    return peak * len(devices)
  return _measured_peak() * jax.process_count()


@functools.cache
def _measured_peak():
  x = jax.device_put(jnp.ones((_MATMUL, _MATMUL), jnp.float32), jax.local_devices()[0])
  product = jax.jit(jnp.dot)
  product(x, x).block_until_ready()
  seconds = []
  for _ in range(3):
    start = time.perf_counter()
    product(x, x).block_until_ready()
    seconds.append(time.perf_counter() - start)
  return 2 * _MATMUL**3 / min(seconds)


class Speed:
  """Counts steps and seconds since it was last read.

  Args:
    examples: per step, over all processes.
    flops: per step, or None if unknown.
    clock: function that returns seconds.
  """

  def __init__(self, examples, flops=None, clock=time.perf_counter):
    self._examples, self._flops, self._clock = examples, flops, clock
    self.restart()

  def restart(self):
    """Starts counting anew, for example after compilation."""
    self._start, self._steps, self._waited = self._clock(), 0, 0.0

  @contextlib.contextmanager
  def waiting(self):
    """Context manager around waiting for the next batch."""
    start = self._clock()
    yield
    self._waited += self._clock() - start

  def step(self):
    """Counts a step."""
    self._steps += 1

  def read(self):
    """Returns steps and examples per second, wait share and utilisation; restarts.

    Returns:
      dict of floats; empty if there was no step. `utilisation` is model FLOP
      utilisation (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): the FLOPs that
      the mathematics requires, without recomputation, over the peak.
    """
    seconds = self._clock() - self._start
    if not self._steps or seconds <= 0:
      return {}
    rate = self._steps / seconds
    found = {
      'steps_per_second': rate,
      'examples_per_second': rate * self._examples,
      'input_wait': self._waited / seconds,
    }
    if self._flops:
      found['utilisation'] = rate * self._flops / peak_flops()
    self.restart()
    return found
