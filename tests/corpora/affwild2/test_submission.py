"""The format of the challenge."""

import numpy as np
import pytest

from mvp_jax.corpora.affwild2.submission import frame_predictions, write_submission
from mvp_jax.errors import InputError


def test_a_line_for_every_frame(tmp_path):
  path = tmp_path / 'predictions.txt'
  write_submission(
    path, {'a_left': [[0.5, -0.25], [1, -1]], '7-60-1920x1080': [[0.125, 0]]}
  )
  assert path.read_text() == (
    'image_location,valence,arousal\n'
    'a_left/00001.jpg,0.5,-0.25\n'
    'a_left/00002.jpg,1,-1\n'
    '7-60-1920x1080/00001.jpg,0.125,0\n'
  )


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ([[0, 1.5]], 'a, frame 1: 0, 1.5 is not from -1 to 1'),
    ([[0, 0], [np.nan, 0]], 'a, frame 2: nan, 0 is not'),
    ([[0.0]], r'a: predictions are \(1, 1\)'),
  ],
)
def test_what_cannot_be_submitted(tmp_path, values, message):
  with pytest.raises(InputError, match=message):
    write_submission(tmp_path / 'x.txt', {'a': values})
  assert not (tmp_path / 'x.txt').exists()


def test_predictions_of_another_rate_are_brought_to_the_frames():
  spans = np.stack([np.arange(10) / 10, -np.arange(10) / 10], -1)  # at 5 Hz
  times = np.arange(50) / 25
  found = frame_predictions(spans, 5.0, times)
  inside = (times >= 0.1) & (times <= 1.9)
  np.testing.assert_allclose(found[inside, 0], (times[inside] * 5 - 0.5) / 10)
  np.testing.assert_allclose(found[:, 1], -found[:, 0])
