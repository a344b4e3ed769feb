"""The video encoder: pre-trained or imported, recorded, and its features cached."""

import dataclasses
import hashlib
import json

import jax
import numpy as np

from mvp_jax.data.batches import training_batches
from mvp_jax.data.clips import RandomClips, lay_clips
from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write, write_json
from mvp_jax.models.videomae import VideoMAEConfig
from mvp_jax.progress import Progress
from mvp_jax.training import hosts, sharding
from mvp_jax.training.checkpoints import Checkpoints
from mvp_jax.training.loop import fit
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.state import forward, init_params
from mvp_jax.training.tasks import VideoFeatures
from mvp_jax.weights.sources import infer_config, open_source
from mvp_jax.weights.transfer import adopt, check_sizes, compare_sizes, take_all
from mvp_jax.workdir import in_use

RECORD = 'record.json'


def fingerprint(*parts):
  """A short hash of JSON-able values and dataclasses: what a cache depends on."""
  text = json.dumps(parts, sort_keys=True, default=dataclasses.asdict)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def digest(params):
  """A hash of the parameters' values."""
  sha = hashlib.sha256()
  for x in jax.tree.leaves(jax.device_get(params)):
    sha.update(np.ascontiguousarray(x))
  return sha.hexdigest()


def pretrain(task, corpus, subjects, config, layout, *, mesh, seed, directory):
  """Pre-trains a VideoMAE on some subjects' videos, unless it is already there.

  Writes checkpoints, metrics and `record.json` (what it was trained on) to
  `directory`. Killed, it goes on from its last checkpoint.

  Args:
    task: MaskedVideo.
    corpus: Corpus with video.
    subjects: subject numbers to train on.
    config: config.EncoderConfig.
    layout: ClipLayout; its spacing plays no part.
    mesh: device mesh.
    seed: of parameters, order, places, views and masks.
    directory: pathlib.Path.

  Returns:
    The record, a dict.
  """
  record_path = directory / RECORD
  if record_path.exists():
    return json.loads(record_path.read_text())
  trials = [t for t in corpus.trials if t.subject in subjects and len(t.frame_times)]
  if not trials:
    raise InputError(
      'encoder.subjects: no videos to pre-train on; set some subjects '
      'aside or give encoder.checkpoint'
    )
  source = RandomClips(
    corpus,
    trials,
    layout,
    size=task.model.size,
    patch=task.model.patch,
    masks=config.masks,
    views=config.views,
    per_trial=config.clips_per_trial,
  )
  rows = hosts.batch_rows(config.train.batch_size, mesh)

  def batches(start):
    return training_batches(
      source,
      config.train.batch_size,
      seed,
      config.train.workers,
      source.read,
      views=config.views.repeats,
      start=start,
      rows=rows,
    )

  with in_use(directory), MetricLog(directory) as log:
    fit(
      task,
      batches,
      config.train,
      mesh=mesh,
      seed=seed,
      run='encoder',
      directory=directory / 'checkpoints',
      log=log,
    )
  record = {
    'dataset': corpus.name,
    'source_fingerprint': corpus.metadata['fingerprint'],
    'synthetic': corpus.metadata['synthetic'],
    'trained_on_subjects': list(subjects),
    'trials': len(trials),
    'steps': config.train.optimiser.steps,
    'clips_per_trial': config.clips_per_trial,
    'masks': dataclasses.asdict(config.masks),
    'views': dataclasses.asdict(config.views) | {'scales': list(config.views.scales)},
    'stride': layout.stride,
    'seed': seed,
    'model': dataclasses.asdict(dataclasses.replace(task.model, feature_grid=1)),
    'train': dataclasses.asdict(config.train),
  }
  hosts.on_main(lambda: write_json(record_path, record))
  return record


def fresh(config, mesh, seed):
  """Random parameters of a models.videomae.Encoder, a nested dict."""
  init = jax.jit(lambda: init_params(VideoFeatures(config), jax.random.key(seed)))
  return _put(init(), mesh)


def load(config, mesh, path):
  """Loads the parameters of a video encoder.

  Args:
    config: VideoMAEConfig.
    mesh: device mesh.
    path: pathlib.Path of a folder of `pretrain` or of `import_weights`, or a
      checkpoint of PyTorch, see `weights.sources.open_source`.

  Returns:
    (parameters of a models.videomae.Encoder, a nested dict; the record, a dict; what
    there is to say about them, a text).

  Raises:
    InputError: there is no encoder, or it has other sizes.
  """
  init = jax.jit(lambda: init_params(VideoFeatures(config), jax.random.key(0)))
  if not is_folder(path):
    source = open_source(path)
    params, report = adopt(source, config, lambda: {'encoder': init()})
    return (
      _put(params['encoder'], mesh),
      _imported(source, config, report),
      str(report),
    )
  check(config, path)
  params, record, _ = read(path, mesh)
  params, said = params['encoder'], ''
  if 'norm' not in params:  # of an imported classifier
    params['norm'] = _put(init()['norm'], mesh)
    said = f'{path}: has no final norm; it starts as scale 1 and bias 0'
  return params, record, said


def check(config, path):
  """Raises InputError if there is no encoder at `path`, or one of other sizes.

  Its numbers are not read.
  """
  if is_folder(path):
    compare_sizes(path, _record(path)[1], config)
  else:
    check_sizes(open_source(path), config)


def is_folder(path):
  """Whether this is a folder of ours. Raises InputError if it is not finished."""
  if (path / RECORD).exists():
    return True
  if (path / 'checkpoints').exists():
    raise InputError(f'{path}: holds no finished encoder ({RECORD} is missing)')
  return False


def read(directory, mesh):
  """All parameters of a folder of ours, its record, and the VideoMAEConfig."""
  record, config = _record(directory)
  with Checkpoints(directory / 'checkpoints') as checkpoints:
    there = checkpoints.abstract_params()
    params = checkpoints.restore_params(
      jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        there,
        sharding.shardings(there, mesh),
      )
    )
  return params, record, config


def _record(directory):
  record = json.loads((directory / RECORD).read_text())
  known = {f.name for f in dataclasses.fields(VideoMAEConfig)}
  return record, VideoMAEConfig(
    **{k: v for k, v in record['model'].items() if k in known}
  )


def import_weights(path, directory, heads=None):
  """Writes a folder of ours with all that a checkpoint of PyTorch holds.

  Args:
    path: pathlib.Path, see `weights.sources.open_source`.
    directory: pathlib.Path of the folder, which must not hold an encoder yet.
    heads: of attention in the encoder, if the file does not tell; else None.

  Returns:
    weights.transfer.Report.
  """
  if directory.exists() and any(directory.iterdir()):
    raise InputError(f'{directory}: is not empty; give another folder')
  source = open_source(path)
  config = infer_config(source, heads)
  params, report = take_all(source, config)
  with Checkpoints(directory / 'checkpoints') as checkpoints:
    checkpoints.save_params(0, params)
  write_json(directory / RECORD, _imported(source, config, report))
  return report


def _imported(source, config, report):
  """The record of an encoder that was trained elsewhere."""
  return {
    'dataset': '',
    'synthetic': False,
    'trained_on_subjects': [],
    'imported_from': source.path.name,
    'sha256': source.sha256(),
    'layout': report.layout,
    'kind': report.kind,
    'missing': list(report.missing),
    'left_over': list(report.left_over),
    'notes': list(report.notes),
    'model': dataclasses.asdict(dataclasses.replace(config, feature_grid=1)),
  }


def _put(params, mesh):
  """Puts arrays, the same in each process, where they belong on the mesh."""
  return jax.tree.map(
    lambda x, where: jax.make_array_from_callback(
      x.shape, where, lambda index: np.asarray(x)[index]
    ),
    params,
    sharding.shardings(params, mesh),
  )


def check_overlap(record, corpus, test_subjects, allowed):
  """Raises InputError if the encoder has seen a test subject's video."""
  # The record of several corpora says whose subjects are whose.
  of = record.get('subjects_of', {record['dataset']: record['trained_on_subjects']})
  seen = sorted(set(of.get(corpus.name, ())) & set(test_subjects))
  same = record['synthetic'] == corpus.metadata['synthetic']  # a twin's are nobody's
  if same and seen and not allowed:
    raise InputError(
      f'encoder: was pre-trained on test subjects {seen} of {corpus.name}; '
      'pre-train on others, or accept it with '
      '--config.evaluation.allow_encoder_overlap=True (the report will say so)'
    )


def cache_features(
  task, params, corpus, trials, layout, batch_size, *, mesh, directory
):
  """Runs the frozen encoder (a VideoFeatures) over clips laid evenly over trials.

  Each trial's tokens, float32 [clips * slots, D], become `<trial_id>.npy` in
  `directory`; files that are there stay, so that a killed run goes on.
  """
  missing = hosts.on_main(
    lambda: [
      i for i, t in enumerate(trials) if not (directory / f'{t.trial_id}.npy').exists()
    ]
  )
  if not missing:
    return
  todo = [trials[i] for i in missing]
  run = forward(task, mesh, 'features')
  rows = hosts.batch_rows(batch_size, mesh)
  rate = corpus.metadata['frame_rate']

  def compute(clips):  # list of [frames, H, W, 3]
    padded = np.stack(clips + [clips[-1]] * (batch_size - len(clips)))
    tokens = run(params, sharding.put_batch({'frames': padded[rows]}, mesh))
    return np.asarray(jax.device_get(tokens))[: len(clips)]

  with Progress(
    len(trials), 'video features', 'trial', len(trials) - len(todo), hosts.console()
  ) as progress:
    clips, done, open_trials = [], [], []  # clips of trials not yet written

    def flush(final=False):
      while len(clips) >= batch_size or (final and clips):
        done.extend(compute(clips[:batch_size]))
        del clips[:batch_size]
      while open_trials and len(done) >= open_trials[0][1]:
        trial, count = open_trials.pop(0)
        tokens = np.concatenate(done[:count])
        del done[:count]
        if hosts.is_main():
          with atomic_write(directory / f'{trial.trial_id}.npy') as part:
            np.save(part, tokens)
        progress.update()

    for trial in todo:
      numbers, _, _ = lay_clips(trial, rate, layout)
      frames = corpus.frames(trial, numbers.ravel())
      clips.extend(frames.reshape(*numbers.shape, *frames.shape[1:]))
      open_trials.append((trial, len(numbers)))
      flush()
    flush(final=True)
  hosts.gather(None)  # nobody goes on before all is written
