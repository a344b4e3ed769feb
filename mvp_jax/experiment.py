"""The main job: from a corpus on disk to a report.

Stages, each of which a rerun finds done or goes on with: the corpus (or its
twin) is prepared; a video encoder is pre-trained on subjects outside the folds;
its features are cached; each model is trained on each fold; every held-out
trial is predicted; the report is written.
"""

import contextlib
import dataclasses
import time
from pathlib import Path

import jax
import numpy as np

from mvp_jax.config import Config
from mvp_jax.data.batches import evaluation_batches, training_batches
from mvp_jax.data.builders import load_builder, prepare
from mvp_jax.data.emotion import EmotionTrials, fit_scale
from mvp_jax.data.masks import mask_sizes
from mvp_jax.data.splits import make_folds, reserve
from mvp_jax.data.trials import Corpus
from mvp_jax.errors import InputError
from mvp_jax.evaluation.predictions import CLASS_PRIOR, Prediction, write_predictions
from mvp_jax.evaluation.report import write_report
from mvp_jax.evaluation.summary import summary_table
from mvp_jax.files import whole, write_json
from mvp_jax.models.fusion import MODALITIES, FusionConfig
from mvp_jax.raw.prepare import read_account
from mvp_jax.synthetic.deap import write_deap_twin
from mvp_jax.training import encoder as encoders
from mvp_jax.training import hosts
from mvp_jax.training.loop import fit
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import check_batch, make_mesh, put_batch
from mvp_jax.training.state import forward, init_state
from mvp_jax.training.tasks import Emotion, MaskedVideo, VideoFeatures
from mvp_jax.workdir import (
    FINGERPRINT,
    check_hosts,
    check_source,
    claim,
    copy_metrics,
    in_use,
    provenance,
)

__all__ = ['Config', 'run']
MODELS = {'fusion': MODALITIES, 'physio': ('physio',), 'video': ('video',)}


def run(config, workdir):
  """Runs the whole job; see the module. Raises InputError.

  Writes to `workdir`: config.json, run.json, metrics.jsonl, tensorboard/,
  checkpoints/, predictions.csv, attention.npz, account.csv, report.html,
  report.md.
  """
  workdir = Path(workdir)
  mesh = make_mesh(config.mesh)
  _check(config, mesh)
  check_hosts(config)
  with in_use(workdir):
    _run(config, workdir, mesh, claim(workdir, config))


def _run(config, workdir, mesh, earlier):
  """The stages, on top of the facts of an earlier run."""
  _use_compilation_cache(Path(config.data.data_dir))
  facts = {'dataset': config.dataset, 'threshold': config.input.threshold,
           **provenance(),
           'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
           'seconds': earlier.get('seconds', {})}

  with _timed('data', facts):
    corpus = _corpus(config, facts)
    check_source(workdir, corpus.metadata['fingerprint'])
    facts[FINGERPRINT] = corpus.metadata['fingerprint']
    if hosts.is_main():
      write_json(workdir / 'run.json', facts)
      (workdir / 'account.csv').write_bytes(
          (corpus.directory / 'account.csv').read_bytes())

  trials = corpus.trials
  wants_video = _wants_video(config)
  reserved, subjects = reserve(
      [t.subject for t in trials],
      config.encoder.subjects if wants_video and not config.encoder.checkpoint else 0,
      config.seed)
  folds = make_folds(subjects, config.evaluation.folds,
                     config.evaluation.validation_subjects, config.seed)
  facts['folds'] = [dataclasses.asdict(fold) for fold in folds]
  trials = [t for t in trials if t.subject in subjects]

  for model in config.evaluation.models:  # checks lengths and ratings, before long work
    EmotionTrials(corpus, trials, config.input, MODELS[model])
  video = None
  if wants_video:
    video = _video_encoder(config, corpus, reserved, subjects, mesh, workdir, facts)
    if video.features:
      with _timed('features', facts):
        encoders.cache_features(
            video.task, video.params, corpus, trials, config.input.clips,
            config.encoder.feature_batch, mesh=mesh, directory=video.features)

  predictions = []
  for fold in folds:
    predictions += _class_prior(config, fold, corpus, trials)
  with MetricLog(workdir) as log, _timed('training', facts):
    for model in config.evaluation.models:
      source = EmotionTrials(corpus, trials, config.input, MODELS[model],
                             video.features if 'video' in MODELS[model] else None)
      for fold in folds:
        predictions += _train_and_predict(
            config, model, fold, source, video, mesh, workdir, log, facts)
  order = {target: i for i, target in enumerate(config.input.targets)}
  predictions.sort(
      key=lambda p: (order[p.target], p.fold, p.subject, p.trial, p.model))
  hosts.on_main(lambda: _report(workdir, predictions, facts))


def _report(workdir, predictions, facts):
  write_predictions(workdir / 'predictions.csv', predictions)
  write_json(workdir / 'run.json', facts)
  write_report(workdir)
  print(summary_table(predictions, facts.get('ceiling')))
  seconds = facts['seconds']
  print('seconds: ' + ', '.join(f'{k} {v:.0f}' for k, v in seconds.items()))
  print(f'report: {workdir / "report.html"}')


_SYNTHETIC_NOTE = """\
========================================================================
 SYNTHETIC: no DEAP was given (config.data.manual_dir), so this run uses
 a made-up twin of it, in the official layout and with planted effects.
 Its scores say that the program works, and nothing about emotion.
========================================================================"""


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
  try:
    load_builder(config.dataset).configure(**_preparation(config))
  except InputError as error:
    raise InputError(f'config.data: {error}') from error
  encoder = config.encoder
  try:
    model = encoder.model(config.input.clips, config.data.frame_size)
  except ValueError as error:
    raise InputError(f'config: {error}; see input.clips, data.frame_size and '
                     'encoder.patch') from error
  try:
    mask_sizes(*model.grid, encoder.masks)
  except InputError as error:
    raise InputError(f'config.encoder.{error}') from error
  if encoder.checkpoint and _wants_video(config):
    encoders.check(model, Path(encoder.checkpoint))
  for field, size in [('train.batch_size', config.train.batch_size),
                      ('evaluation.batch_size', config.evaluation.batch_size),
                      ('encoder.train.batch_size', encoder.train.batch_size),
                      ('encoder.feature_batch', encoder.feature_batch)]:
    check_batch(size, mesh, f'config.{field}')


def _wants_video(config):
  return any('video' in MODELS[model] for model in config.evaluation.models)


def _preparation(config):
  """How the corpus is prepared: fields of its builder's config."""
  data = config.data
  return {'workers': data.workers or None, 'allow_losses': data.allow_losses,
          'video': _wants_video(config), 'frame_rate': data.frame_rate,
          'frame_size': data.frame_size, 'crop': data.crop, 'channels': data.channels}


def _corpus(config, facts):
  """The prepared corpus, of the official files or of a twin."""
  data = config.data
  manual_dir = Path(data.manual_dir) if data.manual_dir else None
  if manual_dir is None:
    key = encoders.fingerprint(config.twin)
    manual_dir = Path(data.data_dir) / 'twins' / f'{config.dataset}-{key}'
    if hosts.is_main():
      print(_SYNTHETIC_NOTE, flush=True)
    with _timed('twin', facts):
      hosts.on_main(lambda: write_deap_twin(
          manual_dir, config.twin, data.workers or None))
  with _timed('prepare', facts):
    directory = Path(hosts.on_main(lambda: str(prepare(
        config.dataset, manual_dir, Path(data.data_dir) / 'prepared',
        **_preparation(config)))))
  hosts.check_shared(directory)
  corpus = Corpus(directory)
  account = read_account(directory / 'account.csv')
  facts.update(
      synthetic=corpus.metadata['synthetic'], ceiling=corpus.metadata['ceiling'],
      trials_in=len(account), trials_out=len(corpus.trials),
      losses={row['trial_id']: row['outcome'] for row in account
              if row['outcome'] != 'ok'})
  return corpus


def _video_encoder(config, corpus, reserved, test_subjects, mesh, workdir, facts):
  """Pre-trains or loads the encoder, and checks whom it has seen."""
  settings = config.encoder
  task = VideoFeatures(settings.model(config.input.clips,
                                      corpus.metadata['frame_size']))
  cache = corpus.directory.parent
  if settings.checkpoint:
    directory = Path(settings.checkpoint)
  else:
    key = encoders.fingerprint(
        dataclasses.replace(task.model, feature_grid=1), settings.train,
        settings.masks, settings.views, settings.clips_per_trial, reserved,
        config.input.clips.stride, config.seed)
    directory = cache / 'encoders' / key
    with _timed('pretrain', facts):
      encoders.pretrain(
          MaskedVideo(task.model), corpus, reserved, settings, config.input.clips,
          mesh=mesh, seed=config.seed, directory=directory)
    hosts.on_main(lambda: copy_metrics(directory, workdir))
  params, record, said = encoders.load(task.model, mesh, directory)
  if said and hosts.is_main():
    print(said, flush=True)
  encoders.check_overlap(record, corpus, test_subjects,
                         config.evaluation.allow_encoder_overlap)
  facts['encoder'] = {'source': str(settings.checkpoint or 'pre-trained in this run'),
                      'size': settings.size, **record}
  features = cache / 'features' / encoders.fingerprint(
      encoders.digest(params), task.model, config.input.clips)
  return _Video(task, params, None if settings.finetune else features)


def _train_and_predict(config, model, fold, source, video, mesh, workdir, log, facts):
  """Trains one model on one fold of `source` and predicts the fold's test trials."""
  run_name = f'fold{fold.fold}/{model}'
  corpus = source.corpus
  uses_video = 'video' in source.modalities
  finetune = uses_video and not source.features
  train = source.select(fold.train_subjects)
  scale = fit_scale(train) if source.features else None
  train = source.select(fold.train_subjects, scale)
  validation = source.select(fold.validation_subjects, scale)
  test = source.select(fold.test_subjects, scale)

  task = Emotion(FusionConfig(
      **{f.name: getattr(config.model, f.name)
         for f in dataclasses.fields(config.model)},
      modalities=source.modalities, targets=config.input.targets,
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
          for row in _rows(config, fold, corpus, trial, model, score)]


def _rows(config, fold, corpus, trial, model, scores):
  for target, score in zip(config.input.targets, scores, strict=True):
    rating = trial.ratings[target]
    yield Prediction(
        dataset=corpus.name, subject=trial.subject, trial=trial.trial,
        stimulus=str(trial.stimulus), fold=fold.fold, seed=config.seed, model=model,
        target=target, rating=round(rating, 4),
        label=int(rating > config.input.threshold), score=float(score))


def _class_prior(config, fold, corpus, trials):
  """The trivial baseline: the share of "high" among the fold's training trials."""
  training = [t for t in trials if t.subject in fold.train_subjects]
  prior = [np.mean([t.ratings[target] > config.input.threshold for t in training])
           for target in config.input.targets]
  return [row for t in trials if t.subject in fold.test_subjects
          for row in _rows(config, fold, corpus, t, CLASS_PRIOR, prior)]


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
  shown = np.linspace(0, len(trial.frame_times) - 1, 10).astype(int)[1:-1]
  arrays = {
      'trial_id': trial.trial_id, 'weights': seen['attention'][:, 0],
      'query_times': seen['query_times'],
      'query_valid': seen['query_valid'][0], 'key_times': example['video_times'],
      'key_valid': example['video_valid'], 'signals': trial.signals,
      'signal_times': np.arange(len(trial.signals)) / task.model.signal_rate,
      'channels': np.array(task.model.channels),
      'label': example['label'], 'scores': seen['scores'][0],
      'targets': np.array(task.model.targets),
      'thumbnails': corpus.frames(trial, shown),
      'thumbnail_times': trial.frame_times[shown]}
  with whole(workdir / 'attention.npz') as part:
    np.savez_compressed(part, **arrays)


@contextlib.contextmanager
def _timed(stage, facts):
  """Adds to the seconds of a stage, of this run and those it goes on from."""
  start = time.monotonic()
  yield
  before = facts['seconds'].get(stage, 0)
  facts['seconds'][stage] = round(before + time.monotonic() - start, 1)


def _use_compilation_cache(data_dir):
  jax.config.update('jax_compilation_cache_dir', str(data_dir.absolute() / 'compiled'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
