"""Ways to bring two modalities together, for EmotionModel and its ablation.

Each takes the tokens of both modalities and gives pooled vectors, one for each head
on top. `cross` is MVP's (arXiv 2501.03103); the others are what it is compared with.

Shapes: B trials, N physio tokens, V video tokens, L segments, D width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from mvp_jax.models import layers
from mvp_jax.models.physio import masked_mean

FUSIONS = (
  'cross',
  'cross_video',
  'vanilla',
  'joint',
  'concat_early',
  'concat_mid',
  'sum',
  'late',
)


class Tokens(NamedTuple):
  """The sequence of one modality."""

  x: jax.Array  # [B, N, D]
  valid: jax.Array  # bool [B, N]
  times: jax.Array  # [B, N] or [N], seconds


def make_fusion(config, block, *, rngs, dtype):
  """The fusion that `config`, a FusionSizes, names.

  Args:
    block: function (rngs, cross) that makes a transformer block.
  """
  width, kind = config.width, config.fusion
  if kind in ('cross', 'cross_video'):
    return Cross(
      block, config.depth, width, kind == 'cross_video', rngs=rngs, remat=config.remat
    )
  if kind == 'concat_early':
    return OneSequence(block, config.depth, width, rngs=rngs, remat=config.remat)
  if kind in ('vanilla', 'joint'):
    cls = Vanilla if kind == 'vanilla' else Joint
    return cls(width, config.segments, rngs=rngs, dtype=dtype)
  return Pooled(width, kind)


class Cross(nnx.Module):
  """Cross-attention: one modality's tokens ask, the other's answer (MVP, section 3).

  Physiology asks and video answers, or with `swap` the other way round.
  """

  def __init__(self, block, depth, width, swap, *, rngs, remat):
    self.swap, self.widths = swap, (width,)
    self.stack = layers.Stack(
      lambda rngs: block(rngs, cross=True), depth, rngs=rngs, remat=remat
    )

  def __call__(self, physio, video, key=None, want_attention=False):
    """Returns [pooled] and what can be looked at, see EmotionModel."""
    query, context = (video, physio) if self.swap else (physio, video)
    x, weights = self.stack(query.x, context.x, context.valid, key, want_attention)
    seen = {}
    if want_attention and not self.swap:  # the report draws physiology over video
      seen = {
        'attention': weights,
        'query_valid': query.valid,
        'query_times': query.times,
      }
    return [masked_mean(x, query.valid)], seen


class OneSequence(nnx.Module):
  """Early concatenation: the tokens of both as one sequence, attending to itself."""

  def __init__(self, block, depth, width, *, rngs, remat):
    self.widths = (width,)
    self.kinds = nnx.Param(0.02 * jax.random.normal(rngs.params(), (2, width)))
    self.stack = layers.Stack(block, depth, rngs=rngs, remat=remat)

  def __call__(self, physio, video, key=None, want_attention=False):
    """As `Cross`, with nothing to look at."""
    kinds = self.kinds[...].astype(physio.x.dtype)
    x = jnp.concatenate([physio.x + kinds[0], video.x + kinds[1]], axis=1)
    valid = jnp.concatenate([physio.valid, video.valid], axis=1)
    x, _ = self.stack(x, valid=valid, key=key)
    return [masked_mean(x, valid)], {}


class Pooled(nnx.Module):
  """Fusion of whole trials: each modality's mean over time.

  'concat_mid' puts the two side by side and 'sum' adds them, for one head; 'late'
  gives each a head of its own, whose probabilities are averaged.
  """

  def __init__(self, width, kind):
    self.kind = kind
    self.widths = {'concat_mid': (2 * width,), 'sum': (width,), 'late': (width, width)}[
      kind
    ]

  def __call__(self, physio, video, key=None, want_attention=False):
    """As `Cross`, with nothing to look at."""
    both = [masked_mean(tokens.x, tokens.valid) for tokens in (physio, video)]
    if self.kind == 'concat_mid':
      return [jnp.concatenate(both, axis=-1)], {}
    return ([sum(both)] if self.kind == 'sum' else both), {}


class _Segments(nnx.Module):
  """What the attentions of JCA share: L segments, the same for both modalities.

  A trial is cut into `segments` equal spans from its onset to its last valid token;
  a segment is the mean over its tokens, zero without any. After the attention a
  linear layer reads both modalities in each segment (as JCA's head does for each
  clip), and the mean over the segments is what comes out.
  """

  def __init__(self, width, segments, *, rngs, dtype):
    self.width, self.segments, self.widths = width, segments, (width,)
    self.out = layers.linear(2 * width, width, rngs=rngs, dtype=dtype)

  def __call__(self, physio, video, key=None, want_attention=False):
    """As `Cross`, with nothing to look at."""
    end = jnp.maximum(_last(physio), _last(video))
    (physio, there), (video, here) = (self._cut(t, end) for t in (physio, video))
    both = jnp.concatenate(self.attend(physio, video, there, here), axis=-1)
    return [masked_mean(self.out(both), there | here)], {}

  def attend(self, physio_BxLxD, video_BxLxD, physio_BxL, video_BxL):
    """Returns both, attended, [B, L, D] each; bool [B, L] is where there are any."""
    raise NotImplementedError

  def _cut(self, tokens, end):
    """Means of the segments [B, L, D], and bool [B, L]: those with a valid token."""
    times = jnp.broadcast_to(tokens.times, tokens.valid.shape)
    place = (times / jnp.maximum(end, 1e-3) * self.segments).astype(jnp.int32)
    place = jnp.clip(place, 0, self.segments - 1)
    member = jax.nn.one_hot(place, self.segments, dtype=tokens.x.dtype) * tokens.valid[
      ..., None
    ].astype(tokens.x.dtype)
    count = member.sum(1)
    means = (
      jnp.einsum('bnl,bnd->bld', member, tokens.x) / jnp.maximum(count, 1)[..., None]
    )
    return means, count > 0


class Vanilla(_Segments):
  """The cross-attention that JCA is compared with (Praveen et al., FG 2021).

  Z = Xp W Xv' correlates the segments of both. Its softmax over the segments of a
  modality weighs them anew, which is added to what was there, and tanh ends it.
  """

  def __init__(self, width, segments, *, rngs, dtype):
    super().__init__(width, segments, rngs=rngs, dtype=dtype)
    self.correlation = _matrix(rngs, width, width)

  def attend(self, physio_BxLxD, video_BxLxD, physio_BxL, video_BxL):
    weight = self.correlation[...].astype(physio_BxLxD.dtype)
    z = jnp.einsum('bld,de,bme->blm', physio_BxLxD, weight, video_BxLxD)
    over_physio = jax.nn.softmax(jnp.where(physio_BxL[:, :, None], z, -1e30), axis=1)
    over_video = jax.nn.softmax(jnp.where(video_BxL[:, None, :], z, -1e30), axis=2)
    physio = physio_BxLxD + jnp.einsum('blm,bld->bmd', over_physio, physio_BxLxD)
    video = video_BxLxD + jnp.einsum('blm,bmd->bld', over_video, video_BxLxD)
    return jnp.tanh(physio), jnp.tanh(video)


class Joint(_Segments):
  """Joint cross-attention (JCA, Praveen et al., CVPRW 2022, section 3.3).

  With J = [Xp, Xv] (L x 2D), for each modality C = tanh(X' Wj J / sqrt(2D)), H =
  ReLU(Wa X + Wc C') and X + Wh' H. The correlation is of features with features, and
  the number of segments is part of the weights' shape. No biases.
  """

  hidden = 32

  def __init__(self, width, segments, *, rngs, dtype):
    super().__init__(width, segments, rngs=rngs, dtype=dtype)
    self.physio, self.video = (
      nnx.Dict(
        joint=_matrix(rngs, segments, segments),
        own=_matrix(rngs, self.hidden, segments),
        correlated=_matrix(rngs, self.hidden, 2 * width),
        back=_matrix(rngs, self.hidden, segments),
      )
      for _ in range(2)
    )

  def attend(self, physio_BxLxD, video_BxLxD, physio_BxL, video_BxL):
    joint = jnp.concatenate([physio_BxLxD, video_BxLxD], axis=-1)

    def attended(x, weights):
      w = {name: weight[...].astype(x.dtype) for name, weight in weights.items()}
      c = jnp.einsum('bld,lm,bme->bde', x, w['joint'], joint)
      c = jnp.tanh(c / joint.shape[-1] ** 0.5)
      h = jnp.einsum('kl,bld->bkd', w['own'], x) + jnp.einsum(
        'ke,bde->bkd', w['correlated'], c
      )
      return x + jnp.einsum('kl,bkd->bld', w['back'], jax.nn.relu(h))

    return (attended(physio_BxLxD, self.physio), attended(video_BxLxD, self.video))


def _matrix(rngs, rows, columns):
  return nnx.Param(nnx.initializers.xavier_uniform()(rngs.params(), (rows, columns)))


def _last(tokens):
  """Seconds of the last valid token: [B, 1], zero if none is."""
  return jnp.where(tokens.valid, tokens.times, 0).max(1, keepdims=True)
