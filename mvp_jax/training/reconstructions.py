"""What a pre-trained network makes of examples, drawn without using the answer.

By default VideoMAE predicts the pixels of each hidden token normalised by their mean
and deviation. Drawing them takes a mean and a deviation, and those of the hidden token
itself would leak the answer into the picture: a blurred copy of a frame that the
network has not seen. Here all hidden tokens of a clip get the mean and deviation of its
visible tokens.
"""

import numpy as np

from mvp_jax import hosts
from mvp_jax.data.clips import first_view
from mvp_jax.files import atomic_write
from mvp_jax.models.videomae import patchify, unpatchify
from mvp_jax.training import sharding
from mvp_jax.training.state import forward


def draw(frames, visible, masked, predicted, config):
  """What the encoder saw, without and with the hidden tokens filled in.

  Args:
    frames: uint8 [T, H, W, 3].
    visible: int [V], token numbers.
    masked: int [M], token numbers.
    predicted: float32 [M, P], pixels, see `videomae.TARGETS`.
    config: VideoMAEConfig.

  Returns:
    (seen, restored): uint8 [T, H, W, 3] each. Tokens that are neither visible nor
    restored (decoder masking) are grey.
  """
  tokens = np.asarray(patchify(frames[None], config))[0].astype(np.float32) / 255
  seen = np.full_like(tokens, 0.5)
  seen[visible] = tokens[visible]
  restored = seen.copy()
  if config.target == 'normalised':
    known = tokens[visible].reshape(len(visible), -1, 3)
    mean, deviation = known.mean((0, 1)), known.std(1, ddof=1).mean(0)
    deviation += config.noise_floor
    pixels = predicted.reshape(len(masked), -1, 3) * deviation + mean
    predicted = pixels.reshape(len(masked), -1)
  restored[masked] = predicted

  def picture(tokens):
    video = np.asarray(unpatchify(tokens[None], config))[0]
    return (np.clip(video, 0, 1) * 255).round().astype(np.uint8)

  return picture(seen), picture(restored)


class Reconstructions:
  """Draws the same examples at every call; `loop.fit` takes it as `inspect`.

  Writes `reconstructions/step_<n>.npz`, what the task's `drawn` gives; and of clips a
  picture for TensorBoard.

  Args:
    task: has `predictions` and `drawn`.
    mesh: device mesh.
    sources: of `EncoderConfig.clips`, from which examples are taken in turn.
    count: how many examples.
    workdir: pathlib.Path.
    log: MetricLog.
    run: name of the run in the log.
  """

  def __init__(self, task, mesh, sources, count, workdir, log, run):
    self._task, self._mesh = task, mesh
    self._directory, self._log, self._run = workdir / 'reconstructions', log, run
    self._sources, self._count = sources, count

  def _batch(self):
    """The examples, the same in every call and every process."""
    examples = []
    for number in range(self._count):
      source = self._sources[number % len(self._sources)]
      rng = np.random.default_rng(number)
      example = source.read(source[int(rng.integers(len(source)))], rng)
      examples.append(first_view(source, example))
    return {name: np.stack([x[name] for x in examples]) for name in examples[0]}

  def __call__(self, step, params):
    batch = self._batch()
    ways = sharding.batch_ways(self._mesh)  # padded to a multiple of it
    rows = np.resize(np.arange(self._count), -(-self._count // ways) * ways)
    own = sharding.batch_rows(len(rows), self._mesh)
    padded = {name: x[rows[own]] for name, x in batch.items()}
    predicted = np.asarray(
      forward(self._task, self._mesh, 'predictions')(
        params, sharding.put_batch(padded, self._mesh)
      )
    )[: self._count]
    if not hosts.is_main():
      return
    arrays = self._task.drawn(batch, predicted)
    with atomic_write(self._directory / f'step_{step}.npz') as part:
      np.savez_compressed(part, step=step, **arrays)
    if 'clips' in arrays:
      picture = sheet(arrays['clips'])
      self._log.write_image(self._run, 'reconstructions', step, picture)


def drawn_clips(batch, predicted, config):
  """Some frames of clips: uint8 [clips, 3, shown, H, W, 3], see `draw`.

  One after another the original, what was seen, and what was restored.
  """
  shown = np.linspace(0, config.frames - 1, 4).round().astype(int)
  clips = []
  for frames, visible, masked, found in zip(
    batch['frames'], batch['visible'], batch['masked'], predicted, strict=True
  ):
    seen, restored = draw(frames, visible, masked, found, config)
    clips.append([frames[shown], seen[shown], restored[shown]])
  return np.array(clips)


def sheet(clips):
  """One picture of all clips: a row per clip and way, frames side by side.

  Args:
    clips: uint8 [clips, ways, frames, H, W, 3].

  Returns:
    uint8 [clips * ways * H, frames * W, 3].
  """
  n, ways, frames, height, width, _ = clips.shape
  return clips.transpose(0, 1, 3, 2, 4, 5).reshape(n * ways * height, frames * width, 3)
