"""The job 'video': the video encoder, fine-tuned to emotion (MVP, Figure 2).

Stages, each of which a rerun finds done or goes on with: the corpus (or its twin)
is prepared; an encoder is pre-trained on subjects outside the folds, or loaded, or
left out; in each fold it is fine-tuned on random clips of unmasked video; every
held-out trial is predicted from several clips and crops; the report is written.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from mvp_jax import stages
from mvp_jax.config import DataConfig, EncoderConfig
from mvp_jax.data.batches import evaluation_batches, training_batches
from mvp_jax.data.emotion_clips import ClipInput, LaidClips, TrainingClips
from mvp_jax.data.splits import SIDES, select
from mvp_jax.synthetic.amigos_spec import AmigosSpec
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training import hosts
from mvp_jax.training.loop import TrainConfig, fit
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import MeshConfig, make_mesh, put_batch
from mvp_jax.training.state import forward, init_state
from mvp_jax.training.tasks import Regularisation, VideoEmotion

_MODEL = 'video'  # in predictions.csv


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """How it is tested."""

  protocol: str = 'subjects'  # one of data.splits.PROTOCOLS
  folds: int = 5  # groups of subjects (of stimuli); as many as subjects = leave one out
  stimulus_folds: int = 2  # groups of stimuli, under 'subjects_x_stimuli'
  validation_subjects: int = 1  # (or stimuli) of those to train on, for curves only
  seeds: int = 1  # trainings of each fold: config.seed and those after it
  batch_size: int = 8  # trials, each of test_clips x 3 views
  allow_encoder_overlap: bool = False  # test subjects seen in pre-training

  def __post_init__(self):
    if self.seeds < 1:
      raise ValueError(f'seeds is {self.seeds}, must be at least 1')


@dataclasses.dataclass(frozen=True)
class Config:
  """Every setting of the job."""

  job: str = 'video'  # see `jobs`
  dataset: str = 'deap'
  seed: int = 0
  data: DataConfig = DataConfig()
  twin: TwinSpec | AmigosSpec = TwinSpec()  # that of `dataset`
  input: ClipInput = ClipInput()
  encoder: EncoderConfig = EncoderConfig()
  regularisation: Regularisation = Regularisation()
  train: TrainConfig = TrainConfig()  # its batch_size counts clips, before `views`
  evaluation: EvaluationConfig = EvaluationConfig()
  mesh: MeshConfig = MeshConfig()


def run(config, workdir):
  """Runs the whole job; see the module. Raises InputError.

  Writes to `workdir`: config.json, run.json, metrics.jsonl, tensorboard/,
  checkpoints/, predictions.csv, cases/, account.csv, report.html, report.md.
  """
  workdir = Path(workdir)
  mesh = make_mesh(config.mesh)
  stages.check(config, mesh)
  with stages.begun(config, workdir) as facts:
    _run(config, workdir, mesh, facts)


def _run(config, workdir, mesh, facts):
  corpus = stages.corpus(config, workdir, facts)
  reserved, folds, trials = stages.split(config, corpus, workdir, facts)
  LaidClips(corpus, trials, config.input, corpus.metadata['frame_size'])  # checks
  encoder = _encoder(config, corpus, reserved, trials, mesh, workdir, facts)

  predictions = stages.baselines(config, folds, corpus, trials, facts)
  with MetricLog(workdir) as log, stages.timed('training', facts):
    for seed in stages.seeds(config):
      for fold in folds:
        predictions += _train_and_predict(
            config, fold, seed, corpus, trials, encoder, mesh, workdir, log, facts)
  stages.finish(config, workdir, predictions, facts, corpus)


def _encoder(config, corpus, reserved, trials, mesh, workdir, facts):
  """Parameters to start the classifier's encoder from, or None for fresh ones."""
  if not config.encoder.pretrained:
    stages.without_encoder(config, corpus, workdir, facts)
    return None
  _, params = stages.video_encoder(
      config, corpus, reserved, {t.subject for t in trials}, mesh, workdir, facts)
  # The classifier has its own norm, after the mean over tokens.
  return {name: x for name, x in params.items() if name != 'norm'}


def _train_and_predict(config, fold, seed, corpus, trials, encoder, mesh, workdir,
                       log, facts):
  """Fine-tunes on one fold and predicts its test trials."""
  size = corpus.metadata['frame_size']
  task = VideoEmotion(config.encoder.model(config.input.clips, size),
                      config.input.targets, config.regularisation)
  run_seed = stages.run_seed(seed, fold)
  start = None
  if encoder:
    start = init_state(task, config.train.optimiser, mesh, run_seed).params
    start['encoder'] = encoder
  train, validation, test = (
      clips(corpus, select(trials, getattr(fold, side)), config.input, size, fold.cuts)
      for side, clips in zip(SIDES, (TrainingClips, LaidClips, LaidClips), strict=True))
  run_name = stages.run_name(config, fold, seed, _MODEL)
  batch_size = config.evaluation.batch_size
  rows = hosts.batch_rows(config.train.batch_size, mesh)
  evaluation_rows = hosts.batch_rows(batch_size, mesh)
  params = fit(
      task, lambda start: training_batches(
          train, config.train.batch_size, run_seed, config.train.workers, train.read,
          start=start, rows=rows),
      config.train, mesh=mesh, seed=run_seed, run=run_name,
      directory=workdir / 'checkpoints' / run_name, log=log, params=start,
      validation=(lambda: evaluation_batches(validation, batch_size, evaluation_rows))
      if len(validation) else None)
  facts.setdefault('parameters', {})[_MODEL] = sum(
      x.size for x in jax.tree.leaves(params))

  forward_fn = forward(task, mesh, 'scores')
  scores = [np.asarray(forward_fn(params, put_batch(batch, mesh)))
            for batch in evaluation_batches(test, batch_size, evaluation_rows)]
  scores = np.concatenate(scores)[:len(test)]  # without what fills the last batch up
  return [row for trial, score in zip(test.trials, scores, strict=True)
          for row in stages.rows(config, fold, seed, corpus, trial, _MODEL, score)]
