"""VideoMAE by itself: tokens and features of clips, from any checkpoint we read."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from mvp_jax.data.masks import MaskConfig, draw_masks
from mvp_jax.errors import InputError
from mvp_jax.models import layers
from mvp_jax.models.videomae import VideoMAEConfig
from mvp_jax.training import encoder as encoders
from mvp_jax.training.reconstructions import draw
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.state import build_model
from mvp_jax.training.tasks import FrameFeatures, MaskedVideo
from mvp_jax.weights.sources import infer_config, open_source


class VideoMAE:
  """A VideoMAE encoder with its weights (Tong et al. 2022, arXiv 2203.12602).

  See `from_pretrained`.

  Attributes:
    frames: of a clip.
    size: height and width of a frame in pixels.
    slots: temporal positions of a clip.
    width: numbers in a token.
    report: what was matched, missing and left over in a PyTorch checkpoint, '' if all.
  """

  def __init__(self, config, variables, report='', path=None):
    self.frames, self.size, self.slots = config.frames, config.size, config.slots
    self.width, self.report = config.width, report
    self._variables, self._path = variables, path
    task = FrameFeatures(dataclasses.replace(config, feature_grid=1))

    def run(variables, clips):
      return build_model(task, variables)(clips).astype(np.float32)

    self._run = jax.jit(run)

  @classmethod
  def from_pretrained(
    cls, path, *, frames=None, size=None, heads=None, dtype='float32'
  ):
    """Loads an encoder, without executing anything from its files.

    Args:
      path: a folder of Hugging Face's VideoMAE, a .pth of the reference repository
        (pre-trained or fine-tuned), or a work directory of a pre-training of ours.
      frames: of a clip; None = as the checkpoint says, or 16. Positions are worked out
        anew for another number, and for another size.
      size: of a frame, pixels; None = as the checkpoint says, or 224.
      heads: of the attention, where neither the checkpoint nor its width tells.
      dtype: of the computation, 'float32' or 'bfloat16'.

    Raises:
      InputError: there is no such checkpoint, or it holds no VideoMAE.
    """
    path = Path(path)
    if dtype not in layers.DTYPES:
      raise InputError(f'dtype {dtype!r} is none of {", ".join(layers.DTYPES)}')
    if encoders.is_folder(path):
      record = encoders.read_record(path)
      if 'patch' not in record['model']:
        raise InputError(f'{path}: is no VideoMAE encoder')
      config = VideoMAEConfig(**record['model'])
    else:
      config = infer_config(open_source(path), heads)
    given = {'frames': frames, 'size': size, 'dtype': dtype}
    given = {name: value for name, value in given.items() if value is not None}
    try:
      config = dataclasses.replace(config, **given)
    except ValueError as error:
      raise InputError(f'{path}: {error}') from error
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    variables, _, report = encoders.load(config, mesh, path)
    return cls(config, variables, report, path)

  def tokens(self, clips) -> np.ndarray:
    """The encoder's tokens of clips: float32 [B, N, width], over time, rows, columns.

    Args:
      clips: RGB, uint8 or float in [0, 1], [B, frames, size, size, 3].

    Raises:
      InputError: the clips are of another shape.
    """
    clips = np.asarray(clips)
    wanted = self.frames, self.size, self.size, 3
    if clips.ndim != 5 or clips.shape[1:] != wanted:
      raise InputError(
        f'clips are {list(clips.shape)}, must be [clips, {", ".join(map(str, wanted))}]'
      )
    return np.asarray(self._run(self._variables, clips))

  def features(self, clips) -> np.ndarray:
    """One vector for each temporal slot, the mean over its places: [B, slots, width].

    Args and errors as of `tokens`.
    """
    tokens = self.tokens(clips)
    return tokens.reshape(len(tokens), self.slots, -1, self.width).mean(2)

  def restored(self, clip, *, ratio=0.9, seed=0):
    """Hides tubes of a clip, the same places in all frames, and restores them.

    Hidden places are drawn with the mean and deviation of the visible ones, so that
    nothing of the answer is in the picture.

    Args:
      clip: RGB, uint8 [frames, size, size, 3].
      ratio: share of the places that is hidden.
      seed: of which.

    Returns:
      (seen, restored): uint8 [frames, size, size, 3] each.

    Raises:
      InputError: the clip is of another shape, or the encoder was not pre-trained here:
        others come without what restores.
    """
    if self._path is None or not encoders.is_folder(self._path):
      raise InputError(
        f'{self._path}: restored() takes an encoder that was pre-trained here; PyTorch '
        'checkpoints are read without their decoder'
      )
    clip = np.asarray(clip)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    variables, _, config = encoders.read(self._path, mesh)
    wanted = config.frames, config.size, config.size, 3
    if clip.dtype != np.uint8 or clip.shape != wanted:
      raise InputError(
        f'the clip is {clip.dtype} {list(clip.shape)}, must be uint8 {list(wanted)}'
      )
    try:
      masks = MaskConfig(ratio=ratio)
    except ValueError as error:
      raise InputError(str(error)) from error
    visible, hidden = draw_masks(np.random.default_rng(seed), *config.grid, masks)
    batch = {'frames': clip, 'visible': visible, 'masked': hidden}
    task = MaskedVideo(config)
    predicted = task.predictions(
      build_model(task, variables), {name: x[None] for name, x in batch.items()}
    )
    return draw(clip, visible, hidden, np.asarray(predicted)[0], config)
