"""Writes VideoMAE weights in the layouts of PyTorch programs, without PyTorch."""

import re

import numpy as np
import safetensors.numpy
from flax import traverse_util

from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write, write_json
from mvp_jax.models.layers import NORM_EPSILON
from mvp_jax.models.videomae import IMAGENET_MEAN, IMAGENET_STD
from mvp_jax.weights.layouts import (
  HUGGINGFACE,
  LAYOUTS,
  QUERY_KEY_VALUE,
  from_ours,
  names_of,
)
from mvp_jax.weights.sources import CONFIG
from mvp_jax.weights.torch_file import write_torch


def tensors_of(params, config, layout):
  """The parameters under their names in a layout: {name: float32 array, contiguous}.

  Args:
    params: nested dict of a VideoMAE, a VideoClassifier, or {'encoder': ...}.
    config: VideoMAEConfig.
    layout: one of `layouts.LAYOUTS`.
  """
  layout = LAYOUTS[layout]
  tensors = {}
  for where, value in traverse_util.flatten_dict(params, sep='/').items():
    value = np.asarray(value, np.float32)
    stacked = any(where.startswith(stack + '/') for stack in layout.stacks)
    layers = list(value) if stacked else [value]
    for name, x in zip(names_of(layout, where, len(layers)), layers, strict=True):
      tensors[name] = from_ours(where, x, config)
  if layout is HUGGINGFACE:
    if 'mask_token' in params or 'head' in params:
      encoder = r'^(embeddings|encoder|layernorm)\.'
      tensors = _renamed(tensors, encoder, r'videomae.\1.')
    # as `save_pretrained` writes them, which is not as they are in memory
    tensors = _renamed(tensors, r'\.(q|v)\w+\.bias$', r'.\1_bias')
  else:
    tensors = _renamed(_fuse(tensors), r'\.attn\.(q|v)\w+\.bias$', r'.attn.\1_bias')
    if 'mask_token' in params:
      tensors = _renamed(tensors, r'^(patch_embed|blocks|norm)\.', r'encoder.\1.')
  return {name: np.ascontiguousarray(x) for name, x in tensors.items()}


def _renamed(tensors, pattern, by):
  return {re.sub(pattern, by, name): x for name, x in tensors.items()}


def _fuse(tensors):
  """Query, key and value weights as one matrix."""
  fused = {}
  for name, x in tensors.items():
    if match := re.fullmatch(r'(.+\.attn)\.(query|key|value)\.weight', name):
      parts = [tensors[f'{match[1]}.{part}.weight'] for part in QUERY_KEY_VALUE]
      fused[f'{match[1]}.qkv.weight'] = np.concatenate(parts)
    else:
      fused[name] = x
  return fused


def export_huggingface(params, config, directory):
  """Writes a folder that `transformers` loads with `from_pretrained`.

  A VideoMAE becomes a VideoMAEForPreTraining, a VideoClassifier a
  VideoMAEForVideoClassification, an encoder alone a VideoMAEModel.
  """
  if 'mask_token' in params:
    architecture = 'VideoMAEForPreTraining'
  elif 'head' in params:
    architecture = 'VideoMAEForVideoClassification'
  else:
    architecture = 'VideoMAEModel'
  settings = {
    'model_type': 'videomae',
    'architectures': [architecture],
    'image_size': config.size,
    'patch_size': config.patch,
    'num_channels': 3,
    'num_frames': config.frames,
    'tubelet_size': config.tubelet,
    'hidden_size': config.width,
    'num_hidden_layers': config.depth,
    'num_attention_heads': config.heads,
    'intermediate_size': config.mlp_width,
    'hidden_act': 'gelu',
    'layer_norm_eps': NORM_EPSILON,
    'qv_bias': True,
    'use_mean_pooling': 'norm' not in params['encoder'],
    'decoder_hidden_size': config.decoder_width,
    'decoder_num_hidden_layers': config.decoder_depth,
    'decoder_num_attention_heads': config.decoder_heads,
    'decoder_intermediate_size': 4 * config.decoder_width,
    'norm_pix_loss': config.target == 'normalised',
    'dtype': 'float32',
  }
  if 'head' in params:
    outputs = np.shape(params['head']['bias'])[0]
    settings['id2label'] = {str(i): f'LABEL_{i}' for i in range(outputs)}
    settings['label2id'] = {f'LABEL_{i}': i for i in range(outputs)}
  with atomic_write(directory / 'model.safetensors') as part:
    safetensors.numpy.save_file(
      tensors_of(params, config, 'huggingface'), part, metadata={'format': 'pt'}
    )
  write_json(
    directory / 'preprocessor_config.json',
    {
      'image_processor_type': 'VideoMAEImageProcessor',
      'do_resize': True,
      'size': {'shortest_edge': config.size},
      'resample': 2,
      'do_center_crop': True,
      'crop_size': {'height': config.size, 'width': config.size},
      'do_rescale': True,
      'rescale_factor': 1 / 255,
      'do_normalize': True,
      'image_mean': list(IMAGENET_MEAN),
      'image_std': list(IMAGENET_STD),
    },
  )
  write_json(directory / CONFIG, settings)


def export_reference(params, config, path):
  """Writes a checkpoint for the reference repository (`path`, a .pth).

  A VideoMAE gets the pre-training layout, anything else that of fine-tuning.
  """
  if path.is_dir():
    raise InputError(f'{path}: is a folder; give a file name, as encoder.pth')
  if 'mask_token' in params and 'norm' not in params['encoder']:
    raise InputError(
      f'{path}: this VideoMAE was pre-trained without a final norm of the encoder, '
      "which the reference's has; give --format=huggingface"
    )
  write_torch(path, {'model': tensors_of(params, config, 'reference')})
