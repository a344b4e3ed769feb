"""The drawn face: found by a detector, where it says, and moved by valence."""

import cv2
import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from mvp_jax.synthetic import expression, face
from mvp_jax.synthetic.signals import face_pulse
from mvp_jax.synthetic.spec import TwinSpec

SMALL = TwinSpec(width=160, height=128, frame_rate=5.0, pixel_aspect=(1, 1))


@pytest.mark.parametrize('spec, step', [(SMALL, 25), (TwinSpec(frame_rate=1.0), 20)])
def test_haar_finds_the_face_where_it_is(spec, step):
  cascade = cv2.CascadeClassifier(
    cv2.data.haarcascades + 'haarcascade_frontalface_alt2.xml'
  )
  aspect = spec.pixel_aspect[0] / spec.pixel_aspect[1]
  found = []
  for subject in range(1, 17):
    track = face.face_track(spec, subject, 1)
    assert track.shape == (spec.num_frames, 3) and track.dtype == np.float32
    for image, (x, y, width) in list(_some(spec, subject, 1, track, step)):
      display = cv2.resize(
        image[: spec.height], (round(spec.width * aspect), spec.height)
      )
      boxes = cascade.detectMultiScale(display, 1.1, 3, minSize=(spec.height // 4,) * 2)
      true = np.array([x * aspect, y, width * aspect])
      found.append(any(_overlap(_centred(box), true) > 0.45 for box in boxes))
  assert np.mean(found) > 0.95


def _some(spec, subject, trial, track, step):
  for index, image in enumerate(face.face_frames(spec, subject, trial)):
    if index % step == 0:
      yield image.copy(), track[index].astype(float)


def _centred(box):
  x, y, width, height = (float(value) for value in box)
  return np.array([x + width / 2, y + height / 2, width])


def _overlap(one, other):
  """Intersection over union of two squares (centre x, centre y, side)."""
  low = np.maximum(one[:2] - one[2] / 2, other[:2] - other[2] / 2)
  high = np.minimum(one[:2] + one[2] / 2, other[:2] + other[2] / 2)
  common = np.prod(np.maximum(high - low, 0))
  return common / (one[2] ** 2 + other[2] ** 2 - common)


def test_face_is_round_where_pixels_are_not_square():
  def shown(width, aspect):
    spec = TwinSpec(frame_rate=1.0, video_seconds=1.0, width=width, pixel_aspect=aspect)
    image = next(iter(face.face_frames(spec, 1, 1)))[: spec.height]
    clean = cv2.GaussianBlur(image, (0, 0), 3)  # without the sensor noise
    return cv2.resize(clean, (768, 576)).astype(float)

  square = shown(768, (1, 1))
  right = abs(shown(720, (16, 15)) - square).mean()
  wrong = abs(shown(720, (1, 1)) - square).mean()
  assert 3 * right < wrong


def _with_latents(monkeypatch, valence, arousal, spec=SMALL):
  monkeypatch.setattr(
    expression,
    'latents',
    lambda spec, subject: np.tile([valence, arousal], (spec.trials, 1)),
  )
  return np.stack([image.copy() for image in face.face_frames(spec, 1, 1)])


def test_only_valence_and_only_after_the_onset(monkeypatch):
  happy = _with_latents(monkeypatch, 1.5, 0)
  sad = _with_latents(monkeypatch, -1.5, 0)
  aroused = _with_latents(monkeypatch, 1.5, 2)
  np.testing.assert_array_equal(happy, aroused)
  np.testing.assert_array_equal(happy[:10], sad[:10])  # 2 s at 5 Hz
  changed = (happy != sad).any(axis=(1, 2))
  assert 0.4 < changed.mean() < 0.95


def test_smiles_light_up_the_mouth_and_frowns_darken_the_brows(monkeypatch):
  track = face.face_track(SMALL, 1, 1)

  def region(frames, low, high):
    """Brightness of a band of the face, given in half face widths."""
    means = []
    for image, (x, y, width) in zip(frames, track, strict=True):
      half = width / 2
      rows = slice(round(y + low * half), round(y + high * half))
      means.append(
        image[rows, round(x - 0.4 * half) : round(x + 0.4 * half)].max(initial=0)
        if low > 0
        else image[rows, round(x - 0.4 * half) : round(x + 0.4 * half)].mean()
      )
    return np.array(means, float)

  happy = _with_latents(monkeypatch, 1.5, 0)
  sad = _with_latents(monkeypatch, -1.5, 0)
  late = slice(25, None)
  teeth = region(happy, 0.45, 0.95) - region(sad, 0.45, 0.95)
  brows = region(happy, -0.5, -0.25) - region(sad, -0.5, -0.25)
  assert np.percentile(teeth[late], 90) > 20
  assert np.percentile(brows[late], 90) > 5


def test_stronger_valence_gives_more_expression():
  spec = TwinSpec(frame_rate=5.0)
  latent = [expression.latents(spec, s)[:, 0] for s in range(1, 9)]
  shown = [
    [
      np.subtract(*(courses[name].mean() for name in ('smile', 'frown')))
      for courses in (expression.expression(spec, s, t) for t in range(1, 41))
    ]
    for s in range(1, 9)
  ]
  assert (np.sign(latent) == np.sign(shown)).all()
  assert np.corrcoef(np.abs(latent).ravel(), np.abs(shown).ravel())[0, 1] > 0.6


def test_distractors_blinks_and_head_know_nothing_of_valence():
  spec = TwinSpec(frame_rate=5.0)
  latent = np.concatenate([expression.latents(spec, s)[:, 0] for s in range(1, 9)])
  for name in ('talk', 'brow_raise', 'eyes', 'x', 'y', 'roll', 'size', 'light'):
    means = [
      expression.expression(spec, s, t)[name].mean()
      for s in range(1, 9)
      for t in range(1, 41)
    ]
    assert abs(np.corrcoef(means, latent)[0, 1]) < 4 / np.sqrt(320), name


def test_the_skin_carries_the_pulse_and_the_wall_does_not():
  spec = TwinSpec(
    width=320, height=256, frame_rate=15.0, pixel_aspect=(1, 1), video_seconds=20.0
  )
  pulse = face_pulse(spec, 3, 1)
  assert pulse.min() >= 0 and pulse.max() <= 1
  track = face.face_track(spec, 3, 1)
  skin, wall = [], []
  for image, (x, y, width) in zip(face.face_frames(spec, 3, 1), track, strict=True):
    colours = cv2.cvtColor(image, cv2.COLOR_YUV2RGB_I420)
    cheeks = slice(round(y), round(y + 0.2 * width))
    row = colours[cheeks, round(x - 0.35 * width) : round(x + 0.35 * width)]
    skin.append(row.mean(axis=(0, 1)))
    wall.append(colours[:60, :60].mean(axis=(0, 1)))
  band = butter(2, [0.7, 3], 'bandpass', fs=15, output='sos')
  true = sosfiltfilt(band, pulse)

  def depth(colours):
    """Share of each colour that goes with the pulse, from trough to height."""
    relative = sosfiltfilt(band, colours / np.mean(colours, axis=0), axis=0)
    return -relative.T @ true / (true @ true)

  red, green, blue = depth(np.array(skin))
  assert green == pytest.approx(0.01, rel=0.3) and red < 0.75 * green
  assert abs(depth(np.array(wall))).max() < 0.002


def test_subjects_look_different():
  looks = [face.identity(SMALL, subject) for subject in range(1, 23)]
  assert len({who.skin for who in looks}) > 15
  assert np.std([who.mouth_rest for who in looks]) > 0.01
