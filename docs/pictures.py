"""Makes the pictures of the README from runs of the embedded defaults.

  python launch.py --config=configs/deap_fusion.py
  python launch.py --config=configs/affwild2_jca.py
  python docs/pictures.py runs/deap_fusion runs/affwild2_jca VIDEO

VIDEO is one of the twin's, which the second run was not trained on:
data/twins/affwild2-*/batch1/video55.mp4, say.
"""

import argparse
import base64
import re
import sys
import tempfile
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))
from mvp_jax.inference import command

_FOLDER = Path(__file__).parent / 'pictures'
_WIDTH = 1200  # pixels


def _write(name, image):
  height = round(image.shape[0] * _WIDTH / image.shape[1])
  if image.shape[1] > _WIDTH:
    image = cv2.resize(image, (_WIDTH, height), interpolation=cv2.INTER_AREA)
  cv2.imwrite(str(_FOLDER / name), image, [cv2.IMWRITE_WEBP_QUALITY, 80])


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('scores', type=Path, help='work directory of a finished run')
  parser.add_argument('in_time', type=Path, help='of one with a target in time')
  parser.add_argument('video', help='for the second one to predict')
  given = parser.parse_args()
  _FOLDER.mkdir(exist_ok=True)
  _write('scores.webp', cv2.imread(str(given.scores / 'figures' / 'scores.png')))
  with tempfile.TemporaryDirectory() as folder:
    if command.main([str(given.in_time), given.video, '--out', folder]):
      sys.exit(1)
    (page,) = Path(folder).glob('*/page.html')
    found = re.search(r'data:image/(?:webp|png);base64,([^"]+)', page.read_text())
    (Path(folder) / 'picture').write_bytes(base64.b64decode(found.group(1)))
    _write('prediction.webp', cv2.imread(str(Path(folder) / 'picture')))


if __name__ == '__main__':
  main()
