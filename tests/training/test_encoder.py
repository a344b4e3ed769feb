"""The video encoder: pre-trained, imported, recorded, resumed."""

import dataclasses
import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from mvp_jax.data.batches import evaluation_batches
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError
from mvp_jax.models.videomae import VideoClassifier
from mvp_jax.targets import Mean
from mvp_jax.training import encoder, pretrain
from mvp_jax.training.encoder import VideoMAEEncoder
from mvp_jax.training.features import cache_features
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.state import build_model, forward
from mvp_jax.training.tasks import FrameFeatures
from mvp_jax.weights.export import export_huggingface, export_reference
from tests.training.films import LAYOUT, Films
from tests.training.tiny import BATCH, OPTIMISER

_SETTINGS = VideoMAEEncoder(
  masks=MaskConfig(ratio=0.5),
  views=ViewConfig(repeats=1),
  clips_per_trial=2,
  train=TrainConfig(
    batch_size=BATCH, log_every=1, checkpoint_every=2, optimiser=OPTIMISER
  ),
)


@pytest.fixture(scope='module')
def pretrained(masked_video, one_device, tmp_path_factory):
  """A finished encoder's folder and record."""
  folder = tmp_path_factory.mktemp('encoder') / 'abc'
  with jax.numpy_dtype_promotion('standard'):
    record = _pretrain(masked_video, Films(), one_device, folder)
  return folder, record


def _clips(task, corpus, subjects, settings=_SETTINGS):
  trials = [t for t in corpus.trials if t.subject in subjects and 'video' in t.streams]
  return settings.clips(corpus, trials, LAYOUT, task.model)


def _pretrain(
  task, corpus, mesh, folder, subjects=(2, 4, 5), settings=_SETTINGS, held_out=()
):
  with MetricLog(folder) as log:
    return pretrain.pretrain(
      settings,
      task.model,
      [_clips(task, corpus, subjects, settings)],
      mesh=mesh,
      seed=1,
      directory=folder,
      log=log,
      held_out=[_clips(task, corpus, held_out, settings)] if held_out else (),
    )


def test_the_record_says_what_it_was_trained_on(pretrained, masked_video):
  folder, record = pretrained
  assert json.loads((folder / 'record.json').read_text()) == record
  assert record['dataset'] == 'deap' and record['source_fingerprint'] == 'f00'
  assert record['trained_on_subjects'] == [2, 5]  # subject 4 has no video
  assert record['people'] == ['deap:2', 'deap:5']
  assert record['trials'] == 2
  settings = record['encoder']
  assert (settings['train']['optimiser']['steps'], record['seed']) == (8, 1)
  assert settings['masks'] == {'kind': 'tube', 'ratio': 0.5, 'reconstruct': 1.0}
  assert settings['views']['repeats'] == 1 and settings['kind'] == 'videomae'
  assert record['synthetic'] is True
  assert record['model']['width'] == masked_video.model.width
  lines = [json.loads(x) for x in (folder / 'metrics.jsonl').read_text().splitlines()]
  assert [(x['run'], x['step']) for x in lines if x['split'] == 'train'] == [
    ('encoder', n) for n in range(1, 9)
  ]


def test_the_record_tells_apart_what_gives_other_weights(
  pretrained, masked_video, one_device, tmp_path, monkeypatch
):
  monkeypatch.setattr(pretrain, 'fit', lambda *args, **kwargs: None)
  slower = dataclasses.replace(
    _SETTINGS.train, optimiser=dataclasses.replace(OPTIMISER, learning_rate=1e-4)
  )
  records = [pretrained[1]]
  for i, change in enumerate(
    [
      {'clips_per_trial': 3},
      {'train': slower},
      {'masks': MaskConfig(ratio=0.75)},
      {'views': ViewConfig(flip=0.0, repeats=1)},
    ]
  ):
    records.append(
      _pretrain(
        masked_video,
        Films(),
        one_device,
        tmp_path / str(i),
        settings=dataclasses.replace(_SETTINGS, **change),
      )
    )
  # Cached features are named after it.
  assert len({encoder.fingerprint(record) for record in records}) == len(records)


def test_only_the_subjects_given_are_seen(masked_video, one_device, corpus, tmp_path):
  _pretrain(masked_video, corpus, one_device, tmp_path / 'e', subjects=(1, 6))
  assert set(corpus.read) == {1, 6}


def test_a_finished_encoder_is_not_trained_again(
  pretrained, masked_video, one_device, corpus
):
  folder, record = pretrained
  assert _pretrain(masked_video, corpus, one_device, folder) == record
  assert not corpus.read


def test_a_killed_pre_training_goes_on(
  pretrained, masked_video, one_device, corpus, tmp_path, monkeypatch
):
  def cut(self, run, split, step, metrics):
    if step == 5:
      raise KeyboardInterrupt
    real(self, run, split, step, metrics)

  real = MetricLog.write
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(MetricLog, 'write', cut)
    _pretrain(masked_video, corpus, one_device, tmp_path)
  with pytest.raises(InputError, match='holds no finished encoder'):
    encoder.load(masked_video.model, one_device, tmp_path)
  _pretrain(masked_video, corpus, one_device, tmp_path)
  one, other = (
    encoder.load(masked_video.model, one_device, x)[0]
    for x in (pretrained[0], tmp_path)
  )
  jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize('how', ['huggingface', 'reference', 'imported'])
def test_an_encoder_of_a_pytorch_file(pretrained, masked_video, tmp_path, how):
  model = masked_video.model
  mesh = make_mesh(MeshConfig(2, 2, 2))
  params, _, found = encoder.read(pretrained[0], mesh)
  assert found == model
  path = tmp_path / 'x.pth'
  if how == 'huggingface':
    export_huggingface(params, model, path)
  else:
    export_reference(params, model, path)
  if how == 'imported':
    encoder.import_weights(path, tmp_path / 'folder', heads=model.heads)
    path = tmp_path / 'folder'
    assert encoder.is_folder(path)
  encoder.check(model, path)
  got, record, said = encoder.load(model, mesh, path)
  jax.tree.map(np.testing.assert_array_equal, got, params['encoder'])
  kernel = got['stack']['blocks']['up']['kernel']
  assert kernel.sharding.spec == P(None, 'fsdp', 'tensor')
  assert jax.tree.map(lambda x: x.sharding, got) == jax.tree.map(
    lambda x: x.sharding, params['encoder']
  )
  assert record['trained_on_subjects'] == [] and not record['synthetic']
  if how != 'huggingface':
    data = (tmp_path / 'x.pth').read_bytes()
    assert record['sha256'] == hashlib.sha256(data).hexdigest()
    assert record['imported_from'] == 'x.pth'
  assert ('left over' in said) == (how != 'imported')
  json.dumps(record)


def test_an_imported_classifier_gets_a_final_norm_and_it_is_said(
  masked_video, one_device, tmp_path
):
  model = masked_video.model
  tuned = nnx.to_pure_dict(
    nnx.state(nnx.jit(lambda: VideoClassifier(model, 2, rngs=nnx.Rngs(0)))())
  )
  export_huggingface(tuned, model, tmp_path / 'hf')
  encoder.import_weights(tmp_path / 'hf', tmp_path / 'folder')
  for path in (tmp_path / 'hf', tmp_path / 'folder'):
    got, _, said = encoder.load(model, one_device, path)
    assert 'no final norm' in said
    norm = got.pop('norm')
    assert np.all(norm['scale'] == 1) and not np.any(norm['bias'])
    jax.tree.map(np.testing.assert_array_equal, got, tuned['encoder'])


def test_an_encoder_of_other_sizes_is_found_before_it_is_read(
  pretrained, masked_video, one_device, tmp_path
):
  params, _, model = encoder.read(pretrained[0], one_device)
  export_reference(params, model, tmp_path / 'x.pth')
  for path in (pretrained[0], tmp_path / 'x.pth'):
    for change in ({'mlp_width': 64}, {'width': 32}, {'patch': 16}):
      with pytest.raises(InputError, match='the config wants') as error:
        encoder.check(dataclasses.replace(model, **change), path)
      assert '\n' not in str(error.value) and str(path) in str(error.value)
  with pytest.raises(InputError, match='heads 2; the config wants heads 4'):
    encoder.check(dataclasses.replace(model, heads=4), pretrained[0])
  encoder.check(dataclasses.replace(model, frames=8, size=32), pretrained[0])
  with pytest.raises(InputError, match='there is no such checkpoint'):
    encoder.check(model, tmp_path / 'none')


def test_nothing_is_imported_over_an_encoder(pretrained, tmp_path):
  with pytest.raises(InputError, match='is not empty; give another folder'):
    encoder.import_weights(tmp_path, pretrained[0])


def test_a_digest_is_of_the_values():
  def params(x):
    return {'a': np.float32([1, 2]), 'b': {'c': np.float32([[x, 3]])}}

  assert encoder.digest(params(0)) == encoder.digest(jax.device_put(params(0)))
  assert encoder.digest(params(0)) != encoder.digest(params(1))


def test_a_fingerprint_depends_on_all_its_parts():
  parts = [
    (LAYOUT, 1, ('a',)),
    (LAYOUT, 2, ('a',)),
    (LAYOUT, 1, ('b',)),
    (ClipLayout(frames=8), 1, ('a',)),
    (_SETTINGS, 1, ('a',)),
  ]
  assert len({encoder.fingerprint(*p) for p in parts}) == len(parts)
  assert encoder.fingerprint(*parts[0]) == encoder.fingerprint(
    ClipLayout(frames=4, stride=1, spacing=1.0, tubelet=2), 1, ('a',)
  )


def test_pre_training_takes_several_views_of_each_clip(
  masked_video, one_device, corpus, tmp_path, monkeypatch
):
  seen = {}

  def fit(task, batches, config, **kwargs):
    iterator = iter(batches(0))
    seen['batch'] = next(iterator)
    getattr(iterator, 'close', lambda: None)()

  monkeypatch.setattr(pretrain, 'fit', fit)
  settings = dataclasses.replace(
    _SETTINGS, views=ViewConfig(scales=(1.0,), flip=0.0, repeats=4)
  )
  _pretrain(masked_video, corpus, one_device, tmp_path, settings=settings)
  frames, masked = seen['batch']['frames'], seen['batch']['masked']
  assert frames.shape == (BATCH, 4, 16, 16, 3)
  clips = frames.reshape(2, 4, -1)
  assert (clips == clips[:, :1]).all() and (clips[0] != clips[1]).any()
  assert len(np.unique(masked, axis=0)) > 1  # a mask for each view


def test_held_out_clips_are_watched(pretrained, masked_video, one_device, tmp_path):
  """Their loss is logged when due, of the same clips each time; none trains."""
  settings = dataclasses.replace(
    _SETTINGS, train=dataclasses.replace(_SETTINGS.train, validate_every=3)
  )
  corpus = Films()
  record = _pretrain(
    masked_video, corpus, one_device, tmp_path, settings=settings, held_out=(1, 6)
  )
  assert set(corpus.read) == {1, 2, 5, 6}
  assert (
    record['trained_on_subjects']
    == [2, 5]
    == sorted(int(person.split(':')[1]) for person in record['people'])
  )
  lines = [json.loads(x) for x in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  found = {x['step']: x['loss'] for x in lines if x['split'] == 'validation'}
  assert found.keys() == {3, 6, 8}
  variables, *_ = encoder.read(tmp_path, one_device)
  source = _clips(masked_video, corpus, (1, 6))
  # Each as a batch of its own: none counts more than another, and padding nothing.
  evaluate = forward(masked_video, one_device, 'evaluate')
  losses = []
  for i in range(4):
    clip = pretrain.FixedExamples([source])[i]
    batch = {name: np.stack([x] * BATCH) for name, x in clip.items()}
    losses.append(float(evaluate(variables, batch)['loss'].compute()))
  assert found[8] == pytest.approx(np.mean(losses), rel=1e-5)
  # Watching changes no weight.
  kept, *_ = encoder.read(pretrained[0], one_device)
  jax.tree.map(np.testing.assert_array_equal, variables, kept)


@pytest.mark.parametrize('repeats', [1, 2])
def test_fixed_clips_are_the_same_in_every_pass(masked_video, repeats):
  settings = dataclasses.replace(
    _SETTINGS, views=ViewConfig(repeats=repeats), clips_per_trial=3
  )
  sources = [
    _clips(masked_video, Films(), subjects, settings) for subjects in ((1, 2), (5,))
  ]
  fixed = pretrain.FixedExamples(sources)
  assert len(fixed) == 9
  passes = [[fixed[i] for i in range(9)] for _ in range(2)]
  for one, other in zip(*passes, strict=True):
    assert one['frames'].shape == (4, 16, 16, 3)  # one view of each
    for name, x in one.items():
      np.testing.assert_array_equal(x, other[name], err_msg=name)
  # They differ from each other, in place and mask.
  assert len({x['frames'].tobytes() for x in passes[0]}) == 9
  assert len({x['masked'].tobytes() for x in passes[0]}) > 1
  batches = list(evaluation_batches(fixed, BATCH))
  assert sum(batch['weight'].sum() for batch in batches) == 9


def test_each_source_gives_its_share(masked_video, one_device, tmp_path, monkeypatch):
  seen = {}

  def fit(task, batches, config, **kwargs):
    iterator = iter(batches(0))
    seen['frames'] = np.concatenate([next(iterator)['frames'] for _ in range(4)])
    getattr(iterator, 'close', lambda: None)()

  class Dark(Films):
    name, metadata = 'dark', Films.metadata | {'fingerprint': 'da7'}

    def frames(self, trial, numbers):
      return super().frames(trial, numbers) * np.uint8(0)

  monkeypatch.setattr(pretrain, 'fit', fit)
  record = pretrain.pretrain(
    _SETTINGS,
    masked_video.model,
    [_clips(masked_video, corpus, (1, 2)) for corpus in (Films(), Dark())],
    mesh=one_device,
    seed=1,
    directory=tmp_path,
    log=None,
    weights=(3.0, 1.0),
  )
  dark = (seen['frames'] == 0).all((1, 2, 3, 4)).sum()
  assert dark == len(seen['frames']) / 4
  assert record['dataset'] == 'deap+dark'
  assert record['source_fingerprint'] == 'f00+da7'


class _Light(nnx.Module):
  """Mean light of each slot, normalised over the batch."""

  def __init__(self, backbone, rngs):
    self.slots = backbone.slots
    self.norm = nnx.BatchNorm(3, momentum=0.5, rngs=rngs)
    self.linear = nnx.Linear(3, backbone.width, rngs=rngs)

  def __call__(self, frames, key=None):
    x = frames.astype(jnp.float32).mean((2, 3)) / 255
    x = x.reshape(x.shape[0], self.slots, -1, 3).mean(2)
    return self.linear(self.norm(x, use_running_average=key is None))

  features = __call__


@dataclasses.dataclass(frozen=True)
class _LightBackbone:
  size: int = 16
  patch: int = 8
  slots: int = 2
  width: int = 5

  def create(self, *, rngs, final_norm=True):
    return _Light(self, rngs)


class _Echo(nnx.Module):
  def __init__(self, backbone, rngs):
    self.encoder = backbone.create(rngs=rngs)
    self.back = nnx.Linear(backbone.width, 3, rngs=rngs)


@dataclasses.dataclass(frozen=True)
class _Echoes:
  """Pre-training of somebody else's: the light through a bottleneck."""

  backbone: _LightBackbone

  def create(self, rngs):
    return _Echo(self.backbone, rngs)

  def loss(self, model, batch, key):
    frames = batch['frames']
    found = model.back(model.encoder(frames, key))
    light = frames.astype(jnp.float32).mean((2, 3)).reshape(*found.shape[:2], -1, 3)
    error = ((found - light.mean(2) / 255) ** 2).mean((1, 2))
    return {'loss': Mean.of(error, batch['weight'])}

  def evaluate(self, model, batch):
    return self.loss(model, batch, None)


@dataclasses.dataclass(frozen=True)
class _LightEncoder(VideoMAEEncoder):
  kind = 'light'

  def backbone(self, clips, frame_size):
    return _LightBackbone(frame_size, slots=clips.slots)

  def task(self, backbone):
    return _Echoes(backbone)


@pytest.mark.parametrize('finetuned', [False, True])
def test_an_encoder_of_a_stranger_is_pretrained_recorded_and_used(
  masked_video, pretrained, one_device, corpus, tmp_path, finetuned
):
  settings = _LightEncoder(**{f: getattr(_SETTINGS, f) for f in _SAME})
  backbone = settings.backbone(LAYOUT, 16)
  trials = [t for t in corpus.trials if 'video' in t.streams]
  with MetricLog(tmp_path) as log:
    record = pretrain.pretrain(
      settings,
      backbone,
      [settings.clips(corpus, trials, LAYOUT, backbone)],
      mesh=one_device,
      seed=1,
      directory=tmp_path,
      log=log,
    )
  assert record['encoder']['kind'] == 'light' and record['model']['width'] == 5
  encoder.check(backbone, tmp_path)
  variables, again, said = encoder.load(backbone, one_device, tmp_path)
  assert again == record and said == ''
  # Frames are noise, of mean one half; batch statistics begin at 0 and 1.
  norm = variables['norm']
  np.testing.assert_allclose(norm['mean'], 0.5, atol=0.05)
  assert np.all(norm['var'] < 0.1)
  if finetuned:  # all of it may be where training starts
    model = build_model(FrameFeatures(backbone), variables)
    np.testing.assert_array_equal(model.norm.mean[...], norm['mean'])
  else:
    cache_features(
      backbone,
      variables,
      corpus,
      trials,
      LAYOUT,
      3,
      mesh=one_device,
      directory=tmp_path,
    )
    tokens = np.load(tmp_path / 's03_trial01.npy')
    assert tokens.shape == (2, 5) and np.isfinite(tokens).all()
  other = dataclasses.replace(backbone, width=6)
  with pytest.raises(InputError, match='has width 5; the config wants width 6'):
    encoder.check(other, tmp_path)
  for config, folder in ((masked_video.model, tmp_path), (backbone, pretrained[0])):
    with pytest.raises(InputError, match=r'another kind of encoder than encoder\.kind'):
      encoder.load(config, one_device, folder)
  (tmp_path / 'x.pth').write_bytes(b'')
  with pytest.raises(InputError, match=r'only VideoMAE and R\(2\+1\)D-18 are read'):
    encoder.check(backbone, tmp_path / 'x.pth')


_SAME = ('masks', 'views', 'clips_per_trial', 'train')
