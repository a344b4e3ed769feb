"""Prepares a corpus with its TFDS builder, or finds it prepared."""

import contextlib
import functools
import hashlib
import inspect
import io
import shutil
from pathlib import Path

import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from mvp_jax import checksums, corpora
from mvp_jax.locks import waited_for
from mvp_jax.preparation.account import ACCOUNT, check_account
from mvp_jax.preparation.builder import CorpusBuilder, CorpusConfig
from mvp_jax.processes import once
from mvp_jax.raw.on_disk import require_names


@functools.cache
def load_builder(name):
  """The TFDS builder class of a corpus. Raises InputError if there is none."""
  corpus = corpora.find(name)
  folder = Path(inspect.getfile(type(corpus))).parent
  return type(
    'Builder',
    (CorpusBuilder,),
    {
      '__doc__': type(corpus).__doc__,
      '__module__': f'{__name__}.{name}_dataset_builder',
      'name': name,
      'pkg_dir_path': epath.Path(folder),  # of TAGS.txt and CITATIONS.bib
      'VERSION': tfds.core.Version(corpus.version),
      'RELEASE_NOTES': corpus.notes,
      'MANUAL_DOWNLOAD_INSTRUCTIONS': corpus.download
      or f'Put {corpus.title} into manual_dir.',
      'BUILDER_CONFIGS': [
        CorpusConfig(name=preset, description=told, wanted=corpus.want(**fields))
        for preset, (told, fields) in corpus.presets.items()
      ],
    },
  )


def prepare(
  name,
  manual_dir,
  data_dir,
  *,
  streams=None,
  workers=None,
  beam='',
  allow_dropped=(),
  check=None,
  **fields,
):
  """Prepares a corpus, unless that is done already.

  A run that was killed continues where it stopped; one that others are at waits for
  them. Data of another source, or
  prepared in another way, lies in another folder: nothing is ever mixed.

  Args:
    name: the corpus, one of `corpora.CORPORA`.
    manual_dir: the folder that holds its official distribution.
    data_dir: where prepared data goes.
    streams: names of the streams that every trial must have; None = the corpus'
      default.
    workers: processes, by default one per processor.
    beam: options of an Apache Beam pipeline that does it instead.
    allow_dropped: codes of `outcomes.DROP_CODES` with which trials may be missing.
    check: function that is called before anything is prepared.
    **fields: of `corpora.Wanted`, e.g. `frame_rate` (those that mean nothing to the
      corpus are passed over), and of the corpus' own settings.

  Returns:
    Path for `data.trials.PreparedCorpus`; `account.csv` in it says what became of every
    trial.

  Raises:
    InputError: a field is wrong, the corpus is not there, or trials were dropped.
  """
  once()
  builder_class = load_builder(name)
  if streams is not None:
    fields['streams'] = streams
  config = builder_class.configure(
    workers=workers, beam=beam, allow_dropped=allow_dropped, **fields
  )
  manual_dir, data_dir = Path(manual_dir).resolve(), Path(data_dir).resolve()
  for folder in (manual_dir, data_dir):
    require_names(folder.parent, [folder])
  fingerprint = corpora.find(name).open(manual_dir, config.wanted).fingerprint
  # Not below the fingerprint, which a repaired file changes: what was prepared
  # from the other files is still good.
  place = hashlib.sha256(str(manual_dir).encode()).hexdigest()[:8]
  config.interim_dir = str(
    data_dir
    / 'interim'
    / '_'.join((name, config.name, str(builder_class.VERSION), place))
  )
  home = data_dir / fingerprint
  # Where TFDS puts it, and what it reads there at once.
  directory = home / name / config.name / str(builder_class.VERSION)
  checksums.require_texts(directory)
  with _quiet():
    builder = builder_class(config=config, data_dir=home, file_format='array_record')
  assert directory == Path(builder.data_dir)
  interim = Path(config.interim_dir)
  if interim.exists() or not directory.exists():
    with contextlib.ExitStack() as stack:
      # One writes what waits in between, and one writes the result.
      for lock in (interim.name, f'{fingerprint}_{name}_{config.name}'):
        path = data_dir / 'locks' / f'{lock}.lock'
        stack.enter_context(waited_for(path, f'preparing {manual_dir}'))
      if not directory.exists():
        if check is not None:
          check()
        _prepare(builder, directory, manual_dir, interim)
        checksums.seal(directory, checksums.is_text)
      shutil.rmtree(interim, ignore_errors=True)  # of a run that was killed when done
  checksums.require_texts(directory)
  check_account(directory / ACCOUNT, config.allow_dropped)
  return directory


def _prepare(builder, directory, manual_dir, interim):
  for leftover in directory.parent.glob('*incomplete*'):  # of a killed run
    shutil.rmtree(leftover)
  with _quiet():
    builder.download_and_prepare(
      download_dir=interim / 'downloads',
      download_config=tfds.download.DownloadConfig(
        manual_dir=manual_dir, try_download_gcs=False
      ),
    )


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
