"""The job 'pretrain': VideoMAE pre-training on any number of corpora.

Its work directory is an encoder for the other jobs: give it to them as
`--config.encoder.checkpoint`. Killed, it goes on from the last checkpoint.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp

from mvp_jax import stages
from mvp_jax.config import DataConfig
from mvp_jax.data.batches import training_batches
from mvp_jax.data.clips import ClipLayout, RandomClips, mix
from mvp_jax.data.masks import MaskConfig, mask_sizes
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError
from mvp_jax.evaluation import account
from mvp_jax.evaluation.pretraining import write_report
from mvp_jax.files import write_json
from mvp_jax.models.videomae import preset
from mvp_jax.prepare import prepare
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training import encoder as encoders
from mvp_jax.training import hosts
from mvp_jax.training.loop import TrainConfig, fit
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.reconstructions import Reconstructions
from mvp_jax.training.sharding import (
  MeshConfig,
  batch_sharding,
  check_batch,
  describe,
  make_mesh,
  totals,
)
from mvp_jax.training.state import abstract_state, init_state
from mvp_jax.training.tasks import MaskedVideo
from mvp_jax.workdir import FINGERPRINT, check_source

RUN = 'encoder'  # in metrics.jsonl
SHARDINGS = 'shardings.txt'
_SHOWN = 4  # clips in the reconstructions
_SOURCES = ('deap', 'amigos', 'recordings', 'videos')


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The VideoMAE; clips and frame size come from `clips` and `data`."""

  size: str = 'B'  # one of models.videomae.PRESETS
  patch: int = 16
  dtype: str = 'bfloat16'
  remat: str = 'none'  # one of models.layers.REMAT
  drop_path: float = 0.0
  target: str = 'normalised'  # one of models.videomae.TARGETS
  noise_floor: float = 1e-6  # of the normalised target, see VideoMAEConfig

  def __post_init__(self):  # raises what is wrong
    preset(
      self.size,
      dtype=self.dtype,
      remat=self.remat,
      target=self.target,
      noise_floor=self.noise_floor,
    )


@dataclasses.dataclass(frozen=True)
class Config:
  """Every setting of the job."""

  job: str = 'pretrain'  # see `jobs`
  seed: int = 0
  # 'deap:DIR', 'amigos:DIR', 'recordings:DIR', 'videos:DIR'; none = a twin
  sources: tuple[str, ...] = ()
  weights: tuple[float, ...] = ()  # of the sources; none = by their numbers of clips
  subjects: tuple[int, ...] = ()  # to train on, by number, not of videos; none = all
  checkpoint: str = ''  # weights to start from, as `encoder.checkpoint`
  data: DataConfig = DataConfig()
  twin: TwinSpec = TwinSpec()
  clips: ClipLayout = ClipLayout()
  clips_per_trial: int = 8  # an epoch
  masks: MaskConfig = MaskConfig()
  views: ViewConfig = ViewConfig()
  model: ModelConfig = ModelConfig()
  train: TrainConfig = TrainConfig()
  mesh: MeshConfig = MeshConfig()


def run(config, workdir):
  """Runs the job; see the module. Raises InputError.

  Writes to `workdir`: config.json, run.json, record.json, metrics.jsonl,
  tensorboard/, checkpoints/, account-<source>.csv and .html, report.html, report.md.
  """
  workdir = Path(workdir)
  mesh = make_mesh(config.mesh)
  task = _check(config, mesh)
  with stages.begun(config, workdir) as facts:
    _run(config, task, workdir, mesh, facts)


def _check(config, mesh):
  """Finds before any long work what would stop it later; returns the task."""
  try:
    model = preset(
      config.model.size,
      frames=config.clips.frames,
      tubelet=config.clips.tubelet,
      size=config.data.frame_size,
      patch=config.model.patch,
      dtype=config.model.dtype,
      remat=config.model.remat,
      drop_path=config.model.drop_path,
      target=config.model.target,
      noise_floor=config.model.noise_floor,
    )
  except ValueError as error:
    raise InputError(
      f'config: {error}; see clips, data.frame_size and model.patch'
    ) from error
  try:
    mask_sizes(*model.grid, config.masks)
  except InputError as error:
    raise InputError(f'config.{error}') from error
  check_batch(
    config.train.batch_size, mesh, 'config.train.batch_size', config.train.accumulate
  )
  if config.train.batch_size % config.views.repeats:
    raise InputError(
      f'config.train.batch_size: {config.train.batch_size} counts '
      'views, and is no multiple of views.repeats '
      f'{config.views.repeats}'
    )
  for source in config.sources:
    name, _, folder = source.partition(':')
    if name not in _SOURCES or not folder:
      raise InputError(
        f'config.sources: {source!r} is none of '
        f'{", ".join(f"{known}:FOLDER" for known in _SOURCES)}'
      )
  labelled = {source.partition(':')[0] for source in config.sources} - {'videos'}
  if config.subjects and len(labelled) > 1:
    raise InputError(
      'config.subjects: of which of '
      f'{", ".join(sorted(labelled))}? Give it with one of them only'
    )
  if config.weights and len(config.weights) != max(len(config.sources), 1):
    raise InputError(
      f'config.weights: {len(config.weights)} weights for '
      f'{len(config.sources)} sources; give one each or none'
    )
  if config.checkpoint:
    encoders.check(model, Path(config.checkpoint))
  return MaskedVideo(model)


def _batch(config, task, mesh):
  """The abstract arrays of a batch: {name: jax.ShapeDtypeStruct}."""
  model, count = task.model, config.train.batch_size
  visible, masked = mask_sizes(*model.grid, config.masks)
  shapes = {
    'frames': ((model.frames, model.size, model.size, 3), jnp.uint8),
    'visible': ((visible,), jnp.int32),
    'masked': ((masked,), jnp.int32),
    'weight': ((), jnp.float32),
  }
  return {
    name: jax.ShapeDtypeStruct((count, *shape), dtype, sharding=batch_sharding(mesh))
    for name, (shape, dtype) in shapes.items()
  }


def _run(config, task, workdir, mesh, facts):
  with stages.timed('data', facts):
    corpora = _corpora(config, facts)
  # One corpus counts once, however its folder is called today.
  facts[FINGERPRINT] = '+'.join(c.metadata['fingerprint'] for c in corpora)
  facts['synthetic'] = any(c.metadata['synthetic'] for c in corpora)
  check_source(workdir, facts[FINGERPRINT])
  sources = [_clips(config, task.model, corpus) for corpus in corpora]
  facts['sources'] = [
    {
      'dataset': c.name,
      'fingerprint': c.metadata['fingerprint'],
      'subjects': len({t.subject for t in s.trials}),
      'trials': len(s.trials),
      'clips_an_epoch': len(s),
    }
    for c, s in zip(corpora, sources, strict=True)
  ]
  weights = config.weights or tuple(float(len(source)) for source in sources)
  stream = sources[0] if len(sources) == 1 else mix(sources, weights, config.seed)
  state = abstract_state(task, config.train.optimiser, mesh)
  facts['parameters'] = {RUN: sum(x.size for x in jax.tree.leaves(state.params))}
  if hosts.is_main():
    for number, corpus in enumerate(corpora):
      shutil.copyfile(
        corpus.directory / 'account.csv',
        workdir / f'account-{number}-{corpus.name}.csv',
      )
      account.write_page(corpus, workdir / f'account-{number}-{corpus.name}.html')
    write_json(workdir / 'run.json', facts)
    placed = {
      'parameters': state.params,
      'moments': state.opt_state,
      'batch': _batch(config, task, mesh),
    }
    (workdir / SHARDINGS).write_text(describe(placed, mesh) + '\n')
    print(
      f'{totals(placed, mesh)}\nwhere each array lives: {workdir / SHARDINGS}',
      flush=True,
    )
    epoch = sum(map(len, sources)) * config.views.repeats / config.train.batch_size
    print(
      f'{len(corpora)} sources, {sum(map(len, sources))} clips an epoch of '
      f'{epoch:.1f} steps; {config.train.optimiser.steps / epoch:.1f} epochs',
      flush=True,
    )

  rows = hosts.batch_rows(config.train.batch_size, mesh)

  def batches(start):
    return training_batches(
      stream,
      config.train.batch_size,
      config.seed,
      config.train.workers,
      sources[0].read if stream is sources[0] else None,
      views=config.views.repeats,
      start=start,
      rows=rows,
    )

  with MetricLog(workdir) as log, stages.timed('training', facts):
    inspect = Reconstructions(task, mesh, sources, _SHOWN, workdir, log, RUN)
    fit(
      task,
      batches,
      config.train,
      mesh=mesh,
      seed=config.seed,
      run=RUN,
      directory=workdir / 'checkpoints',
      log=log,
      inspect=inspect,
      params=_start(config, task, mesh),
    )
  record = _record(config, task, corpora, sources)

  def finish():
    write_json(workdir / encoders.RECORD, record)
    write_json(workdir / 'run.json', facts)
    write_report(workdir)
    print(f'report: {workdir / "report.html"}', flush=True)

  hosts.on_main(finish)


def _corpora(config, facts):
  """The prepared corpora, in the order of the sources."""
  data = config.data
  if not config.sources:
    return [stages.prepared_corpus(config, 'deap', facts)]
  found = []
  for source in config.sources:
    name, _, folder = source.partition(':')
    fields = {
      'streams': ('video',),
      'frame_rate': data.frame_rate,
      'frame_size': data.frame_size,
      'crop': data.crop,
      'clean': data.clean,
    }
    if name == 'amigos':
      fields |= {'experiment': data.experiment, 'exclude': data.exclude}
    with stages.timed('prepare', facts):
      directory = hosts.on_main(
        lambda n=name, f=folder, o=fields: str(
          prepare(
            n,
            Path(f),
            Path(data.data_dir) / 'prepared',
            workers=data.workers or None,
            beam=data.beam,
            allow_dropped=data.allow_dropped,
            **o,
          )
        )
      )
    hosts.check_shared(Path(directory))
    found.append(PreparedCorpus(Path(directory)))
  return found


def _clips(config, model, corpus):
  trials = [
    t
    for t in corpus.trials
    if len(t.frame_times)
    and (not config.subjects or corpus.name == 'videos' or t.subject in config.subjects)
  ]
  if not trials:
    raise InputError(
      f'config.subjects: {corpus.name} has no video of '
      f'{", ".join(map(str, config.subjects))}'
    )
  return RandomClips(
    corpus,
    trials,
    config.clips,
    size=model.size,
    patch=model.patch,
    masks=config.masks,
    views=config.views,
    per_trial=config.clips_per_trial,
  )


def _start(config, task, mesh):
  """Parameters to start from, or None: the encoder's of a checkpoint."""
  if not config.checkpoint:
    return None
  encoder, _, said = encoders.load(task.model, mesh, Path(config.checkpoint))
  if hosts.is_main():
    print(said or f'{config.checkpoint}: the encoder starts from it', flush=True)
  params = init_state(task, config.train.optimiser, mesh, config.seed).params
  return {**params, 'encoder': encoder}


def _record(config, task, corpora, sources):
  """What the encoder has seen, for those who use it."""
  seen = {}
  for corpus, source in zip(corpora, sources, strict=True):
    if corpus.name != 'videos':
      seen.setdefault(corpus.name, set()).update(t.subject for t in source.trials)
  return json.loads(
    json.dumps(
      {
        'dataset': '+'.join(seen) or 'videos',
        'source_fingerprint': '+'.join(c.metadata['fingerprint'] for c in corpora),
        'synthetic': any(c.metadata['synthetic'] for c in corpora),
        'trained_on_subjects': sorted(set().union(*seen.values())),
        'subjects_of': {name: sorted(subjects) for name, subjects in seen.items()},
        'trials': sum(len(source.trials) for source in sources),
        'steps': config.train.optimiser.steps,
        'seed': config.seed,
        'clips_per_trial': config.clips_per_trial,
        'stride': config.clips.stride,
        'masks': dataclasses.asdict(config.masks),
        'views': dataclasses.asdict(config.views),
        'model': dataclasses.asdict(task.model),
        'train': dataclasses.asdict(config.train),
      }
    )
  )
