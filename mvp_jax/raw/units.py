"""Units of body signals, as people write them, and what values are believable."""

import dataclasses

import numpy as np

from mvp_jax.outcomes import Dropped

AS_RECORDED = 'as recorded'
# Of each channel: the unit it is stored in, then {unit: function to it}.
_SIEMENS = {'s': 1e6, 'siemens': 1e6, 'ms': 1e3, 'us': 1.0, 'microsiemens': 1.0}
_SIEMENS |= {'umho': 1.0, 'ns': 1e-3, 'nanosiemens': 1e-3}
_OHM = {'ohm': 1e6, 'kohm': 1e3, 'kiloohm': 1e3, 'mohm': 1.0, 'megaohm': 1.0}
_VOLT = {'v': 1e3, 'volt': 1e3, 'mv': 1.0, 'millivolt': 1.0, 'uv': 1e-3}
_VOLT |= {'microvolt': 1e-3, 'nv': 1e-6}
_CELSIUS = dict.fromkeys(('c', 'degc', 'celsius'), (1, 0))
_CELSIUS |= dict.fromkeys(('k', 'kelvin'), (1, -273.15))
_CELSIUS |= dict.fromkeys(('f', 'degf', 'fahrenheit'), (5 / 9, -160 / 9))
_NONE = ('au', 'a.u.', 'nu', 'adu', 'raw', 'asrecorded', 'none', '1')
# Below and above it a median is of another unit than said.
_BELIEVABLE = {('eda', 'microsiemens'): (0.005, 200.0), ('temp', 'celsius'): (5, 45)}


def convert(name, channel, unit=''):
  """A channel in the unit that it is stored in.

  Args:
    name: 'eda', 'ecg', 'ppg', 'resp', 'temp' or 'emg'.
    channel: signal_files.Channel.
    unit: as the manifest says; '' = as the file says, and if it is silent:
      microsiemens for EDA, degrees Celsius for temperature, else as recorded.

  Returns:
    Channel with its unit. EDA given as resistance becomes conductance, NaN where
    that is impossible.

  Raises:
    Dropped: bad_signal, for a unit that this channel can't have.
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
  if word in _NONE or (not word and name not in ('eda', 'temp')):
    return dataclasses.replace(channel, unit=AS_RECORDED)
  values = channel.values
  if name == 'eda':
    word = word or 'us'
    if word in _OHM:
      good = np.isfinite(values) & (values > 0)
      values = np.where(good, _OHM[word] / np.where(good, values, 1), np.nan)
      return dataclasses.replace(channel, values=values, unit='microsiemens')
    if word in _SIEMENS:
      return dataclasses.replace(
        channel, values=values * _SIEMENS[word], unit='microsiemens'
      )
  elif name == 'temp' and (word or 'c') in _CELSIUS:
    slope, shift = _CELSIUS[word or 'c']
    return dataclasses.replace(channel, values=values * slope + shift, unit='celsius')
  elif name in ('ecg', 'emg') and word in _VOLT:
    return dataclasses.replace(channel, values=values * _VOLT[word], unit='millivolt')
  if not unit:  # what the file says may be anything: it is kept as it is
    return dataclasses.replace(channel, unit=AS_RECORDED)
  if name in ('ppg', 'resp'):
    return dataclasses.replace(channel, unit=AS_RECORDED)
  known = {
    'eda': 'microsiemens, nanosiemens, ohm, kohm',
    'temp': 'celsius, kelvin, fahrenheit',
  }.get(name, 'volt, millivolt, microvolt')
  raise Dropped('bad_signal', f'{name}_unit {unit!r} is none of {known}, raw')


def implausible(name, unit, values):
  """Says in a few words why values can't be in that unit, or ''."""
  low, high = _BELIEVABLE.get((name, unit), (-np.inf, np.inf))
  middle = float(np.nanmedian(values))
  if low <= middle <= high:
    return ''
  return (
    f'its median is {middle:.4g} {unit}, not between {low:g} and {high:g}; '
    f'correct {name}_unit (raw, if it has none)'
  )
