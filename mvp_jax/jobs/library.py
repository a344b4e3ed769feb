"""Jobs for Python programs: `mvp_jax.prepare`, `write_twin`, `run` and `Run`."""

import dataclasses
import importlib
import importlib.util
from pathlib import Path

import pandas as pd

from mvp_jax import corpora, jobs, preparation
from mvp_jax.config import parse, resolve
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.evaluation import files, results
from mvp_jax.evaluation.summary import summary_table
from mvp_jax.inference.library import Model, load
from mvp_jax.launch import configs_folder


def prepare(name, manual_dir, data_dir, **options) -> PreparedCorpus:
  """Prepares a corpus, or finds it prepared, and opens it.

  A run that was killed continues where it stopped. `corpus.trials` are in memory;
  `corpus.frames(trial, numbers)` reads faces, uint8 [n, height, width, 3];
  `account.csv` in `corpus.directory` says what became of every trial.

  Args:
    name: of the corpus; docs/corpora.md lists them.
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


@dataclasses.dataclass(frozen=True)
class Run:
  """What a run has left in its work directory, `folder`."""

  folder: Path

  @property
  def report(self) -> Path:
    """The page of the run."""
    return self.folder / 'report.html'

  @property
  def facts(self) -> dict:
    """What run.json says: folds, leak audit, encoder, seconds, versions, ..."""
    return files.read_json(self.folder / 'run.json') or {}

  @property
  def predictions(self) -> pd.DataFrame:
    """A row for each held-out trial, model, seed and rating, as predictions.csv."""
    return pd.read_csv(self.folder / 'predictions.csv')

  @property
  def tables(self) -> dict[str, pd.DataFrame]:
    """The tables of the report: {name: table}."""
    found = sorted((self.folder / 'tables').glob('*.csv'))
    return {path.stem: pd.read_csv(path) for path in found}

  @property
  def figures(self) -> dict[str, Path]:
    """The pictures of the report: {name: file}."""
    return {path.stem: path for path in sorted((self.folder / 'figures').glob('*.png'))}

  def summary(self) -> str:
    """Scores of models and baselines with their intervals, a text of aligned rows."""
    target = parse(files.read_json(self.folder / 'config.json')).target
    rows = files.read_whole_predictions(self.folder, target)
    facts = self.facts
    return summary_table(
      results.evaluate(rows, target, facts['models'][0]), facts.get('ceiling')
    )

  def model(self, name=None, fold=None) -> Model:
    """Its trained models, as `mvp_jax.load` gives them."""
    return load(self.folder, name, fold)


def run(config, workdir, settings=None, *, embedded=False) -> Run:
  """Runs the job of a config, as `mvp-jax run` does; a finished one is found again.

  Args:
    config: name of one of configs/, such as 'deap_fusion' or 'deap_fusion:small', or
      the path of a file.
    workdir: folder for the results; a run that was stopped there goes on.
    settings: {'data.manual_dir': 'DEAP', 'train.batch_size': 16, ...}, as after
      `--config.` on the command line.
    embedded: whether the sizes of the embedded default count although data are given.

  Raises:
    InputError: there is no such config, a setting is wrong, or what a job refuses.
    TrainingError: the run cannot go on.
  """
  settings = dict(settings or {})
  found = _opened(config)
  data = {}
  if embedded:
    data = {name: x for name, x in settings.items() if name == 'data.manual_dir'}
    settings = {name: x for name, x in settings.items() if name not in data}
  try:
    with found.unlocked():
      found.update_from_flattened_dict(settings)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise InputError(f'settings: {error}') from error
  tree = resolve(found, settings)
  tree['data'] |= {name.partition('.')[2]: str(x) for name, x in data.items()}
  jobs.run(tree, Path(workdir))
  return Run(Path(workdir))


def _opened(config):
  """The ConfigDict of a file or a name, with the words behind its colon."""
  name, _, words = str(config).partition(':')
  folder = configs_folder()
  path = Path(name)
  if path.suffix != '.py':
    path = folder / f'{name}.py'
    if not path.is_file():
      known = ', '.join(sorted(x.stem for x in folder.glob('*.py') if x.stem != 'base'))
      raise InputError(f'{config}: no config of this name; there are {known}')
    return importlib.import_module(f'configs.{name}').get_config(words)
  if not path.is_file():
    raise InputError(f'{path}: no such config file')
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(words)
