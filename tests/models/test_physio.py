import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate

from mvp_jax.models.physio import Conv, PhysioConfig, PhysioTransformer, masked_mean

CONFIG = PhysioConfig(
  widths=(8, 16), kernels=(16, 8), strides=(4, 2), depth=1, heads=2, mlp_width=32
)
MODEL = PhysioTransformer(CONFIG, 2, 128.0, rngs=nnx.Rngs(0), dtype=jnp.float32)
RUN = jax.jit(MODEL)


def signals(samples, seed=0):
  return np.random.default_rng(seed).standard_normal((1, samples, 2)).astype(np.float32)


def test_conv_is_a_strided_correlation():
  conv = Conv(2, 3, 8, 4, rngs=nnx.Rngs(0), dtype=jnp.float32)
  conv.norm = lambda x: x  # leave the linear part and the activation
  x = signals(20)
  y, _ = conv(x, np.ones((1, 20), bool))
  kernel = np.asarray(conv.weight.kernel[...]).reshape(8, 2, 3)
  padded = np.pad(x[0], ((2, 2), (0, 0)))
  for output in range(3):
    full = correlate(padded, kernel[:, :, output], mode='valid')[::4, 0]
    np.testing.assert_allclose(
      y[0, :, output], nnx.gelu(full, approximate=False), atol=1e-5
    )


def test_a_minute_at_128_hz_is_two_tokens_a_second_by_default():
  model = nnx.eval_shape(
    lambda: PhysioTransformer(
      PhysioConfig(), 2, 128.0, rngs=nnx.Rngs(0), dtype=jnp.float32
    )
  )
  times = model.times(60 * 128)
  assert len(times) == 120
  np.testing.assert_allclose(times[:2], [0.25, 0.75])


# Shorter than a window, not a multiple of a stride, whole strides; each is compiled.
@pytest.mark.parametrize(('samples', 'padding'), [(1, 40), (29, 3), (64, 8)])
def test_padding_never_changes_a_token(samples, padding):
  x = signals(samples)
  alone, valid = RUN(x, np.ones((1, samples), bool))
  padded_x = np.concatenate([x, 99 + signals(padding, 1)], axis=1)
  padded_valid = np.arange(samples + padding)[None] < samples
  padded, padded_tokens = RUN(padded_x, padded_valid)
  count = alone.shape[1]
  np.testing.assert_allclose(padded[:, :count], alone, atol=1e-5)
  assert valid.all() and not padded_tokens[:, count:].any()
  assert not np.asarray(padded[:, count:]).any()


def test_a_long_gap_is_not_a_token():
  valid = np.ones((1, 64), bool)
  valid[:, 16:32] = False
  _, tokens = MODEL(signals(64), valid)
  np.testing.assert_array_equal(tokens[0], [1, 1, 0, 0, 1, 1, 1, 1])


def test_masked_mean_of_nothing_is_zero():
  x = np.ones((2, 3, 4), np.float32)
  valid = np.array([[True, False, True], [False] * 3])
  np.testing.assert_allclose(
    masked_mean(x * np.arange(3)[:, None].astype(np.float32), valid), [[1] * 4, [0] * 4]
  )


def test_impossible_sizes_are_refused():
  with pytest.raises(ValueError, match='multiple of its stride'):
    PhysioConfig(kernels=(65, 32, 16))
  with pytest.raises(ValueError, match='differ in number'):
    PhysioConfig(strides=(8, 4))
