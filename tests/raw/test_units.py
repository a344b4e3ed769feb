import numpy as np
import pytest

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.signal_files import Channel
from mvp_jax.raw.units import AS_RECORDED, convert, implausible, is_unit, unit_in_name


@pytest.mark.parametrize(
  'name, unit',
  [
    ('EDA (nS)', 'nS'),
    ('PPG [mV]', 'mV'),
    ('ecg_uV', 'uV'),
    ('GSR_kOhm', 'kOhm'),
    ('eda_scl_usiemens', 'usiemens'),
    ('EDA [µS] left', 'µS'),
    ('Skin Temp (°C)', '°C'),
    ('temp_F', 'F'),
    ('EDA', ''),
    ('EDA (left)', ''),
    ('sensor_c', ''),
    ('uS', ''),
    ('PPG_A13_CAL', ''),
  ],
)
def test_units_in_names(name, unit):
  assert unit_in_name(name) == unit


@pytest.mark.parametrize(
  'channel, unit, value, expected',
  [
    ('eda', 'nS', 5000.0, 5.0),
    ('eda', 'micro-Siemens', 5.0, 5.0),
    ('eda', 'microSiemens', 5.0, 5.0),
    ('eda', 'µmho', 5.0, 5.0),
    ('eda', 'kOhms', 200.0, 5.0),
    ('eda', 'kΩ', 200.0, 5.0),
    ('eda', 'MegaOhm', 0.2, 5.0),
    ('ecg', 'mVolts', 1.5, 1.5),
    ('ecg', 'microvolts', 1500.0, 1.5),
    ('emg_left', 'V', 0.0015, 1.5),
    ('temp', 'deg F', 91.4, 33.0),
    ('temp', 'degrees Celsius', 33.0, 33.0),
    ('temp', 'Kelvin', 306.15, 33.0),
  ],
)
def test_units_that_files_say(channel, unit, value, expected):
  assert is_unit(unit)
  found = convert(channel, Channel(np.full(9, value), np.arange(9.0), unit))
  np.testing.assert_allclose(found.values, expected)
  said = bool(found.notes)
  assert said == (value != expected) and (not said or unit in found.notes[0])


def test_a_unit_that_a_channel_cannot_have_is_told():
  found = convert(
    'eda', Channel(np.full(9, 512.0), np.arange(9.0), 'counts of 10 bits')
  )
  assert found.unit == AS_RECORDED and found.values[0] == 512
  assert 'counts of 10 bits' in found.notes[0] and 'kept as recorded' in found.notes[0]


def test_a_number_that_stands_for_none_is_no_unit():
  values = np.r_[np.full(60, -9999.0), np.full(40, 5.0)]
  assert not implausible('eda', 'microsiemens', values)
  assert 'median is 5000' in implausible('eda', 'microsiemens', np.full(9, 5000.0))


@pytest.mark.parametrize(
  'name, refused',
  [
    ('log EDA (µS)', True),
    ('lnSCR', True),
    ('Log10(GSR)', True),
    ('EDA_log', True),
    ('datalog EDA', False),
    ('EDA logger', False),
    ('log 1 EDA', False),
  ],
)
def test_a_logarithm_is_no_conductance(name, refused):
  channel = Channel(np.full(9, 1.0), np.arange(9.0), 'µS', name=name)
  if not refused:
    assert convert('eda', channel).values[0] == 1
    return
  with pytest.raises(Dropped, match=r'is a logarithm; .* or eda_unit \(raw\)'):
    convert('eda', channel)
  assert convert('eda', channel, 'raw').unit == AS_RECORDED
