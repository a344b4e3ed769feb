"""Sound, action units and features of all are streamed as files are predicted."""

import csv
import wave

import numpy as np
import pytest

import mvp_jax
from mvp_jax.errors import InputError
from mvp_jax.inference.sources import LiveSound, LiveUnits
from mvp_jax.jobs import train
from mvp_jax.models.modalities.descriptors import Descriptors
from mvp_jax.models.modalities.handcrafted import Handcrafted
from mvp_jax.models.modalities.voice import Voice
from mvp_jax.raw.audio import RATE as STORED
from mvp_jax.raw.audio import SoundTrack, read_sound
from mvp_jax.raw.frames import reading
from mvp_jax.raw.openface import CHANNELS
from tests import running
from tests.inference.conftest import SECONDS, config_of
from tests.inference.test_stream import ONSET, RATE, samples

SOUND, WINDOW, HOP = 32_000, 6.0, 2.0  # Hz; seconds
GIVEN = {'rate': RATE, 'eda': 'EDA', 'ppg': 'PPG', 'signals_onset': ONSET}


def voice(seed):
  """Something like a voice, on two channels: int16 [n, 2]."""
  rng, times = np.random.default_rng(seed), np.arange(round(SECONDS * SOUND)) / SOUND
  pitch = rng.uniform(110, 240) * (1 + 0.1 * np.sin(times))
  tone = sum(np.sin(2 * np.pi * k * np.cumsum(pitch) / SOUND) / k for k in (1, 2, 3))
  loud = 0.1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * times) ** 2
  both = (loud * tone)[:, None] * [1, 0.5] + rng.normal(0, 0.01, (len(times), 2))
  return np.round(both * 20_000).astype(np.int16)


def write_wave(path, sound):
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(2)
    file.setsampwidth(2)
    file.setframerate(SOUND)
    file.writeframes(sound.tobytes())


@pytest.fixture(scope='module')
def study(tmp_path_factory):
  """A folder of recordings with everything, and its rows."""
  folder = tmp_path_factory.mktemp('heard') / 'study'
  sizes = {'frame_rate': 6.0, 'width': 128, 'height': 96, 'pixel_aspect': (1, 1)}
  mvp_jax.write_twin(
    'recordings',
    folder,
    workers=1,
    subjects=2,
    trials=2,
    video_seconds=SECONDS,
    **sizes,
  )
  manifest = folder / 'manifest.csv'
  with manifest.open(newline='') as file:
    rows = list(csv.DictReader(file))
  for seed, row in enumerate(rows):
    write_wave(folder / f'{seed}.wav', voice(seed))
    row['audio'] = f'{seed}.wav'
  for path in folder.glob('*.sha256'):
    path.unlink()
  with manifest.open('w', newline='') as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
  return folder, rows


@pytest.fixture(scope='module')
def model(study, tmp_path_factory):
  folder = tmp_path_factory.mktemp('streamed')
  config = config_of(
    folder,
    models={'all': 'physio+video+voice+action_units+handcrafted+descriptors'},
    modalities=running.MODALITIES
    | {
      'voice': Voice(picture_width=16, picture_depth=1, heads=2, mlp_width=16),
      'handcrafted': Handcrafted(),
      'descriptors': Descriptors(
        streams=('audio', 'signals', 'action_units'), heads=2, mlp_width=16
      ),
    },
  )
  config = running.changed(
    config,
    data={'manual_dir': str(study[0])},
    input={'max_seconds': WINDOW},
    evaluation={
      'models': ('all',),
      'seeds': 1,
      'ensemble': 1,
      'temperature': False,
      'validation_subjects': 0,
    },
  )
  optimiser = running.changed(config.train, optimiser={'steps': 1, 'warmup_steps': 0})
  running.run(
    train,
    running.changed(config, train={'optimiser': optimiser.optimiser}),
    folder / 'run',
  )
  return mvp_jax.load(folder / 'run')


def test_a_stream_of_everything_says_what_is_said_of_the_files(study, model):
  folder, (row, *_) = study
  files = {name: folder / row[name] for name in ('signals', 'audio', 'openface')}
  video = folder / row['video']
  said = model.predict(video, hop=HOP, **files, **GIVEN).estimates
  assert said.starts.tolist() == [0, 2, 3]
  values, sound, units = (
    samples(files['signals']),
    voice(0),
    openface(files['openface']),
  )
  times = np.arange(len(values)) / RATE - ONSET
  stream, found, sent, heard = model.stream(hop=HOP), [], 0, 0
  with reading(video) as frames:
    for number, (time, frame) in enumerate(frames):
      while sent < len(times) and times[sent] <= time:
        here = slice(sent, sent + 16)
        found += stream.signals(times[here], eda=values[here, 0], ppg=values[here, 1])
        sent += 16
      while heard < len(sound) and heard / SOUND <= time:
        part = sound[heard : heard + 1000]
        found += stream.audio(heard / SOUND, part, SOUND)
        heard += 1000
      found += stream.frame(time, frame)
      found += stream.action_units(time, units[number])
  stream.signals(times[sent:], eda=values[sent:, 0], ppg=values[sent:, 1])
  if heard < len(sound):
    stream.audio(heard / SOUND, sound[heard:], SOUND)
  assert len(found) == 1  # and those that wait for the end
  found += stream.finish()
  np.testing.assert_allclose([x.start for x in found], said.starts, atol=1e-9)
  each = np.stack([x.models for x in found])
  np.testing.assert_allclose(each, said.windows, atol=1e-5)
  assert np.ptp(each, axis=0).max() > 1e-3  # windows differ
  assert {x.note for x in found} == {''}


def openface(path):
  """The rows of a CSV: list of {column: number}."""
  with path.open(newline='') as file:
    rows = csv.DictReader(file)
    return [{name.strip(): float(x) for name, x in row.items()} for row in rows]


def test_every_source_counts(study, model):
  """Another sound, and other action units, change what is said."""
  folder, (row, other, *_) = study
  files = {name: folder / row[name] for name in ('signals', 'audio', 'openface')}

  def said(**more):
    found = model.predict(folder / row['video'], **files | more, **GIVEN)
    return found.estimates.windows

  own = said()
  for name in ('audio', 'openface'):
    assert np.abs(said(**{name: folder / other[name]}) - own).max() > 1e-4


def test_memory_does_not_grow(model):
  stream, grey = model.stream(hop=5.0), np.full((48, 64, 3), 90, np.uint8)
  found, rng = [], np.random.default_rng(0)
  for step in range(40 * 5):
    time = 1e9 + step / 5
    found += stream.frame(time, grey)
    found += stream.action_units(time, np.zeros(35))
    found += stream.audio(time, rng.normal(0, 0.1, 1600), 8000)
    times = time + np.arange(4) / 20
    found += stream.signals(times, eda=3 + rng.normal(size=4), ppg=rng.normal(size=4))
  assert [x.start for x in found] == [0, 5, 10, 15, 20, 25, 30]
  seconds = WINDOW + 5 + 3
  assert sum(len(x.joined()) for x in stream._sound._parts) <= seconds * STORED
  assert len(stream._units._kept) <= seconds * 5


def test_sound_is_that_of_a_file_whatever_pieces_it_comes_in(tmp_path):
  sound = voice(3)
  write_wave(tmp_path / 'x.wav', sound)
  whole = read_sound(SoundTrack(tmp_path / 'x.wav'))
  stored = np.concatenate([np.frombuffer(x, '<i2') for x in whole['chunks']])
  rng, live, place = np.random.default_rng(0), LiveSound(), 0
  while place < len(sound):
    size = int(rng.integers(1, 3000))
    part = sound[place : place + size] / np.float32(32768)
    live.add(100 + place / SOUND, part, SOUND)
    place += size
    if place > 3 * SOUND:
      live.forget(102.0)  # nothing that a later window holds
  live.finish()
  found, values = live.stretch(2.0, SECONDS, 100.0)
  assert np.abs(values.astype(int) - stored[2 * STORED :][: len(values)]).max() <= 1
  assert found.recorded.tolist() == [[0, len(values)]] and found.rate == STORED
  assert sum(len(part.joined()) for part in live._parts) < (SECONDS - 1.9) * STORED


def test_gaps_in_sound_are_silent_and_told():
  live, tone = LiveSound(), np.full(STORED, 0.5)
  live.add(1.0, tone, STORED)
  live.add(2.02, tone, STORED)  # a late stamp, no gap
  live.add(3.5, tone, STORED)  # half a second later
  found, values = live.stretch(0.0, 5.0, 0.5)
  spans = (found.recorded / STORED).round(3)
  assert spans.tolist() == [[0.5, 2.5], [3.0, 4.0]]
  assert set(values[: STORED // 2]) == {0} and values[STORED] == 16384
  assert not values[round(2.6 * STORED)] and values[round(3.1 * STORED)]
  assert live.knows(3.99, 0.5) and not live.knows(4.01, 0.5)


@pytest.mark.parametrize(
  ('call', 'told'),
  [
    (lambda x: x.audio(0.0, np.zeros((2, 2, 2), np.int16), 8000), r'int16 \[2, 2, 2\]'),
    (lambda x: x.audio(0.0, np.zeros(9, np.uint8), 8000), 'samples are uint8'),
    (lambda x: x.audio(0.0, np.zeros(9), 20), 'rate is 20 Hz, as no sound has'),
    (lambda x: x.audio(np.inf, np.zeros(9), 8000), 'time is inf; give seconds'),
    (lambda x: x.action_units(0.0, np.zeros(17)), r'\[17\] values, must be 35: AU01_r'),
    (lambda x: [x.action_units(1, {}), x.action_units(1, {})], 'is not after 1, of'),
    (
      lambda x: [x.audio(1, np.zeros(9), 8000)] * 1 + [x.audio(1, np.zeros(9), 8000)],
      'time 1 is not after 1',
    ),
  ],
)
def test_what_is_fed_wrong_is_one_line(model, call, told):
  with pytest.raises(InputError, match=told):
    call(model.stream())


def test_action_units_without_a_face_are_none():
  units = LiveUnits()
  units.add(5.0, np.full(35, 0.5))
  units.add(5.5, dict.fromkeys(CHANNELS, 0.5) | {'confidence': 0.6})  # hardly a face
  units.add(6.0, np.full(35, 6.0))  # no intensity is so large
  series = units.series(5.0)
  assert series.times.tolist() == [0, 0.5, 1] and series.channels == CHANNELS
  assert series.valid.all(1).tolist() == [True, False, False] and units.end == 6.5
  units.forget(5.7)
  assert units.series(5.0).times.tolist() == [1]
