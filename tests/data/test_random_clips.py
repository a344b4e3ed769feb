"""Random clips cover a trial; mixtures hold the shares asked for."""

import sys
import types

import numpy as np
import pytest

from mvp_jax.data.batches import training_batches
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.random_clips import RandomClips, mix
from mvp_jax.data.trial import Frames
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError


def _trial(count):
  times = (np.arange(count) / 5).astype(np.float32)
  video = Frames(times, np.ones(count, bool), first_chunk=0, rate=5.0)
  return types.SimpleNamespace(trial_id='s01_trial01', streams={'video': video})


class _NumberedFrames:
  """A corpus whose frames hold their number; left and right differ by 100."""

  def __init__(self, name='numbers'):
    self.name = name

  def frames(self, trial, numbers):
    left = np.asarray(numbers, np.uint8)[:, None, None, None]
    sides = np.concatenate([left, left + 100], axis=2)
    return np.repeat(np.repeat(sides, 4, axis=1), 2, axis=2) + np.zeros(3, np.uint8)


_LAYOUT = ClipLayout(frames=4, stride=2, spacing=1.0, tubelet=2)


def _source(trials, corpus=None, repeats=1, **kwargs):
  return RandomClips(
    corpus or _NumberedFrames(),
    trials,
    kwargs.pop('layout', _LAYOUT),
    size=4,
    patch=2,
    masks=MaskConfig(ratio=0.5),
    views=ViewConfig(scales=(1.0,), repeats=repeats),
    per_trial=3,
    **kwargs,
  )


@pytest.fixture(scope='module')
def random_clips():
  return _source([_trial(50), _trial(5)])


def test_an_epoch_has_each_part_of_each_trial_once(random_clips):
  assert [random_clips[i] for i in range(len(random_clips))] == [
    (0, 0),
    (0, 1),
    (0, 2),
    (1, 0),
    (1, 1),
    (1, 2),
  ]


def _numbers(frames):
  """Numbers of the frames of clips [..., 4, 4, 4, 3], whichever way round."""
  return frames[..., 0, :, 0].astype(int).min(-1)


def test_random_clips_cover_a_trial(random_clips):
  rng = np.random.default_rng(0)
  starts = {part: set() for part in range(3)}
  flipped = 0
  for part in starts:
    for _ in range(400):
      clip = random_clips.read((0, part), rng)
      pixels = clip['frames']
      assert pixels.shape == (4, 4, 4, 3) and pixels.flags['C_CONTIGUOUS']
      flipped += pixels[0, 0, 0, 0] >= 100
      numbers = _numbers(pixels)
      np.testing.assert_array_equal(np.diff(numbers), 2)
      starts[part].add(int(numbers[0]))
      assert clip['weight'] == 1
      np.testing.assert_array_equal(
        np.sort(np.concatenate([clip['visible'], clip['masked']])), np.arange(8)
      )
  # Starts 0..43 (50 frames, span 7) in three parts, whose ends touch.
  assert starts == {0: set(range(0, 15)), 1: set(range(14, 30)), 2: set(range(29, 44))}
  assert 500 < flipped < 700  # half of 1200, deviation 17


def test_views_of_one_clip_differ_in_all_but_the_frames():
  source = _source([_trial(50)], repeats=12)
  clip = source.read((0, 1), np.random.default_rng(0))
  assert {k: v.shape for k, v in clip.items()} == {
    'frames': (12, 4, 4, 4, 3),
    'visible': (12, 4),
    'masked': (12, 4),
    'weight': (12,),
  }
  assert (np.ptp(_numbers(clip['frames']), axis=0) == 0).all()
  assert len(np.unique(clip['frames'][:, 0, 0, 0, 0])) == 2  # flipped or not
  assert len(np.unique(clip['masked'], axis=0)) > 2
  # One view is what the first of several is.
  alone = _source([_trial(50)]).read((0, 1), np.random.default_rng(0))
  np.testing.assert_array_equal(alone['masked'], clip['masked'][0])


def test_the_last_frame_repeats_within_the_last_slot_only(random_clips):
  clip = random_clips.read((1, 2), np.random.default_rng(0))
  np.testing.assert_array_equal(_numbers(clip['frames']), [0, 2, 4, 4])


def test_a_trial_with_too_few_frames_is_named():
  with pytest.raises(
    InputError,
    match=r'numbers: s01_trial01 has 4 frames, a clip of '
    r'4 frames 2 apart needs 5; leave it out',
  ):
    _source([_trial(5), _trial(4)])
  with pytest.raises(InputError, match=r'4 frames \(2 such trials\)'):
    _source([_trial(4), _trial(0)])


def test_masks_that_do_not_fit_are_found_at_once():
  with pytest.raises(InputError, match='masks.ratio: 0.5 hides 0 of 1 slots'):
    RandomClips(
      _NumberedFrames(),
      [_trial(50)],
      ClipLayout(frames=2, stride=1),
      size=4,
      patch=2,
      masks=MaskConfig('frame', 0.5),
      views=ViewConfig(),
      per_trial=1,
    )


@pytest.fixture(scope='module')
def sources():
  """Of one and of ten trials; the frames of the first are below 90."""
  return [_source([_trial(90)]), _source([_trial(100)] * 10, _Later())]


class _Later(_NumberedFrames):
  def frames(self, trial, numbers):
    return super().frames(trial, np.asarray(numbers) % 10 + 90)


def _from_first(example):
  return _numbers(example['frames'])[0] < 90


def test_a_mixture_has_the_shares_asked_for(sources):
  data = mix(sources, (3, 1), seed=0)
  first = [_from_first(data[i]) for i in range(100)]
  assert len(data) == sys.maxsize
  for count in range(1, 101):  # small sources come round again
    assert abs(sum(first[:count]) - 0.75 * count) <= 1


def test_each_source_of_a_mixture_is_read_in_epochs(sources):
  data = mix(sources, (1, 1), seed=1)
  starts = [
    _numbers(x['frames'])[0] for x in map(data.__getitem__, range(60)) if _from_first(x)
  ]
  assert len(starts) == 30
  # 84 places in three parts, of which every epoch has one each.
  for epoch in np.reshape(starts, (10, 3)):
    assert np.all(np.sort(epoch) >= [0, 28, 55])
    assert np.all(np.sort(epoch) <= [28, 55, 83])  # where parts meet belongs to both
  assert len(set(starts)) > 15  # another place in every epoch


def test_a_mixture_follows_its_seed_and_can_be_sliced(sources):
  def take(seed, start=0, step=1):
    data = mix(sources, (1, 2), seed)[start::step]
    return [data[i] for i in range(5)]

  def same(one, other):
    return all(
      np.array_equal(a[k], b[k]) for a, b in zip(one, other, strict=True) for k in a
    )

  assert same(take(4), take(4)) and not same(take(4), take(5))
  assert same(take(4, 0, 2), [mix(sources, (1, 2), 4)[i] for i in range(0, 10, 2)])
  # Sources draw apart, also where they are the same.
  twice = mix([sources[0]] * 2, (1, 1), 0)
  assert not same(
    [twice[i] for i in range(0, 12, 2)], [twice[i] for i in range(1, 12, 2)]
  )


def test_mixtures_make_batches(sources):
  batches = iter(training_batches(mix(sources, (1, 1), 0), 4, seed=0))
  batch = next(batches)
  assert batch['frames'].shape == (4, 4, 4, 4, 3)
  assert sum(map(bool, _numbers(batch['frames'])[:, 0] < 90)) == 2
  getattr(batches, 'close', lambda: None)()


@pytest.mark.parametrize('weights', [(1,), (1, 0), (1, -2), (1, float('nan'))])
def test_weights_are_positive_and_one_for_each_source(sources, weights):
  with pytest.raises(InputError, match='one positive number for each of 2 sources'):
    mix(sources, weights, 0)


def test_an_empty_source_cannot_be_mixed_in(sources):
  with pytest.raises(InputError, match='empty: no trials'):
    mix([sources[0], _source([], _NumberedFrames('empty'))], (1, 1), 0)


def test_sources_whose_examples_do_not_stack(sources):
  with pytest.raises(InputError, match='need the same frames a clip'):
    mix([sources[0], _source([_trial(50)], repeats=2)], (1, 1), 0)
