"""Units of body signals, as people write them, and what values are believable."""

import dataclasses

import numpy as np

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.cleaning import kind

AS_RECORDED = 'as recorded'
# Of each channel: the unit it is stored in, then {unit: function to it}.
_SIEMENS = {'s': 1e6, 'siemens': 1e6, 'ms': 1e3, 'us': 1.0, 'microsiemens': 1.0}
_SIEMENS |= {'umho': 1.0, 'ns': 1e-3, 'nanosiemens': 1e-3}
_OHM = {'ohm': 1e6, 'kohm': 1e3, 'kiloohm': 1e3, 'mohm': 1.0, 'megaohm': 1.0}
_VOLT = {'v': 1e3, 'volt': 1e3, 'mv': 1.0, 'millivolt': 1.0, 'uv': 1e-3}
_VOLT |= {'microvolt': 1e-3, 'nv': 1e-6}
_CELSIUS = dict.fromkeys(('c', 'degc', 'celsius', 'k', 'kelvin'), 1)
_CELSIUS |= dict.fromkeys(('f', 'degf', 'fahrenheit'), 5 / 9)
_ZERO = dict.fromkeys(('k', 'kelvin'), -273.15)  # in degrees Celsius
_ZERO |= dict.fromkeys(('f', 'degf', 'fahrenheit'), -160 / 9)
# The unit that a channel is stored in, factors of others, what silence means, and
# what a message says.
_UNITS = {
  'eda': ('microsiemens', _SIEMENS, 'us', 'microsiemens, nanosiemens, ohm, kohm'),
  'temp': ('celsius', _CELSIUS, 'c', 'celsius, kelvin, fahrenheit'),
  'ecg': ('millivolt', _VOLT, '', 'volt, millivolt, microvolt'),
}
_UNITS['emg'] = _UNITS['ecg']
_NONE = ('au', 'a.u.', 'nu', 'adu', 'raw', 'asrecorded', 'none', '1')
# Below and above it a median is of another unit than said.
_BELIEVABLE = {('eda', 'microsiemens'): (0.005, 200.0), ('temp', 'celsius'): (5, 45)}


def convert(name, channel, unit=''):
  """A signal_files.Channel in the unit that it is stored in.

  `name` is that of the channel, such as 'emg_left', `unit` as the manifest says;
  '' = as the file says, and if it is silent: microsiemens for EDA, degrees Celsius for
  temperature, else as recorded. EDA given as resistance becomes conductance, NaN where
  that is impossible. Raises Dropped, bad_signal, for a unit that it can't have.
  """
  said = unit or channel.unit
  word = (
    said.strip()
    .lower()
    .replace('µ', 'u')
    .replace('μ', 'u')  # noqa: RUF001
    .replace('ω', 'ohm')
    .replace('°', '')
    .replace('ohms', 'ohm')
    .replace(' ', '')
  )
  stored, factors, silent, known = _UNITS.get(kind(name), (AS_RECORDED, {}, '', ''))
  word, values = word or silent, channel.values
  if kind(name) == 'eda' and word in _OHM:
    good = np.isfinite(values) & (values > 0)
    values = np.where(good, _OHM[word] / np.where(good, values, 1), np.nan)
    return dataclasses.replace(channel, values=values, unit=stored)
  if word in factors:
    values = values * factors[word] + _ZERO.get(word, 0)
    return dataclasses.replace(channel, values=values, unit=stored)
  # What the file says may be anything: it is kept as it is.
  if not unit or not factors or word in ('', *_NONE):
    return dataclasses.replace(channel, unit=AS_RECORDED)
  raise Dropped('bad_signal', f'{name}_unit {unit!r} is none of {known}, raw')


def implausible(name, unit, values):
  """Says in a few words why values can't be in that unit, or ''."""
  low, high = _BELIEVABLE.get((kind(name), unit), (-np.inf, np.inf))
  middle = float(np.nanmedian(values))
  if low <= middle <= high:
    return ''
  return (
    f'its median is {middle:.4g} {unit}, not between {low:g} and {high:g}; '
    f'correct {name}_unit (raw, if it has none)'
  )
