"""Corpora for Python programs: `mvp_jax.prepare` and `mvp_jax.write_twin`."""

from pathlib import Path

from mvp_jax import corpora, preparation
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError


def prepare(name, manual_dir, data_dir, **options) -> PreparedCorpus:
  """Prepares a corpus, or finds it prepared, and opens it.

  A run that was killed continues where it stopped. `corpus.trials` are in memory;
  `corpus.frames(trial, numbers)` reads faces, uint8 [n, height, width, 3];
  `account.csv` in `corpus.directory` says what became of every trial.

  Args:
    name: 'deap', 'amigos', 'recordings', ...; see docs/corpora.md.
    manual_dir: the folder that holds its official distribution, or a manifest.csv.
    data_dir: where prepared data goes.
    **options: streams=('signals', 'video'), frame_rate=25.0, frame_size=224, crop='X',
      channels=('eda', 'ppg'), clean=True, workers=None (one process per processor),
      allow_dropped=() and what else the README of the corpus names.

  Raises:
    InputError: an option is wrong, the corpus is not there, or trials were dropped.
  """
  return PreparedCorpus(preparation.prepare(name, manual_dir, data_dir, **options))


def write_twin(name, folder, *, workers=None, **spec) -> Path:
  """Writes a made-up copy of a corpus in its official layout; returns its folder.

  Args:
    name: of the corpus.
    folder: where; what an interrupted call has written is gone on with.
    workers: processes; None = one per processor.
    **spec: how large: subjects=4, trials=6, frame_rate=5.0, width=160, height=128, ...

  Raises:
    InputError: there is no such corpus, it has no twin or no such size, or the folder
      holds something else.
  """
  twin = corpora.find(name).twin
  if twin is None:
    raise InputError(f'{name}: has no twin; give the official files')
  try:
    wanted = twin.Spec(**spec)
  except (TypeError, ValueError) as error:
    raise InputError(f'twin of {name}: {error}') from error
  twin.write(Path(folder), wanted, workers)
  return Path(folder)
