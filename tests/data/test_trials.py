"""Prepared corpora: trials in memory, frames from the chunks that hold them."""

import pickle
import shutil

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError

_CHUNK, _SIZE, _RATE = 16, 16, 5.0
_COUNTS = {'s01_trial01': 40, 's02_trial01': 16, 's02_trial03': 5}
_FEATURES = tfds.features


def _array(shape, dtype):
  return _FEATURES.Tensor(shape=shape, dtype=dtype, encoding=_FEATURES.Encoding.BYTES)


def _pixels(trial_id, number):
  """A frame that tells trial, number and colours apart, whatever JPEG loses."""
  frame = np.zeros((_SIZE, _SIZE, 3), np.uint8)
  frame[...] = 40 * sorted(_COUNTS).index(trial_id), 6 * number, 200
  return frame


def _jpeg(frame):
  return cv2.imencode('.jpg', frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[
    1
  ].tobytes()


def _signals(trial_id):
  return (
    np.random.default_rng(len(trial_id) + int(trial_id[1:3]))
    .normal(size=(64, 2))
    .astype(np.float32)
  )


def _example(trial_id, **fields):
  return {
    'trial_id': trial_id,
    'subject': int(trial_id[1:3]),
    'trial': int(trial_id[-2:]),
    'stimulus': 7,
    'ratings': {'valence': 6.5, 'familiarity': float('nan')},
    'group': '',
    'session': '',
    'streams': {
      'signals': {'values': _signals(trial_id), 'valid': _signals(trial_id) > 0},
      'video': {
        'times': np.zeros(0, np.float32),
        'valid': np.zeros(0, bool),
        'first_chunk': 0,
      }
      | fields.pop('video', {}),
    },
    'frames': [],
    **fields,
  }


class TinyCorpus(tfds.core.GeneratorBasedBuilder):
  """Three trials in the format that the builders in `datasets/` write."""

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name=name)
    for name in ('video', 'signals', 'mixed_up', 'broken')
  ]
  pkg_dir_path = None

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self,
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(
        title='Tiny',
        chunk=_CHUNK,
        ceiling=None,
        streams={'signals': {'kind': 'series', 'rate': 128, 'channels': ['eda', 'ppg']}}
        | (
          {}
          if self.builder_config.name == 'signals'
          else {'video': {'kind': 'frames', 'rate': _RATE, 'channels': []}}
        ),
      ),
      features=_FEATURES.FeaturesDict(
        {
          'trial_id': _FEATURES.Text(),
          'subject': np.int32,
          'trial': np.int32,
          'stimulus': np.int32,
          'ratings': {'valence': np.float32, 'familiarity': np.float32},
          'group': _FEATURES.Text(),
          'session': _FEATURES.Text(),
          'streams': {
            'signals': {
              'values': _array((None, 2), np.float32),
              'valid': _array((None, 2), np.bool_),
            },
            'video': {
              'times': _array((None,), np.float32),
              'valid': _array((None,), np.bool_),
              'first_chunk': np.int64,
            },
          },
          'frames': _FEATURES.Sequence(
            _FEATURES.Image(shape=(_SIZE, _SIZE, 3), encoding_format='jpeg')
          ),
        }
      ),
    )

  def _split_generators(self, dl_manager):
    splits = ('trials', 'video')
    if self.builder_config.name == 'signals':
      splits = ('trials',)
    return {split: self._generate_examples(split) for split in splits}

  def _generate_examples(self, split):
    first = 1 if self.builder_config.name == 'mixed_up' else 0
    for trial_id, count in _COUNTS.items():
      starts = range(0, count, _CHUNK)
      if split == 'trials':
        times = (np.arange(count) / _RATE).astype(np.float32)
        yield (
          trial_id,
          _example(
            trial_id,
            video={'times': times, 'valid': times > 0.5, 'first_chunk': first},
          ),
        )
        first += len(starts)
        continue
      for start in starts:
        numbers = range(start, min(start + _CHUNK, count))
        yield (
          f'{trial_id}_{start}',
          _example(trial_id, frames=[self._picture(trial_id, n) for n in numbers]),
        )

  def _picture(self, trial_id, number):
    if self.builder_config.name == 'broken' and number == 20:
      return b'no picture'
    return _jpeg(_pixels(trial_id, number))


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """Function of a config's name: the folder of that corpus."""
  root = tmp_path_factory.mktemp('prepared')

  def prepare(config):
    builder = TinyCorpus(config=config, data_dir=root, file_format='array_record')
    builder.download_and_prepare()
    return builder.data_dir

  return prepare


@pytest.fixture(scope='module')
def corpus(prepared):
  return PreparedCorpus(prepared('video'))


def _harm(path, how):
  content = path.read_bytes()
  middle = len(content) // 2
  if how == 'missing':
    path.unlink()
  elif how == 'empty':
    path.write_bytes(b'')
  elif how == 'end':
    path.write_bytes(content[:middle])
  else:
    places = range(0, len(content), max(1, len(content) // 400))
    changed = bytearray(content)
    for place in places:
      changed[place] ^= 0x81
    path.write_bytes(changed)


@pytest.mark.parametrize('how', ['missing', 'empty', 'end', 'bytes'])
@pytest.mark.parametrize(
  'name',
  ['dataset_info.json', 'features.json', 'metadata.json', '*-trials*', '*-video*'],
)
def test_damage_is_one_line(prepared, tmp_path, name, how):
  folder = tmp_path / 'tiny_corpus/video/1.0.0'
  shutil.copytree(prepared('video'), folder)
  (path,) = folder.glob(name)
  _harm(path, how)
  with pytest.raises(InputError, match='prepare (it )?anew') as error:
    corpus = PreparedCorpus(folder)
    for trial in corpus.trials:
      corpus.frames(trial, range(len(trial.streams['video'].valid)))
  assert '\n' not in str(error.value) and str(error.value).startswith(str(folder))


def test_trials_are_as_written(corpus):
  assert corpus.has('signals') and corpus.has('video') and not corpus.has('audio')
  assert (corpus.name, corpus.title) == ('tiny_corpus', 'Tiny')
  assert [t.trial_id for t in corpus.trials] == list(_COUNTS)
  trial = corpus.trials[1]
  assert (trial.subject, trial.trial, trial.stimulus) == (2, 1, 7)
  signals, video = trial.streams['signals'], trial.streams['video']
  assert (video.first_chunk, video.rate, signals.rate) == (3, _RATE, 128)
  assert signals.channels == ('eda', 'ppg')
  assert signals.seconds == 0.5 and signals.clock[-1] == 63 / 128
  assert trial.ratings['valence'] == 6.5 and np.isnan(trial.ratings['familiarity'])
  np.testing.assert_array_equal(signals.values, _signals('s02_trial01'))
  np.testing.assert_array_equal(signals.valid, _signals('s02_trial01') > 0)
  assert signals.values.dtype == video.times.dtype == np.float32
  np.testing.assert_array_equal(video.valid, np.arange(16) / _RATE > 0.5)


def _assert_frames(corpus, trial, numbers):
  got = corpus.frames(trial, numbers)
  assert got.shape == (len(numbers), _SIZE, _SIZE, 3) and got.dtype == np.uint8
  wanted = np.stack([_pixels(trial.trial_id, n) for n in numbers])
  assert np.abs(got.astype(int) - wanted).max() <= 4  # JPEG


@pytest.mark.parametrize(
  'numbers', [[0], [39], [15, 16], [33, 2, 2, 17, 33], range(40)]
)
def test_frames_come_as_asked_for(corpus, numbers):
  _assert_frames(corpus, corpus.trials[0], list(numbers))


def test_a_frame_that_is_no_picture(prepared):
  corpus = PreparedCorpus(prepared('broken'))
  _assert_frames(corpus, corpus.trials[0], [19, 21])
  message = 'frame 20 of video of s01_trial01 is no picture; delete the folder'
  with pytest.raises(InputError, match=message):
    corpus.frames(corpus.trials[0], [19, 20])


def test_frames_of_every_trial(corpus):
  for trial in corpus.trials:
    _assert_frames(corpus, trial, [0, len(trial.streams['video'].times) - 1])


def test_only_the_chunks_that_hold_them_are_read(prepared):
  corpus = PreparedCorpus(prepared('video'))
  read, chunk_of = [], corpus._chunks['video']

  def spy(row):
    read.append(row)
    return chunk_of(row)

  corpus.__dict__['_chunks'] = {'video': spy}
  corpus.frames(corpus.trials[0], [34, 35, 3])
  corpus.frames(corpus.trials[2], [4])
  assert read == [0, 2, 4]


def test_frames_that_are_not_where_the_index_says(prepared):
  corpus = PreparedCorpus(prepared('mixed_up'))
  with pytest.raises(InputError, match='s01_trial01 are not where the index says'):
    corpus.frames(corpus.trials[0], [33])


def test_a_corpus_can_go_to_other_processes(corpus):
  other = pickle.loads(pickle.dumps(corpus))
  assert [t.trial_id for t in other.trials] == list(_COUNTS)
  _assert_frames(other, other.trials[2], [4, 0])
  assert len(pickle.dumps(corpus)) < 1000  # the files, not the data


def test_a_corpus_without_video(prepared):
  corpus = PreparedCorpus(prepared('signals'))
  assert not corpus.has('video') and 'video' not in corpus.trials[0].streams
  assert len(corpus.trials) == 3
