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

from mvp_jax.corpora import find
from mvp_jax.data.masks import mask_sizes
from mvp_jax.data.splits import deal_trials, make_folds, reserve
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.evaluation import account, audit, cases, crops, leak_meter
from mvp_jax.evaluation.baselines import (
  CLASSIC,
  classic_baselines,
  simple_baselines,
)
from mvp_jax.evaluation.handcrafted import feature_table
from mvp_jax.evaluation.predictions import Prediction, write_predictions
from mvp_jax.evaluation.report import write_report
from mvp_jax.evaluation.summary import summary_table
from mvp_jax.files import write_json
from mvp_jax.prepare import load_builder, prepare
from mvp_jax.prepare.account import read_account
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
    yield {
      **provenance(),
      'seconds': earlier.get('seconds', {}),
      'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
    }


def check(config, mesh, video=True, action_units=False):
  """Finds before any long work what would stop it later. Raises InputError."""
  try:
    load_builder(config.dataset).configure(
      **_preparation(config, config.dataset, video, action_units)
    )
    if not config.data.manual_dir and find(config.dataset).twin is None:
      raise InputError(
        f'manual_dir: {config.dataset} has no synthetic twin; give the '
        'folder that holds it'
      )
  except InputError as error:
    raise InputError(f'config.data: {error}') from error
  encoder = config.encoder
  try:
    model = encoder.model(config.input.clips, config.data.frame_size)
  except ValueError as error:
    raise InputError(
      f'config: {error}; see input.clips, data.frame_size and encoder.patch'
    ) from error
  try:
    mask_sizes(*model.grid, encoder.masks)
  except InputError as error:
    raise InputError(f'config.encoder.{error}') from error
  if encoder.checkpoint and video:
    encoders.check(model, Path(encoder.checkpoint))
  for field, size, parts in [
    ('train', config.train.batch_size, config.train.accumulate),
    ('evaluation', config.evaluation.batch_size, 1),
    ('encoder.train', encoder.train.batch_size, encoder.train.accumulate),
  ]:
    check_batch(size, mesh, f'config.{field}.batch_size', parts)


def corpus(config, workdir, facts, video=True, action_units=False):
  """The prepared corpus, of the official files or of a twin: a Corpus."""
  facts.update(dataset=config.dataset, threshold=config.input.threshold)
  with timed('data', facts):
    found = prepared_corpus(config, config.dataset, facts, video, action_units)
    check_source(workdir, found.metadata['fingerprint'])
    facts[FINGERPRINT] = found.metadata['fingerprint']
    if hosts.is_main():
      write_json(workdir / 'run.json', facts)
      (workdir / 'account.csv').write_bytes(
        (found.directory / 'account.csv').read_bytes()
      )
      account.write_page(found, workdir / account.PAGE)
      crops.write(workdir / crops.FILE, found)
  return found


def split(config, corpus, workdir, facts, video=True):
  """Sets subjects aside for the encoder, makes folds of the others, and audits them.

  With `video` subjects are set aside whatever its backbone, so that one without an
  encoder is tested in the same folds.

  Returns:
    reserved: their numbers.
    folds: list of Fold.
    trials: list of Trial, of the subjects in the folds.

  Raises:
    InputError: the folds can't be made, or the audit failed.
  """
  reserved, subjects = reserve(
    [t.subject for t in corpus.trials],
    config.encoder.subjects if video and not config.encoder.checkpoint else 0,
    config.seed,
  )
  trials = [t for t in corpus.trials if t.subject in subjects]
  evaluation = config.evaluation
  folds = make_folds(
    trials,
    evaluation.protocol,
    folds=evaluation.folds,
    stimulus_folds=evaluation.stimulus_folds,
    validation=evaluation.validation_subjects,
    seed=config.seed,
    targets=config.input.targets,
    threshold=config.input.threshold,
  )
  facts.update(
    protocol=evaluation.protocol, folds=[fold.describe(trials) for fold in folds]
  )
  for fold in folds:
    audit.fitted(facts, fold, 'thresholds', fold.cuts.trials, fold.cuts.describe())
  with timed('audit', facts):
    checks = audit.check_folds(
      folds,
      trials,
      evaluation.protocol,
      getattr(config.input, 'standardise', None),
      len(evaluation.grid.points()) if hasattr(evaluation, 'grid') else 1,
    )
    checks += audit.check_content(corpus, folds, trials)
  conclude(workdir, facts, checks)
  return reserved, folds, trials


def conclude(workdir, facts, checks):
  """Adds checks of the audit to run.json; raises InputError if one has failed."""
  facts['audit'] = audit.report(checks, facts.get('audit'))
  if hosts.is_main():
    write_json(workdir / 'run.json', facts)
  audit.stop_if_failed(facts['audit'])


def video_encoder(config, corpus, reserved, test_subjects, mesh, workdir, facts):
  """Pre-trains or loads the encoder, and checks whom it has seen.

  Returns:
    VideoFeatures, and the parameters of its Encoder.
  """
  settings = config.encoder
  task = VideoFeatures(
    settings.model(config.input.clips, corpus.metadata['frame_size'])
  )
  if not settings.pretrained:
    without_encoder(config, corpus, workdir, facts)
    return task, encoders.fresh(task.model, mesh, config.seed)
  if settings.checkpoint:
    directory = Path(settings.checkpoint)
  else:
    key = encoders.fingerprint(
      dataclasses.replace(task.model, feature_grid=1),
      settings.train,
      settings.masks,
      settings.views,
      settings.clips_per_trial,
      reserved,
      config.input.clips.stride,
      config.seed,
    )
    directory = corpus.directory.parent / 'encoders' / key
    with timed('pretrain', facts):
      encoders.pretrain(
        MaskedVideo(task.model),
        corpus,
        reserved,
        settings,
        config.input.clips,
        mesh=mesh,
        seed=config.seed,
        directory=directory,
      )
    hosts.on_main(lambda: copy_metrics(directory, workdir))
  params, record, said = encoders.load(task.model, mesh, directory)
  if said and hosts.is_main():
    print(said, flush=True)
  allowed = config.evaluation.allow_encoder_overlap
  encoders.check_overlap(record, corpus, test_subjects, allowed)
  conclude(
    workdir, facts, [audit.check_encoder(record, corpus, test_subjects, allowed)]
  )
  facts['encoder'] = {
    'source': str(settings.checkpoint or 'pre-trained in this run'),
    'size': settings.size,
    **record,
  }
  return task, params


def without_encoder(config, corpus, workdir, facts):
  """Notes in the facts that the video encoder starts from random weights."""
  facts['encoder'] = {
    'source': 'none, random weights',
    'size': config.encoder.size,
    'trained_on_subjects': [],
  }
  conclude(workdir, facts, [audit.check_encoder(None, corpus, (), False)])


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


def rows(config, fold, seed, corpus, trial, model, scores, ratings=None):
  """Yields the Predictions of one trial; `scores` has one for each target.

  `ratings`, one for each target, are predicted; None = only classes are.
  """
  labels = fold.cuts.labels(trial)
  for i, target in enumerate(config.input.targets):
    yield Prediction(
      dataset=corpus.name,
      subject=trial.subject,
      trial=trial.trial,
      stimulus=str(trial.stimulus or 0),
      fold=fold.fold,
      seed=seed,
      model=model,
      target=target,
      rating=round(trial.ratings[target], 4),
      label=int(labels[i]),
      score=float(scores[i]),
      predicted_rating=None if ratings is None else float(ratings[i]),
    )


def baselines(config, folds, corpus, trials, facts):
  """The Predictions of the baselines (see `evaluation.baselines`) in all folds.

  Once for each seed, beside the models'.
  """
  of = {trial.trial_id: trial for trial in trials}
  with timed('baselines', facts):
    features, names = feature_table(corpus, trials, config.data.workers or None)
    by = 'stimulus' if config.evaluation.protocol == 'stimuli' else 'subject'
    groups = np.array([getattr(trial, by) for trial in trials])
    facts['handcrafted_features'] = names
    found = []
    for fold in folds:
      said = simple_baselines(fold, trials)
      if names:
        said += classic_baselines(fold, trials, features, groups, config.seed)
        audit.fitted(facts, fold, 'handcrafted features', fold.train)
      found += [
        row
        for seed in seeds(config)
        for x in said
        for row in rows(
          config, fold, seed, corpus, of[x.trial_id], x.model, x.score, x.rating
        )
      ]
  return found


def measure_leaks(config, folds, corpus, trials, workdir, predictions, facts, train):
  """Measures what wrong splits would have claimed; see `evaluation.leak_meter`.

  Args:
    predictions: of the honest folds.
    train: function of a list of Fold -> Predictions of the first model.
  """
  evaluation, seed = config.evaluation, config.seed
  with timed('leak meter', facts):
    leaky = deal_trials(
      trials,
      max(2, min(len(folds), 10)),
      evaluation.validation_subjects,
      seed,
      config.input.targets,
      config.input.threshold,
    )
    model = evaluation.models[0]
    rows = leak_meter.of_predictions(leak_meter.HONEST, predictions, (model, *CLASSIC))
    rows += leak_meter.of_predictions(leak_meter.TRIALS, train(leaky), (model,))
    workers = config.data.workers or None
    features, names = feature_table(corpus, trials, workers)
    if names:
      rows += leak_meter.classic_trials(leaky, trials, features, seed)
      windows = leak_meter.windows_of(corpus, trials, workers)
      if len(windows[1]):
        rows += leak_meter.classic_windows(folds, trials, *windows, seed)
  facts['leak_meter'] = leak_meter.inflation(rows)
  if hosts.is_main():
    leak_meter.write(workdir / 'leak_meter.csv', rows)


def finish(config, workdir, predictions, facts, corpus, attention=None):
  """Writes predictions, cases/, run.json and the report, and says what came out.

  `attention` as `cases.write` takes it.
  """
  hosts.on_main(
    lambda: _finish(config, workdir, predictions, facts, corpus, attention or {})
  )


def _finish(config, workdir, predictions, facts, corpus, attention):
  order = {target: i for i, target in enumerate(config.input.targets)}
  predictions = sorted(
    predictions,
    key=lambda p: (order[p.target], p.seed, p.fold, p.subject, p.trial, p.model),
  )
  write_json(workdir / 'run.json', facts)
  audit.stop_if_failed(facts['audit'])
  write_predictions(workdir / 'predictions.csv', predictions)
  cases.write(workdir / cases.FOLDER, corpus, predictions, attention)
  write_report(workdir)
  print(summary_table(predictions, facts.get('ceiling')))
  if 'leak_meter' in facts:
    print(leak_meter.table(facts['leak_meter']))
  print('seconds: ' + ', '.join(f'{k} {v:.0f}' for k, v in facts['seconds'].items()))
  print(f'report: {workdir / "report.html"}')


@contextlib.contextmanager
def timed(stage, facts):
  """Adds to the seconds of a stage, of this run and those it goes on from."""
  start = time.monotonic()
  yield
  before = facts['seconds'].get(stage, 0)
  facts['seconds'][stage] = round(before + time.monotonic() - start, 1)


def _preparation(config, name, video, action_units=False):
  """How a corpus is prepared: fields of its builder's config."""
  data = config.data
  fields = {
    'workers': data.workers or None,
    'beam': data.beam,
    'allow_dropped': data.allow_dropped,
    'streams': (
      'signals',
      *(['video'] if video else []),
      *(['action_units'] if action_units else []),
    ),
    'frame_rate': data.frame_rate,
    'frame_size': data.frame_size,
    'crop': data.crop,
    'channels': data.channels,
    'clean': data.clean,
  }
  if name != 'recordings':  # whose manifest names the CSVs
    fields['openface_dir'] = data.openface_dir
  if name == 'amigos':
    fields |= {
      'experiment': data.experiment,
      'annotation': data.annotation,
      'exclude': data.exclude,
    }
  return fields


def prepared_corpus(config, name, facts, video=True, action_units=False):
  """Prepares a corpus, of the official files or of a twin: a Corpus."""
  data = config.data
  manual_dir = Path(data.manual_dir) if data.manual_dir else None
  if manual_dir is None:
    corpus = find(name)
    key = encoders.fingerprint(config.twin)
    manual_dir = Path(data.data_dir) / 'twins' / f'{name}-{key}'
    if hosts.is_main():
      print(_SYNTHETIC_NOTE.format(corpus.title), flush=True)
    with timed('twin', facts):
      hosts.on_main(
        lambda: corpus.twin.write(manual_dir, config.twin, data.workers or None)
      )
  with timed('prepare', facts):
    directory = Path(
      hosts.on_main(
        lambda: str(
          prepare(
            name,
            manual_dir,
            Path(data.data_dir) / 'prepared',
            **_preparation(config, name, video, action_units),
          )
        )
      )
    )
  hosts.check_shared(directory)
  found = PreparedCorpus(directory)
  outcomes = read_account(directory / 'account.csv')
  facts.update(
    synthetic=found.metadata['synthetic'],
    ceiling=found.metadata['ceiling'],
    trials_in=len(outcomes),
    trials_out=len(found.trials),
    losses={
      row['trial_id']: row['outcome'] for row in outcomes if row['outcome'] != 'ok'
    },
  )
  return found
