"""The main job: from a corpus on disk to a report.

Stages, each of which a rerun finds done or goes on with: the corpus (or its
twin) is prepared; a video encoder is pre-trained on subjects outside the folds;
its features are cached; each model is trained on each fold; every held-out
trial is predicted; the report is written.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from mvp_jax import stages
from mvp_jax.config import Config
from mvp_jax.data.batches import evaluation_batches, training_batches
from mvp_jax.data.emotion import EmotionTrials, fit_scale
from mvp_jax.data.splits import SIDES
from mvp_jax.errors import InputError
from mvp_jax.evaluation import audit
from mvp_jax.files import whole
from mvp_jax.models.fusion import MODALITIES, VIDEO_BACKBONES, FusionConfig
from mvp_jax.training import encoder as encoders
from mvp_jax.training import hosts
from mvp_jax.training.loop import fit
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import check_batch, make_mesh, put_batch
from mvp_jax.training.state import forward, init_state
from mvp_jax.training.tasks import Emotion, VideoFeatures

__all__ = ['Config', 'run']
MODELS = {'fusion': MODALITIES, 'physio': ('physio',), 'video': ('video',)}


def run(config, workdir):
  """Runs the whole job; see the module. Raises InputError.

  Writes to `workdir`: config.json, run.json, metrics.jsonl, tensorboard/,
  checkpoints/, predictions.csv, attention.npz, account.csv, report.html,
  report.md; and leak_meter.csv and leak_meter/ if asked for.
  """
  workdir = Path(workdir)
  mesh = make_mesh(config.mesh)
  _check(config, mesh)
  with stages.begun(config, workdir) as facts:
    _run(config, workdir, mesh, facts)


def _run(config, workdir, mesh, facts):
  wants_video = _wants_video(config)
  units = wants_video and config.video_backbone == 'au'
  corpus = stages.corpus(config, workdir, facts, wants_video and not units, units)
  reserved, folds, trials = stages.split(config, corpus, workdir, facts, wants_video)

  for model in config.evaluation.models:  # checks lengths and ratings, before long work
    EmotionTrials(corpus, trials, config.input, MODELS[model],
                  video_backbone=config.video_backbone)
  video = None
  if units:
    facts['encoder'] = {
        'source': 'none: the video is action units by OpenFace',
        'subjects_set_aside': list(reserved), 'trained_on_subjects': []}
  elif wants_video:
    video = _video_encoder(config, corpus, reserved, trials, mesh, workdir, facts)
    if video.features:
      with stages.timed('features', facts):
        encoders.cache_features(
            video.task, video.params, corpus, trials, config.input.clips,
            config.encoder.feature_batch, mesh=mesh, directory=video.features)

  predictions = stages.baselines(config, folds, corpus, trials, facts)
  with MetricLog(workdir) as log, stages.timed('training', facts):
    for model in config.evaluation.models:
      source = EmotionTrials(corpus, trials, config.input, MODELS[model],
                             video.features if video and 'video' in MODELS[model]
                             else None, video_backbone=config.video_backbone)
      for fold in folds:
        predictions += _train_and_predict(
            config, model, fold, source, video, mesh, workdir, log, facts)
  if config.evaluation.leak_meter:
    _measure_leaks(config, folds, corpus, trials, video, mesh, workdir, predictions,
                   facts)
  stages.finish(config, workdir, predictions, facts)


def _measure_leaks(config, folds, corpus, trials, video, mesh, workdir, predictions,
                   facts):
  """Trains the first model on splits that leak, apart from all else."""
  model, folder = config.evaluation.models[0], workdir / 'leak_meter'

  def train(leaky):
    source = EmotionTrials(corpus, trials, config.input, MODELS[model],
                           video.features if 'video' in MODELS[model] else None)
    apart = {'folds': [{} for _ in leaky]}  # what is noted of the real folds stays
    with MetricLog(folder) as log:
      return [row for fold in leaky for row in _train_and_predict(
          config, model, fold, source, video, mesh, folder, log, apart)]

  stages.measure_leaks(config, folds, corpus, trials, workdir, predictions, facts,
                       train)


@dataclasses.dataclass(frozen=True)
class _Video:
  """The pre-trained encoder."""

  task: VideoFeatures
  params: dict
  features: Path | None  # folder of cached tokens; None = fine-tune on frames


def _check(config, mesh):
  """Finds before any long work what would stop it later."""
  for model in config.evaluation.models:
    if model not in MODELS:
      raise InputError(f'config.evaluation.models: {model!r} is none of '
                       f'{", ".join(MODELS)}')
  if not config.evaluation.models:
    raise InputError('config.evaluation.models: name at least one of '
                     f'{", ".join(MODELS)}')
  if config.video_backbone not in VIDEO_BACKBONES:
    raise InputError(f'config.video_backbone: {config.video_backbone!r} is none of '
                     f'{", ".join(VIDEO_BACKBONES)}')
  units = config.video_backbone == 'au' and _wants_video(config)
  stages.check(config, mesh, _wants_video(config) and not units, units)
  check_batch(config.encoder.feature_batch, mesh, 'config.encoder.feature_batch')


def _wants_video(config):
  return any('video' in MODELS[model] for model in config.evaluation.models)


def _video_encoder(config, corpus, reserved, trials, mesh, workdir, facts):
  task, params = stages.video_encoder(
      config, corpus, reserved, {t.subject for t in trials}, mesh, workdir, facts)
  features = corpus.directory.parent / 'features' / encoders.fingerprint(
      encoders.digest(params), task.model, config.input.clips)
  return _Video(task, params, None if config.encoder.finetune else features)


def _train_and_predict(config, model, fold, source, video, mesh, workdir, log, facts):
  """Trains one model on one fold of `source` and predicts the fold's test trials."""
  run_name = f'fold{fold.fold}/{model}'
  corpus = source.corpus
  uses_video = 'video' in source.modalities and source.video_backbone == 'videomae'
  finetune = uses_video and not source.features
  train, scale = source.select(fold.train, fold.cuts), None
  if source.features:
    scale = fit_scale(train)
    audit.fitted(facts, fold, 'video scale', train.trials)
  train, validation, test = (source.select(getattr(fold, side), fold.cuts, scale)
                             for side in SIDES)

  task = Emotion(FusionConfig(
      **{f.name: getattr(config.model, f.name)
         for f in dataclasses.fields(config.model)},
      modalities=source.modalities, video_backbone=source.video_backbone,
      targets=config.input.targets,
      channels=tuple(corpus.metadata['channels']),
      signal_rate=float(corpus.metadata['signal_rate']),
      video_width=video.task.model.feature_width if uses_video else 1,
      encoder=video.task.model if finetune else None))
  seed = config.seed * 1000 + fold.fold
  start = None
  if finetune:
    start = init_state(task, config.train.optimiser, mesh, seed).params
    start['encoder'] = video.params
  batch_size = config.evaluation.batch_size
  rows = hosts.batch_rows(config.train.batch_size, mesh)
  evaluation_rows = hosts.batch_rows(batch_size, mesh)
  params = fit(
      task, lambda start: training_batches(
          train, config.train.batch_size, seed, config.train.workers, start=start,
          rows=rows),
      config.train, mesh=mesh, seed=seed, run=run_name,
      directory=workdir / 'checkpoints' / run_name, log=log, params=start,
      validation=(lambda: evaluation_batches(validation, batch_size, evaluation_rows))
      if len(validation) else None)
  facts.setdefault('parameters', {})[model] = sum(
      x.size for x in jax.tree.leaves(params))

  forward_fn = forward(task, mesh, 'scores')
  scores = [np.asarray(forward_fn(params, put_batch(batch, mesh)))
            for batch in evaluation_batches(test, batch_size, evaluation_rows)]
  scores = np.concatenate(scores)[:len(test)]  # without what fills the last batch up
  if model == 'fusion' and fold.fold == 0:
    _write_attention(workdir, task, params, test, scores, mesh)
  return [row for trial, score in zip(test.trials, scores, strict=True)
          for row in stages.rows(config, fold, corpus, trial, model, score)]


def _write_attention(workdir, task, params, test, scores, mesh):
  """Saves what the report shows of one trial: the most surely right one."""
  def confidence(index):
    label = test[index]['label']
    return np.min(np.where(label > 0.5, scores[index], 1 - scores[index]))

  index = max(range(len(test)), key=confidence)
  trial, example = test.trials[index], test[index]
  rows = hosts.batch_rows(mesh.size, mesh)
  batch = {name: np.repeat(np.asarray(x)[None], len(rows), axis=0)
           for name, x in example.items()}
  seen = jax.device_get(
      forward(task, mesh, 'attention')(params, put_batch(batch, mesh)))
  if not hosts.is_main():
    return
  corpus = test.corpus
  arrays = {
      'trial_id': trial.trial_id, 'subject': trial.subject, 'trial': trial.trial,
      'weights': seen['attention'][:, 0],
      'query_times': seen['query_times'],
      'query_valid': seen['query_valid'][0], 'key_times': example['video_times'],
      'key_valid': example['video_valid'], 'signals': trial.signals,
      'signal_times': np.arange(len(trial.signals)) / task.model.signal_rate,
      'channels': np.array(task.model.channels),
      'label': example['label'], 'scores': seen['scores'][0],
      'targets': np.array(task.model.targets)}
  if len(trial.frame_times):
    shown = np.linspace(0, len(trial.frame_times) - 1, 10).astype(int)[1:-1]
    arrays |= {'thumbnails': corpus.frames(trial, shown),
               'thumbnail_times': trial.frame_times[shown]}
  with whole(workdir / 'attention.npz') as part:
    np.savez_compressed(part, **arrays)
