"""What the job 'train' goes through: checks, folds, baselines, leaks, report.

`config` is a config.Config; `facts` is what becomes run.json.
"""

import numpy as np

from mvp_jax import hosts
from mvp_jax.data import streams
from mvp_jax.data.handcrafted import feature_table, with_voices
from mvp_jax.data.splits import deal_trials, make_folds, official, reserve
from mvp_jax.errors import InputError
from mvp_jax.evaluation import audit, cases, leak_meter
from mvp_jax.evaluation.predictions import file_name, told, write_predictions
from mvp_jax.evaluation.report import write_report
from mvp_jax.files import write_json
from mvp_jax.jobs import preparation, starts
from mvp_jax.jobs.common import conclude, encoded, evaluated_modalities, timed
from mvp_jax.raw.features import feature_names
from mvp_jax.targets import promises
from mvp_jax.targets.binary_baselines import CLASSIC
from mvp_jax.training.sharding import check_batch


def check(config, mesh):
  """Validates everything up front. Raises InputError."""
  if not config.evaluation.models:
    raise InputError(
      f'config.evaluation.models: name at least one of {", ".join(config.models)}'
    )
  if config.evaluation.leak_meter:
    leak_meter.check(config.target)
  for model in config.evaluation.models:
    if model not in config.models:
      raise InputError(
        f'config.evaluation.models: {model!r} is none of {", ".join(config.models)}'
      )
  preparation.check_corpus(config, config.dataset, preparation.streams_of(config))
  starts.check_modalities(config)
  train = [('train', config.train), ('evaluation', config.evaluation)]
  if encoded(config):
    starts.backbone(config)
    if hasattr(config.encoder, 'train'):
      train.append(('encoder.train', config.encoder.train))
  for field, settings in train:
    parts = getattr(settings, 'accumulate', 1)
    check_batch(settings.batch_size, mesh, f'config.{field}.batch_size', parts)


def split(config, corpus, workdir, facts):
  """Sets subjects aside for the encoder, makes folds of the others, and audits them.

  Subjects are set aside for whatever reads a face, so that what needs no encoder is
  tested in the same folds.

  Returns:
    reserved: their numbers.
    folds: list of Fold.
    trials: list of Trial, of the subjects in the folds.

  Raises:
    InputError: the folds can't be made, or the audit failed.
  """
  modalities, evaluation = evaluated_modalities(config), config.evaluation
  face = any(modality.face for modality in modalities.values())
  aside = config.encoder.subjects if face and not config.encoder.checkpoint else 0
  spare = corpus.trials
  if evaluation.protocol == 'official':  # its other sides stay whole
    spare, *others = official(corpus.trials)
    kept = {trial.subject for side in others for trial in side}
    spare = [trial for trial in spare if trial.subject not in kept]
  reserved, _ = reserve([t.subject for t in spare], aside, config.seed)
  trials = [t for t in corpus.trials if t.subject not in reserved]
  folds = make_folds(
    trials,
    evaluation.protocol,
    folds=evaluation.folds,
    stimulus_folds=evaluation.stimulus_folds,
    validation=evaluation.validation_subjects,
    seed=config.seed,
    target=config.target,
  )
  facts.update(
    protocol=evaluation.protocol, folds=[fold.describe(trials) for fold in folds]
  )
  for fold in folds:
    fitted = fold.target
    audit.fitted(facts, fold, 'thresholds', fitted.trials, fitted.describe())
    if getattr(fitted, 'shares', None) is not None:
      audit.fitted(facts, fold, 'class weights', fold.train)
  standardised = {
    getattr(modality, 'standardise', None) for modality in modalities.values()
  }
  with timed('audit', facts):
    checks = audit.check_folds(
      folds,
      trials,
      evaluation.protocol,
      'subject' if 'subject' in standardised else 'trial',
      evaluation.grid.size,
      evaluation.accept,
    )
    checks += audit.check_content(corpus, folds, trials, evaluation.accept)
  conclude(workdir, facts, checks)
  return reserved, folds, trials


def seeds(config):
  """Of the trainings of each fold; the folds stay those of `config.seed`."""
  return range(config.seed, config.seed + config.evaluation.seeds)


def run_seed(seed, fold, part=0):
  """Of the parameters, dropout and order of one model; `part` of an ensemble."""
  return seed * 1000 + fold.fold + part * 1_000_000


def run_name(config, fold, seed, model, part=0):
  """What one model is called in logs and among checkpoints; `part` of an ensemble."""
  words = [f'fold{fold.fold}']
  words += [f'seed{seed}'] if config.evaluation.seeds > 1 else []
  words += [f'part{part}'] if config.evaluation.ensemble > 1 else []
  return '/'.join([*words, model])


def rows(config, fold, seed, corpus, trial, model, scores, ratings=None):
  """The predictions of one trial, see `predictions.told`."""
  return told(
    config.target,
    fold,
    seed,
    corpus.name,
    trial,
    model,
    scores,
    ratings,
  )


def baselines(config, folds, corpus, trials, facts):
  """The Predictions of the baselines (see `evaluation.baselines`) in all folds.

  Once for each seed, beside the models'.
  """
  of = {trial.trial_id: trial for trial in trials}
  with timed('baselines', facts):
    features, names, workers = None, [], config.data.workers or None
    if config.target.level == 'trial':
      features, names = feature_table(corpus, trials, workers)
    else:  # series speak for themselves
      trials = with_voices(corpus, trials, workers)
    by = 'stimulus' if config.evaluation.protocol == 'stimuli' else 'subject'
    groups = np.array([getattr(trial, by) for trial in trials])
    facts['handcrafted_features'] = names
    plain = _plain_channels(corpus)
    if plain and features is not None and hosts.is_main():
      print(
        f'no handcrafted features are known of {", ".join(plain)}: networks read it, '
        'the classic baselines do not',
        flush=True,
      )
    found = []
    for fold in folds:
      said = config.target.baselines(fold, trials, features, groups, config.seed)
      if names or features is None:
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


def _plain_channels(corpus):
  """Channels at a rate of which nothing handcrafted is known."""
  return [
    channel
    for facts in streams.series(corpus, regular=True).values()
    for channel in facts['channels']
    if not feature_names([channel])
  ]


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
      target=config.target,
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


def learn_promises(config, folds, trials, predictions):
  """What models may promise of new people: {model: {rating: `promises.to_dict`}}.

  Nothing where folds test people that were trained on.
  """
  subject = {trial.trial_id: trial.subject for trial in trials}
  for fold in folds:
    if {subject[x] for x in fold.test} & {subject[x] for x in fold.train}:
      return {}
  found: dict = {}
  for model in config.evaluation.models:
    for rating in config.target.ratings:
      rows = [x for x in predictions if (x.model, x.target) == (model, rating)]
      promise = config.target.promise(rows, config.evaluation.risk)
      if promise is not None:
        found.setdefault(model, {})[rating] = promises.to_dict(promise)
  return found


def finish(config, workdir, predictions, facts, corpus, attention=None):
  """Writes predictions, cases/, run.json and the report, and says what came out.

  `attention` as `cases.write` takes it.
  """
  hosts.on_main(
    lambda: _finish(config, workdir, predictions, facts, corpus, attention or {})
  )


def _finish(config, workdir, predictions, facts, corpus, attention):
  order = {name: i for i, name in enumerate(config.target.ratings)}
  predictions = sorted(
    predictions,
    key=lambda p: (order[p.target], p.seed, p.fold, p.subject, p.trial, p.model),
  )
  write_json(workdir / 'run.json', facts)
  audit.stop_if_failed(facts['audit'])
  target, main = config.target, config.evaluation.models[0]
  write_predictions(workdir / file_name(target), predictions, target)
  chosen = cases.choose(predictions, target, main)
  cases.write(workdir / cases.FOLDER, corpus, chosen, attention, target.streams)
  print(write_report(workdir).summary)
  if 'leak_meter' in facts:
    print(leak_meter.table(facts['leak_meter']))
  print('seconds: ' + ', '.join(f'{k} {v:.0f}' for k, v in facts['seconds'].items()))
  print(f'report: {workdir / "report.html"}')
