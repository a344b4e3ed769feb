"""The job 'train': from a corpus on disk to a report.

Stages, each of which a rerun finds done or goes on with: the corpus (or its twin) is
prepared; a video encoder is pre-trained on subjects outside the folds, or loaded, or
left random; its features are cached, unless it is fine-tuned; each model is trained on
each fold; every held-out trial is predicted; the report is written.

A model reads whole trials, of any modalities; or, with `input.windows='random'`, clips
of the video alone, which fine-tunes the encoder by VideoMAE's recipe (MVP, Figure 2).
"""

import dataclasses
import math
from pathlib import Path

from mvp_jax import hosts
from mvp_jax.data.clip_examples import LaidClips
from mvp_jax.data.derived import derived
from mvp_jax.data.examples import (
  lasting,
)
from mvp_jax.data.windows import TOLERANCE
from mvp_jax.errors import InputError
from mvp_jax.inference import folder as saved
from mvp_jax.jobs import common, preparation, reading, stages, starts, trainings
from mvp_jax.models.modalities import Encoding
from mvp_jax.training import encoder as encoders
from mvp_jax.training.features import cache_features
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import check_batch, make_mesh
from mvp_jax.workdir import in_use


def run(config, workdir):
  """Runs the whole job; see the module. Raises InputError.

  Writes to `workdir`: config.json, run.json, metrics.jsonl, tensorboard/,
  checkpoints/, models/, predictions.csv, cases/, account.csv, report.html, report.md;
  and leak_meter.csv and leak_meter/ if asked for.
  """
  workdir = Path(workdir)
  mesh = make_mesh(config.mesh)
  _check(config, mesh)
  with common.begun(config, workdir) as facts:
    _run(config, workdir, mesh, facts)


def _check(config, mesh):
  """Validates the settings up front."""
  stages.check(config, mesh)
  if config.input.windows == 'random':
    for model in config.evaluation.models:
      names = config.modalities_of(model)
      if not (len(names) == 1 and config.modalities[names[0]].encoded):
        raise InputError(
          f'config.evaluation.models: {model!r} reads {"+".join(names)}; with '
          "input.windows='random' a model reads the video alone"
        )
    if config.target.level == 'frame':
      raise InputError(
        "config.input.windows: 'random' clips have no labels in time; use 'whole'"
      )
  if config.target.level == 'frame':
    for name in ('first_seconds', 'last_seconds'):
      if getattr(config.input, name):
        raise InputError(
          f'config.input.{name}: of a target in time all labels count; leave it 0'
        )
  if config.evaluation.grid.size > 1:
    if config.encoder.finetune or config.input.windows == 'random':
      raise InputError(
        'config.evaluation.grid: only where encoder.finetune is False and '
        "input.windows is 'whole'"
      )
    if not config.evaluation.validation_subjects:
      raise InputError(
        'config.evaluation.grid: the validation subjects choose, and '
        'evaluation.validation_subjects is 0'
      )
  check_batch(config.encoder.feature_batch, mesh, 'config.encoder.feature_batch')


def _run(config, workdir, mesh, facts):
  corpus = preparation.corpus(config, workdir, facts)
  config = _padded_to_the_longest(config, corpus)
  reserved, folds, trials = stages.split(config, corpus, workdir, facts)
  examined = reading.read(config, trials)
  reading.tell_windows(config, trials, examined, facts)
  for model in config.evaluation.models:  # checks lengths and ratings, before long work
    if config.input.windows == 'whole':
      trainings.examples_of(config, corpus, examined, model, None)
    else:
      LaidClips(
        corpus, examined, config.input, corpus.metadata['frame_size'], config.target
      )
  encoding, start = _encoding(config, corpus, reserved, examined, mesh, workdir, facts)
  pretrained, frozen = starts.pretrained_modalities(
    config, corpus, {t.subject for t in trials}, mesh, workdir, facts
  )
  cached = _on_features(config, corpus, examined, frozen, mesh, facts)
  predictions = stages.baselines(config, folds, corpus, trials, facts)
  of = {trial.trial_id: trial for trial in trials}
  job = trainings.Trainings(
    cached, mesh, corpus, examined, of, encoding, start, pretrained
  )
  kept = saved.Writer(workdir / saved.FOLDER, config.target)
  hosts.on_main(kept.begin)

  with common.timed('training', facts), MetricLog(workdir) as log:
    attention = {}
    for model in config.evaluation.models:
      place = trainings.Place(workdir, log, facts, attention, kept)
      predictions += job.train(model, folds, place)
    readers = {
      name: trainings.on_host(variables, mesh) for name, variables in frozen.items()
    }
    if encoding is not None and encoding.features is not None:
      readers[''] = trainings.on_host(start, mesh)
    for name, variables in readers.items():
      hosts.on_main(lambda name=name, of=variables: kept.encoder(of, name))
    facts['promises'] = hosts.on_main(
      lambda: stages.learn_promises(config, folds, trials, predictions)
    )
    hosts.on_main(lambda: kept.finish(config, corpus, trials, facts))
  if config.evaluation.leak_meter:  # of the first model, apart from all else
    aside = workdir / 'leak_meter'

    def train(leaky):
      with MetricLog(aside) as log:
        place = trainings.Place(aside, log, {'folds': [{} for _ in leaky]}, {})
        return job.train(config.evaluation.models[0], leaky, place)

    stages.measure_leaks(
      config, folds, corpus, trials, workdir, predictions, facts, train
    )
  stages.finish(config, workdir, predictions, facts, corpus, attention)


def _padded_to_the_longest(config, corpus):
  """Pads no further than the longest trial lasts: that changes the time alone."""
  longest = max((lasting(x, config.target) for x in corpus.trials), default=0.0)
  if config.target.level != 'frame':  # which goes to the end of the last label
    longest = min(longest, config.input.first_seconds or longest) - TOLERANCE
  longest = math.ceil(longest)
  least = min(config.input.max_seconds, max(longest, 1.0))
  return dataclasses.replace(
    config, input=dataclasses.replace(config.input, max_seconds=least)
  )


def _encoding(config, corpus, reserved, trials, mesh, workdir, facts):
  """How frames become tokens, and the encoder's variables to start from.

  Returns:
    (Encoding or None, nested dict or None).
  """
  if not common.encoded(config):
    facts['encoder'] = {
      'source': 'none: no model reads frames',
      'subjects_set_aside': list(reserved),
      'trained_on_subjects': [],
    }
    return None, None
  backbone, variables = starts.video_encoder(
    config, corpus, reserved, {t.subject for t in trials}, mesh, workdir, facts
  )
  if config.encoder.finetune or config.input.windows == 'random':
    return Encoding(backbone), variables
  features = _cached(
    config, backbone, variables, corpus, trials, config.input.clips, mesh, facts
  )
  return Encoding(backbone, features), variables


def _cached(config, backbone, variables, corpus, trials, layout, mesh, facts):
  """The folder of a frozen backbone's features, which are worked out if need be."""
  parts = encoders.digest(variables), backbone, layout
  name = encoders.fingerprint(encoders.VERSION, *parts)
  directory = derived(corpus) / 'features' / name
  with (
    common.timed('features', facts),
    in_use(directory, 'working out these very features'),
  ):
    cache_features(
      backbone,
      variables,
      corpus,
      trials,
      layout,
      config.encoder.feature_batch,
      mesh=mesh,
      directory=directory,
    )
  return directory


def _on_features(config, corpus, trials, frozen, mesh, facts):
  """The config with modalities that read the features of their frozen readers.

  `frozen` is {name: variables of the reader}.
  """
  modalities = dict(config.modalities)
  for name, variables in frozen.items():
    own = modalities[name]
    modalities[name] = own.cached(
      _cached(config, own.reader, variables, corpus, trials, own.layout, mesh, facts)
    )
  return dataclasses.replace(config, modalities=modalities)
