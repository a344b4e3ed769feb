"""The main job: from a corpus on disk to a report.

Stages, each of which a rerun finds done or goes on with: the corpus (or its
twin) is prepared; a video encoder is pre-trained on subjects outside the folds;
its features are cached; each model is trained on each fold, all folds and seeds
together; every held-out trial is predicted; the report is written.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from mvp_jax import stages
from mvp_jax.config import Config
from mvp_jax.data.batches import evaluation_batches
from mvp_jax.data.emotion import EmotionTrials, pooled_scale, token_squares
from mvp_jax.data.splits import SIDES
from mvp_jax.errors import InputError
from mvp_jax.evaluation import audit, cases
from mvp_jax.models.fusion import MODALITIES, VIDEO_BACKBONES, FusionConfig
from mvp_jax.training import encoder as encoders
from mvp_jax.training import hosts
from mvp_jax.training.many import Member, Models
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import check_batch, make_mesh, put_batch
from mvp_jax.training.single import fit_and_score
from mvp_jax.training.state import forward
from mvp_jax.training.tasks import Emotion, VideoFeatures

__all__ = ['Config', 'run']
MODELS = {'fusion': MODALITIES, 'physio': ('physio',), 'video': ('video',)}


def run(config, workdir):
  """Runs the whole job; see the module. Raises InputError.

  Writes to `workdir`: config.json, run.json, metrics.jsonl, tensorboard/,
  checkpoints/, predictions.csv, cases/, account.csv, report.html, report.md; and
  leak_meter.csv and leak_meter/ if asked for.
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
    EmotionTrials(
      corpus, trials, config.input, MODELS[model], video_backbone=config.video_backbone
    )
  video = None
  if units:
    facts['encoder'] = {
      'source': 'none: the video is action units by OpenFace',
      'subjects_set_aside': list(reserved),
      'trained_on_subjects': [],
    }
  elif wants_video:
    video = _video_encoder(config, corpus, reserved, trials, mesh, workdir, facts)
    if video.features:
      with stages.timed('features', facts):
        encoders.cache_features(
          video.task,
          video.params,
          corpus,
          trials,
          config.input.clips,
          config.encoder.feature_batch,
          mesh=mesh,
          directory=video.features,
        )

  predictions = stages.baselines(config, folds, corpus, trials, facts)
  attention = {}

  def train(model, folds, workdir, facts, attention):
    uses_features = video and 'video' in MODELS[model]
    source = EmotionTrials(
      corpus,
      trials,
      config.input,
      MODELS[model],
      video.features if uses_features else None,
      video_backbone=config.video_backbone,
    )
    with MetricLog(workdir) as log:
      return _train(
        _Run(config, mesh, workdir, log, facts, attention), model, folds, source, video
      )

  with stages.timed('training', facts):
    for model in config.evaluation.models:
      predictions += train(model, folds, workdir, facts, attention)
  if config.evaluation.leak_meter:  # of the first model, apart from all else
    stages.measure_leaks(
      config,
      folds,
      corpus,
      trials,
      workdir,
      predictions,
      facts,
      lambda leaky: train(
        config.evaluation.models[0],
        leaky,
        workdir / 'leak_meter',
        {'folds': [{} for _ in leaky]},
        {},
      ),
    )
  stages.finish(config, workdir, predictions, facts, corpus, attention)


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
      raise InputError(
        f'config.evaluation.models: {model!r} is none of {", ".join(MODELS)}'
      )
  if not config.evaluation.models:
    raise InputError(
      f'config.evaluation.models: name at least one of {", ".join(MODELS)}'
    )
  if config.video_backbone not in VIDEO_BACKBONES:
    raise InputError(
      f'config.video_backbone: {config.video_backbone!r} is none of '
      f'{", ".join(VIDEO_BACKBONES)}'
    )
  if config.evaluation.grid.points() != [{}]:
    if config.encoder.finetune:
      raise InputError('config.evaluation.grid: only where encoder.finetune is False')
    if not config.evaluation.validation_subjects:
      raise InputError(
        'config.evaluation.grid: the validation subjects choose, and '
        'evaluation.validation_subjects is 0'
      )
  units = config.video_backbone == 'au' and _wants_video(config)
  stages.check(config, mesh, _wants_video(config) and not units, units)
  check_batch(config.encoder.feature_batch, mesh, 'config.encoder.feature_batch')


def _wants_video(config):
  return any('video' in MODELS[model] for model in config.evaluation.models)


def _video_encoder(config, corpus, reserved, trials, mesh, workdir, facts):
  task, params = stages.video_encoder(
    config, corpus, reserved, {t.subject for t in trials}, mesh, workdir, facts
  )
  features = (
    corpus.directory.parent
    / 'features'
    / encoders.fingerprint(encoders.digest(params), task.model, config.input.clips)
  )
  return _Video(task, params, None if config.encoder.finetune else features)


class _Run(NamedTuple):
  """What all trainings of a run share."""

  config: Config
  mesh: jax.sharding.Mesh
  workdir: Path
  log: MetricLog
  facts: dict
  attention: dict  # that of the surest trials is added, as `cases.write` takes it


def _train(run, model, folds, source, video):
  """Trains a kind of model on all folds and seeds; predicts what they held out."""
  task = _task(run.config, source, video)
  if task.model.encoder is None:
    return _train_together(run, model, folds, task, source)
  return [
    row
    for seed in stages.seeds(run.config)
    for fold in folds
    for row in _train_alone(run, model, fold, seed, task, source, video.params)
  ]


def _task(config, source, video):
  """The emotion model of some modalities; its encoder is in it if it is trained."""
  encoded = 'video' in source.modalities and source.video_backbone == 'videomae'
  finetune = encoded and not source.features
  metadata = source.corpus.metadata
  return Emotion(
    FusionConfig(
      **{
        f.name: getattr(config.model, f.name) for f in dataclasses.fields(config.model)
      },
      modalities=source.modalities,
      video_backbone=source.video_backbone,
      targets=config.input.targets,
      channels=tuple(metadata['channels']),
      signal_rate=float(metadata['signal_rate']),
      video_width=video.task.model.feature_width if encoded else 1,
      encoder=video.task.model if finetune else None,
    )
  )


def _train_together(run, model, folds, task, source):
  """`_train` for models without an encoder: all of them as one program."""
  config, facts = run.config, run.facts
  runs = [(fold, seed) for seed in stages.seeds(config) for fold in folds]
  grid = config.evaluation.grid.points()
  squares = token_squares(source) if source.features else None
  scales = {}  # of the video tokens, by fold
  for fold in folds if source.features else ():
    train = list(source.rows(fold.train))
    scales[fold.fold] = {'video': pooled_scale(*(x[train] for x in squares))}
    audit.fitted(facts, fold, 'video scale', fold.train)
  members = [
    Member(
      '/'.join(
        (
          stages.run_name(config, fold, seed, model),
          *(f'{name}={value:g}' for name, value in point.items()),
        )
      ),
      f'fold{fold.fold}/{model}',
      stages.run_seed(seed, fold),
      source.rows(fold.train),
      source.rows(fold.validation),
      scales.get(fold.fold, {}),
      {'label': _labels(source, fold)},
      point,
    )
    for fold, seed in runs
    for point in grid
  ]
  examples = [source[i] for i in range(len(source))]
  models = Models(
    task,
    {name: np.stack([x[name] for x in examples]) for name in examples[0]},
    members,
    config.train,
    run.mesh,
    config.evaluation.together,
  )
  del examples
  params = models.fit(
    run=model,
    directory=run.workdir / 'checkpoints' / model,
    log=run.log,
    batch_size=config.evaluation.batch_size,
  )
  facts.setdefault('parameters', {})[model] = models.parameters(params)

  chosen = [i * len(grid) for i in range(len(runs))]  # the numbers of their models
  if len(grid) > 1:
    losses = models.validation(params, config.evaluation.batch_size)['loss']
    best = np.argmin(losses.reshape(len(runs), len(grid)), axis=1)
    chosen = [start + int(i) for start, i in zip(chosen, best, strict=True)]
    facts.setdefault('chosen', {}).update(
      {members[i].run: {'validation_loss': float(losses[i])} for i in chosen}
    )
  asked = [source.rows(fold.test) for fold, _ in runs]
  of_all = models.scores(
    params,
    [
      rows if i * len(grid) + k == chosen[i] else ()
      for i, rows in enumerate(asked)
      for k in range(len(grid))
    ],
    config.evaluation.batch_size,
  )
  scores = [of_all[i] for i in chosen]
  rows = [
    row
    for (fold, seed), numbers, of_run in zip(runs, asked, scores, strict=True)
    for number, score in zip(numbers, of_run, strict=True)
    for row in stages.rows(
      config, fold, seed, source.corpus, source.trials[number], model, score
    )
  ]
  if model == config.evaluation.models[0]:
    shown = cases.rows_of(cases.choose(rows, stages.target(config), model))
    for (fold, seed), number in zip(runs, chosen, strict=True):
      wanted = [row for row in shown if (row.fold, row.seed) == (fold.fold, seed)]
      if wanted:
        run.attention.update(
          _look(
            task,
            models.one(params, number),
            source.select(
              fold.test, fold.target, scales.get(fold.fold, {}).get('video')
            ),
            wanted,
            run.mesh,
          )
        )
  return rows


def _labels(source, fold):
  """float32 [trials, targets], by the fold's cuts; zero where it has no part."""
  here = {i for side in SIDES for i in source.rows(getattr(fold, side))}
  nothing = np.zeros(len(source.options.targets), np.float32)
  return np.stack(
    [
      fold.target.label(trial)[0] if i in here else nothing
      for i, trial in enumerate(source.trials)
    ]
  )


def _train_alone(run, model, fold, seed, task, source, encoder):
  """Trains one model end to end on one fold and predicts the fold's test trials."""
  config = run.config
  sides = [source.select(getattr(fold, side), fold.target) for side in SIDES]
  test = sides[-1]
  name = stages.run_name(config, fold, seed, model)
  params, scores = fit_and_score(
    task,
    sides,
    config.train,
    config.evaluation.batch_size,
    mesh=run.mesh,
    seed=stages.run_seed(seed, fold),
    run=name,
    directory=run.workdir / 'checkpoints' / name,
    log=run.log,
    encoder=encoder,
  )
  run.facts.setdefault('parameters', {})[model] = sum(
    x.size for x in jax.tree.leaves(params)
  )
  rows = [
    row
    for trial, score in zip(test.trials, scores, strict=True)
    for row in stages.rows(config, fold, seed, source.corpus, trial, model, score)
  ]
  if model == config.evaluation.models[0] and seed == config.seed:
    # The surest trials of all folds will be among the surest of each.
    run.attention.update(
      _look(
        task,
        params,
        test,
        cases.rows_of(cases.choose(rows, stages.target(config), model)),
        run.mesh,
      )
    )
  return rows


def _look(task, params, test, rows, mesh):
  """The attention of a model to some of its test trials, as `cases.write` takes it.

  Args:
    test: EmotionTrials.
    rows: Predictions of the trials.
  """
  wanted = {(row.subject, row.trial) for row in rows}
  test = test.select(
    [trial.trial_id for trial in test.trials if (trial.subject, trial.trial) in wanted],
    test.cuts,
    test.scale,
  )
  look, found = forward(task, mesh, 'attention'), {}
  local = hosts.batch_rows(mesh.size, mesh)
  for first, batch in enumerate(evaluation_batches(test, mesh.size, local)):
    seen = jax.device_get(look(params, put_batch(batch, mesh)))
    if 'attention' not in seen:  # only cross-attention has it
      return {}
    for i, trial in enumerate(test.trials[first * mesh.size :][: mesh.size]):
      example = test[first * mesh.size + i]
      found[trial.subject, trial.trial] = {
        'weights': seen['attention'][:, i].mean((0, 1)),
        'query_times': seen['query_times'],
        'query_valid': seen['query_valid'][i],
        'key_times': example['video_times'],
        'key_valid': example['video_valid'],
      }
  return found
