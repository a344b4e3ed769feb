"""The public names for runs and corpora, as a script uses them."""

import os
import subprocess
import sys

import pytest

import mvp_jax
from mvp_jax.errors import InputError
from mvp_jax.jobs import library
from mvp_jax.jobs.library import Run

_SCRIPT = """
import sys
import mvp_jax

folder = sys.argv[1]
twin = mvp_jax.write_twin(
  'recordings', folder + '/twin', workers=2, subjects=1, trials=2, frame_rate=4.0,
  width=96, height=80, video_seconds=4.0, openface=False,
)
corpus = mvp_jax.prepare(
  'recordings', twin, folder + '/data', workers=2, frame_rate=2.0, frame_size=32
)
print('trials', len(corpus.trials), corpus.frames(corpus.trials[0], [0]).shape)
"""


def test_a_script_needs_no_guard(tmp_path):
  (tmp_path / 'script.py').write_text(_SCRIPT)
  done = subprocess.run(
    [sys.executable, str(tmp_path / 'script.py'), str(tmp_path)],
    env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.split('\n') == ['trials 2 (1, 32, 32, 3)', '']


def test_what_is_given_wrong_is_one_line(tmp_path):
  with pytest.raises(InputError, match="no data set 'nothing'; there are affwild2"):
    mvp_jax.write_twin('nothing', tmp_path)
  with pytest.raises(InputError, match='twin of deap: .*colours'):
    mvp_jax.write_twin('deap', tmp_path, colours=3)
  with pytest.raises(InputError, match='videos: has no twin; give the official files'):
    mvp_jax.write_twin('videos', tmp_path)
  with pytest.raises(
    InputError, match='nothing: no config of this name; there are aff'
  ):
    mvp_jax.run('nothing', tmp_path)
  with pytest.raises(InputError, match=r'none\.py: no such config file'):
    mvp_jax.run('none.py', tmp_path)
  for wrong, told in (
    ({'sede': 1}, 'config.sede: no such setting'),
    ({'train.batch_size': 'many'}, 'settings: .*many'),
  ):
    with pytest.raises(InputError, match=told):
      mvp_jax.run('deap_fusion', tmp_path, wrong)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('embedded', 'subjects', 'layers'), [(False, 7, 'B'), (True, 7, 'tiny')]
)
def test_settings_reach_the_job(tmp_path, monkeypatch, embedded, subjects, layers):
  trees = []
  monkeypatch.setattr(
    library.jobs, 'run', lambda tree, folder: trees.append((tree, folder))
  )
  found = mvp_jax.run(
    'deap_fusion',
    tmp_path,
    {'data.manual_dir': '/deap', 'twin.subjects': 7, 'evaluation.folds': 3},
    embedded=embedded,
  )
  ((tree, folder),) = trees
  assert found == Run(tmp_path) and folder == tmp_path
  assert tree['data']['manual_dir'] == '/deap' and tree['evaluation']['folds'] == 3
  assert tree['twin']['subjects'] == subjects
  assert tree['encoder']['size'] == layers
