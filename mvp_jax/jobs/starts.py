"""What models start from: encoders, pre-trained in this run or another, or random.

`config` is a config.Config; `facts` is what becomes run.json.
"""

import dataclasses
import functools
import sys
from pathlib import Path

import jax

from mvp_jax import hosts
from mvp_jax.data.derived import derived
from mvp_jax.errors import InputError
from mvp_jax.evaluation import audit
from mvp_jax.jobs.common import conclude, evaluated_modalities, timed
from mvp_jax.training import encoder as encoders
from mvp_jax.training import pretrain as pretraining
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.pretrain import pretrain
from mvp_jax.workdir import (
  copy_metrics,
  in_use,
)


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


def _pretrained(config):
  """The evaluated modalities that start from a pre-training of their own."""
  return {
    name: modality
    for name, modality in evaluated_modalities(config).items()
    if getattr(modality, 'checkpoint', '')
  }


def check_modalities(config):
  """Raises InputError where what a modality is to start from does not fit."""
  for name, modality in _pretrained(config).items():
    path = Path(modality.checkpoint)
    if reader := getattr(modality, 'reader', None):
      encoders.check(reader, path, f'modalities.{name}')
    else:
      modality.check_start(encoders.read_record(path))


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
    'folder': str(directory),
    **noted,
    **record,
  }
  allowed = config.evaluation.allow_encoder_overlap
  conclude(
    workdir, facts, [audit.check_encoder(record, corpus, test_subjects, allowed)]
  )
  return network, variables


def keep_encoder(settings, variables, network, seen, seed, before, directory):
  """Leaves an encoder that was trained with labels as a start for other runs.

  Args:
    settings: of the encoder, or of the modality whose reader it is.
    variables: of the encoder, a nested dict.
    network: its backbone.
    seen: training.pretrain.Seen of what it was trained on here.
    seed: of the run.
    before: facts of the encoder that it started from.
    directory: pathlib.Path of its folder, see `training.encoder`; it is left as it is
      if it is finished.
  """
  if hosts.on_main(lambda: (directory / encoders.RECORD).exists()):
    return
  encoders.save(variables, directory)
  found = pretraining.record(settings, network, [seen], seed)
  found['people'] = sorted({*found['people'], *before.get('people', ())})
  found['started_from'] = before['source']
  if 'imported_from' in before:
    found['imported_from'] = before['imported_from']
  hosts.on_main(lambda: encoders.write_record(directory, found))


def pretrained_modalities(config, corpus, test_subjects, mesh, workdir, facts):
  """Loads what modalities start from, and checks whom it has seen.

  Returns:
    {name: function of the modality's random variables -> those to start from}, and
    {name: variables of its reader} of those modalities that are frozen.
  """
  starts, frozen = {}, {}
  for name, modality in _pretrained(config).items():
    directory = Path(modality.checkpoint)
    if reader := getattr(modality, 'reader', None):
      where = f'modalities.{name}'
      variables, record, said = encoders.load(reader, mesh, directory, where)
      if said and hosts.is_main():
        print(said, flush=True)
      if modality.frozen:
        frozen[name] = variables
      else:
        variables = jax.device_get(variables)
        starts[name] = functools.partial(modality.started, pretrained=variables)
    else:
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
  return starts, frozen


def _is_whole(directory):
  """Whether an encoder of this data folder is there; if it is damaged, says so.

  What is whole of it the pre-training goes on from.
  """
  if not (directory / encoders.RECORD).exists():
    return False
  wrong = encoders.damage(directory)
  if wrong:
    print(f'{directory / wrong}; it is pre-trained anew', file=sys.stderr, flush=True)
    (directory / encoders.RECORD).unlink()
  return not wrong


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
    derived(corpus)
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
  if not hosts.on_main(lambda: _is_whole(directory)):
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
