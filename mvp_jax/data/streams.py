"""Which streams a corpus has, by what they are and never by name."""


def series(corpus, regular=None) -> dict:
  """{name: facts} of the series streams of a PreparedCorpus.

  Args:
    regular: True = only those sampled at a rate, False = only those that are not.
  """
  return {
    name: facts
    for name, facts in corpus.metadata['streams'].items()
    if facts['kind'] == 'series'
    and (regular is None or (facts['rate'] is not None) == regular)
  }


def frames(corpus) -> dict:
  """{name: facts} of the frame streams of a PreparedCorpus."""
  return {
    name: facts
    for name, facts in corpus.metadata['streams'].items()
    if facts['kind'] == 'frames'
  }


def sounds(corpus) -> dict:
  """{name: facts} of the sound streams of a PreparedCorpus."""
  return {
    name: facts
    for name, facts in corpus.metadata['streams'].items()
    if facts['kind'] == 'sound'
  }


def pictured(corpus, trial):
  """The name of the first frame stream that a trial has, or None."""
  return next((name for name in frames(corpus) if name in trial.streams), None)
