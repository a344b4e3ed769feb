"""Where what is worked out of prepared data lies."""


def derived(corpus):
  """Folder of what is worked out of a PreparedCorpus: encoders, features, findings.

  It goes with the version of the prepared data, for those of another are others.
  """
  return corpus.directory.parent / 'derived' / corpus.directory.name
