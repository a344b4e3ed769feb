"""Converts VideoMAE weights between PyTorch files and encoder folders.

  python -m mvp_jax weights show SRC
  python -m mvp_jax weights import SRC DST [--heads=N]
  python -m mvp_jax weights export SRC DST --format=huggingface|reference

`import`: SRC is a Hugging Face folder, a .safetensors or .bin file, or a .pth of the
reference repository; DST becomes an encoder folder for `--config.encoder.checkpoint`.
`export`: SRC is such a folder, or one that pre-training wrote. `show`: SRC is either.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import jax
from flax import traverse_util

from mvp_jax.errors import InputError, ending
from mvp_jax.models.videomae import VideoMAEConfig
from mvp_jax.training import encoder as encoders
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.weights.export import export_huggingface, export_reference
from mvp_jax.weights.sources import infer_config, open_source
from mvp_jax.weights.transfer import survey


def main(arguments=None):
  """Runs a command; returns the exit status, 2 if an argument is wrong."""
  parser = argparse.ArgumentParser(
    prog='python -m mvp_jax weights',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  commands = parser.add_subparsers(dest='command', required=True)
  show = commands.add_parser('show', help='layout, sizes and tensors')
  bring = commands.add_parser('import', help='from PyTorch to an encoder folder')
  take = commands.add_parser('export', help='from an encoder folder to PyTorch')
  for command in (show, bring, take):
    command.add_argument('src', type=Path)
  for command in (bring, take):
    command.add_argument('dst', type=Path)
  for command in (show, bring):
    command.add_argument(
      '--heads', type=int, help='attention heads of the encoder, if SRC does not say'
    )
  take.add_argument('--format', choices=('huggingface', 'reference'), required=True)
  given = parser.parse_args(arguments)
  try:
    {'show': _show, 'import': _import, 'export': _export}[given.command](given)
  except Exception as error:
    ended = ending(error)
    if ended is None:
      raise
    print('error:', *ended[0].split(), file=sys.stderr)
    return ended[1]
  return 0


def _show(given):
  if encoders.is_folder(given.src):
    params, record, config = _read(given.src)
    print(f'{given.src}: a folder of ours, {_origin(record)}')
    arrays = {
      path: tuple(x.shape)
      for path, x in traverse_util.flatten_dict(params, sep='/').items()
    }
  else:
    source = open_source(given.src)
    config = infer_config(source, given.heads)
    print(survey(source))
    arrays = {path: leaf.shape for path, leaf in source.leaves.items()}
  sizes = dataclasses.asdict(config)
  for name in ('feature_grid', 'drop_path', 'remat', 'dtype'):  # not of the weights
    del sizes[name]
  print('  sizes: ' + ', '.join(f'{name} {size}' for name, size in sizes.items()))
  for path, shape in sorted(arrays.items()):
    print(f'  {path}  {" x ".join(map(str, shape))}')


def _origin(record):
  if 'imported_from' in record:
    return f'imported from {record["imported_from"]} (sha256 {record["sha256"]})'
  return (
    f'pre-trained on {record["dataset"]}, subjects '
    f'{record["trained_on_subjects"]}, {record["steps"]} steps'
  )


def _import(given):
  report = encoders.import_weights(given.src, given.dst, given.heads)
  print(report)
  print(f'{given.dst}: written; use it with --config.encoder.checkpoint={given.dst}')


def _export(given):
  if not encoders.is_folder(given.src):
    raise InputError(
      f'{given.src}: is no encoder folder of ours ({encoders.RECORD} is missing)'
    )
  if given.dst.is_dir() and any(given.dst.iterdir()):
    raise InputError(f'{given.dst}: is not empty; give another name')
  params, _, config = _read(given.src)
  write = {'huggingface': export_huggingface, 'reference': export_reference}
  write[given.format](params, config, given.dst)
  print(f'{given.dst}: written, {given.format} layout')
  usual = VideoMAEConfig.noise_floor
  if 'mask_token' in params and config.noise_floor != usual:
    print(
      f'pre-trained with noise_floor {config.noise_floor:g}, which this layout '
      f'cannot tell: elsewhere its loss is that of {usual:g}'
    )


def _read(directory):
  """Parameters in host memory, record and config of an encoder folder."""
  params, record, config = encoders.read(
    directory, make_mesh(MeshConfig(), jax.devices()[:1])
  )
  return jax.device_get(params), record, config


if __name__ == '__main__':
  sys.exit(main())
