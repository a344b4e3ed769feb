"""MATLAB files as LabChart and AcqKnowledge export them: channels by title, rate, unit.

LabChart puts all channels one behind the other into one vector, `data`; AcqKnowledge
has a column of a matrix for each.
"""

import numpy as np

from mvp_jax.raw.sample_times import unit_seconds

_LABCHART = {'data', 'datastart', 'dataend', 'samplerate', 'titles'}
_ACQKNOWLEDGE = {'data', 'isi', 'isi_units', 'labels'}


def program_channels(variables):
  """The channels of a file: list of (title, float64 [time], Hz, unit), or None.

  None where it is of neither program.

  Args:
    variables: {name: matfile.Variable}.

  Raises:
    ValueError: its parts do not fit each other, or it is of several blocks.
  """
  names = {*variables}
  if names >= _LABCHART:
    return _labchart(_read(variables, _LABCHART | {'unittext', 'unittextmap'}))
  if names >= _ACQKNOWLEDGE:
    return _acqknowledge(_read(variables, _ACQKNOWLEDGE | {'units'}))
  return None


def _read(variables, names):
  return {name: variables[name].read() for name in names & {*variables}}


def _labchart(found):
  data, titles = np.ravel(found['data']), _rows(found['titles'])
  starts, ends, rates = (
    np.atleast_2d(found[name]) for name in ('datastart', 'dataend', 'samplerate')
  )
  if not len(starts) == len(ends) == len(rates) == len(titles):
    raise ValueError(f'{len(titles)} titles, but channels {starts.shape}')
  if starts.shape[1] != 1:
    raise ValueError(
      f'it holds {starts.shape[1]} blocks of LabChart; export each on its own'
    )
  units = _rows(found.get('unittext', ''))
  which = np.ravel(found.get('unittextmap', [])).tolist() or [0] * len(titles)
  channels = []
  for title, start, end, rate, unit in zip(
    titles, starts[:, 0], ends[:, 0], rates[:, 0], which, strict=True
  ):
    if start < 1:  # a channel without samples
      continue
    if not start <= end <= len(data):
      raise ValueError(f'{title} ends at sample {end:g} of {len(data)}')
    told = units[int(unit) - 1] if 0 < unit <= len(units) else ''
    channels.append((title, data[int(start) - 1 : int(end)], float(rate), told))
  return channels


def _acqknowledge(found):
  data, titles = np.atleast_2d(found['data']), _rows(found['labels'])
  data = data if data.shape[1] == len(titles) else data.T
  units = _rows(found.get('units', '')) or [''] * len(titles)
  step = float(np.ravel(found['isi'])[0]) * (unit_seconds(found['isi_units']) or 0)
  if not data.shape[1] == len(titles) == len(units) or not step > 0:
    raise ValueError(f'{len(titles)} labels and an interval of {step:g} s')
  return [
    (title, values, 1 / step, unit)
    for title, values, unit in zip(titles, data.T, units, strict=True)
  ]


def _rows(text):
  """The rows of a matrix of letters, or the texts of cells: list of str."""
  rows = text.split('\n') if isinstance(text, str) else map(str, np.ravel(text))
  return [row.strip(' \0') for row in rows] if len(text) else []
