"""A tiny run on made-up recordings, and its own files to predict again."""

import csv
import dataclasses

import pytest

from mvp_jax.config import Config, DataConfig, EvaluationConfig
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.examples import InputConfig
from mvp_jax.jobs import train
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training.encoder import VideoMAEEncoder
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.optimiser import OptimiserConfig
from tests import running

SECONDS = 9.0


def config_of(folder, **fields):
  return dataclasses.replace(
    Config(
      dataset='recordings',
      data=DataConfig(
        data_dir=str(folder / 'data'), frame_rate=5.0, frame_size=32, workers=1
      ),
      twin=TwinSpec(
        subjects=4,
        trials=3,
        frame_rate=6.0,
        width=128,
        height=96,
        pixel_aspect=(1, 1),
        video_seconds=SECONDS,
        openface=False,
      ),
      input=InputConfig(clips=ClipLayout(frames=4, stride=1, spacing=2.0)),
      encoder=VideoMAEEncoder(
        size='tiny', dtype='float32', subjects=0, pretrained=False, feature_batch=8
      ),
      model=running.SIZES,
      modalities=running.MODALITIES,
      train=TrainConfig(
        batch_size=8,
        validate_every=0,
        optimiser=OptimiserConfig(learning_rate=1e-2, steps=6, warmup_steps=1),
      ),
      evaluation=EvaluationConfig(
        folds=2,
        validation_subjects=1,
        seeds=2,
        ensemble=2,
        temperature=True,
        models=('fusion',),
        batch_size=8,
      ),
    ),
    **fields,
  )


@dataclasses.dataclass(frozen=True)
class Run:
  """What a run leaves, and what it was made of."""

  workdir: object
  study: object  # folder of the manifest
  rows: list  # of the manifest
  predictions: list


@pytest.fixture(scope='session')
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('inference')
  with running.few_devices():
    train.run(config_of(folder), folder / 'run')
  (study,) = (folder / 'data' / 'twins').iterdir()
  with (study / 'manifest.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  return Run(folder / 'run', study, rows, running.predictions(folder / 'run'))
