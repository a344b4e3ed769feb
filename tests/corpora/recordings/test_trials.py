import csv

import numpy as np
import pytest

from mvp_jax.corpora import find
from mvp_jax.corpora.recordings import RecordingsSettings
from mvp_jax.corpora.recordings import trials as recordings
from mvp_jax.corpora.recordings.manifest import read_manifest
from mvp_jax.outcomes import Dropped

RATE = 32.0


def write_manifest(folder, rows):
  """Writes dicts as a manifest; what a row lacks is blank."""
  columns = list(dict.fromkeys(name for row in rows for name in row))
  with (folder / 'manifest.csv').open('w', newline='') as file:
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(rows)
  return read_manifest(folder)


def write_signals(path, rate, **channels):
  np.savetxt(
    path,
    np.stack(list(channels.values()), 1),
    '%.6f',
    ',',
    comments='',
    header=','.join(channels),
  )
  return path.name


def prepared(manifest, channels=('eda',), **kwargs):
  manifest.require()
  assert not manifest.problems
  (recording,) = manifest.recordings
  return recordings.prepare_signals(
    recording,
    channels,
    RecordingsSettings(kwargs.pop('rate', RATE), kwargs.pop('baseline', 2.0)),
    kwargs.pop('clean', False),
    kwargs.pop('video', False),
  )


def reason(manifest, channels=('eda',), video=False):
  with pytest.raises(Dropped) as error:
    recordings.prepare_signals(
      manifest.recordings[0], channels, RecordingsSettings(RATE), True, video
    )
  assert '\n' not in error.value.reason
  return error.value.code, error.value.reason


def ramp(seconds, rate, jump):
  """A signal that is 2 and from `jump` seconds on 8, with a slow wave on it."""
  times = np.arange(round(seconds * rate)) / rate
  return np.where(times < jump, 2.0, 8.0) + 0.1 * np.sin(times)


@pytest.mark.parametrize('rate', [4, 32, 100, 700])
def test_time_zero_is_the_onset(tmp_path, rate):
  name = write_signals(tmp_path / 'a.csv', rate, EDA=ramp(30, rate, 12))
  manifest = write_manifest(
    tmp_path,
    [
      {
        'subject': 'A',
        'signals': name,
        'rate': rate,
        'eda': 'EDA',
        'signals_onset': 7,
        'duration': 10,
      }
    ],
  )
  found = prepared(manifest)
  assert found['values'].shape == (320, 1) and found['valid'].all()
  jump = np.interp(5.0, found['values'][:, 0], np.arange(320) / RATE, left=0, right=9)
  # 12 - 7 s after the onset, to within half a sample of the slower rate.
  crossing = np.flatnonzero(found['values'][:, 0] > 5)[0] / RATE
  assert abs(crossing - 5) <= max(1 / rate, 1.5 / RATE), jump
  assert found['units'].tolist() == ['microsiemens']


def test_what_is_too_fast_is_filtered_out(tmp_path):
  times = np.arange(20 * 256) / 256
  slow, fast = np.sin(2 * np.pi * 2 * times), np.sin(2 * np.pi * 30 * times)
  name = write_signals(tmp_path / 'a.csv', 256, PPG=slow + fast)
  found = prepared(
    write_manifest(
      tmp_path, [{'subject': 'A', 'signals': name, 'rate': 256, 'ppg': 'PPG'}]
    ),
    ['ppg'],
  )
  # 30 Hz would come back as 2 Hz.
  expected = np.sin(2 * np.pi * 2 * np.arange(640) / RATE)
  inside = slice(32, -32)
  np.testing.assert_allclose(found['values'][inside, 0], expected[inside], atol=0.06)


def test_channels_of_different_rates_and_files(tmp_path):
  eda = write_signals(tmp_path / 'eda.csv', 4, EDA=ramp(20, 4, 10))
  ppg = write_signals(tmp_path / 'ppg.csv', 64, PPG=ramp(20, 64, 10))
  found = prepared(
    write_manifest(
      tmp_path,
      [
        {
          'subject': 'A',
          'signals': eda,
          'eda': 'EDA',
          'eda_rate': 4,
          'ppg': 'PPG',
          'ppg_file': ppg,
          'ppg_rate': 64,
        }
      ],
    ),
    ('ppg', 'eda'),
  )
  assert found['values'].shape == (640, 2)
  # Nothing is known of the time after the last sample of 4 Hz.
  assert found['valid'][:-8].all() and found['valid'][:, 0].all()
  crossing = [np.flatnonzero(found['values'][:, c] > 5)[0] / RATE for c in (0, 1)]
  assert crossing == pytest.approx([10, 10], abs=0.25)


def test_gaps_stay_gaps(tmp_path):
  values = ramp(30, 32, 10)
  values[64:192] = np.nan  # 4 s
  values[400:410] = np.nan  # 0.3 s: bridged
  name = write_signals(tmp_path / 'a.csv', 32, EDA=values)
  found = prepared(
    write_manifest(
      tmp_path, [{'subject': 'A', 'signals': name, 'rate': 32, 'eda': 'EDA'}]
    )
  )
  valid = found['valid'][:, 0]
  assert not valid[66:190].any() and valid[:63].all() and valid[194:].all()
  assert not found['values'][66:190].any()


def test_uneven_samples_on_the_clock_of_their_column(tmp_path):
  rng = np.random.default_rng(0)
  times = 500 + np.arange(640) / 32 + rng.uniform(-0.005, 0.005, 640)
  keep = np.ones(640, bool)
  keep[320:416] = False  # three seconds are missing
  values = np.where(times < 505, 2.0, 8.0) + 0.1 * np.sin(times)
  name = write_signals(tmp_path / 'a.csv', None, t=times[keep], EDA=values[keep])
  row = {
    'subject': 'A',
    'signals': name,
    'time': 't',
    'eda': 'EDA',
    'signals_onset': 502,
    'duration': 17,
  }
  found = prepared(write_manifest(tmp_path, [row]))
  crossing = np.flatnonzero(found['values'][:, 0] > 5)[0] / RATE
  assert crossing == pytest.approx(3, abs=0.07)
  valid = found['valid'][:, 0]  # 510 to 513 is 8 to 11 s after the onset
  assert valid[: 8 * 32 - 2].all() and not valid[8 * 32 + 2 : 11 * 32 - 2].any()
  del row['signals_onset']
  found = prepared(write_manifest(tmp_path, [row]))
  assert np.flatnonzero(found['values'][:, 0] > 5)[0] / RATE == pytest.approx(
    5, abs=0.07
  )


def test_an_e4_by_the_time_of_day(tmp_path):
  folder = tmp_path / 'E4'
  folder.mkdir()
  (folder / 'EDA.csv').write_text(
    '\n'.join(map(str, [1_600_000_000, 4, *ramp(60, 4, 20)]))
  )
  row = {
    'subject': 'A',
    'signals': 'E4',
    'eda': 'EDA',
    'duration': 30,
    'signals_onset': 1_600_000_010,
  }
  found = prepared(write_manifest(tmp_path, [row]))
  assert np.flatnonzero(found['values'][:, 0] > 5)[0] / RATE == pytest.approx(
    10, abs=0.25
  )


@pytest.mark.parametrize(
  'unit, factor', [('', 1), ('µS', 1), ('microsiemens', 1), ('nS', 1e3), ('S', 1e-6)]
)
def test_conductance(tmp_path, unit, factor):
  name = tmp_path / 'a.npz'
  np.savez(name, EDA=ramp(10, 32, 5) * factor)
  found = prepared(
    write_manifest(
      tmp_path,
      [
        {
          'subject': 'A',
          'signals': name.name,
          'rate': 32,
          'eda': 'EDA',
          'eda_unit': unit,
        }
      ],
    )
  )
  np.testing.assert_allclose(found['values'][:, 0], ramp(10, 32, 5), rtol=1e-4)


@pytest.mark.parametrize('unit, factor', [('ohm', 1e6), ('kΩ', 1e3)])
def test_resistance(tmp_path, unit, factor):
  values = factor / ramp(10, 32, 5)
  values[40] = -1  # no resistance: bridged
  np.savez(tmp_path / 'a.npz', EDA=values)
  found = prepared(
    write_manifest(
      tmp_path,
      [
        {'subject': 'A', 'signals': 'a.npz', 'rate': 32, 'eda': 'EDA', 'eda_unit': unit}
      ],
    )
  )
  np.testing.assert_allclose(found['values'][:, 0], ramp(10, 32, 5), atol=0.01)


@pytest.mark.parametrize(
  'changes, values, code, column, told',
  [
    ({'eda_unit': 'furlong'}, ramp(10, 32, 5), 'bad_signal', 'eda', 'is none of micro'),
    ({}, 1e6 / ramp(10, 32, 5), 'bad_signal', 'eda', 'correct eda_unit'),
    ({}, np.full(320, 4.0), 'bad_signal', 'eda', 'flat'),
    ({}, np.where(np.arange(320) % 2, np.nan, 2), 'bad_signal', 'eda', '50% of its'),
    ({'eda': 'GSR'}, ramp(10, 32, 5), 'broken_signals', 'eda', "no column 'GSR'"),
    ({'signals': 'b.csv'}, ramp(10, 32, 5), 'missing_signals', 'eda', 'no such file'),
    ({'rate': ''}, ramp(10, 32, 5), 'broken_signals', 'eda', 'give rate'),
    (
      {'signals_onset': 30},
      ramp(10, 32, 5),
      'length_mismatch',
      'eda',
      'does not lie in',
    ),
    (
      {'signals_onset': -5},
      ramp(10, 32, 5),
      'length_mismatch',
      'eda',
      'does not lie in',
    ),
    (
      {'duration': 20},
      ramp(10, 32, 5),
      'length_mismatch',
      'eda',
      'it ends 10.0 s after',
    ),
  ],
)
def test_losses_name_row_and_column(tmp_path, changes, values, code, column, told):
  write_signals(tmp_path / 'a.csv', 32, EDA=values)
  manifest = write_manifest(
    tmp_path, [{'subject': 'A', 'signals': 'a.csv', 'rate': 32, 'eda': 'EDA'} | changes]
  )
  found, text = reason(manifest)
  assert found == code and text.startswith(f'row 2, column {column}: ') and told in text


def test_what_a_row_lacks_of_what_is_wanted(tmp_path):
  write_signals(tmp_path / 'a.csv', 32, EDA=ramp(10, 32, 5))
  manifest = write_manifest(
    tmp_path, [{'subject': 'A', 'signals': 'a.csv', 'rate': 32, 'eda': 'EDA'}]
  )
  assert reason(manifest, ('eda', 'ppg')) == (
    'missing_signals',
    'row 2, column ppg: blank, while it is to be used; name the '
    'column of the signal file, or leave the channel out (channels)',
  )
  code, text = reason(manifest, video=True)
  assert code == 'missing_video' and text.startswith('row 2, column video: blank')
  assert recordings.channels_in_use(manifest, ()) == ('eda',)
  assert recordings.channels_in_use(manifest, ('none',)) == ()


def test_files_of_different_lengths(tmp_path):
  a = write_signals(tmp_path / 'a.csv', 32, EDA=ramp(10, 32, 5))
  b = write_signals(tmp_path / 'b.csv', 32, PPG=ramp(14, 32, 5))
  row = {
    'subject': 'A',
    'signals': a,
    'rate': 32,
    'eda': 'EDA',
    'ppg_file': b,
    'ppg': 'PPG',
  }
  code, text = reason(write_manifest(tmp_path, [row]), ('eda', 'ppg'))
  assert code == 'length_mismatch' and 'column eda' in text and 'ppg for 14.0' in text
  found = prepared(write_manifest(tmp_path, [row | {'duration': 9}]), ('eda', 'ppg'))
  assert len(found['values']) == 9 * RATE


@pytest.fixture
def film(tmp_path, draw_face, write_video):
  """A video of 12 s at 10 Hz; its picture gets brighter by the second."""
  images = [
    np.clip(draw_face(96, 128, 64, 48, 40).astype(int) + 8 * (k // 10), 0, 255).astype(
      np.uint8
    )
    for k in range(120)
  ]
  write_video(tmp_path / 'film.mp4', images, 10)
  return 'film.mp4'


def open_video(folder):
  """The recordings of a folder, prepared without signals."""
  corpus = find('recordings')
  fields = dict(signal_rate=float(RATE), frame_rate=5.0, frame_size=32)
  return corpus.open(folder, corpus.want(channels=('none',), **fields))


def test_two_trials_in_one_video(tmp_path, film):
  write_manifest(
    tmp_path,
    [
      {'subject': 'A', 'video': film, 'video_onset': 1.5, 'duration': 3},
      {'subject': 'A', 'video': film, 'video_onset': 6, 'duration': 4},
    ],
  )
  directory = tmp_path / 'work'
  source = open_video(tmp_path)
  outcomes = source.prepare(directory, 1)
  assert [o.code for o in outcomes] == ['ok', 'ok']
  assert [o.facts['frames'] for o in outcomes] == [15, 20]
  for outcome, begin in zip(outcomes, (1.5, 6), strict=True):
    found = source.frames(outcome, 'video')
    assert len(found['jpegs']) == len(found['times'])
    # With what the film shows in the 2 s before the onset.
    first = max(0, begin - 2) * 5
    np.testing.assert_allclose(
      found['times'] + begin, (first + np.arange(len(found['times']))) / 5, atol=1e-4
    )
    own = found['times'][int(found['before']) :]
    assert len(own) == outcome.facts['frames'] and own[0] == pytest.approx(
      (-begin * 5 % 1) / 5, abs=1e-4
    )
  assert len(list((directory / 'frames').iterdir())) == 1


def test_video_problems(tmp_path, film):
  (tmp_path / 'zero.mp4').touch()
  (tmp_path / 'text.mp4').write_text('no video')
  content = (tmp_path / film).read_bytes()
  (tmp_path / 'cut.mp4').write_bytes(content[: len(content) // 2])
  for changes, code, told in [
    ({'video': 'gone.mp4'}, 'missing_video', 'no such file'),
    ({'video': 'zero.mp4'}, 'broken_video', 'zero.mp4'),
    ({'video': 'text.mp4'}, 'broken_video', 'text.mp4'),
    ({'video': 'cut.mp4'}, 'broken_video', 'cut.mp4'),
    ({'video_onset': 20}, 'length_mismatch', 'after its end'),
    ({'duration': 30}, 'length_mismatch', 'it ends 12.0 s after'),
  ]:
    manifest = write_manifest(tmp_path, [{'subject': 'A', 'video': film} | changes])
    found, text = reason(manifest, (), True)
    assert found == code and told in text
    assert text.startswith('row 2, column video: ')


def test_a_video_of_somebody_else_in_the_room(tmp_path, write_video):
  write_video(tmp_path / 'wall.mp4', [np.full((96, 128, 3), 90, np.uint8)] * 50, 10)
  write_manifest(tmp_path, [{'subject': 'A', 'video': 'wall.mp4'}])
  (outcome,) = open_video(tmp_path).prepare(tmp_path / 'work', 1)
  assert outcome.code == 'no_face' and outcome.reason.startswith('row 2, column video')


def test_action_units_are_cut_to_the_trial(tmp_path, film):
  aus = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45]
  names = [f'AU{n:02d}_r' for n in aus] + [f'AU{n:02d}_c' for n in sorted([*aus, 28])]
  rows = [[k + 1, k / 10, 0.9, 1, *[k / 100] * 17, *[0] * 18] for k in range(120)]
  np.savetxt(
    tmp_path / 'au.csv',
    rows,
    '%.3f',
    ',',
    comments='',
    header=', '.join(['frame', 'timestamp', 'confidence', 'success', *names]),
  )
  row = {
    'subject': 'A',
    'video': film,
    'openface': 'au.csv',
    'video_onset': 2,
    'duration': 5,
  }
  for video in (True, False):
    found = prepared(write_manifest(tmp_path, [row]), (), video=video)
    assert found['au_intensities'].shape == (50, 17)
    assert found['au_presences'].shape == (50, 18) and found['au_valid'].all()
    np.testing.assert_allclose(found['au_times'], np.arange(50) / 10, atol=1e-4)
    np.testing.assert_allclose(
      found['au_intensities'][:, 0], np.arange(20, 70) / 100, atol=1e-6
    )
  code, text = reason(write_manifest(tmp_path, [row | {'openface': 'no.csv'}]), ())
  assert code == 'missing_openface' and text.startswith('row 2, column openface: ')
  # A face may be described without being shown.
  del row['video'], row['duration']
  found = prepared(write_manifest(tmp_path, [row]), ())
  assert len(found['au_times']) == 100


@pytest.mark.parametrize(('begins', 'known'), [(7, 1.0), (1, 0.5), (0, 0.0)])
def test_what_was_before_the_onset_is_kept_as_far_as_it_was_recorded(
  tmp_path, begins, known
):
  name = write_signals(tmp_path / 'a.csv', 100, EDA=ramp(30, 100, begins))
  row = {'subject': 'A', 'signals': name, 'rate': 100, 'eda': 'EDA'}
  row |= {'signals_onset': begins, 'duration': 10}
  found = prepared(write_manifest(tmp_path, [row]))
  assert found['before'].shape == found['before_valid'].shape == (2 * RATE, 1)
  assert found['before_valid'].mean() == pytest.approx(known, abs=0.02)
  inner = found['before'][:-4][found['before_valid'][:-4]]
  np.testing.assert_allclose(inner, 2, atol=0.2)
  assert found['values'][8:].min() > 7.5 and found['valid'].all()
  nothing = prepared(write_manifest(tmp_path, [row]), baseline=0.0)
  assert nothing['before'].shape == (0, 1)
  np.testing.assert_allclose(nothing['values'], found['values'], atol=1e-4)


def test_an_emg_is_stored_as_its_envelope_which_its_rate_can_hold(tmp_path):
  rng, times = np.random.default_rng(0), np.arange(20 * 1000) / 1000
  muscle = np.where(times < 10, 1.0, 4.0) * rng.standard_normal(len(times))
  name = write_signals(tmp_path / 'a.csv', 1000, EMG=muscle)
  row = {'subject': 'A', 'signals': name, 'rate': 1000, 'emg_left': 'EMG'}
  manifest = write_manifest(tmp_path, [row])
  found = prepared(manifest, ['emg_left'], clean=True)['values'][:, 0]
  early, late = found[: int(9 * RATE)].mean(), found[int(11 * RATE) :].mean()
  # All of 20 to 450 Hz counts: nothing of it is left in raw samples at 32 Hz.
  assert late / early == pytest.approx(4, rel=0.1) and early > 0.6
  assert found.min() >= 0


def test_an_onset_after_the_last_action_unit(tmp_path):
  row = {'subject': 'A', 'openface': 'a.csv', 'video_onset': 20}
  (recording,) = write_manifest(tmp_path, [row]).recordings
  assert recordings.trial_seconds(recording, {}, np.arange(30.0), 'openface') == 10
  with pytest.raises(Dropped, match='row 2, column openface: it ends -12.0 s after'):
    recordings.trial_seconds(recording, {}, np.arange(8.0), 'openface')
