"""Files are written by hand or by the packages whose formats they are."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import scipy.io

from mvp_jax.outcomes import Dropped
from mvp_jax.raw.matfile import read_mat
from mvp_jax.raw.signal_files import read_channel

EDA = np.round(5 + np.sin(np.arange(40) / 7), 3)
ECG = np.round(np.cos(np.arange(40) / 3), 3)


@pytest.mark.parametrize('column', ['EDA', 'eda', '2'])
@pytest.mark.parametrize('delimiter', [',', ';', '\t', ' '])
@pytest.mark.parametrize('preamble', ['', '# recorder 3\n# 40 samples\n'])
def test_text_with_a_header(tmp_path, delimiter, column, preamble):
  path = tmp_path / 'a.csv'
  rows = [delimiter.join(['ECG', 'EDA'])]
  rows += [
    delimiter.join([f'{a:.3f}', f'{b:.3f}']) for a, b in zip(ECG, EDA, strict=True)
  ]
  path.write_text(preamble + '\n'.join(rows) + '\n')
  channel = read_channel(path, column, rate=20)
  np.testing.assert_allclose(channel.values, EDA)
  np.testing.assert_allclose(channel.times, np.arange(40) / 20)
  assert channel.rate == pytest.approx(20) and channel.end == pytest.approx(2)


@pytest.mark.parametrize(
  'delimiter, end', [(',', '\n'), (';', '\r\n'), ('\t', '\t\n'), (';', ';\n')]
)
def test_text_without_a_header(tmp_path, delimiter, end):
  path = tmp_path / 'a.txt'
  decimal = '.' if delimiter == ',' else ','
  path.write_text(
    ''.join(
      delimiter.join([f'{a:.3f}', f'{b:.3f}']).replace('.', decimal) + end
      for a, b in zip(ECG, EDA, strict=True)
    ),
    newline='',
  )
  np.testing.assert_allclose(read_channel(path, '1', rate=20).values, ECG)
  np.testing.assert_allclose(read_channel(path, '2', rate=20).values, EDA)
  with pytest.raises(Dropped, match="no column '3'; .*there are 2: 1, 2"):
    read_channel(path, '3', rate=20)


def test_preamble_and_units_above_the_numbers(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text(
    'Recorder 3\nSampling rate,20\nECG,EDA\nmV,uS\n'
    + ''.join(f'{a},{b}\n' for a, b in zip(ECG, EDA, strict=True))
  )
  np.testing.assert_allclose(read_channel(path, 'EDA', rate=20).values, EDA)


def test_a_single_column(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text(''.join(f'{x}\n' for x in EDA))
  np.testing.assert_allclose(read_channel(path, '1', rate=20).values, EDA)
  path.write_text('EDA\n' + ''.join(f'{x}\n' for x in EDA))
  np.testing.assert_allclose(read_channel(path, 'EDA', rate=20).values, EDA)


def test_cells_that_are_no_numbers(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text(
    'when,EDA,mark\n'
    + ''.join(
      f'2024-05-01 10:00:{i:02},{"" if i == 3 else "lost" if i == 5 else EDA[i]},go\n'
      for i in range(40)
    )
  )
  values = read_channel(path, 'EDA', rate=4).values
  assert np.isnan(values[[3, 5]]).all()
  np.testing.assert_allclose(np.delete(values, [3, 5]), np.delete(EDA, [3, 5]))
  with pytest.raises(Dropped, match='mark holds no number'):
    read_channel(path, 'mark', rate=4)
  with pytest.raises(Dropped, match='is it mark'):
    read_channel(path, 'marks', rate=4)


def test_a_time_column(tmp_path):
  path = tmp_path / 'a.csv'
  times = 100 + np.arange(40) / 8
  times[20:] += 3  # the recorder paused
  path.write_text(
    't,EDA\n' + ''.join(f'{t},{x}\n' for t, x in zip(times, EDA, strict=True))
  )
  channel = read_channel(path, 'EDA', time='t')
  np.testing.assert_allclose(channel.times, times)
  np.testing.assert_allclose(channel.values, EDA)
  assert channel.rate == pytest.approx(8)


@pytest.mark.parametrize(
  'times, told',
  [
    (np.arange(40) * 10.0, 'must be in seconds'),
    (np.zeros(40), 'does not advance'),
    (np.abs(np.arange(40) - 30) / 8, 'runs backwards at sample 2'),
  ],
)
def test_a_time_column_that_cannot_be(tmp_path, times, told):
  path = tmp_path / 'a.csv'
  path.write_text(
    't,EDA\n' + ''.join(f'{t},{x}\n' for t, x in zip(times, EDA, strict=True))
  )
  with pytest.raises(Dropped, match=told):
    read_channel(path, 'EDA', time='t')


@pytest.fixture
def e4(tmp_path):
  folder = tmp_path / 'E4'
  folder.mkdir()
  for name, start, rate, values in (
    ('EDA', 1_600_000_000, 4, EDA),
    ('BVP', 1_600_000_000.5, 64, ECG),
  ):
    lines = [f'{start:.6f}', f'{rate:.6f}', *(f'{x}' for x in values)]
    (folder / f'{name}.csv').write_text('\n'.join(lines) + '\n')
  (folder / 'ACC.csv').write_text('1,1,1\n32,32,32\n1,2,3\n')
  (folder / 'tags.csv').write_text('1600000004.2\n')
  return folder


def test_empatica_e4(e4):
  eda, bvp = read_channel(e4, 'EDA'), read_channel(e4, 'bvp')
  np.testing.assert_allclose(eda.values, EDA)
  np.testing.assert_allclose(bvp.values, ECG)
  assert eda.times[0] == 0 and bvp.times[0] == 0.5
  assert eda.rate == pytest.approx(4) and bvp.rate == pytest.approx(64)
  assert eda.unit == 'microsiemens' and eda.began == 1_600_000_000
  with pytest.raises(Dropped, match='it says 4 Hz, not 8'):
    read_channel(e4, 'EDA', rate=8)


def test_a_broken_e4(e4, tmp_path):
  (e4 / 'EDA.csv').write_text('EDA\n4\n1\n')
  with pytest.raises(Dropped, match='not as an Empatica E4'):
    read_channel(e4, 'EDA')
  empty = tmp_path / 'empty'
  empty.mkdir()
  with pytest.raises(Dropped, match='a folder without EDA.csv'):
    read_channel(empty, 'EDA')
  (empty / 'session.zip').touch()
  with pytest.raises(Dropped, match='unpack session.zip'):
    read_channel(empty, 'EDA')


def test_mat_and_npz(tmp_path):
  content = {'eda': EDA, 'all': np.stack([ECG, EDA]), 'name': np.array(['x'])}
  scipy.io.savemat(tmp_path / 'a.mat', content | {'rec': {'ppg': ECG}})
  np.savez(tmp_path / 'a.npz', **content)
  for name in ('a.mat', 'a.npz'):
    np.testing.assert_allclose(read_channel(tmp_path / name, 'EDA', 10).values, EDA)
    np.testing.assert_allclose(read_channel(tmp_path / name, 'all:1', 10).values, ECG)
    np.testing.assert_allclose(read_channel(tmp_path / name, 'all:2', 10).values, EDA)
  ppg = read_channel(tmp_path / 'a.mat', 'rec.ppg', 10)
  np.testing.assert_allclose(ppg.values, ECG)
  with pytest.raises(Dropped, match='does not say how fast'):
    read_channel(tmp_path / 'a.npz', 'eda')


class Attack:
  def __reduce__(self):
    return print, ('victim',)


def test_a_mat_of_version_7_3_says_what_to_do(tmp_path):
  (tmp_path / 'a.mat').write_bytes(b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM')
  with pytest.raises(Dropped, match='a.mat: .*MATLAB 7.3 file; save it with -v7'):
    read_channel(tmp_path / 'a.mat', 'EDA', 10)


def test_nothing_is_executed(tmp_path, capsys):
  np.savez(tmp_path / 'a.npz', eda=np.array([Attack()], object))
  (tmp_path / 'b.npz').write_bytes(pickle.dumps(Attack()))
  for name in ('a.npz', 'b.npz'):
    with pytest.raises(Dropped, match='cannot be read'):
      read_channel(tmp_path / name, 'eda', 1)
  assert 'victim' not in capsys.readouterr().out


def test_wfdb_with_two_rates(tmp_path):
  # By https://physionet.org/physiotools/wag/header-5.htm: per frame (at 10 Hz) one
  # sample of EDA and four of ECG, 16 bits, (digital - baseline) / gain.
  eda = np.round(EDA * 1000).astype('<i2')
  ecg = np.round(np.repeat(ECG, 4) * 200).astype('<i2')
  frames = np.concatenate([eda[:, None], ecg.reshape(-1, 4)], 1)
  (tmp_path / 'r.dat').write_bytes(frames.tobytes())
  (tmp_path / 'r.hea').write_text(
    'r 2 10 40\nr.dat 16 1000(0)/uS 16 0 0 0 0 EDA\n'
    'r.dat 16x4 200(0)/mV 16 0 0 0 0 ECG\n'
  )
  for name in ('r.hea', 'r', 'r.dat'):
    found = read_channel(tmp_path / name, 'EDA')
    np.testing.assert_allclose(found.values, EDA, atol=1e-9)
    assert found.rate == pytest.approx(10) and found.unit == 'uS'
  (tmp_path / 'cut.hea').write_text(
    (tmp_path / 'r.hea').read_text().replace('r.dat', 'cut.dat').replace('r 2', 'cut 2')
  )
  (tmp_path / 'cut.dat').write_bytes(frames.tobytes()[:-200])
  with pytest.raises(Dropped, match='cut.hea: '):
    read_channel(tmp_path / 'cut.hea', 'EDA')
  found = read_channel(tmp_path / 'r.hea', 'ecg')
  np.testing.assert_allclose(found.values, np.repeat(ECG, 4), atol=0.003)
  assert found.rate == pytest.approx(40) and found.unit == 'mV'


def edf(reserved=''):
  """An EDF by https://www.edfplus.info/specs/edf.html: 4 records of a second."""

  def fields(size, *values):
    return b''.join(str(value).encode().ljust(size) for value in values)

  header = (
    fields(8, 0)
    + fields(80, 'X X X X', 'Startdate X X X X')
    + fields(8, '01.01.24', '10.00.00', 256 * 3)
    + fields(44, reserved)
    + fields(8, 4, 1)
    + fields(4, 2)
    + fields(16, 'EDA', 'ECG')
    + fields(80, '', '')
    + fields(8, 'uS', 'mV', 0, -2, 10, 2)
    + fields(8, 0, -2000, 10000, 2000)
    + fields(80, '', '')
    + fields(8, 10, 40)
    + fields(32, '', '')
  )
  eda = np.round(EDA * 1000).astype('<i2').reshape(4, 10)
  ecg = np.round(np.repeat(ECG, 4) * 1000).astype('<i2').reshape(4, 40)
  return header + b''.join(
    a.tobytes() + b.tobytes() for a, b in zip(eda, ecg, strict=True)
  )


def test_edf_with_two_rates(tmp_path):
  path = tmp_path / 'a.edf'
  path.write_bytes(edf())
  eda, ecg = read_channel(path, 'EDA'), read_channel(path, 'ecg')
  np.testing.assert_allclose(eda.values, EDA, atol=1e-6)
  np.testing.assert_allclose(ecg.values, np.repeat(ECG, 4), atol=1e-6)
  assert (eda.rate, ecg.rate) == (pytest.approx(10), pytest.approx(40))
  assert (eda.unit, ecg.unit) == ('uS', 'mV')
  path.write_bytes(edf()[:-60])
  with pytest.raises(Dropped, match='truncated. It holds 3 of 4 records'):
    read_channel(path, 'EDA')
  path.write_bytes(edf('EDF+D'))
  with pytest.raises(Dropped, match='pauses'):
    read_channel(path, 'EDA')


@pytest.mark.parametrize('low, high', [('-5,0', '5,0'), ('0', '0')])
def test_an_edf_that_tells_no_range_of_a_signal(tmp_path, low, high):
  content = bytearray(edf())
  count = int(content[252:256])
  for place, text in ((104, low), (112, high)):
    at = 256 + count * place + 8  # of the second signal
    content[at : at + 8] = text.encode().ljust(8)
  (tmp_path / 'a.edf').write_bytes(content)
  np.testing.assert_allclose(read_channel(tmp_path / 'a.edf', 'EDA').values, EDA)
  with pytest.raises(Dropped, match='its header tells no range of its numbers'):
    read_channel(tmp_path / 'a.edf', 'ecg')


def mat():
  file = io.BytesIO()
  scipy.io.savemat(file, {'eda': EDA})
  return file.getvalue()


@pytest.mark.parametrize(
  'name, content',
  [
    ('a.csv', b''),
    ('a.csv', b'no numbers\nhere\n'),
    ('a.csv', b'EDA,b\n1,2\n1,2,3\n'),
    ('a.csv', b'EDA,EDA\n1,2\n1,2\n'),
    ('a.csv', b'\x00\x01\x02'),
    ('a.mat', b'junk' * 99),
    ('a.mat', mat()[:200]),
    ('a.npz', b'PK\x03\x04' + b'junk' * 9),
    ('a.edf', b'junk'),
    ('a.edf', edf()[:500]),
    ('a.hea', b'junk'),
    ('a.hea', b'r 1 10 40\nr.dat 16\n'),
    ('a.xlsx', b'PK'),
    ('a.zip', b'PK'),
    ('a.foo', b'1\n2\n'),
  ],
)
def test_damaged_files_are_one_line(tmp_path, name, content):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(Dropped) as error:
    read_channel(path, 'EDA', rate=4)
  assert error.value.code == 'broken_signals'
  assert str(path.with_suffix('')) in error.value.reason
  assert '\n' not in error.value.reason


def test_a_missing_file_and_the_likely_one(tmp_path):
  (tmp_path / 'trial01.csv').write_text('EDA\n1\n')
  with pytest.raises(Dropped, match='no such file, is it trial01.csv') as error:
    read_channel(tmp_path / 'trial1.csv', 'EDA')
  assert error.value.code == 'missing_signals'
  with pytest.raises(Dropped, match='nor a folder'):
    read_channel(tmp_path / 'P01' / 'trial1.csv', 'EDA')


def test_a_file_that_changed_is_read_anew(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('EDA\n1\n2\n')
  assert read_channel(path, 'EDA', 1).values.tolist() == [1, 2]
  path.write_text('EDA\n1\n2\n3\n')
  assert read_channel(path, 'EDA', 1).values.tolist() == [1, 2, 3]


def test_structs_and_cells_of_mat(tmp_path):
  """Named as MATLAB names what is in them."""
  cells = np.empty((1, 2), object)
  cells[0, 0], cells[0, 1] = EDA, {'ppg': ECG}
  structs = np.array([(EDA,), (2 * EDA,)], [('eda', object)])
  path = tmp_path / 'a.mat'
  scipy.io.savemat(path, {'signals': cells, 'session': structs, 'note': 'x'})
  for name, values in (
    ('signals{1}', EDA),
    ('signals{2}.ppg', ECG),
    ('session(1).eda', EDA),
    ('session(2).eda', 2 * EDA),
  ):
    np.testing.assert_array_equal(read_channel(path, name, 10).values, values)
  with pytest.raises(Dropped, match=r'no column .*session\(1\).eda'):
    read_channel(path, 'session.eda', 10)


def test_wfdb_of_several_segments(tmp_path):
  """With a layout and a pause, as PhysioNet's long recordings are stored."""
  for name, values in ('a', [1, 2, 3, 4]), ('b', [5, 6]):
    (tmp_path / f'{name}.dat').write_bytes(np.array(values, '<i2').tobytes())
    (tmp_path / f'{name}.hea').write_text(
      f'{name} 1 2 {len(values)}\n{name}.dat 16 1/mV 16 0 0 0 0 ECG\n'
    )
  (tmp_path / 'layout.hea').write_text('layout 1 2 0\n~ 0 1/mV 16 0 0 0 0 ECG\n')
  (tmp_path / 'r.hea').write_text('r/4 1 2 9\nlayout 0\na 4\n~ 3\nb 2\n')
  found = read_channel(tmp_path / 'r.hea', 'ECG')
  assert found.rate == 2
  np.testing.assert_array_equal(found.values, [1, 2, 3, 4, *[np.nan] * 3, 5, 6])


def test_equal_names_in_a_wfdb_record(tmp_path):
  path = tmp_path / 'r.hea'
  line = 'r.dat 16 1000(0)/mV 16 0 0 0 0 '
  path.write_text(f'r 3 10 40\n{line}ECG\n{line}PPG\n{line}ECG\n')
  samples = np.round(1000 * np.stack([EDA, 2 * EDA, 3 * EDA], 1))
  (tmp_path / 'r.dat').write_bytes(samples.astype('<i2').tobytes())
  with pytest.raises(
    Dropped, match="2 columns are called 'ecg'; name one: ECG#1, ECG#2"
  ):
    read_channel(path, 'ecg')
  for name, times in (('ECG#1', 1), ('ECG#2', 3), ('PPG', 2), ('1', 1), ('3', 3)):
    found = read_channel(path, name).values
    np.testing.assert_allclose(found, times * EDA, atol=1e-3)


def edf_plus(onsets, kind='EDF+D'):
  """The EDF of `edf` as EDF+, of whose records (1 s) these are the onsets, as texts."""
  plain, size = edf(kind), 256 * 3
  head, records = plain[:size], plain[size:]
  fields = [head[256:]]
  widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
  parts, at = [], 0
  for width in widths:
    parts.append(fields[0][at : at + 2 * width])
    at += 2 * width
  own = ('EDF Annotations', '', '', -1, 1, -32768, 32767, '', 8, '')
  whole = b''.join(
    part + str(value).encode().ljust(width)
    for part, value, width in zip(parts, own, widths, strict=True)
  )
  main = head[:184] + str(256 * 4).encode().ljust(8) + head[192:252] + b'3   '
  body = b''.join(
    records[i * 100 : (i + 1) * 100] + f'{onset}\x14\x14'.encode().ljust(16, b'\0')
    for i, onset in enumerate(onsets)
  )
  return main + whole + body


def test_edf_d_with_and_without_pauses(tmp_path):
  path = tmp_path / 'a.edf'
  path.write_bytes(edf_plus(('+0.5', '+1.5', '+2.5', '+3.5')))
  np.testing.assert_allclose(read_channel(path, 'EDA').values, EDA, atol=1e-6)
  path.write_bytes(edf_plus(('+0', '+1', '+7.2', '+8.2')))
  eda, ecg = read_channel(path, 'EDA'), read_channel(path, 'ECG')
  for found, values in ((eda, EDA), (ecg, np.repeat(ECG, 4))):
    rate, good = round(found.rate), np.isfinite(found.values)
    assert len(found.values) == round(9.2 * rate)
    np.testing.assert_allclose(found.values[good], values, atol=1e-6)
    assert good[: 2 * rate].all() and good[round(7.2 * rate) :].all()
    assert not good[2 * rate : round(7.2 * rate)].any()
  for onsets, match in (
    (('+0', '+1', '+1.5', '+2.5'), 'data record 3 begins at 1.5 s, before'),
    (('+0', '+1', 'x', '+3'), 'pauses: data record 3 does not say when'),
    (('+0', '+1', '+2', '+90000'), 'pauses of 89997 s in all'),
  ):
    path.write_bytes(edf_plus(onsets))
    with pytest.raises(Dropped, match=match):
      read_channel(path, 'EDA')


def test_a_mat_of_version_7_3_where_h5py_is_there(tmp_path):
  """Written by h5py as MATLAB lays it out: transposed, with references for cells."""
  h5py = pytest.importorskip('h5py')
  path, reference = tmp_path / 'a.mat', h5py.ref_dtype
  with h5py.File(path, 'w', userblock_size=512) as file:
    eda = file.create_dataset('EDA', data=EDA[:, None])  # 1 x n in MATLAB
    eda.attrs['MATLAB_class'] = np.bytes_('double')
    file['both'] = np.stack([EDA, 2 * EDA])  # n x 2 in MATLAB
    file['#refs#/a'], file['#refs#/b'] = 3 * EDA[None], 4 * EDA[None]
    inside = [file[f'#refs#/{name}'].ref for name in 'ab']
    cells = file.create_dataset('cells', (2, 1), reference)
    cells[:, 0] = inside
    cells.attrs['MATLAB_class'] = np.bytes_('cell')
    file.create_group('session').attrs['MATLAB_class'] = np.bytes_('struct')
    structs = file['session'].create_dataset('eda', (2, 1), reference)
    structs[:, 0] = inside
    file.create_group('rec')['ppg'] = 5 * EDA[None]
    text = file.create_dataset('note', data=np.array([[104], [105]], np.uint16))
    text.attrs['MATLAB_class'] = np.bytes_('char')
  head = b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM'
  with path.open('r+b') as file:
    file.write(head)
  for name, times in (
    ('EDA', 1),
    ('both:2', 2),
    ('cells{1}', 3),
    ('session(2).eda', 4),
    ('rec.ppg', 5),
  ):
    np.testing.assert_array_equal(read_channel(path, name, 10).values, times * EDA)
  assert read_mat(path, ('note', 'none')) == {'note': 'hi'}
  path.write_bytes(path.read_bytes()[:900])
  with pytest.raises(Dropped, match='MATLAB 7.3 file; save it with -v7 .*damaged'):
    read_channel(path, 'EDA', 10)


@pytest.mark.parametrize(
  'name, told',
  [
    ('a.tsv.gz', 'it is compressed; unpack it'),
    ('a.xlsm', 'a spreadsheet; save it as CSV'),
    ('a.npy', 'save it by numpy.savez'),
  ],
)
def test_what_to_do_with_other_formats(tmp_path, name, told):
  (tmp_path / name).write_bytes(bytes(99))
  with pytest.raises(Dropped, match=told):
    read_channel(tmp_path / name, '1', 10)


HEADS = {
  'Sampling rate: 20\nEDA,ECG\n': 20,
  '# Sampling Rate (Hz):= 20.00\n# EndOfHeader\n': 20,
  'Output rate:,20,Samples/sec.\n\nEDA,ECG\n': 20,
  'Sampling frequency 0.02 kHz\nEDA,ECG\n': 20,
  'Interval=,0.05 s\nEDA,ECG\n': 20,
  'Sampling rate: 50 ms\nEDA,ECG\n': 20,
  'Sample rate (ms),50\nEDA,ECG\n': 20,
  'Sampling rate (per minute): 1200\nEDA,ECG\n': 20,
  'Sampling rate in samples/s: 20\nEDA,ECG\n': 20,
  'Heart rate: 70\nEDA,ECG\n': None,
  'Sampling rate 1: 20\nSampling rate 2: 40\nEDA,ECG\n': None,
}


@pytest.mark.parametrize('head', HEADS)
def test_a_rate_above_the_numbers(tmp_path, head):
  path = tmp_path / 'a.csv'
  path.write_text(head + 40 * '5.5,0.25\n')
  if HEADS[head] is None:
    with pytest.raises(Dropped, match='how fast it was sampled'):
      read_channel(path, '1')
    return
  assert read_channel(path, '1').rate == pytest.approx(20)
  with pytest.raises(Dropped, match='it says 20 Hz, not 40'):
    read_channel(path, '1', rate=40)


def test_a_row_of_units_above_the_names(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('ms,kOhm\ntime,GSR\n' + ''.join(f'{50 * k},240\n' for k in range(40)))
  channel = read_channel(path, 'GSR', time='time')
  assert channel.unit == 'kOhm' and channel.rate == pytest.approx(20)


def test_several_recordings_in_a_file(tmp_path):
  path = tmp_path / 'a.csv'
  rows = [''.join(f'{k / 20},5\n' for k in range(n, n + 40)) for n in (0, 40)]
  path.write_text(''.join('time,EDA\n' + row for row in rows))
  with pytest.raises(Dropped, match=r'a\.csv: in line 42 its header comes again'):
    read_channel(path, 'EDA', rate=20)
  channel = read_channel(path, 'EDA', time='time')  # the clock goes on
  np.testing.assert_allclose(channel.times, np.arange(80) / 20)


def test_acqknowledge_in_quotes(tmp_path):
  path = tmp_path / 'a.csv'
  head = '"a.acq"\n"50 msec/sample"\n"1 channels"\n"EDA, X"\n"microsiemens"\n'
  path.write_text(head + '"sec","CH1"\n"","40"\n' + 40 * '"0","5"\n')
  channel = read_channel(path, 'EDA, X')
  assert len(channel.values) == 40 and channel.rate == pytest.approx(20)
  assert channel.unit == 'microsiemens'


def test_a_zip_of_two_wristbands(tmp_path):
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
    for person in 'AB':
      archive.writestr(f'{person}/EDA.csv', '1774745990\n4\n' + 40 * '5\n')
  with pytest.raises(Dropped, match='holds A/EDA.csv and B/EDA.csv; unpack it'):
    read_channel(tmp_path / 'a.zip', 'EDA')


def test_a_rate_above_the_numbers_hides_no_gap(tmp_path):
  path = tmp_path / 'a.csv'
  kept = [k for k in range(2000) if not 500 <= k < 510]
  path.write_text(
    'Sampling rate: 20\ntime,EDA\n' + ''.join(f'{k / 20},5\n' for k in kept)
  )
  channel = read_channel(path, 'EDA', time='time')
  np.testing.assert_allclose(channel.times, np.array(kept) / 20)


def test_rows_of_several_channels_in_turn(tmp_path):
  path = tmp_path / 'a.csv'
  rows = ''.join(f'{k / 20},EDA,5\n{k / 20},PPG,0.{k}\n' for k in range(100))
  path.write_text('time,channel,value\n' + rows)
  with pytest.raises(Dropped, match=r'several channels in turn \(EDA, PPG\)'):
    read_channel(path, 'value', time='time')
