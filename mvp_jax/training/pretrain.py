"""Self-supervised pre-training of an encoder, and records of how one was trained."""

import dataclasses
import json
from typing import Any

import numpy as np

from mvp_jax import hosts
from mvp_jax.data.batches import evaluation_batches, training_batches
from mvp_jax.data.clips import first_view
from mvp_jax.data.random_clips import mix
from mvp_jax.training import sharding
from mvp_jax.training.encoder import write_record
from mvp_jax.training.loop import Called, fit

RUN = 'encoder'  # in metrics.jsonl
SECTION = 'config.encoder'  # where the settings of all encoders stand


def pretrain(
  settings,
  backbone,
  sources,
  *,
  mesh,
  seed,
  directory,
  log,
  weights=(),
  held_out=(),
  params=None,
  inspect=None,
):
  """Pre-trains an encoder, and writes its checkpoints and `record.json`.

  After a kill it resumes from its last checkpoint.

  Args:
    settings: training.encoder.EncoderConfig.
    backbone: of `settings.backbone`.
    sources: list of examples of `settings.clips`, each of one corpus.
    mesh: device mesh.
    seed: of parameters, order, places, views and masks.
    directory: pathlib.Path.
    log: MetricLog.
    weights: of the sources; empty = proportional to their numbers of clips.
    held_out: like `sources`, clips on which the loss is monitored.
    params: initial variables; None = random ones.
    inspect: as for `loop.fit`.

  Returns:
    The record, a dict.
  """
  config = settings.train
  rows = sharding.rows_on(mesh)
  if len(sources) > 1:
    stream = mix(sources, weights or tuple(float(len(s)) for s in sources), seed)
  else:
    (stream,) = sources

  def batches(start):
    return training_batches(
      stream,
      config.batch_size,
      seed,
      config.workers,
      getattr(stream, 'read', None),
      views=sources[0].repeats,
      start=start,
      rows=rows,
    )

  fit(
    settings.task(backbone),
    batches,
    config,
    mesh=mesh,
    seed=seed,
    run=RUN,
    directory=directory / 'checkpoints',
    log=log,
    validation=(
      lambda: evaluation_batches(FixedExamples(held_out), config.batch_size, rows)
    )
    if held_out
    else None,
    params=params,
    inspect=inspect,
    called=called(settings, f'{SECTION}.train'),
  )
  found = record(settings, backbone, sources, seed)
  hosts.on_main(lambda: write_record(directory, found))
  return found


def called(settings, section):
  """What the settings of a training that runs an encoder are called: a Called.

  Args:
    settings: training.encoder.EncoderConfig.
    section: of the TrainConfig.
  """
  return Called(section, f'{SECTION}.remat' if hasattr(settings, 'remat') else '')


def record(settings, backbone, sources, seed):
  """What an encoder has seen and how it was trained.

  `settings` are its own, or those of the modality whose reader it is; `sources` have a
  `corpus`, its `trials` that were seen, and `facts` besides.
  """
  corpora = [source.corpus for source in sources]
  trials = [trial for source in sources for trial in source.trials]
  people = {
    identity
    for source in sources
    for subject in {trial.subject for trial in source.trials}
    for identity in source.corpus.metadata['people'][str(subject)]
  }
  kind = {'kind': settings.kind} if hasattr(settings, 'kind') else {}
  facts = {
    'dataset': '+'.join(dict.fromkeys(corpus.name for corpus in corpora)),
    'source_fingerprint': '+'.join(c.metadata['fingerprint'] for c in corpora),
    'synthetic': any(corpus.metadata['synthetic'] for corpus in corpora),
    'trained_on_subjects': sorted({trial.subject for trial in trials}),
    'people': sorted(people),
    'trials': len(trials),
    'seed': seed,
    **sources[0].facts,
    'encoder': {**kind, **dataclasses.asdict(settings)},
    'model': dataclasses.asdict(backbone),
  }
  return json.loads(json.dumps(facts))


@dataclasses.dataclass(frozen=True)
class Seen:
  """Trials of a corpus that an encoder was trained on, and facts of its record."""

  corpus: Any
  trials: list
  facts: dict


class FixedExamples:
  """Examples that never change: place, view and mask depend on the index alone."""

  def __init__(self, sources):
    self._items = [(source, i) for source in sources for i in range(len(source))]

  def __len__(self):
    return len(self._items)

  def __getitem__(self, number):
    source, index = self._items[number]
    return first_view(source, source.read(source[index], np.random.default_rng(number)))
