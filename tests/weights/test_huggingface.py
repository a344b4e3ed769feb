"""Parity with `transformers`: random weights, masks given, forward and gradients."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

import mvp_jax
from mvp_jax.errors import InputError
from mvp_jax.models import videomae
from mvp_jax.training import encoder as encoders
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.weights.export import export_huggingface, export_reference
from mvp_jax.weights.sources import infer_config, open_source
from mvp_jax.weights.transfer import adopt, take_all
from tests.weights.pytorch import (
  assert_close,
  call,
  huggingface,
  masks,
  pixels,
  taken,
  torch,
  transformers,
)
from tests.weights.tiny import (
  OUTPUTS,
  TINY,
  abstract,
  assert_equal,
  classifier,
  clips,
  pretraining,
  random_params,
)


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
  """A VideoMAEForPreTraining and the folder that it was saved to."""
  model = huggingface('VideoMAEForPreTraining')
  folder = tmp_path_factory.mktemp('pretrained')
  model.save_pretrained(folder)
  return model, folder


def _gradients(model):
  return taken({k: v.grad for k, v in model.named_parameters()})


def test_pretraining_loss_logits_and_gradients(pretrained, monkeypatch):
  model, folder = pretrained
  source = open_source(folder)
  assert infer_config(source) == TINY
  params, report = take_all(source, TINY)
  assert not report.missing and not report.left_over
  visible, masked, hidden = masks()
  output = model(pixels(clips()), bool_masked_pos=hidden)
  # The one epsilon that transformers fixes otherwise; the gradients tell.
  monkeypatch.setattr(model.decoder.norm, 'eps', 1e-6)
  model.zero_grad()
  model(pixels(clips()), bool_masked_pos=hidden).loss.backward()

  def run(model):
    loss = model.loss(clips(), visible, masked).mean()
    return loss, model(clips(), visible, masked)

  run, params = call(pretraining, params, run)
  (loss, logits), grads = jax.value_and_grad(run, has_aux=True)(params)
  assert_close(loss, output.loss, 1e-5)
  assert_close(logits, output.logits)
  jax.tree.map(assert_close, grads, _gradients(model))


@pytest.mark.parametrize('how', ['folder', 'no config'])
def test_a_model_pretrained_by_the_default_config_is_whole(tmp_path, how, monkeypatch):
  """Whose encoder ends without a norm (use_mean_pooling)."""
  model = huggingface('VideoMAEForPreTraining', use_mean_pooling=True)
  assert model.videomae.layernorm is None
  model.save_pretrained(tmp_path)
  if how == 'no config':
    (tmp_path / 'config.json').unlink()
  params, report = take_all(open_source(tmp_path), TINY)
  assert not report.missing and not report.left_over
  visible, masked, hidden = masks()
  output = model(pixels(clips()), bool_masked_pos=hidden)
  monkeypatch.setattr(model.decoder.norm, 'eps', 1e-6)

  def run(model):
    loss = model.loss(clips(), visible, masked).mean()
    return loss, model(clips(), visible, masked)

  run, params = call(
    lambda rngs: videomae.VideoMAE(TINY, rngs=rngs, final_norm=False), params, run
  )
  loss, logits = run(params)
  assert_close(loss, output.loss, 1e-5)
  assert_close(logits, output.logits)


def test_features_of_such_a_model_are_its_hidden_states_normalised(tmp_path):
  model = huggingface('VideoMAEForPreTraining', use_mean_pooling=True)
  model.save_pretrained(tmp_path / 'theirs')
  theirs = model.videomae(pixels(clips())).last_hidden_state
  theirs = torch.nn.functional.layer_norm(theirs, [TINY.width], eps=1e-6)
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  encoders.import_weights(tmp_path / 'theirs', tmp_path / 'ours')
  for path in (tmp_path / 'theirs', tmp_path / 'ours'):
    params, _, said = encoders.load(TINY, mesh, path)
    assert 'no final norm' in said and 'scale 1 and bias 0' in said
    run, params = call(
      lambda rngs: videomae.Encoder(TINY, rngs=rngs),
      jax.device_get(params),
      lambda encoder: encoder(clips()),
    )
    assert_close(run(params), theirs)


def test_the_public_videomae_gives_their_tokens_and_features(pretrained, tmp_path):
  model, folder = pretrained
  theirs = model.videomae(pixels(clips())).last_hidden_state.detach().numpy()
  encoders.import_weights(folder, tmp_path / 'ours')
  for path in (folder, tmp_path / 'ours'):
    found = mvp_jax.VideoMAE.from_pretrained(path)
    assert (found.frames, found.size, found.width) == (
      TINY.frames,
      TINY.size,
      TINY.width,
    )
    assert_close(found.tokens(clips()), theirs)
    slots = theirs.reshape(len(theirs), found.slots, -1, found.width).mean(2)
    assert_close(found.features(clips()), slots)
    with pytest.raises(InputError, match=r'clips are \[2, 3\], must be \[clips, '):
      found.tokens(np.zeros((2, 3)))
  longer = mvp_jax.VideoMAE.from_pretrained(folder, frames=2 * TINY.frames)
  again = np.concatenate([clips(), clips()], axis=1)
  assert longer.features(again).shape == (2, 2 * TINY.slots, TINY.width)
  for problem, given in {
    "dtype 'half' is none of": {'dtype': 'half'},
    'cannot be cut': {'size': TINY.size + 1},
  }.items():
    with pytest.raises(InputError, match=problem):
      mvp_jax.VideoMAE.from_pretrained(folder, **given)


def test_a_model_without_a_final_norm_goes_back_to_transformers(tmp_path):
  params = random_params(
    lambda rngs: videomae.VideoMAE(TINY, rngs=rngs, final_norm=False)
  )
  export_huggingface(params, TINY, tmp_path / 'ours')
  model, info = transformers.VideoMAEForPreTraining.from_pretrained(
    tmp_path / 'ours', output_loading_info=True
  )
  assert not any(info.values()) and model.videomae.layernorm is None
  assert_equal(take_all(open_source(tmp_path / 'ours'), TINY)[0], params)
  with pytest.raises(InputError, match='give --format=huggingface'):
    export_reference(params, TINY, tmp_path / 'x.pth')


@pytest.mark.parametrize('key', ['qv_bias', 'qkv_bias'])  # the second before 5.0
def test_a_model_without_biases_of_query_and_value(tmp_path, key):
  model = huggingface('VideoMAEForVideoClassification', qv_bias=False)
  model.save_pretrained(tmp_path)
  path = tmp_path / 'config.json'
  settings = json.loads(path.read_text())
  assert settings.pop('qv_bias') is False
  path.write_text(json.dumps(settings | {key: False}))
  params, report = take_all(open_source(tmp_path), TINY)
  assert any('qkv_bias=False' in note for note in report.notes)
  run, params = call(classifier, params, lambda model: model(clips()))
  assert_close(run(params), model(pixels(clips())).logits)
  path.write_text(json.dumps(settings | {key: True}))  # then the file is not whole
  with pytest.raises(InputError, match='nothing for .*attention/query/bias'):
    take_all(open_source(tmp_path), TINY)


def test_loss_and_gradients_of_plain_pixels(tmp_path, monkeypatch):
  model = huggingface('VideoMAEForPreTraining', norm_pix_loss=False)
  model.save_pretrained(tmp_path)
  config = infer_config(open_source(tmp_path))
  assert config == dataclasses.replace(TINY, target='pixels')
  params, _ = take_all(open_source(tmp_path), config)
  visible, masked, hidden = masks()
  monkeypatch.setattr(model.decoder.norm, 'eps', 1e-6)  # as above
  output = model(pixels(clips()), bool_masked_pos=hidden)
  output.loss.backward()
  run, params = call(
    lambda rngs: videomae.VideoMAE(config, rngs=rngs),
    params,
    lambda model: model.loss(clips(), visible, masked).mean(),
  )
  loss, grads = jax.value_and_grad(run)(params)
  assert_close(loss, output.loss, 1e-5)
  jax.tree.map(assert_close, grads, _gradients(model))


def test_classifier_logits_and_gradients(tmp_path):
  model = huggingface('VideoMAEForVideoClassification')
  model.save_pretrained(tmp_path)
  params, report = take_all(open_source(tmp_path), TINY)
  assert report.kind == 'classifier'
  output = model(pixels(clips()), labels=torch.tensor([0, 2]))
  output.loss.backward()

  def run(model):
    logits = model(clips())
    return -jax.nn.log_softmax(logits)[np.arange(2), np.array([0, 2])].mean(), logits

  run, params = call(classifier, params, run)
  (loss, logits), grads = jax.value_and_grad(run, has_aux=True)(params)
  assert logits.shape == (2, OUTPUTS)
  assert_close(loss, output.loss)
  assert_close(logits, output.logits)
  jax.tree.map(assert_close, grads, _gradients(model))


@pytest.mark.parametrize('pooling', [False, True])
def test_hidden_states_of_an_encoder_alone(tmp_path, pooling):
  model = huggingface('VideoMAEModel', use_mean_pooling=pooling)
  model.save_pretrained(tmp_path)
  params, report = take_all(open_source(tmp_path), TINY)
  assert report.kind == 'encoder' and set(params) == {'encoder'}
  run, params = call(
    lambda rngs: videomae.Encoder(TINY, rngs=rngs, final_norm=not pooling),
    params['encoder'],
    lambda encoder: encoder(clips()),
  )
  assert_close(run(params), model(pixels(clips())).last_hidden_state)


def test_other_frame_counts_and_sizes(pretrained):
  """Positions are fixed: a longer, larger clip needs no other weights."""
  model, folder = pretrained
  config = dataclasses.replace(TINY, frames=8, size=64)
  other = huggingface('VideoMAEForPreTraining', num_frames=8, image_size=64)
  other.load_state_dict(model.state_dict())

  def make(rngs):
    return videomae.VideoMAE(config, rngs=rngs)

  params, report = adopt(open_source(folder), config, lambda: abstract(make))
  assert report.notes[-1] == (
    'trained on 4 frames of 48 px; positions are recomputed for 8 of 64 px'
  )
  visible, masked, hidden = masks(config)
  run, params = call(make, params, lambda m: m(clips(config), visible, masked))
  assert_close(run(params), other(pixels(clips(config)), bool_masked_pos=hidden).logits)


def _on_disk(model, folder, how):
  if how == 'pieces':
    model.save_pretrained(folder, max_shard_size='100KB')
    assert len(list(folder.glob('*.safetensors'))) > 2
    return folder
  model.config.save_pretrained(folder)
  state = model.state_dict()
  if how == 'q_bias':  # as on the hub; transformers 5 has other names in memory
    state = {
      k.replace('query.bias', 'q_bias').replace('value.bias', 'v_bias'): v
      for k, v in state.items()
    }
    assert any('q_bias' in k for k in state)
  torch.save(state, folder / 'pytorch_model.bin')
  return folder / 'pytorch_model.bin' if how == 'file' else folder


@pytest.mark.parametrize('how', ['pieces', 'bin', 'q_bias', 'file'])
def test_all_ways_on_disk_are_the_same(pretrained, tmp_path, how):
  model, folder = pretrained
  source = open_source(_on_disk(model, tmp_path, how))
  assert infer_config(source) == TINY
  assert_equal(take_all(source, TINY)[0], take_all(open_source(folder), TINY)[0])


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize('how', ['safetensors', 'bin'])
def test_half_precision(tmp_path, dtype, how):
  model = huggingface('VideoMAEForPreTraining').to(getattr(torch, dtype))
  if how == 'bin':
    _on_disk(model, tmp_path, how)
  else:
    model.save_pretrained(tmp_path)
  params, report = take_all(open_source(tmp_path), TINY)
  assert f'stored as {dtype}, used as float32' in report.notes
  bias = model.state_dict()['videomae.encoder.layer.1.intermediate.dense.bias']
  found = params['encoder']['stack']['blocks']['up']['bias'][1]
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, bias.float().numpy())


@pytest.mark.parametrize(
  ('make', 'name'),
  [
    (pretraining, 'VideoMAEForPreTraining'),
    (classifier, 'VideoMAEForVideoClassification'),
    (None, 'VideoMAEModel'),
  ],
)
def test_round_trip_through_transformers_is_exact(tmp_path, make, name):
  params = random_params(make or pretraining)
  if make is None:
    params = {'encoder': params['encoder']}
  export_huggingface(params, TINY, tmp_path / 'ours')
  assert_equal(take_all(open_source(tmp_path / 'ours'), TINY)[0], params)
  model, info = getattr(transformers, name).from_pretrained(
    tmp_path / 'ours', output_loading_info=True
  )
  assert not any(info.values())
  assert model.config.layer_norm_eps == 1e-6
  model.save_pretrained(tmp_path / 'theirs')
  source = open_source(tmp_path / 'theirs')
  assert infer_config(source) == TINY
  assert_equal(take_all(source, TINY)[0], params)


def test_an_exported_model_computes_the_same(tmp_path):
  params = random_params(classifier)
  export_huggingface(params, TINY, tmp_path)
  model = transformers.VideoMAEForVideoClassification.from_pretrained(tmp_path).eval()
  run, params = call(classifier, params, lambda model: model(clips()))
  assert_close(run(params), model(pixels(clips())).logits)
  processor = transformers.VideoMAEImageProcessorPil.from_pretrained(tmp_path)
  given = processor(list(clips()[0]), return_tensors='pt').pixel_values
  np.testing.assert_allclose(given[0], pixels(clips())[0], atol=1e-5)


def test_an_epsilon_that_differs_is_said(tmp_path):
  huggingface('VideoMAEModel', layer_norm_eps=1e-12).save_pretrained(tmp_path)
  notes = take_all(open_source(tmp_path), TINY)[1].notes
  assert any(
    note.startswith('layer_norm_eps is 1e-12 in config.json, and 1e-06 here')
    for note in notes
  )
  huggingface('VideoMAEModel').save_pretrained(tmp_path)
  assert take_all(open_source(tmp_path), TINY)[1].notes == ()


def test_a_pretrained_encoder_starts_a_classifier(pretrained):
  """As the reference's fine-tuning does: norm and head are new, the rest is taken."""
  make = nnx.jit(lambda: classifier(nnx.Rngs(0)))

  def init():
    return nnx.to_pure_dict(nnx.state(make()))

  params, report = adopt(open_source(pretrained[1]), TINY, init)
  whole = take_all(open_source(pretrained[1]), TINY)[0]
  del whole['encoder']['norm']
  assert_equal(params['encoder'], whole['encoder'])
  assert_equal(params['head'], init()['head'])
  assert set(report.missing) == {'norm/scale', 'norm/bias', 'head/kernel', 'head/bias'}
  assert 'videomae.layernorm.bias' in report.left_over
  assert 'decoder.decoder_layers.1.output.dense.bias' in report.left_over
