"""Units of body signals, as people write them, and what values are believable."""

import dataclasses
import re

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.cleaning import kind

AS_RECORDED = 'as recorded'
# Of each channel: the unit it is stored in, then {unit: function to it}.
_SIEMENS = {'s': 1e6, 'ms': 1e3, 'us': 1.0, 'ns': 1e-3}
_SIEMENS |= {'mho': 1e6, 'mmho': 1e3, 'umho': 1.0, 'nmho': 1e-3}
_OHM = {'ohm': 1e6, 'kohm': 1e3, 'mohm': 1.0, 'megohm': 1.0}
_VOLT = {'v': 1e3, 'mv': 1.0, 'uv': 1e-3, 'nv': 1e-6}
_CELSIUS = dict.fromkeys(('c', 'degc', 'celsius', 'k', 'degk', 'kelvin'), 1.0)
_CELSIUS |= dict.fromkeys(('f', 'degf', 'fahrenheit'), 5 / 9)
_ZERO = dict.fromkeys(('k', 'degk', 'kelvin'), -273.15)  # in degrees Celsius
_ZERO |= dict.fromkeys(('f', 'degf', 'fahrenheit'), -160 / 9)
# The unit that a channel is stored in, factors of others, what silence means, and
# what a message says.
_UNITS = {
  'eda': ('microsiemens', _SIEMENS, 'us', 'microsiemens, nanosiemens, ohm, kohm'),
  'temp': ('celsius', _CELSIUS, 'c', 'celsius, kelvin, fahrenheit'),
  'ecg': ('millivolt', _VOLT, '', 'volt, millivolt, microvolt'),
}
_UNITS['emg'] = _UNITS['ecg']
_RESISTANCE = re.compile(
  'resist|résist|widerstand|weerstand|сопротив|抵抗|電阻|电阻', re.I
)
_LOGARITHM = re.compile(
  r'(?<![a-z])(log|ln)(10|e)?[\s_(-]*(eda|gsr|sc[lr]?)(?![a-z])'
  r'|(?<![a-z])(eda|gsr|sc[lr]?)[\s_-]*(log|ln)(10)?(?![a-z])',
  re.I,
)
# Kilo- and mega-ohms whose last letter another encoding wrote: 'k½', 'kê', 'k?'.
_LOST_OHM = re.compile(r'[kM](?:[^\x00-\x7f]{1,3}|\?)')
_MULTIPLE = re.compile(
  r'[x×*]?\s*[\d.,]+\s*[x×*]?\s*([^\W\d_]{2,})|([^\W\d_]{2,})\s*[x×*/]\s*[\d.,]+'
)
_NONE = ('au', 'nu', 'adu', 'raw', 'asrecorded', 'none', '1', 'nounits', 'counts')
# As parts of a unit's name are written, longer ones first: 'microsiemens' is 'us'.
_PARTS = {
  'â': '',
  'µ': 'u',
  'μ': 'u',
  'ω': 'ohm',
  '°': '',
  'º': '',
  ' ': '',
  '.': '',
  '-': '',  # noqa: RUF001
  'degrees': 'deg',
  'degree': 'deg',
  'degcelsius': 'celsius',
  'degkelvin': 'kelvin',
  'degfahrenheit': 'fahrenheit',
  'micro': 'u',
  'milli': 'm',
  'nano': 'n',
  'kilo': 'k',
  'mega': 'm',
  'siemens': 's',
  'volts': 'v',
  'volt': 'v',
  'ohms': 'ohm',
  'mhos': 'mho',
}
# Below and above it a median is of another unit than said.
_BELIEVABLE = {('eda', 'microsiemens'): (0.005, 200.0), ('temp', 'celsius'): (5, 45)}


def _word(unit):
  """A unit as it stands in the tables above: 'µS', 'micro-Siemens' -> 'us'."""
  word = unit.strip().strip('[]()').lower()
  for part, short in _PARTS.items():
    word = word.replace(part, short)
  return word


def is_unit(text):
  """Whether a text, of a row of units, say, is a unit of body signals."""
  word = _word(text)
  return word in _SIEMENS | _OHM | _VOLT | _CELSIUS or word in _NONE


def _unreadable(text):
  """Whether a text is a unit that cannot be read: 'k½', '0.1 µS', 'nS x 10'."""
  multiple = _MULTIPLE.fullmatch(text.strip())
  unit = multiple and (multiple[1] or multiple[2])
  lost = _LOST_OHM.fullmatch(text.strip()) and not is_unit(text)
  return bool(lost or (unit and is_unit(unit) and not unit.endswith('s')))


def unit_in_name(name):
  """The unit that is part of a column's name, or '': 'EDA (nS)', 'ecg_uV'.

  One that cannot be read, such as '0.1 µS' and 'k½', is given as it stands, and
  refused by `convert`.
  """
  for bracket in re.findall(r'[\[(]\s*([^\[(\])]+?)\s*[\])]', name):
    for part in map(str.strip, re.split(r'[,;]\s', bracket)):
      if is_unit(part) or _unreadable(part):
        return part
  last = re.split(r'[\s_.,/-]+', name.strip())[-1]
  word = _word(last)
  # A single letter may be anything, but beside a temperature.
  sure = len(word) > 1 or (word in _CELSIUS and 'temp' in name.lower())
  known = word in _SIEMENS | _OHM | _VOLT | _CELSIUS
  return last if known and sure and last != name else ''


def convert(name, channel, unit=''):
  """A signal_files.Channel in the unit that it is stored in.

  `name` is that of the channel, such as 'emg_left', `unit` as the manifest says;
  '' = as the file says, and if it is silent: microsiemens for EDA, degrees Celsius for
  temperature, else as recorded. EDA given as resistance becomes conductance, NaN where
  that is impossible. What the file said is in the notes. Raises Dropped, bad_signal,
  for a unit that it can't have or that cannot be read, and a resistance of no unit.
  """
  word = _word(unit or channel.unit)
  if kind(name) == 'eda' and not word and _RESISTANCE.search(channel.name):
    raise Dropped(
      'bad_signal',
      f'{channel.name} is a resistance of no unit; give {name}_unit (kohm, ohm, ...)',
    )
  if kind(name) == 'eda' and not unit and _LOGARITHM.search(channel.name):
    raise Dropped(
      'bad_signal',
      f'{channel.name} is a logarithm; give the conductance, or {name}_unit (raw)',
    )
  stored, factors, silent, known = _UNITS.get(kind(name), (AS_RECORDED, {}, '', ''))
  if factors and not unit and _unreadable(channel.unit):
    raise Dropped(
      'bad_signal',
      f'{channel.name}: its unit, {channel.unit}, cannot be read; give {name}_unit '
      f'({known}, raw)',
    )
  told, word, values = word, word or silent, channel.values
  ohm = kind(name) == 'eda' and word in _OHM
  if ohm or word in factors:
    if ohm:
      good = np.isfinite(values) & (values > 0)
      values = np.where(good, _OHM[word] / np.where(good, values, 1), np.nan)
    else:
      with np.errstate(over='ignore'):  # what is far too large is no measurement
        values = values * factors[word] + _ZERO.get(word, 0)
    notes, own = channel.notes, _word(channel.unit)
    if told and not unit and not (not ohm and factors[word] == 1 and word not in _ZERO):
      notes = (*notes, f'its unit is {channel.unit}, as the file says')
    if unit and own != word and (own in factors or own in _OHM):
      notes = (*notes, f'its unit is {unit} as {name}_unit says, not {channel.unit}')
    return dataclasses.replace(channel, values=values, unit=stored, notes=notes)
  # What the file says may be anything: it is kept as it is.
  if not unit or not factors or word in ('', *_NONE):
    notes = channel.notes
    if told and not unit and factors:
      notes = (
        *notes,
        f'the file says it is in {channel.unit}, none of {known}: kept as recorded',
      )
    return dataclasses.replace(channel, unit=AS_RECORDED, notes=notes)
  raise Dropped('bad_signal', f'{name}_unit {unit!r} is none of {known}, raw')


def implausible(name, unit, values):
  """Says in a few words why values can't be in that unit, or ''."""
  low, high = _BELIEVABLE.get((kind(name), unit), (-np.inf, np.inf))
  outside = (values < low) | (values > high)
  # One value that comes again and again stands for no measurement.
  if outside.any() and not outside.all() and not np.ptp(values[outside]):
    values = values[~outside]
  middle = float(np.nanmedian(values))
  if low <= middle <= high:
    return ''
  return (
    f'its median is {middle:.4g} {unit}, not between {low:g} and {high:g}; '
    f'correct {name}_unit (raw, if it has none)'
  )
