from fractions import Fraction

import av
import av.filter
import cv2
import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.outcomes import Dropped
from mvp_jax.raw import face, frames
from mvp_jax.raw.face_detector import cascade_faces
from mvp_jax.raw.frames import FrameSpec, face_frames

RATE = 10
BOX_OVER_SIDE = 1.13  # Haar's box on the drawn face


def overlap(box, other):
  """Intersection over union of squares (centre x, centre y, side)."""
  sides = [
    max(0, min(a + s / 2, b + t / 2) - max(a - s / 2, b - t / 2))
    for a, b, s, t in (
      (box[0], other[0], box[2], other[2]),
      (box[1], other[1], box[2], other[2]),
    )
  ]
  common = sides[0] * sides[1]
  return common / (box[2] ** 2 + other[2] ** 2 - common)


def path_of_head(seconds):
  """x, y, side of a head that sways and leans in, float [time, 3]."""
  t = np.arange(seconds * RATE) / RATE
  return np.stack(
    [120 + 25 * np.sin(0.9 * t), 90 + 8 * np.sin(1.7 * t), 62 + 6 * np.sin(0.3 * t)], 1
  )


@pytest.fixture
def moving_head(tmp_path, draw_face, write_video):
  """A video of a moving head with sensor noise, and where the head is."""
  truth = path_of_head(12)
  noise = np.random.default_rng(0).normal(0, 3, (180, 240, 3))
  images = [
    np.clip(draw_face(180, 240, *where) + np.roll(noise, 7 * k, 1), 0, 255).astype(
      np.uint8
    )
    for k, where in enumerate(truth)
  ]
  path = tmp_path / 'head.avi'
  write_video(path, images, RATE)
  return path, truth, images


def test_boxes_lie_on_the_face(moving_head):
  path, truth, _ = moving_head
  found = face_frames(path, FrameSpec(RATE, 64, 'X'), 12.0)
  assert found['valid'].all() and len(found['jpegs']) == 120
  np.testing.assert_allclose(found['times'], np.arange(120) / RATE, atol=1e-5)
  expected = truth * [1, 1, BOX_OVER_SIDE * face.CROP_SCALES['X']]
  overlaps = [overlap(*pair) for pair in zip(found['boxes'], expected, strict=True)]
  assert min(overlaps) > 0.7 and np.mean(overlaps) > 0.85


def test_crops_are_steadier_than_detection_in_every_frame(moving_head):
  path, truth, images = moving_head
  found = face_frames(path, FrameSpec(RATE, 64, 'Y'), 12.0)
  cascade = cv2.CascadeClassifier(
    cv2.data.haarcascades + 'haarcascade_frontalface_alt2.xml'
  )
  single = []
  for image in images:
    x, y, w, _ = cascade.detectMultiScale(image, 1.1, 3, minSize=(40, 40))[0]
    single.append((x + w / 2, y + w / 2, w))

  def jitter(boxes):  # what is not the head's own movement, frame to frame
    return np.std(np.diff(np.asarray(boxes, float) - truth, 2, axis=0), axis=0)

  assert np.all(5 * jitter(found['boxes']) < jitter(single))


def test_crop_x_holds_more_than_crop_y(moving_head):
  path, _, _ = moving_head
  x = face_frames(path, FrameSpec(2.0, 64, 'X'), 12.0)
  y = face_frames(path, FrameSpec(2.0, 64, 'Y'), 12.0)
  np.testing.assert_allclose(x['boxes'][:, 2], 1.6 * y['boxes'][:, 2], rtol=1e-5)
  decoded = cv2.imdecode(np.frombuffer(x['jpegs'][0], np.uint8), 1)
  assert decoded.shape == (64, 64, 3)
  # Grey wall in a corner of X, face or hair all over the middle of both.
  np.testing.assert_allclose(decoded[:4, :4], 90, atol=12)


def test_colours_are_right_way_round(moving_head):
  path, _, _ = moving_head
  jpeg = face_frames(path, FrameSpec(2.0, 64, 'Y'), 12.0)['jpegs'][0]
  blue, green, red = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)[12, 32]
  assert red > green > blue  # skin of the drawn forehead


@pytest.mark.parametrize('aspect', ['16/15', '64/45', '8/9'])
def test_crops_are_square_as_shown(tmp_path, draw_face, write_video, aspect):
  ratio = float(Fraction(aspect))
  shown = draw_face(180, 240, 130, 95, 70)
  width = round(240 / ratio / 2) * 2
  stored = cv2.resize(shown, (width, 180), interpolation=cv2.INTER_AREA)
  path = tmp_path / 'v.avi'
  write_video(path, [stored] * 30, RATE, aspect)
  found = face_frames(path, FrameSpec(RATE, 96, 'X'), 3.0)
  x, y, side = found['boxes'][10]
  assert overlap((x * ratio, y, side), (130, 95, 70 * BOX_OVER_SIDE * 1.6)) > 0.8
  picture = cv2.imdecode(np.frombuffer(found['jpegs'][10], np.uint8), 1)
  # The drawn head (hair outline) is 1.0 wide and 1.32 high.
  head = np.abs(picture.astype(int) - 90).max(2) > 25
  rows, columns = np.flatnonzero(head.any(1)), np.flatnonzero(head.any(0))
  assert np.ptp(rows) / np.ptp(columns) == pytest.approx(1.32, rel=0.05)


def test_face_that_leaves_and_comes_back(tmp_path, draw_face, write_video):
  there = draw_face(120, 160, 80, 60, 50)
  gone = np.full_like(there, 90)
  path = tmp_path / 'v.avi'
  write_video(
    path, [there] * 50 + [gone] * 40 + [there] * 50 + [gone] * 8 + [there] * 32, RATE
  )
  valid = face_frames(path, FrameSpec(RATE, 32, 'X'), 18.0)['valid']
  assert valid[:47].all() and not valid[55:85].any() and valid[95:].all()


def test_no_face_is_a_loss(tmp_path, write_video):
  noise = np.random.default_rng(1).integers(0, 255, (20, 24, 3), np.uint8)
  image = cv2.resize(noise, (160, 120))
  write_video(tmp_path / 'v.avi', [image] * 40, RATE)
  with pytest.raises(Dropped) as error:
    face_frames(tmp_path / 'v.avi', FrameSpec(RATE, 32, 'X'), 4.0)
  assert error.value.code == 'no_face' and 'v.avi' in error.value.reason


def test_the_seat_asked_for(tmp_path, draw_face, write_video):
  # Four seats, as in group recordings; the second person has the smallest face.
  places = [(60, 90, 52), (180, 80, 40), (300, 85, 60), (420, 95, 48)]
  image = np.full((180, 480, 3), 90, np.uint8)
  for x, y, side in places:
    image[:, x - 60 : x + 60] = draw_face(180, 120, 60, y, side)
  write_video(tmp_path / 'v.avi', [image] * 30, RATE)
  for seat, (x, y, side) in enumerate(places):
    spec = FrameSpec(RATE, 32, 'Y', region=(seat / 4, (seat + 1) / 4))
    found = face_frames(tmp_path / 'v.avi', spec, 3.0)
    assert found['valid'].all()
    assert overlap(found['boxes'][15], (x, y, side * BOX_OVER_SIDE)) > 0.7
  found = face_frames(tmp_path / 'v.avi', FrameSpec(RATE, 32, 'Y'), 3.0)
  assert found['boxes'][15][0] == pytest.approx(300, abs=8)  # the biggest


@pytest.mark.parametrize('share', [0.07, 0.1])
def test_a_small_face_in_a_big_picture(draw_face, share):
  height = 720
  image = draw_face(height, 960, 700, 300, share * height)
  tracker = face.FaceTracker()
  for k in range(6):
    tracker.detect(k / 2, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
  box, there = tracker.box(1.0)
  assert there
  assert overlap(box, (700, 300, share * height * BOX_OVER_SIDE)) > 0.6


def test_a_head_that_leans_is_not_lost(draw_face):
  # More than the cascade bears by itself.
  tracker, height = face.FaceTracker(), 240
  upright = cv2.cvtColor(draw_face(height, 320, 170, 120, 80), cv2.COLOR_RGB2GRAY)
  turn = cv2.getRotationMatrix2D((170, 120), 32, 1.0)
  leaning = cv2.warpAffine(
    upright, turn, (320, height), borderMode=cv2.BORDER_REPLICATE
  )
  assert not cascade_faces(leaning, 2, 50)
  for k in range(20):
    tracker.detect(k / 2, leaning if 6 <= k < 14 else upright)
  for time in np.arange(0, 9.5, 0.25):
    box, there = tracker.box(time)
    assert there and overlap(box, (170, 120, 80 * BOX_OVER_SIDE)) > 0.6


def test_the_size_stays_when_detections_waver():
  rng, tracker = np.random.default_rng(0), face.FaceTracker()
  tracker._found.extend(
    (k / 2, 100.0, 80.0, 60 * np.exp(rng.normal(0, 0.06))) for k in range(200)
  )
  sides = np.array([tracker.box(time)[0][2] for time in np.arange(3, 95, 0.1)])
  # Of five to six detections with weights 1, .89, .56, 0 about .46 is left.
  assert np.std(np.log(sides)) < 0.52 * 0.06
  assert np.abs(np.diff(np.log(sides))).max() < 0.01


@pytest.mark.parametrize(
  ('crop', 'scale'),
  [
    ('X', 1.6),
    ('Y', 1.0),
    ('1.3', 1.3),
    ('4', 4.0),
    ('Z', None),
    ('0.1', None),
    ('nan', None),
    ('', None),
    (None, None),
  ],
)
def test_crops_by_name_or_by_number(crop, scale):
  assert face.crop_scale(crop) == scale
  if scale is None:
    with pytest.raises(InputError, match='crop: one of X, Y, or a number'):
      FrameSpec(RATE, 32, crop)


@pytest.mark.parametrize('region', [(0.5, 0.5), (0.6, 0.2), (-0.1, 1), (0, 1.2)])
def test_a_region_that_cannot_be(region):
  with pytest.raises(InputError, match='region: left and right'):
    FrameSpec(RATE, 32, 'X', region)


def test_pictures_beyond_full_hd_wait_smaller(
  tmp_path, draw_face, write_video, monkeypatch
):
  image = draw_face(240, 320, 190, 110, 90)
  write_video(tmp_path / 'v.mp4', [image] * 20, RATE)
  whole = face_frames(tmp_path / 'v.mp4', FrameSpec(RATE, 48, 'X'))
  monkeypatch.setattr(frames, '_WAITING_PIXELS', 150 * 200)
  small = face_frames(tmp_path / 'v.mp4', FrameSpec(RATE, 48, 'X'))
  np.testing.assert_allclose(small['boxes'], whole['boxes'], rtol=1e-5)
  one, other = (
    cv2.imdecode(np.frombuffer(found['jpegs'][10], np.uint8), 1).astype(int)
    for found in (whole, small)
  )
  assert np.abs(one - other).mean() < 4


def test_without_signals_the_whole_video_is_wanted(moving_head):
  path, truth, _ = moving_head
  found = face_frames(path, FrameSpec(5.0, 32, 'X'))
  assert len(found['jpegs']) == 60 and found['quality']['face_share'] == 1
  assert found['quality']['face_pixels'] == pytest.approx(
    np.median(truth[:, 2]) * BOX_OVER_SIDE, rel=0.1
  )


def test_a_single_mistake_is_not_a_face():
  tracker = face.FaceTracker()
  tracker._found.append((1.0, 50.0, 50.0, 30.0))
  assert tracker.box(1.0) == (None, False)
  tracker._found.append((1.5, 51.0, 50.0, 31.0))
  tracker._trusted = None
  assert tracker.box(1.0)[1]


def test_a_cut_is_not_smoothed_over(draw_face):
  tracker = face.FaceTracker()
  places = [(60, 80, 60)] * 10 + [(170, 80, 60)] * 10
  for k, place in enumerate(places):
    image = draw_face(160, 240, *place)
    tracker.detect(k / 2, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
  for k, (x, y, side) in enumerate(places[:17]):
    box, there = tracker.box(k / 2)
    assert there and overlap(box, (x, y, side * BOX_OVER_SIDE)) > 0.7


def test_a_bigger_face_takes_over(draw_face):
  tracker = face.FaceTracker()
  small = draw_face(160, 240, 40, 120, 34)
  both = draw_face(160, 240, 160, 70, 80)
  both[:, :80] = small[:, :80]
  for k in range(100):
    image = small if k < 10 else both
    tracker.detect(k / 2, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
  box, there = tracker.box(48.0)
  assert there and overlap(box, (160, 70, 90)) > 0.7


def test_smooth_follows_a_line_and_averages_noise():
  times = np.arange(0, 3.1, 0.5)
  line = [(t, 10 + 4 * t, 20 - 2 * t, 30.0) for t in times]
  x, y, side = face.smooth(line, 1.6)
  assert (x, y, side) == pytest.approx((16.4, 16.8, 30.0), abs=0.1)
  # Beyond the ends it stands still.
  assert face.smooth(line, 9.0) == pytest.approx(face.smooth(line, 3.0))


@pytest.mark.parametrize('size, side', [(64, 40), (64, 64), (64, 90), (32, 170)])
def test_crop_is_exact_to_a_fraction_of_a_pixel(size, side):
  # On a plane every resampling that is right gives the plane itself.
  rows, columns = np.mgrid[:240, :320].astype(np.float32)
  x, y = 150.3, 118.7
  found = face.crop(np.stack([columns, rows, columns], 2), x, y, side, 1.25, size)
  offset = (np.arange(size) + 0.5) / size - 0.5
  # OpenCV rounds positions to 1/32 of a pixel, here of up to 5 averaged ones.
  np.testing.assert_allclose(found[0, :, 0], x + offset * side / 1.25, atol=0.1)
  np.testing.assert_allclose(found[:, 0, 1], y + offset * side, atol=0.1)


def test_crop_repeats_the_border():
  image = np.zeros((60, 80, 3), np.uint8)
  image[:, :40] = 200
  for side in (50, 300):
    found = face.crop(image, 0.0, 0.0, side, 1.0, 40)
    assert np.all(found[:, :20] == 200)


def in_light(images, light, veil=0.0):
  noise = np.random.default_rng(1).normal(0, 0.7, images[0].shape)
  return [
    np.clip(light * image + veil + np.roll(noise, 5 * k, 1), 0, 255).astype(np.uint8)
    for k, image in enumerate(images)
  ]


@pytest.mark.parametrize(('light', 'veil'), [(0.15, 0), (0.05, 0), (0.1, 190)])
def test_a_face_in_the_dark_or_in_haze(tmp_path, moving_head, write_video, light, veil):
  _, truth, images = moving_head
  write_video(tmp_path / 'dull.mp4', in_light(images, light, veil), RATE)
  found = face_frames(tmp_path / 'dull.mp4', FrameSpec(RATE, 32, 'Y'), 12.0)
  assert found['valid'].all() and found['quality']['face_flags'] == 'good'
  expected = truth * [1, 1, BOX_OVER_SIDE]
  overlaps = [overlap(*pair) for pair in zip(found['boxes'], expected, strict=True)]
  assert min(overlaps) > 0.6 and np.mean(overlaps) > 0.8


def test_a_half_hidden_face(tmp_path, moving_head, write_video):
  _, truth, images = moving_head
  covered = [image.copy() for image in images]
  for image, (x, y, side) in zip(covered, truth, strict=True):
    # All below the middle of the nose.
    cv2.rectangle(
      image,
      (int(x - 0.5 * side), int(y + 0.17 * side)),
      (int(x + 0.5 * side), int(y + 0.7 * side)),
      (150, 180, 210),
      -1,
    )
  write_video(tmp_path / 'mask.mp4', covered, RATE)
  found = face_frames(tmp_path / 'mask.mp4', FrameSpec(RATE, 32, 'Y'), 12.0)
  assert found['valid'].mean() > 0.98
  expected = truth * [1, 1, BOX_OVER_SIDE]
  overlaps = [overlap(*pair) for pair in zip(found['boxes'], expected, strict=True)]
  assert min(overlaps) > 0.5


@pytest.mark.parametrize(
  ('quarters', 'filters', 'way'),
  [
    (1, 'transpose=2', 'lies on its side'),
    (2, 'hflip,vflip', 'stands on its head'),
    (3, 'transpose=1', 'lies on its side'),
  ],
)
def test_a_turned_picture_is_said_to_be_turned(
  tmp_path, moving_head, write_video, quarters, filters, way
):
  path = tmp_path / 'turned.mp4'
  _, _, images = moving_head
  write_video(path, [np.rot90(image, -quarters) for image in images[:60]], RATE)
  with pytest.raises(Dropped) as error:
    face_frames(path, FrameSpec(RATE, 32, 'X'))
  assert error.value.code == 'no_face' and way in error.value.reason
  assert f'turn it with ffmpeg -i IN -vf {filters} OUT' in error.value.reason
  # The remedy works.
  turned = []
  with av.open(str(path)) as container:
    graph = av.filter.Graph()
    source = graph.add_buffer(template=container.streams.video[0])
    chain = [source]
    for name in filters.split(','):
      chain.append(graph.add(*name.split('=')))
    chain.append(graph.add('buffersink'))
    graph.link_nodes(*chain).configure()
    for frame in container.decode(video=0):
      graph.push(frame)
      turned.append(graph.pull().to_ndarray(format='rgb24'))
  write_video(tmp_path / 'upright.mp4', turned, RATE)
  assert face_frames(tmp_path / 'upright.mp4', FrameSpec(RATE, 32, 'X'))['valid'].all()


def test_a_frozen_camera_is_told(tmp_path, moving_head, write_video):
  _, _, images = moving_head
  path = tmp_path / 'frozen.mp4'
  write_video(path, images[:60] + [images[60]] * 60, RATE)
  found = face_frames(path, FrameSpec(RATE, 32, 'X'))
  assert found['quality']['frozen_seconds'] == pytest.approx(6, abs=1.1)
  assert 'the picture is frozen for' in found['quality']['face_flags']
  assert not found['marks'][:60].any() and found['marks'][70:, 0].all()


@pytest.fixture
def beside_a_poster(moving_head, draw_face):
  """A moving head on the left and, bigger, a face on a poster on the right."""
  _, truth, images = moving_head
  poster = draw_face(180, 240, 120, 90, 110)
  noise = np.random.default_rng(2).normal(0, 3, (180, 480, 3))
  return truth, [
    np.clip(np.hstack([image, poster]) + np.roll(noise, 11 * k, 1), 0, 255).astype(
      np.uint8
    )
    for k, image in enumerate(images)
  ]


def test_the_face_that_moves_goes_before_a_bigger_poster(
  tmp_path, beside_a_poster, write_video
):
  truth, images = beside_a_poster
  write_video(tmp_path / 'v.mp4', images, RATE)
  found = face_frames(tmp_path / 'v.mp4', FrameSpec(RATE, 32, 'Y'), 12.0)
  expected = truth * [1, 1, BOX_OVER_SIDE]
  assert found['valid'].all()
  assert min(map(overlap, found['boxes'], expected)) > 0.6
  assert found['quality']['passing_share'] > 0.8
  assert 'a bigger still face passed by' in found['quality']['face_flags']


def test_a_poster_alone_is_told(tmp_path, beside_a_poster, write_video):
  _, images = beside_a_poster
  write_video(tmp_path / 'v.mp4', [image[:, 240:] for image in images], RATE)
  quality = face_frames(tmp_path / 'v.mp4', FrameSpec(RATE, 32, 'Y'))['quality']
  assert quality['face_share'] == 1 and quality['still_share'] > 0.8
  assert quality['face_flags'].startswith('as still as a photograph')


def test_a_bigger_face_that_rested_is_followed_once_it_moves(draw_face):
  tracker, noise = face.FaceTracker(), np.random.default_rng(3)
  for k in range(40):
    small = draw_face(180, 240, 120 + 6 * (k % 5), 90, 60)
    big = draw_face(180, 240, 120 + (8 * (k % 4) if k >= 12 else 0), 90, 100)
    grey = cv2.cvtColor(np.hstack([small, big]), cv2.COLOR_RGB2GRAY)
    grain = noise.normal(0, 2, grey.shape)
    tracker.detect(k / 2, np.clip(grey + grain, 0, 255).astype(np.uint8))
    if k == 10:
      assert tracker._last[1] < 200 and tracker.marks(5.0) == (False, False, True)
  assert tracker._last[1] > 300 and tracker.marks(19.5) == (False, False, False)
