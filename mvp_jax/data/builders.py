"""Prepares a corpus with its TFDS builder, or finds it prepared."""

import contextlib
import hashlib
import importlib.util
import io
import shutil
import sys
from pathlib import Path

import tensorflow_datasets as tfds
from absl import logging

from mvp_jax.errors import InputError

_DATASETS = Path(__file__).parents[2] / 'datasets'


def load_builder(name):
  """The class `Builder` of `datasets/<name>/<name>_dataset_builder.py`."""
  module_name = f'{name}_dataset_builder'
  if module_name not in sys.modules:
    path = _DATASETS / name / f'{module_name}.py'
    if not path.exists():
      raise InputError(f'no data set {name!r}: there is no {path}')
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
  return sys.modules[module_name].Builder


def prepare(name, manual_dir, data_dir, *, workers=None, allow_losses=(), **fields):
  """Prepares a corpus, unless that is done already.

  A run that was killed continues where it stopped. Data of another source, or
  prepared in another way, lies in another folder: nothing is ever mixed.

  Args:
    name: the corpus, e.g. 'deap'.
    manual_dir: the folder that holds its official distribution.
    data_dir: where prepared data goes.
    workers: processes, by default as many as there are processors.
    allow_losses: codes of `mvp_jax.raw.losses` with which trials may be missing.
    **fields: of the builder's config, e.g. `frame_rate`, or `beam` to do it on a
      cluster.

  Returns:
    Path for `tfds.builder_from_directory`; `account.csv` in it says what became
    of every trial.

  Raises:
    InputError: a field is wrong, the corpus is not there, or trials were lost.
  """
  builder_class = load_builder(name)
  config = builder_class.configure(workers=workers, allow_losses=allow_losses, **fields)
  manual_dir, data_dir = Path(manual_dir).resolve(), Path(data_dir).resolve()
  fingerprint = builder_class.fingerprint(manual_dir, config)
  # Not below the fingerprint, which a repaired file changes: what was prepared
  # from the other files is still good.
  place = hashlib.sha256(str(manual_dir).encode()).hexdigest()[:8]
  config.interim_dir = str(
    data_dir
    / 'interim'
    / '_'.join((name, config.name, str(builder_class.VERSION), place))
  )
  with _quiet():
    builder = builder_class(
      config=config, data_dir=data_dir / fingerprint, file_format='array_record'
    )
  directory = Path(builder.data_dir)
  if directory.exists():
    builder_class.check_account(directory / 'account.csv', config)
    shutil.rmtree(config.interim_dir, ignore_errors=True)  # killed when done
    return directory
  for leftover in directory.parent.glob('*incomplete*'):  # of a killed run
    shutil.rmtree(leftover)
  with _quiet():
    builder.download_and_prepare(
      download_dir=Path(config.interim_dir) / 'downloads',
      download_config=tfds.download.DownloadConfig(
        manual_dir=manual_dir, try_download_gcs=False
      ),
    )
  return directory


@contextlib.contextmanager
def _quiet():
  """Keeps TFDS from announcing downloads and custom configurations."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)
