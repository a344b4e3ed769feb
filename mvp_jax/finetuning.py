"""The job 'video': the video encoder, fine-tuned to emotion (MVP, Figure 2).

Stages, each of which a rerun finds done or goes on with: the corpus (or its twin)
is prepared; an encoder is pre-trained on subjects outside the folds, or loaded, or
left out; in each fold it is fine-tuned on random clips of unmasked video; every
held-out trial is predicted from several clips and crops; the report is written.
"""

import dataclasses
from pathlib import Path

import jax

from mvp_jax import stages
from mvp_jax.config import DataConfig, EncoderConfig
from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.data.emotion_clips import ClipInput, LaidClips, TrainingClips
from mvp_jax.data.splits import SIDES, select
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.single import fit_and_score
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
          config, fold, seed, corpus, trials, encoder, mesh, workdir, log, facts
        )
  stages.finish(config, workdir, predictions, facts, corpus)


def _encoder(config, corpus, reserved, trials, mesh, workdir, facts):
  """Parameters to start the classifier's encoder from, or None for fresh ones."""
  if not config.encoder.pretrained:
    stages.without_encoder(config, corpus, workdir, facts)
    return None
  _, params = stages.video_encoder(
    config, corpus, reserved, {t.subject for t in trials}, mesh, workdir, facts
  )
  # The classifier has its own norm, after the mean over tokens.
  return {name: x for name, x in params.items() if name != 'norm'}


def _train_and_predict(
  config, fold, seed, corpus, trials, encoder, mesh, workdir, log, facts
):
  """Fine-tunes on one fold and predicts its test trials."""
  size = corpus.metadata['frame_size']
  task = VideoEmotion(
    config.encoder.model(config.input.clips, size),
    config.input.targets,
    config.regularisation,
  )
  train, _, test = sides = [
    clips(corpus, select(trials, getattr(fold, side)), config.input, size, fold.target)
    for side, clips in zip(SIDES, (TrainingClips, LaidClips, LaidClips), strict=True)
  ]
  run_name = stages.run_name(config, fold, seed, _MODEL)
  params, scores = fit_and_score(
    task,
    sides,
    config.train,
    config.evaluation.batch_size,
    mesh=mesh,
    seed=stages.run_seed(seed, fold),
    run=run_name,
    directory=workdir / 'checkpoints' / run_name,
    log=log,
    encoder=encoder,
    read=train.read,
  )
  facts.setdefault('parameters', {})[_MODEL] = sum(
    x.size for x in jax.tree.leaves(params)
  )
  return [
    row
    for trial, score in zip(test.trials, scores, strict=True)
    for row in stages.rows(config, fold, seed, corpus, trial, _MODEL, score)
  ]
