"""The main job on AMIGOS: stimuli of different lengths, targets by others' eyes."""

import csv
import dataclasses
import json

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mvp_jax import experiment
from mvp_jax.config import Config, DataConfig, EncoderConfig, EvaluationConfig
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.emotion import EmotionInput
from mvp_jax.errors import InputError
from mvp_jax.models.fusion import FusionSizes
from mvp_jax.models.physio import PhysioConfig
from mvp_jax.synthetic.amigos_spec import AmigosSpec
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.sharding import make_mesh

_TARGETS = ('external_valence', 'external_arousal')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  return Config(
      dataset='amigos',
      data=DataConfig(data_dir=str(tmp_path_factory.mktemp('data')), frame_rate=2.0,
                      frame_size=32, workers=1, channels=('eda', 'ecg'),
                      annotation=('external',), exclude=(2,)),
      twin=AmigosSpec(subjects=4, stimuli=('58', '138', '18'), frame_rate=2.0,
                      width=128, height=96, scale=0.1),
      input=EmotionInput(targets=_TARGETS, threshold=0.0, max_seconds=15.0,
                         clips=ClipLayout(frames=4, stride=1, spacing=3.0)),
      encoder=EncoderConfig(size='tiny'),
      model=FusionSizes(
          video_depth=1, depth=1, heads=2, mlp_width=16, physio=PhysioConfig(
              widths=(8, 16), kernels=(64, 32), strides=(32, 16), depth=1, heads=2,
              mlp_width=16)),
      train=TrainConfig(
          batch_size=4, log_every=1, validate_every=0, checkpoint_every=2,
          optimiser=OptimiserConfig(steps=2, warmup_steps=1)),
      evaluation=EvaluationConfig(folds=2, validation_subjects=0, batch_size=4,
                                  models=('physio',)))


@pytest.fixture(scope='module')
def run():
  """Function of (config, workdir): runs on one device, as Optax wants it."""
  def run(config, workdir):
    with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion('standard'):
      patch.setattr(experiment, 'make_mesh', lambda mesh: make_mesh(
          mesh, jax.devices()[:1]))
      experiment.run(config, workdir)

  yield run
  jax.config.update('jax_compilation_cache_dir', None)
  compilation_cache.reset_cache()


def test_from_the_twin_to_the_report(config, run, tmp_path, capsys):
  run(config, tmp_path)
  said = capsys.readouterr().out
  assert 'SYNTHETIC: no AMIGOS was given' in said and 'DEAP' not in said
  for name in ('report.html', 'report.md'):
    text = (tmp_path / name).read_text()
    assert 'SYNTHETIC' in text and 'external_arousal' in text and 'DEAP' not in text
  facts = json.loads((tmp_path / 'run.json').read_text())
  assert (facts['dataset'], facts['trials_in'], facts['trials_out']) == ('amigos', 9, 9)
  with (tmp_path / 'predictions.csv').open(newline='') as file:
    rows = [row for row in csv.DictReader(file) if row['model'] == 'physio']
  assert {int(row['subject']) for row in rows} == {1, 3, 4} and len(rows) == 3 * 3 * 2
  # In the order of the stimuli in AMIGOS, not in the twin's.
  assert {row['stimulus'] for row in rows} == {'6', '14', '16'}
  for row in rows:
    assert row['dataset'] == 'amigos' and -1 <= float(row['rating']) <= 1
    assert int(row['label']) == (float(row['rating']) > 0)
    assert 0 <= float(row['score']) <= 1

  # The threshold of the self-assessment parts nothing here, and the run says so.
  wrong = dataclasses.replace(config, input=dataclasses.replace(
      config.input, threshold=5.0))
  with pytest.raises(InputError, match=r'input\.threshold: 5 has all 9 trials on one '
                                       r'side, external_valence is -?0\.\d+ to 0\.'):
    run(wrong, tmp_path / 'wrong')
