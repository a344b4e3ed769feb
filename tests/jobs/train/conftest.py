"""A tiny twin in DEAP's official layout, 60 s a trial, and a run on it."""

import functools

import pytest

from mvp_jax.config import Config, DataConfig, EvaluationConfig
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.examples import InputConfig
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.views import ViewConfig
from mvp_jax.jobs import train as job
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training.encoder import VideoMAEEncoder
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from tests import running


def _training(steps):
  return TrainConfig(
    batch_size=8,
    log_every=1,
    validate_every=2,
    checkpoint_every=2,
    optimiser=OptimiserConfig(steps=steps, warmup_steps=1),
  )


@pytest.fixture(scope='session')
def config(tmp_path_factory):
  return Config(
    dataset='deap',
    data=DataConfig(
      data_dir=str(tmp_path_factory.mktemp('data')),
      frame_rate=2.0,
      frame_size=32,
      workers=1,
    ),
    twin=TwinSpec(
      subjects=5, trials=4, frame_rate=2.0, width=128, height=96, pixel_aspect=(1, 1)
    ),
    input=InputConfig(clips=ClipLayout(frames=4, stride=1, spacing=6.0)),
    encoder=VideoMAEEncoder(
      size='tiny',
      dtype='float32',
      subjects=1,
      clips_per_trial=2,
      masks=MaskConfig(ratio=0.5),
      views=ViewConfig(repeats=1),
      train=_training(3),
      feature_batch=8,
    ),
    model=running.SIZES,
    modalities=running.MODALITIES,
    train=_training(4),
    evaluation=EvaluationConfig(folds=2, validation_subjects=1, batch_size=8),
  )


@pytest.fixture(scope='session')
def run():
  """Function of (config, workdir, devices=1, drawn=False)."""
  return functools.partial(running.run, job)


@pytest.fixture(scope='session')
def workdir(config, run, tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'first'
  run(config, folder, drawn=True)
  return folder
