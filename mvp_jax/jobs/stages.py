"""What the jobs go through: corpus, folds, pre-trained encoder, report.

`config` is a config.Config; `facts` is what becomes run.json.
"""

import contextlib
import dataclasses
import functools
import time
from pathlib import Path

import jax
import numpy as np

from mvp_jax import corpora, hosts
from mvp_jax.data import streams
from mvp_jax.data.handcrafted import feature_table
from mvp_jax.data.splits import deal_trials, make_folds, reserve
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.evaluation import account, audit, cases, crops, leak_meter
from mvp_jax.evaluation.predictions import file_name, told, write_predictions
from mvp_jax.evaluation.report import write_report
from mvp_jax.files import write_json
from mvp_jax.locks import waited_for
from mvp_jax.prepare import load_builder, prepare
from mvp_jax.prepare.account import read_account
from mvp_jax.raw.features import feature_names
from mvp_jax.targets.binary_baselines import CLASSIC
from mvp_jax.training import encoder as encoders
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.pretrain import pretrain
from mvp_jax.training.sharding import check_batch
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
 SYNTHETIC: no {} was given ({}),
 so this run uses a made-up twin, in the same layout and with planted effects.
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


def evaluated_modalities(config):
  """The modalities that some evaluated model reads: {name: Modality}."""
  names = dict.fromkeys(
    name for model in config.evaluation.models for name in config.modalities_of(model)
  )
  return {name: config.modalities[name] for name in names}


def encoded(config):
  """Whether some evaluated model reads frames through the encoder."""
  return any(modality.encoded for modality in evaluated_modalities(config).values())


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
  check_corpus(config, config.dataset, _streams(config))
  for modality in _pretrained(config).values():
    modality.check_start(encoders.read_record(Path(modality.checkpoint)))
  train = [('train', config.train), ('evaluation', config.evaluation)]
  if encoded(config):
    backbone(config)
    if hasattr(config.encoder, 'train'):
      train.append(('encoder.train', config.encoder.train))
  for field, settings in train:
    parts = getattr(settings, 'accumulate', 1)
    check_batch(settings.batch_size, mesh, f'config.{field}.batch_size', parts)


def _pretrained(config):
  """The evaluated modalities that start from a pre-training of their own."""
  return {
    name: modality
    for name, modality in evaluated_modalities(config).items()
    if getattr(modality, 'checkpoint', '')
  }


def check_corpus(config, name, streams, own=None):
  """Validates how a corpus is to be prepared. Raises InputError."""
  try:
    load_builder(name).configure(streams=streams, **_preparation(config, name, own))
    if not config.data.manual_dir and corpora.find(name).twin is None:
      raise InputError(
        f'manual_dir: {name} has no synthetic twin; give the folder that holds it'
      )
  except InputError as error:
    raise InputError(f'config.data: {error}') from error


def backbone(config, found=()):
  """The encoder's network for prepared corpora, if there are any yet.

  Or None, see `EncoderConfig.network`. The checkpoint, if one is given, is checked.
  """
  try:
    network = config.encoder.network(config, found)
  except InputError as error:
    raise InputError(f'config.{error}') from error
  except ValueError as error:
    raise InputError(
      f'config: {error}; see input.clips, data.frame_size and encoder.patch'
    ) from error
  if config.encoder.checkpoint and network is not None:
    encoders.check(network, Path(config.encoder.checkpoint))
  return network


def _streams(config):
  """The streams that the evaluated models and the simple baselines read."""
  wanted = {
    stream
    for modality in evaluated_modalities(config).values()
    for stream in modality.streams
  }
  wanted |= {*config.target.streams, *corpora.find(config.dataset).always}
  return tuple(sorted(wanted))


def corpus(config, workdir, facts):
  """The prepared corpus, of the official files or of a twin: a PreparedCorpus."""
  facts.update(
    dataset=config.dataset,
    published=dict(corpora.find(config.dataset).published),
    target=config.target.describe(),
    models=list(config.evaluation.models),
  )
  with timed('data', facts):
    found = prepared_corpus(config, config.dataset, facts, _streams(config))
    check_source(workdir, found.metadata['fingerprint'])
    facts[FINGERPRINT] = found.metadata['fingerprint']
    if hosts.is_main():
      write_json(workdir / 'run.json', facts)
      (workdir / 'account.csv').write_bytes(
        (found.directory / 'account.csv').read_bytes()
      )
      account.write_page(found, workdir / account.PAGE)
      crops.write(workdir / crops.FILE, found)
  facts['without_baseline'] = _without_baseline(found)
  for name, count in facts['without_baseline'].items():
    if count and hosts.is_main():
      asked = found.metadata['streams'][name]['before']
      print(
        f'{name}: {count} of {len(found.trials)} trials have less than half of the '
        f'{asked:g} s before their onset that are asked for: there, levels count from '
        "the trial's own mean",
        flush=True,
      )
  return found


def _without_baseline(corpus):
  """{series stream: trials in which a channel has too little of the baseline}."""
  found = {}
  for name, facts in streams.series(corpus).items():
    if facts.get('before'):
      own = [t.streams[name] for t in corpus.trials if name in t.streams]
      found[name] = sum(not one.has_baseline.all() for one in own)
  return found


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
  reserved, subjects = reserve([t.subject for t in corpus.trials], aside, config.seed)
  trials = [t for t in corpus.trials if t.subject in subjects]
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
    )
    checks += audit.check_content(corpus, folds, trials, evaluation.accept)
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
    The backbone (see `models.backbones`), and its variables, a nested dict.
  """
  settings = config.encoder
  network = backbone(config, [corpus])
  noted = {'kind': settings.kind, 'model': dataclasses.asdict(network)}
  if not settings.pretrained:
    facts['encoder'] = {
      'source': 'none, random weights',
      **noted,
      'trained_on_subjects': [],
    }
    conclude(workdir, facts, [audit.check_encoder(None, corpus, (), False)])
    return network, encoders.fresh(network, mesh, config.seed)
  if settings.checkpoint:
    directory = Path(settings.checkpoint)
  else:
    directory = pretrained(config, corpus, reserved, network, mesh, facts)
    hosts.on_main(lambda: copy_metrics(directory, workdir))
  variables, record, said = encoders.load(network, mesh, directory)
  if said and hosts.is_main():
    print(said, flush=True)
  facts['encoder'] = {
    'source': str(settings.checkpoint or 'pre-trained in this run'),
    **noted,
    **record,
  }
  allowed = config.evaluation.allow_encoder_overlap
  conclude(
    workdir, facts, [audit.check_encoder(record, corpus, test_subjects, allowed)]
  )
  return network, variables


def pretrained_modalities(config, corpus, test_subjects, mesh, workdir, facts):
  """Loads what modalities start from, and checks whom it has seen.

  Returns:
    {name: function of the modality's random variables -> those to start from}.
  """
  starts = {}
  for name, modality in _pretrained(config).items():
    directory = Path(modality.checkpoint)
    record = encoders.read_record(directory)
    (stream,) = modality.streams
    channels = corpus.metadata['streams'][stream]['channels']
    modality.check_start(record, corpus.metadata['streams'][stream])
    variables = jax.device_get(encoders.read_variables(directory, mesh)['encoder'])
    starts[name] = functools.partial(
      modality.started,
      pretrained=variables,
      known=record['model']['channels'],
      channels=channels,
    )
    facts.setdefault('pretrained', {})[name] = {'source': str(directory), **record}
    allowed = config.evaluation.allow_encoder_overlap
    check = audit.check_encoder(
      record, corpus, test_subjects, allowed, f'{name} pre-training'
    )
    conclude(workdir, facts, [check])
  return starts


def pretrained(config, corpus, subjects, network, mesh, facts):
  """The folder of an encoder pre-trained on some subjects, made if need be."""
  settings = config.encoder
  trials = [t for t in corpus.trials if t.subject in subjects and 'video' in t.streams]
  if not trials:
    raise InputError(
      'encoder.subjects: no videos to pre-train on; set some subjects aside or give '
      'encoder.checkpoint'
    )
  directory = (
    corpus.directory.parent
    / 'encoders'
    / encoders.fingerprint(
      encoders.VERSION,
      settings.pretraining(),
      config.input.clips.frames,
      config.input.clips.stride,
      config.input.clips.tubelet,
      subjects,
      config.seed,
    )
  )
  if not (directory / encoders.RECORD).exists():
    sources = [settings.clips(corpus, trials, config.input.clips, network)]
    with (
      timed('pretrain', facts),
      in_use(directory, 'pre-training this very encoder'),
      MetricLog(directory) as log,
    ):
      pretrain(
        settings,
        network,
        sources,
        mesh=mesh,
        seed=config.seed,
        directory=directory,
        log=log,
      )
  return directory


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
    config.input.max_seconds,
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
    plain = _plain_channels(corpus)
    if plain and hosts.is_main():
      print(
        f'no handcrafted features are known of {", ".join(plain)}: networks read it, '
        'the classic baselines do not',
        flush=True,
      )
    found = []
    for fold in folds:
      said = config.target.baselines(fold, trials, features, groups, config.seed)
      if names:
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
  cases.write(workdir / cases.FOLDER, corpus, chosen, attention)
  print(write_report(workdir).summary)
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


def _preparation(config, name, own=None, rated=True):
  """How a corpus is prepared: what `prepare` takes of its fields."""
  data = config.data
  own = data.corpus if own is None else own
  return {
    'workers': data.workers or None,
    'beam': data.beam,
    'allow_dropped': data.allow_dropped,
    'frame_rate': data.frame_rate,
    'frame_size': data.frame_size,
    'crop': data.crop,
    'clean': data.clean,
    'ratings': config.target.ratings if rated else (),
    **({'channels': data.channels} if data.channels and name == config.dataset else {}),
    **{f.name: getattr(own, f.name) for f in dataclasses.fields(own)},
  }


def prepared_corpus(config, name, facts, streams, folder=None, own=None, rated=True):
  """Prepares a corpus, of the official files or of a twin: a PreparedCorpus.

  Args:
    streams: names of those wanted.
    folder: of the official files; None: that of the config, or of its twin.
    own: settings of the corpus, if not those of the config.
    rated: whether every trial must have the ratings of the target.
  """
  data, known = config.data, corpora.find(name)
  manual_dir = folder or (Path(data.manual_dir) if data.manual_dir else None)
  if manual_dir is None:
    manual_dir = (
      Path(data.data_dir) / 'twins' / (f'{name}-{encoders.fingerprint(config.twin)}')
    )
    if hosts.is_main():
      given = 'config.pretrain.sources' if config.job == 'pretrain' else ''
      print(
        _SYNTHETIC_NOTE.format(known.title, given or 'config.data.manual_dir'),
        flush=True,
      )
    lock = Path(data.data_dir) / 'locks' / f'{manual_dir.name}.lock'

    def write():
      with waited_for(lock, f'writing {manual_dir}'):
        known.twin.write(manual_dir, config.twin, data.workers or None)

    with timed('twin', facts):
      hosts.on_main(write)
  with timed('prepare', facts):
    directory = Path(
      hosts.on_main(
        lambda: str(
          prepare(
            name,
            manual_dir,
            Path(data.data_dir) / 'prepared',
            streams=streams,
            **_preparation(config, name, own, rated),
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
    dropped={
      row['trial_id']: row['outcome'] for row in outcomes if row['outcome'] != 'ok'
    },
  )
  return found
