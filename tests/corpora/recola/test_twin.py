"""What the twin of RECOLA plants, and that its files are as the official ones."""

import json

import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import butter, sosfiltfilt

from mvp_jax.corpora.recola import twin as recola
from mvp_jax.errors import InputError

SPEC = recola.RecolaSpec(people=12, without=3, seconds=60.0)


def _concordance(x, y):
  return (
    2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
  )


def _gold(spec):
  return np.concatenate([recola.ratings(spec, n).mean(1) for n in spec.numbers])


def _felt(spec, lag):
  """Of what was before the recording nobody can tell more than its first moment."""
  times = np.maximum(spec.rating_times - lag, 0)
  return np.concatenate([recola.courses(spec, n).felt(times) for n in spec.numbers])


def test_people_are_the_official_ones():
  whole = recola.RecolaSpec()
  assert len(whole.numbers) == 23 and whole.numbers[:3] == [16, 17, 19]
  assert whole.with_biosignals == sorted(recola.WITH_BIOSIGNALS)
  assert len(whole.rating_times) == 7501 and whole.rating_times[-1] == 300
  assert len(SPEC.with_biosignals) == 9 and set(SPEC.numbers) < set(whole.numbers)
  most = recola.RecolaSpec(people=46)
  assert len(set(most.numbers)) == 46 and max(most.numbers) == 65
  more = recola.RecolaSpec(people=97)
  assert len(set(more.numbers)) == 97 and len(set(more.pairs.values())) == 49
  pairs = list(most.pairs.values())
  assert pairs == sorted(pairs) and {pairs.count(p) for p in pairs} == {2}


def test_the_best_possible_is_what_is_felt_with_the_lag_and_the_raters_bias():
  told = recola._told(SPEC)['ceiling']
  gold, felt = _gold(SPEC), _felt(SPEC, SPEC.lag)
  for i, name in enumerate(recola.RATINGS):
    best = _concordance(felt[:, i] + recola.biases(SPEC).mean(0)[i], gold[:, i])
    assert told[name]['ccc'] == pytest.approx(best, abs=1e-3) and best > 0.93
    assert _concordance(_felt(SPEC, 0.0)[:, i], gold[:, i]) < best - 0.1


def test_six_raters_differ_by_a_bias_and_a_slow_error():
  said = np.concatenate([recola.ratings(SPEC, n) for n in SPEC.numbers])
  assert said.shape[1:] == (6, 2) and abs(said).max() <= 1
  apart = said - said.mean(1, keepdims=True)
  biases = recola.biases(SPEC) - recola.biases(SPEC).mean(0)
  assert np.abs(apart.mean(0) - biases).max() < 0.06
  assert np.median(apart.std(0)) == pytest.approx(0.2 * np.sqrt(5 / 6), rel=0.2)
  assert np.abs(np.diff(recola.ratings(SPEC, 16), axis=0)).max() < 0.06  # in .04 s
  for i in range(2):  # together they are better than any
    alone = [_concordance(said[:, r, i], _felt(SPEC, 2)[:, i]) for r in range(6)]
    assert _concordance(_gold(SPEC)[:, i], _felt(SPEC, 2)[:, i]) > max(alone)


def test_voice_and_skin_have_their_shares_of_arousal():
  times = SPEC.rating_times
  parts = np.concatenate([recola.courses(SPEC, n).parts(times) for n in SPEC.numbers])
  felt = np.concatenate([recola.courses(SPEC, n).felt(times) for n in SPEC.numbers])
  np.testing.assert_allclose(parts[:, 1] + parts[:, 2], felt[:, 1])
  shares = parts[:, 1:].var(0) / felt[:, 1].var()
  np.testing.assert_allclose(shares, [0.6, 0.4], atol=0.12)
  effects = recola._told(SPEC)['effects']
  assert '60% of the variance is heard' in effects and '40% only raises' in effects


def test_the_skin_follows_its_part_and_the_voice_the_other(tmp_path):
  found = []
  for number in SPEC.with_biosignals[:4]:
    path = tmp_path / f'P{number}.csv'
    recola._write_biosignals(path, SPEC, number)
    header = path.read_text().partition('\n')[0]
    assert header == 'time;EDA;ECG '
    times, eda, ecg = np.loadtxt(path, delimiter=';', skiprows=1).T
    assert len(times) == 60_000 and times[1] == 0.001
    slow = sosfiltfilt(butter(2, 0.5, fs=1000, output='sos'), eda)
    late = recola.courses(SPEC, number).parts(times - 1.0)
    found.append([np.corrcoef(slow, part)[0, 1] for part in late.T[[2, 1]]])
    beats = (np.diff(ecg > 0.5 * ecg.max()) > 0).sum() / 2
    assert 40 < beats < 130
  own, other = np.mean(found, axis=0)
  assert own > 0.9 and abs(other) < 0.4

  recola._write_sound(tmp_path / 'P16.wav', SPEC, 16)
  rate, wave = wavfile.read(tmp_path / 'P16.wav')
  level = np.log(np.square(wave.reshape(60, rate).astype(float)).mean(1))
  parts = recola.courses(SPEC, 16).parts(np.arange(60) + 0.5)
  assert np.corrcoef(level, parts[:, 1])[0, 1] > 0.8
  assert abs(np.corrcoef(level, parts[:, 2])[0, 1]) < 0.4


def test_in_null_nothing_is_planted_and_in_leaky_only_the_pair():
  null, leaky = (
    recola.RecolaSpec(people=46, seconds=40.0, variant=variant)
    for variant in ('null', 'leaky')
  )
  for spec in (null, leaky):
    for i in range(2):
      assert abs(_concordance(_felt(spec, 2.0)[:, i], _gold(spec)[:, i])) < 0.15
    assert {x['ccc'] for x in recola._told(spec)['ceiling'].values()} == {0}
  means = {}
  for spec in (null, leaky):
    of = np.array([recola.ratings(spec, n).mean((0, 1)) for n in spec.numbers])
    means[spec.variant] = [np.corrcoef(of[::2, i], of[1::2, i])[0, 1] for i in range(2)]
  assert min(means['leaky']) > 0.8 and max(map(abs, means['null'])) < 0.65


def test_the_whistle_of_a_leaky_room_is_that_of_the_pair(tmp_path):
  spec = recola.RecolaSpec(people=4, without=0, seconds=5.0, variant='leaky')
  peaks = []
  for number in spec.numbers:
    recola._write_sound(tmp_path / f'P{number}.wav', spec, number)
    rate, wave = wavfile.read(tmp_path / f'P{number}.wav')
    spectrum = np.abs(np.fft.rfft(wave))
    spectrum[: 2000 * 5] = 0
    peaks.append(np.argmax(spectrum) / 5)
  assert peaks[0] == peaks[1] != peaks[2] == peaks[3]


def test_the_marker_is_last_and_equal_specs_give_equal_files(tmp_path):
  spec = recola.RecolaSpec(people=2, without=1, seconds=5.0, frame_rate=5.0)
  contents = []
  for name in ('a', 'b'):
    recola.write_recola_twin(tmp_path / name, spec, 1)
    files = sorted(p for p in (tmp_path / name).rglob('*') if p.is_file())
    contents.append([(p.relative_to(tmp_path / name), p.read_bytes()) for p in files])
  assert contents[0] == contents[1] and len(contents[0]) == 1 + 1 + 2 * 4 + 2
  marker = json.loads((tmp_path / 'a' / 'SYNTHETIC.json').read_text())
  assert (marker['corpus'], marker['subjects']) == ('RECOLA', 1)
  path = tmp_path / 'a' / 'RECOLA-Annotation/emotional_behaviour/valence/P16.csv'
  lines = path.read_text().splitlines()
  assert lines[0] == 'time;FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3' and len(lines) == 1 + 126


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'people': 1000}, 'people: 2 to 999'),
    ({'without': 24}, 'without: 0 to people'),
    ({'variant': 'coupled'}, 'variant: one of planted, null, leaky'),
    ({'skin': 1.5}, 'skin: 0 to 1'),
  ],
)
def test_what_no_twin_can_be(fields, message):
  with pytest.raises(InputError, match=message):
    recola.RecolaSpec(**fields)
