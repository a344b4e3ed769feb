"""What comes bit by bit is predicted as the file that it would make."""

import csv
import fractions
import types

import av
import numpy as np
import pytest

import mvp_jax
from mvp_jax.errors import InputError
from mvp_jax.inference.model import Ensemble
from mvp_jax.inference.predict import mean_course
from mvp_jax.raw.frames import reading

RATE, ONSET = 128, 3.0  # of the signals; of the video on their clock, in seconds
GIVEN = {'rate': RATE, 'eda': 'EDA', 'ppg': 'PPG', 'signals_onset': ONSET}
HOP, CHUNK = 4.0, 13  # seconds; samples that come at a time


@pytest.fixture(scope='module')
def model(run):
  return mvp_jax.load(run.workdir)


@pytest.fixture(scope='module')
def long(run, tmp_path_factory):
  """Video and signals of three trials of one person, one after another."""
  folder, rows = tmp_path_factory.mktemp('long'), run.rows[:3]
  with av.open(str(folder / 'long.mp4'), 'w') as out:
    stream = out.add_stream('libx264', rate=6)
    stream.width, stream.height, stream.pix_fmt = 128, 96, 'yuv420p'
    number = 0
    for row in rows:
      with av.open(str(run.study / row['video'])) as container:
        for frame in container.decode(video=0):
          frame.pts, frame.time_base = number, fractions.Fraction(1, 6)
          out.mux(stream.encode(frame))
          number += 1
    out.mux(stream.encode())
  values = [samples(run.study / row['signals']) for row in rows]
  lead, length = round(ONSET * RATE), round((ONSET + 9) * RATE)
  values = np.concatenate([values[0][:length], *(x[lead:length] for x in values[1:])])
  np.savetxt(
    folder / 'long.csv',
    values,
    delimiter=',',
    header='EDA,PPG',
    comments='',
    fmt='%.5f',
  )
  return folder / 'long.mp4', folder / 'long.csv'


def samples(path):
  """EDA and PPG of a file: [time, 2]."""
  with path.open(newline='') as file:
    return np.array([[float(x['EDA']), float(x['PPG'])] for x in csv.DictReader(file)])


def played(stream, video, signals, shift=0.0):
  """Feeds files as they were recorded: list of (time of the newest, estimate).

  All frames but the first come `shift` seconds later.
  """
  values, found, sent = samples(signals), [], 0
  times = np.arange(len(values)) / RATE - ONSET
  with reading(video) as frames:
    for time, frame in frames:
      while sent < len(times) and times[min(sent + CHUNK, len(times)) - 1] <= time:
        here = slice(sent, sent + CHUNK)
        own = {'eda': values[here, 0], 'ppg': values[here, 1]}
        found += [(time, x) for x in stream.signals(times[here], **own)]
        sent += CHUNK
      found += [(time, x) for x in stream.frame(time + shift * (time > 0), frame)]
  stream.signals(times[sent:], eda=values[sent:, 0], ppg=values[sent:, 1])
  return found + [(np.inf, x) for x in stream.finish()]


def test_a_stream_says_what_is_said_of_the_file(model, long):
  video, signals = long
  stream = model.stream(hop=HOP)
  found = played(stream, video, signals)
  said = model.predict(video, hop=HOP, signals=signals, **GIVEN).estimates
  assert len(said.starts) == 6
  np.testing.assert_allclose([x.start for _, x in found], said.starts, atol=1e-9)
  np.testing.assert_allclose([x.end for _, x in found], said.ends, atol=1e-9)
  each = np.stack([x.models for _, x in found])
  np.testing.assert_allclose(each, said.windows, atol=1e-5)
  assert np.ptp(each, axis=0).max() > 1e-3  # windows differ
  for i, name in enumerate(model.ratings):
    values = [x.values[name] for _, x in found]
    np.testing.assert_allclose(values, said.windows[..., i].mean(1), atol=1e-5)
  # As soon as said, but for the two frames of a slow camera.
  delays = [time - x.end for time, x in found if time < np.inf]
  assert len(delays) == 4 and max(delays) <= stream.latency + 2 / 6
  assert [x.note for _, x in found] == [''] * 6
  # Of four people nothing is learnt that could be promised.
  assert [x.answers for _, x in found] == [dict.fromkeys(model.ratings)] * 6


def test_how_the_times_of_frames_are_rounded_changes_nothing(run, model):
  video, signals = (run.study / run.rows[0][name] for name in ('video', 'signals'))
  found = []
  for shift in (0.0, 1e-9, -1e-9):
    ((_, one),) = played(model.stream(), video, signals, shift)
    found.append(one.models)
  np.testing.assert_array_equal(found[1:], [found[0]] * 2)


def test_a_short_stream_is_one_window(run, model):
  row = run.rows[0]
  video, signals = run.study / row['video'], run.study / row['signals']
  ((_, found),) = played(model.stream(), video, signals)
  said = model.predict(video, signals=signals, **GIVEN).estimates
  assert (found.start, found.end) == (0.0, pytest.approx(9.0))
  np.testing.assert_allclose(found.models, said.windows[0], atol=1e-5)


def live(stream, seconds, eda_until=np.inf):
  """Feeds grey pictures and signals by the clock of a day: list of estimates."""
  grey, found = np.full((48, 64, 3), 90, np.uint8), []
  rng = np.random.default_rng(0)
  for step in range(round(seconds * 5)):
    time = 1e9 + step / 5
    found += stream.frame(time, grey)
    times = time + np.arange(4) / 20
    found += stream.signals(times, ppg=rng.normal(size=4))
    if step / 5 < eda_until:
      found += stream.signals(times, eda=3 + rng.normal(size=4))
  return found


def test_memory_does_not_grow(model):
  stream = model.stream(hop=HOP)
  found = live(stream, 120)
  assert [x.start for x in found] == [HOP * k for k in range(28)]
  kept = [len(x._joined()[0]) for x in stream._signals.values()]
  assert len(stream._faces._kept) <= (9 + HOP + 3) * 5
  assert max(kept) <= (9 + HOP + 16) * 20
  assert {x.note for x in found} == {'nothing is said: hardly any face'}
  assert found[0].values == dict.fromkeys(model.ratings)


def test_a_source_that_stalls_is_not_waited_for(model):
  found = live(model.stream(hop=HOP), 40, eda_until=12)
  starts = [x.start for x in found]
  assert starts == [HOP * k for k in range(len(starts))] and len(starts) == 5
  assert 'eda: ' in found[4].note and 'eda: ' not in found[0].note


@pytest.mark.parametrize(
  ('given', 'told'),
  [
    ({'sources': ('video', 'ecg')}, 'does not read ecg; it reads'),
    ({'sources': ('eda', 'ppg')}, 'cannot do without video'),
    ({'hop': 0}, 'hop is 0, must be above 0'),
    ({'unit': {'ecg': 'mV'}}, 'unit: of ecg, which is no source'),
    ({'unit': {'eda': 'volt'}}, "eda_unit 'volt' is none of"),
  ],
)
def test_streams_that_cannot_be(model, given, told):
  with pytest.raises(InputError, match=told):
    model.stream(**given)


@pytest.mark.parametrize(
  ('call', 'told'),
  [
    (lambda x: x.frame(1.0, np.zeros((48, 64, 3))), r'a frame is float64 \[48, 64, 3'),
    (lambda x: x.frame(0.0, np.zeros((48, 64, 3), np.uint8)), 'is not after 0, of the'),
    (lambda x: x.frame(1.0, np.zeros((64, 64, 3), np.uint8)), 'changes from 64x48 to'),
    (lambda x: x.frame(99.0, np.zeros((48, 64, 3), np.uint8)), 'frames jump by 99 s'),
    (lambda x: x.frame(np.nan, None), 'time is nan'),
    (lambda x: x.signals(1.0, ecg=1.0), "no channel 'ecg'; this stream takes eda, ppg"),
    (lambda x: x.signals([1.0, 1.0], eda=[1, 2]), 'eda: its times do not advance'),
    (lambda x: x.signals([1.0, 2.0], eda=[1]), r'eda: \[1\] values at \[2\] times'),
    (lambda x: x.audio(1.0, np.zeros(9), 8000), 'audio: this stream takes no audio'),
    (lambda x: x.action_units(1.0, {}), 'no action_units, only eda, ppg, video'),
    (lambda x: x.finish(), 'the stream lasted 0.0 s'),
  ],
)
def test_what_is_fed_wrong_is_one_line(model, call, told):
  stream = model.stream()
  stream.frame(0.0, np.zeros((48, 64, 3), np.uint8))
  with pytest.raises(InputError, match=told):
    call(stream)


def test_a_stream_without_one_of_its_channels(model):
  stream = model.stream(sources=('video', 'ppg'))  # trained with channels left out
  grey = np.zeros((48, 64, 3), np.uint8)
  for step in range(20):
    stream.frame(step / 5, grey)
    stream.signals(step / 5 + np.arange(4) / 20, ppg=np.arange(4.0))
  (said,) = stream.finish()
  assert 'there is no eda' in said.note
  with pytest.raises(InputError, match='is finished; begin another'):
    stream.frame(9.0, grey)


def test_windows_of_ratings_in_time_may_overlap():
  model = object.__new__(Ensemble)
  model.config = types.SimpleNamespace(input=types.SimpleNamespace(max_seconds=9.0))
  model.target = types.SimpleNamespace(level='frame', rate=2.0)
  # 41 labels of half a second; windows of 18 labels, 8 apart.
  assert model.spans_of(20.2, 4.3) == [(0, 9), (4, 13), (8, 17), (11.5, 20.5)]
  assert model.spans_of(9.0, 4.0) == [(0, 9)]
  values = [np.full((2, 1, 1), x) for x in (1.0, 3.0, 8.0)]
  found = mean_course(np.array([0, 0.5, 1.0]), values, 4, 2.0)
  assert found.ravel().tolist() == [1, 2, 5.5, 8]
