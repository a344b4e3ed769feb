"""Features of a frozen backbone: its own, in order, kept, and made anew if damaged."""

import weakref

import numpy as np
import pytest

from mvp_jax.data.clips import lay_clips
from mvp_jax.training.features import cache_features
from mvp_jax.training.state import build_model
from mvp_jax.training.tasks import FrameFeatures
from tests.training.films import LAYOUT


def _cache(task, params, corpus, mesh, folder, batch_size=3):
  trials = [t for t in corpus.trials if 'video' in t.streams]
  cache_features(
    FrameFeatures(task.model),
    params['encoder'],
    corpus,
    trials,
    LAYOUT,
    batch_size,
    mesh=mesh,
    directory=folder,
  )
  return {t.trial_id: np.load(folder / f'{t.trial_id}.npy') for t in trials}


@pytest.mark.parametrize('batch_size', [3, 64])
def test_features_are_the_encoder_s_own(
  masked_video, video_params, one_device, corpus, tmp_path, batch_size
):
  found = _cache(masked_video, video_params, corpus, one_device, tmp_path, batch_size)
  trials = [t for t in corpus.trials if 'video' in t.streams]
  numbers = [lay_clips(t.streams['video'], LAYOUT)[0] for t in trials]
  clips = np.concatenate(
    [
      corpus.frames(t, n.ravel()).reshape(*n.shape, 16, 16, 3)
      for t, n in zip(trials, numbers, strict=True)
    ]
  )
  model = build_model(masked_video, video_params)
  wanted = np.asarray(model.encoder.features(clips)).reshape(-1, 16)
  assert [len(found[t.trial_id]) for t in trials] == [2 * n for n in (4, 7, 1, 3, 2)]
  got = np.concatenate([found[t.trial_id] for t in trials])
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


class Alive:
  """Two trials of many clips; counts how many of the clips are in memory."""

  stream, most = 'video', 0

  def clips(self, corpus, trial):
    made = []
    for k in range(20):
      clip = np.random.default_rng(k).integers(0, 256, (4, 16, 16, 3), np.uint8)
      made.append(weakref.ref(clip))
      self.most = max(self.most, sum(ref() is not None for ref in made))
      yield clip, k != 7


def test_no_more_clips_are_in_memory_than_a_batch(
  masked_video, video_params, one_device, corpus, tmp_path
):
  layout = Alive()
  cache_features(
    FrameFeatures(masked_video.model),
    video_params['encoder'],
    corpus,
    corpus.trials[:2],
    layout,
    3,
    mesh=one_device,
    directory=tmp_path,
  )
  assert 3 <= layout.most <= 4
  for trial in corpus.trials[:2]:
    tokens = np.load(tmp_path / f'{trial.trial_id}.npy').reshape(20, 2, 16)
    lost = np.isnan(tokens).any((1, 2))
    assert np.flatnonzero(lost).tolist() == [7] and np.isnan(tokens[7]).all()


def test_only_what_is_missing_is_computed(
  masked_video, video_params, one_device, corpus, tmp_path
):
  before = _cache(masked_video, video_params, corpus, one_device, tmp_path)
  assert sorted(corpus.read) == [1, 2, 3, 5, 6]
  times = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
  (tmp_path / 's03_trial01.npy').unlink()
  (tmp_path / 's05_trial01.npy').unlink()
  corpus.read.clear()
  after = _cache(masked_video, video_params, corpus, one_device, tmp_path)
  assert sorted(corpus.read) == [3, 5]
  for name, tokens in before.items():
    np.testing.assert_allclose(after[name], tokens, rtol=1e-5, atol=1e-6)
  for path in tmp_path.glob('*.npy'):
    if path.stem not in ('s03_trial01', 's05_trial01'):
      assert path.stat().st_mtime_ns == times[path.name]
  assert len(list(tmp_path.iterdir())) == 6  # with checksums, and nothing temporary
  corpus.read.clear()
  _cache(masked_video, video_params, corpus, one_device, tmp_path)
  assert not corpus.read


@pytest.mark.parametrize('harm', ['bit', 'zeros', 'end'])
def test_damaged_features_are_made_anew(
  masked_video, video_params, one_device, corpus, tmp_path, capsys, harm
):
  before = _cache(masked_video, video_params, corpus, one_device, tmp_path)
  path = tmp_path / 's03_trial01.npy'
  content = bytearray(path.read_bytes())
  if harm == 'bit':
    content[-7] ^= 1
  elif harm == 'zeros':
    content[-64:] = bytes(64)
  path.write_bytes(content[:-100] if harm == 'end' else content)
  corpus.read.clear()
  capsys.readouterr()
  after = _cache(masked_video, video_params, corpus, one_device, tmp_path)
  assert corpus.read == [3]
  told = f'{path}: is not what was written; it is made anew'
  assert told in capsys.readouterr().err.splitlines()
  for name, tokens in before.items():
    np.testing.assert_allclose(after[name], tokens, rtol=1e-5, atol=1e-6)
  corpus.read.clear()
  _cache(masked_video, video_params, corpus, one_device, tmp_path)
  assert not corpus.read


def test_features_without_checksums_are_kept_and_get_some(
  masked_video, video_params, one_device, corpus, tmp_path
):
  _cache(masked_video, video_params, corpus, one_device, tmp_path)
  (tmp_path / 'checksums.json').unlink()
  corpus.read.clear()
  _cache(masked_video, video_params, corpus, one_device, tmp_path)
  assert not corpus.read and (tmp_path / 'checksums.json').exists()


def test_a_killed_run_keeps_what_was_whole(
  masked_video, video_params, one_device, corpus, tmp_path
):
  real = corpus.frames

  def cut(trial, numbers):
    if trial.subject == 5:
      raise KeyboardInterrupt
    return real(trial, numbers)

  corpus.frames = cut
  with pytest.raises(KeyboardInterrupt):
    _cache(masked_video, video_params, corpus, one_device, tmp_path, batch_size=2)
  found = {p.name for p in tmp_path.iterdir()}
  assert (
    {'s01_trial01.npy', 's02_trial01.npy'}
    <= found
    <= {'s01_trial01.npy', 's02_trial01.npy', 's03_trial01.npy'}
  )
