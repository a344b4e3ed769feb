"""The corpora there are, by name: `register` one, `find` one.

Each folder here is a corpus and is found by being there. One from elsewhere needs no
more than `register(MyCorpus())` in a module that has been imported.
"""

import importlib
import pkgutil

from mvp_jax.corpora.corpus import Array, Corpus, Source, Stream, Twin, Wanted
from mvp_jax.errors import InputError

__all__ = [
  'CORPORA',
  'Array',
  'Corpus',
  'Source',
  'Stream',
  'Twin',
  'Wanted',
  'find',
  'register',
]

CORPORA: dict[str, Corpus] = {}


def register(corpus: Corpus) -> Corpus:
  """Adds a corpus, or puts it in the place of one of the same name."""
  CORPORA[corpus.name] = corpus
  return corpus


def find(name: str) -> Corpus:
  """The corpus of a name. Raises InputError, which lists those that there are."""
  if name not in CORPORA:
    raise InputError(f'no data set {name!r}; there are {", ".join(sorted(CORPORA))}')
  return CORPORA[name]


for _module in pkgutil.iter_modules(__path__):
  if _module.ispkg:
    importlib.import_module(f'{__name__}.{_module.name}')
