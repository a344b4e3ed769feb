"""Throughput, waiting and utilisation, by a clock of its own."""

import jax
import numpy as np
import pytest

from mvp_jax.models import videomae
from mvp_jax.models.backbones.multiscale import MSN69
from mvp_jax.models.backbones.resnet import ResNet18
from mvp_jax.training import speed
from mvp_jax.training.flops import classifier_flops, forward_macs, pretraining_flops


class Clock:
  """A clock that is told what time it is."""

  now = 100.0

  def __call__(self):
    return self.now


def test_rates_and_shares(monkeypatch):
  monkeypatch.setattr(speed, 'peak_flops', lambda: 1000.0)
  clock = Clock()
  meter = speed.Speed(examples=8, flops=100.0, clock=clock)
  for _ in range(5):
    with meter.waiting():
      clock.now += 0.5
    clock.now += 1.5
    meter.step()
  assert meter.read() == {
    'steps_per_second': 0.5,
    'examples_per_second': 4.0,
    'input_wait': 0.25,
    'utilisation': 0.05,
  }
  assert meter.read() == {}  # it has begun again, and there was no step
  clock.now += 4
  meter.step()
  assert meter.read()['steps_per_second'] == 0.25


def test_without_flops_there_is_no_utilisation():
  clock = Clock()
  meter = speed.Speed(examples=1, clock=clock)
  meter.step()
  clock.now += 1
  assert set(meter.read()) == {'steps_per_second', 'examples_per_second', 'input_wait'}


@pytest.mark.parametrize(
  ('kind', 'peak'),
  [
    ('NVIDIA H100 80GB HBM3', 989e12),
    ('NVIDIA H100 PCIe', 756e12),
    ('NVIDIA A100-SXM4-40GB', 312e12),
    ('NVIDIA A10G', 70e12),
    ('NVIDIA L40', 181e12),
    ('NVIDIA L40S', 362e12),
    ('NVIDIA L4', 121e12),
    ('Tesla T4', 65e12),
    ('Tesla V100-SXM2-16GB', 125e12),
    ('NVIDIA GH200 480GB', 989e12),
    ('TPU v5 lite', 197e12),
    ('TPU v5', 459e12),
    ('NVIDIA T400 4GB', None),
    ('NVIDIA A40', None),
    ('cpu', None),
  ],
)
def test_peaks_by_name(kind, peak):
  assert speed.known_peak(kind) == peak


def test_the_peak_of_a_known_device_counts_all_of_them(monkeypatch):
  class Device:
    device_kind = 'NVIDIA H200'

  monkeypatch.setattr(jax, 'devices', lambda: [Device()] * 4)
  monkeypatch.setattr(jax, 'device_count', lambda: 4)
  assert speed.peak_flops() == 4 * 989e12


def test_the_peak_of_a_cpu_is_what_it_reaches():
  assert 1e8 < speed.peak_flops() < 1e14


def test_flops_of_a_training_step():
  # A clip of ViT-B with 90 % tube mask costs 212.6 GFLOP where all tokens are
  # embedded (70.9 forward, three times that); here only the visible ones are, and
  # the pixels get no gradient.
  config = videomae.preset('B')
  embed = 2 * 1536 * 768
  found = pretraining_flops(config, 160, 1408)
  all_embedded = found - 2 * 160 * embed + 3 * 1568 * embed
  assert all_embedded == pytest.approx(212.6e9, rel=0.005)
  # VideoMAE V2, table 1: 35.4 against 25.8 GMAC forward; its decoder runs on half of
  # all places, those of visible tokens included.
  saved = (found - pretraining_flops(config, 160, 784)) / 3 / 2e9
  assert saved == pytest.approx(35.4 - 25.8, rel=0.03)
  # ViT-B on 16 x 224: 180 GMAC forward (VideoMAE, table 6).
  assert classifier_flops(config) / 3 / 2e9 == pytest.approx(180, rel=0.02)
  assert forward_macs(config) / 1e9 == pytest.approx(180, rel=0.01)
  assert forward_macs(MSN69()) == MSN69().macs and forward_macs(ResNet18()) is None


def test_flops_of_a_dense_layer_are_two_a_weight_and_token():
  config = videomae.VideoMAEConfig(
    width=8,
    depth=0,
    heads=1,
    mlp_width=16,
    decoder_width=4,
    decoder_depth=0,
    decoder_heads=1,
    frames=2,
    size=16,
    patch=8,
  )
  pixels = config.pixels_per_token
  embed, middle, out = 2 * 2 * pixels * 8, 2 * 2 * 8 * 4, 2 * 2 * 4 * pixels
  assert pretraining_flops(config, 2, 2) == 2 * embed + 3 * (middle + out)
  assert np.isclose(classifier_flops(config), 2 * 2 * embed)
