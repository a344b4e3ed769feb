"""Where what is worked out of prepared data lies."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports much
  from mvp_jax.data.trials import PreparedCorpus


def derived(corpus: 'PreparedCorpus') -> Path:
  """Folder of what is worked out of a corpus: encoders, features, findings.

  It goes with the version of the prepared data, for those of another are others.
  """
  return corpus.directory.parent / 'derived' / corpus.directory.name
