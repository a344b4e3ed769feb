"""The job 'pretrain': an encoder, pre-trained without labels on any number of corpora.

Of video (`encoder.kind='videomae'`) or of body signals (`'physio'`). Its work directory
is an encoder for the other jobs: give it to them as `--config.encoder.checkpoint`, or
as `--config.modalities.physio.checkpoint`. Killed, it goes on from the last checkpoint.
"""

import shutil
from pathlib import Path

import jax
import numpy as np

from mvp_jax import corpora, hosts
from mvp_jax.data.clips import first_view
from mvp_jax.data.splits import reserve
from mvp_jax.errors import InputError
from mvp_jax.evaluation import account
from mvp_jax.evaluation.pretraining import write_report
from mvp_jax.files import write_json
from mvp_jax.jobs import common, preparation, starts
from mvp_jax.training import encoder as encoders
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.overview import parameter_table
from mvp_jax.training.pretrain import RUN, pretrain
from mvp_jax.training.reconstructions import Reconstructions
from mvp_jax.training.sharding import (
  batch_sharding,
  check_batch,
  describe,
  make_mesh,
  totals,
)
from mvp_jax.training.state import abstract_state, init_state
from mvp_jax.workdir import FINGERPRINT, check_source

SHARDINGS = 'shardings.txt'
_SHOWN = 4  # examples in the reconstructions


def run(config, workdir):
  """Runs the job; see the module. Raises InputError.

  Writes to `workdir`: config.json, run.json, record.json, metrics.jsonl,
  tensorboard/, checkpoints/, account-<source>.csv and .html, report.html, report.md.
  """
  workdir = Path(workdir)
  mesh = make_mesh(config.mesh)
  _check(config, mesh)
  with common.begun(config, workdir) as facts:
    _run(config, workdir, mesh, facts)


def _sources(config):
  """(corpus, folder) of each source; the corpus' twin, without a folder, if none."""
  found = [source.partition(':')[::2] for source in config.pretrain.sources]
  return found or [(config.dataset, '')]


def _check(config, mesh):
  """Validates everything up front."""
  settings = config.encoder
  if not settings.pretrains:
    raise InputError(f'config.encoder.kind: {settings.kind!r} has no pre-training')
  starts.backbone(config)
  check_batch(
    settings.train.batch_size,
    mesh,
    'config.encoder.train.batch_size',
    settings.train.accumulate,
  )
  labelled = []
  for source, (name, folder) in zip(
    config.pretrain.sources, _sources(config), strict=False
  ):
    if name not in corpora.CORPORA or not folder:
      raise InputError(
        f'config.pretrain.sources: {source!r} is none of '
        f'{", ".join(f"{known}:FOLDER" for known in corpora.CORPORA)}'
      )
    labelled += [name] if corpora.find(name).ratings else []
  if config.pretrain.subjects and len(set(labelled)) > 1:
    raise InputError(
      'config.pretrain.subjects: of which of '
      f'{", ".join(sorted(set(labelled)))}? Give it with one of them only'
    )
  weights = config.pretrain.weights
  if weights and len(weights) != len(_sources(config)):
    raise InputError(
      f'config.pretrain.weights: {len(weights)} weights for '
      f'{len(config.pretrain.sources)} sources; give one each or none'
    )


def _run(config, workdir, mesh, facts):
  settings = config.encoder
  with common.timed('data', facts):
    found = prepared(config, facts)
  # One corpus counts once, however its folder is called today.
  facts[FINGERPRINT] = '+'.join(c.metadata['fingerprint'] for c in found)
  facts['synthetic'] = any(c.metadata['synthetic'] for c in found)
  check_source(workdir, facts[FINGERPRINT])
  backbone = starts.backbone(config, found)
  sources, held_out = _clips(config, backbone, found)
  facts['sources'] = [
    {
      'dataset': c.name,
      'fingerprint': c.metadata['fingerprint'],
      'subjects': len({t.subject for t in s.trials}),
      'trials': len(s.trials),
      'examples_an_epoch': len(s),
    }
    for c, s in zip(found, sources, strict=True)
  ]
  task = settings.task(backbone)
  state = abstract_state(task, settings.train.optimiser, mesh)
  facts['parameters'] = {RUN: sum(x.size for x in jax.tree.leaves(state.params))}
  if hosts.is_main():
    for number, corpus in enumerate(found):
      name = f'account-{number}-{corpus.name}'
      shutil.copyfile(corpus.directory / 'account.csv', workdir / f'{name}.csv')
      account.write_page(corpus, workdir / f'{name}.html')
    write_json(workdir / 'run.json', facts)
    _say(settings, sources, state, mesh, workdir)

  with MetricLog(workdir) as log, common.timed('training', facts):
    pretrain(
      settings,
      backbone,
      sources,
      mesh=mesh,
      seed=config.seed,
      directory=workdir,
      log=log,
      weights=config.pretrain.weights,
      held_out=held_out,
      params=_start(settings, task, backbone, mesh, config.seed),
      inspect=Reconstructions(task, mesh, sources, _SHOWN, workdir, log, RUN),
    )

  def finish():
    write_json(workdir / 'run.json', facts)
    write_report(workdir)
    print(f'report: {workdir / "report.html"}', flush=True)

  hosts.on_main(finish)


def _say(settings, sources, state, mesh, workdir):
  """What is trained, on what, and where each array lives."""
  example = sources[0].read(sources[0][0], np.random.default_rng(0))
  example = first_view(sources[0], example)
  batch = {
    name: jax.ShapeDtypeStruct(
      (settings.train.batch_size, *np.shape(x)),
      np.asarray(x).dtype,
      sharding=batch_sharding(mesh),
    )
    for name, x in example.items()
  }
  placed = {'parameters': state.params, 'moments': state.opt_state, 'batch': batch}
  (workdir / SHARDINGS).write_text(
    f'{describe(placed, mesh)}\n\n{parameter_table(state.params)}\n'
  )
  clips = sum(map(len, sources))
  epoch = clips * sources[0].repeats / settings.train.batch_size
  print(
    f'{totals(placed, mesh)}\nwhere each array lives: {workdir / SHARDINGS}\n'
    f'{len(sources)} sources, {clips} examples an epoch of {epoch:.1f} steps; '
    f'{settings.train.optimiser.steps / epoch:.1f} epochs',
    flush=True,
  )


def prepared(config, facts):
  """The prepared corpora, in the order of the sources."""
  return [
    preparation.prepared_corpus(
      config,
      name,
      facts,
      config.encoder.streams,
      Path(folder) if folder else None,
      None if name == config.dataset else corpora.find(name).Settings(),
      rated=False,
    )
    for name, folder in _sources(config)
  ]


def _clips(config, backbone, found):
  """The clips of each source, and those of the subjects held out."""
  kept, watched, wanted = [], [], config.pretrain.subjects
  for corpus in found:
    named = bool(corpora.find(corpus.name).ratings)  # subjects are people
    trials = [
      t
      for t in corpus.trials
      if {*config.encoder.streams} <= {*t.streams}
      and (not wanted or not named or t.subject in wanted)
    ]
    if not trials:
      raise InputError(
        f'config.pretrain.subjects: {corpus.name} has no '
        f'{" and ".join(config.encoder.streams)} of '
        f'{", ".join(map(str, wanted)) or "anybody"}'
      )
    aside, _ = reserve(
      [t.subject for t in trials],
      config.pretrain.held_out,
      config.seed,
      'config.pretrain.held_out',
    )
    for into, chosen in (
      (kept, [t for t in trials if t.subject not in aside]),
      (watched, [t for t in trials if t.subject in aside]),
    ):
      if chosen:
        into.append(config.encoder.clips(corpus, chosen, config.input.clips, backbone))
  if len(kept) < len(found):
    raise InputError(
      f'config.pretrain.held_out: {config.pretrain.held_out} subjects of each source '
      'are held out, and one has no more; lower it'
    )
  return kept, watched


def _start(settings, task, backbone, mesh, seed):
  """Variables to start from, or None: the encoder's of a checkpoint."""
  if not settings.checkpoint:
    return None
  encoder, record, said = encoders.load(backbone, mesh, Path(settings.checkpoint))
  if hosts.is_main():
    print(said or f'{settings.checkpoint}: the encoder starts from it', flush=True)
    before = record.get('encoder', {}).get('train', {}).get('batch_size')
    now = settings.train
    if before not in (None, now.batch_size):
      print(
        f'{settings.checkpoint}: was trained in batches of {before}, this run takes '
        f'{now.batch_size}: the learning rate stays '
        f'{now.optimiser.learning_rate:g}, for it is not scaled with the batch',
        flush=True,
      )
  fresh = init_state(task, settings.train.optimiser, mesh, seed).variables
  return {**fresh, 'encoder': encoder}
