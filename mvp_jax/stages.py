"""What every job goes through: corpus, folds, pre-trained encoder, report.

`config` is a job's config with at least `dataset`, `seed`, `data`, `twin`, `input`,
`encoder` and `evaluation`; `facts` is what becomes run.json.
"""

import contextlib
import dataclasses
import time
from pathlib import Path

import jax
import numpy as np

from mvp_jax.data.builders import load_builder, prepare
from mvp_jax.data.masks import mask_sizes
from mvp_jax.data.splits import make_folds, reserve
from mvp_jax.data.trials import Corpus
from mvp_jax.errors import InputError
from mvp_jax.evaluation.predictions import CLASS_PRIOR, Prediction, write_predictions
from mvp_jax.evaluation.report import write_report
from mvp_jax.evaluation.summary import summary_table
from mvp_jax.files import write_json
from mvp_jax.raw.prepare import read_account
from mvp_jax.synthetic.twins import TWINS
from mvp_jax.training import encoder as encoders
from mvp_jax.training import hosts
from mvp_jax.training.sharding import check_batch
from mvp_jax.training.tasks import MaskedVideo, VideoFeatures
from mvp_jax.workdir import (
    FINGERPRINT,
    check_hosts,
    check_source,
    claim,
    copy_metrics,
    in_use,
    provenance,
)

_SYNTHETIC_NOTE = """\
========================================================================
 SYNTHETIC: no {} was given (config.data.manual_dir, or config.sources
 to pre-train), so this run uses a made-up twin, in the same layout and
 with planted effects.
 Its scores say that the program works, and nothing about emotion.
========================================================================"""


@contextlib.contextmanager
def begun(config, workdir):
  """Claims the work directory for a job, and keeps other runs out of it.

  Yields:
    The first facts: code, versions, devices, and the seconds of an earlier run.

  Raises:
    InputError: another run's, or the processes of this job differ.
  """
  check_hosts(config)
  with in_use(workdir):
    earlier = claim(workdir, config)
    data_dir = Path(config.data.data_dir).absolute()
    jax.config.update('jax_compilation_cache_dir', str(data_dir / 'compiled'))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
    yield {**provenance(), 'seconds': earlier.get('seconds', {}),
           'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}'}


def check(config, mesh, video=True):
  """Finds before any long work what would stop it later. Raises InputError."""
  try:
    load_builder(config.dataset).configure(
        **_preparation(config, config.dataset, video))
    if not config.data.manual_dir and config.dataset not in TWINS:
      raise InputError(f'manual_dir: {config.dataset} has no synthetic twin; give the '
                       'folder that holds it')
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
  if encoder.checkpoint and video:
    encoders.check(model, Path(encoder.checkpoint))
  for field, size, parts in [
      ('train', config.train.batch_size, config.train.accumulate),
      ('evaluation', config.evaluation.batch_size, 1),
      ('encoder.train', encoder.train.batch_size, encoder.train.accumulate)]:
    check_batch(size, mesh, f'config.{field}.batch_size', parts)


def corpus(config, workdir, facts, video=True):
  """The prepared corpus, of the official files or of a twin: a Corpus."""
  facts.update(dataset=config.dataset, threshold=config.input.threshold)
  with timed('data', facts):
    found = prepared_corpus(config, config.dataset, facts, video)
    check_source(workdir, found.metadata['fingerprint'])
    facts[FINGERPRINT] = found.metadata['fingerprint']
    if hosts.is_main():
      write_json(workdir / 'run.json', facts)
      (workdir / 'account.csv').write_bytes(
          (found.directory / 'account.csv').read_bytes())
  return found


def split(config, corpus, facts, video=True):
  """Sets subjects aside for the encoder and makes folds of the others.

  Returns:
    reserved: their numbers.
    folds: list of Fold.
    trials: list of Trial, of the subjects in the folds.

  Raises:
    InputError: too few subjects, or a threshold that parts no trials.
  """
  reserved, subjects = reserve(
      [t.subject for t in corpus.trials],
      config.encoder.subjects if video and not config.encoder.checkpoint else 0,
      config.seed)
  folds = make_folds(subjects, config.evaluation.folds,
                     config.evaluation.validation_subjects, config.seed)
  facts['folds'] = [dataclasses.asdict(fold) for fold in folds]
  trials = [t for t in corpus.trials if t.subject in subjects]
  _check_threshold(config, trials)
  return reserved, folds, trials


def _check_threshold(config, trials):
  """Raises InputError if all trials lie on one side of it, as on another scale."""
  threshold = config.input.threshold
  for target in config.input.targets:
    ratings = [t.ratings.get(target, np.nan) for t in trials]
    if len({rating > threshold for rating in ratings}) == 1 and np.isfinite(
        ratings).all():
      raise InputError(
          f'config.input.threshold: {threshold:g} has all {len(trials)} trials on one '
          f'side, {target} is {min(ratings):g} to {max(ratings):g}; choose one between')


def video_encoder(config, corpus, reserved, test_subjects, mesh, workdir, facts):
  """Pre-trains or loads the encoder, and checks whom it has seen.

  Returns:
    VideoFeatures, and the parameters of its Encoder.
  """
  settings = config.encoder
  task = VideoFeatures(settings.model(config.input.clips,
                                      corpus.metadata['frame_size']))
  if settings.checkpoint:
    directory = Path(settings.checkpoint)
  else:
    key = encoders.fingerprint(
        dataclasses.replace(task.model, feature_grid=1), settings.train,
        settings.masks, settings.views, settings.clips_per_trial, reserved,
        config.input.clips.stride, config.seed)
    directory = corpus.directory.parent / 'encoders' / key
    with timed('pretrain', facts):
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
  return task, params


def seeds(config):
  """Of the trainings of each fold; the folds stay those of `config.seed`."""
  return range(config.seed, config.seed + config.evaluation.seeds)


def run_seed(seed, fold):
  """Of the parameters, dropout and order of one training."""
  return seed * 1000 + fold.fold


def run_name(config, fold, seed, model):
  """What one training is called in logs and among checkpoints."""
  if config.evaluation.seeds == 1:
    return f'fold{fold.fold}/{model}'
  return f'fold{fold.fold}/seed{seed}/{model}'


def rows(config, fold, seed, corpus, trial, model, scores):
  """Yields the Predictions of one trial; `scores` has one for each target."""
  for target, score in zip(config.input.targets, scores, strict=True):
    rating = trial.ratings[target]
    yield Prediction(
        dataset=corpus.name, subject=trial.subject, trial=trial.trial,
        stimulus=str(trial.stimulus), fold=fold.fold, seed=seed, model=model,
        target=target, rating=round(rating, 4),
        label=int(rating > config.input.threshold), score=float(score))


def class_prior(config, fold, corpus, trials):
  """The trivial baseline: the share of "high" among the fold's training trials.

  Once for each seed, beside the models'.
  """
  training = [t for t in trials if t.subject in fold.train_subjects]
  prior = [np.mean([t.ratings[target] > config.input.threshold for t in training])
           for target in config.input.targets]
  return [row for t in trials if t.subject in fold.test_subjects
          for seed in seeds(config)
          for row in rows(config, fold, seed, corpus, t, CLASS_PRIOR, prior)]


def finish(config, workdir, predictions, facts):
  """Writes the predictions, run.json and the report, and says what came out."""
  hosts.on_main(lambda: _finish(config, workdir, predictions, facts))


def _finish(config, workdir, predictions, facts):
  order = {target: i for i, target in enumerate(config.input.targets)}
  predictions = sorted(
      predictions, key=lambda p: (order[p.target], p.seed, p.fold, p.subject, p.trial,
                                  p.model))
  write_predictions(workdir / 'predictions.csv', predictions)
  write_json(workdir / 'run.json', facts)
  write_report(workdir)
  print(summary_table(predictions, facts.get('ceiling')))
  print('seconds: ' + ', '.join(f'{k} {v:.0f}' for k, v in facts['seconds'].items()))
  print(f'report: {workdir / "report.html"}')


@contextlib.contextmanager
def timed(stage, facts):
  """Adds to the seconds of a stage, of this run and those it goes on from."""
  start = time.monotonic()
  yield
  before = facts['seconds'].get(stage, 0)
  facts['seconds'][stage] = round(before + time.monotonic() - start, 1)


def _preparation(config, name, video):
  """How a corpus is prepared: fields of its builder's config."""
  data = config.data
  fields = {'workers': data.workers or None, 'allow_losses': data.allow_losses,
            'video': video, 'frame_rate': data.frame_rate,
            'frame_size': data.frame_size, 'crop': data.crop,
            'channels': data.channels}
  if name == 'amigos':
    fields |= {'experiment': data.experiment, 'annotation': data.annotation,
               'exclude': data.exclude}
  return fields


def prepared_corpus(config, name, facts, video=True):
  """Prepares a corpus, of the official files or of a twin: a Corpus."""
  data = config.data
  manual_dir = Path(data.manual_dir) if data.manual_dir else None
  if manual_dir is None:
    twin = TWINS[name]
    key = encoders.fingerprint(config.twin)
    manual_dir = Path(data.data_dir) / 'twins' / f'{name}-{key}'
    if hosts.is_main():
      print(_SYNTHETIC_NOTE.format(twin.corpus), flush=True)
    with timed('twin', facts):
      hosts.on_main(lambda: twin.write(
          manual_dir, config.twin, data.workers or None))
  with timed('prepare', facts):
    directory = Path(hosts.on_main(lambda: str(prepare(
        name, manual_dir, Path(data.data_dir) / 'prepared',
        **_preparation(config, name, video)))))
  hosts.check_shared(directory)
  found = Corpus(directory)
  account = read_account(directory / 'account.csv')
  facts.update(
      synthetic=found.metadata['synthetic'], ceiling=found.metadata['ceiling'],
      trials_in=len(account), trials_out=len(found.trials),
      losses={row['trial_id']: row['outcome'] for row in account
              if row['outcome'] != 'ok'})
  return found
