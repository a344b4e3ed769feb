"""What becomes of each tensor is said, and what does not fit is refused in a line."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from mvp_jax.errors import InputError
from mvp_jax.models import videomae
from mvp_jax.weights.export import export_huggingface, export_reference, tensors_of
from mvp_jax.weights.sources import infer_config, open_source
from mvp_jax.weights.torch_file import write_torch
from mvp_jax.weights.transfer import adopt, take_all
from tests.weights.tiny import (
  TINY,
  abstract,
  assert_equal,
  classifier,
  pretraining,
  random_params,
)


@pytest.fixture(scope='module')
def params():
  return random_params(pretraining)


@pytest.fixture
def huggingface(params, tmp_path):
  """A folder as of VideoMAEForPreTraining."""
  export_huggingface(params, TINY, tmp_path / 'hf')
  return tmp_path / 'hf'


def _never():
  """Initial parameters of a VideoMAE that must not be needed."""
  assert isinstance(jax.numpy.zeros(1), jax.core.Tracer)  # for their shapes only
  return jax.tree.map(lambda x: jax.numpy.zeros(x.shape), abstract(pretraining))


def _zeros(make, config=TINY):
  return lambda: jax.tree.map(
    lambda x: np.zeros(x.shape, np.float32), abstract(lambda rngs: make(rngs, config))
  )


def _one_line(error, *words):
  text = str(error.value)
  assert '\n' not in text
  for word in words:
    assert word in text, text


def _changed(folder, change):
  """Rewrites model.safetensors of a folder, its dict changed in place."""
  path = folder / 'model.safetensors'
  tensors = safetensors.numpy.load_file(path)
  change(tensors)
  safetensors.numpy.save_file(tensors, path)


def _set(folder, **settings):
  path = folder / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_a_whole_model_needs_no_initial_values(huggingface, params):
  found, report = adopt(open_source(huggingface), TINY, _never)
  assert_equal(found, params)
  assert len(report.matched) == len(jax.tree.leaves(params))
  assert not (report.missing or report.left_over or report.recomputed)
  text = str(report)
  assert 'huggingface layout, pre-training' in text
  assert f'matched: {len(report.matched)} arrays, all of the model' in text


def test_a_missing_decoder_is_named_and_left_as_it_was(params, tmp_path):
  export_huggingface({'encoder': params['encoder']}, TINY, tmp_path)
  found, report = adopt(open_source(tmp_path), TINY, _zeros(pretraining))
  assert_equal(found['encoder'], params['encoder'])
  assert not any(x.any() for x in jax.tree.leaves(found['decoder']))
  assert set(report.missing) | set(report.matched) == {
    '/'.join(k.key for k in path)
    for path, _ in jax.tree_util.tree_leaves_with_path(params)
  }
  assert {'mask_token', 'to_pixels/bias', 'decoder/blocks/up/kernel'} <= set(
    report.missing
  )
  assert 'mask_token' in str(report) and 'all of the model' not in str(report)


def test_an_encoder_alone_leaves_the_decoder_over(huggingface, params):
  found, report = adopt(
    open_source(huggingface), TINY, lambda: {'encoder': _never()['encoder']}
  )
  assert_equal(found, {'encoder': params['encoder']})
  assert not report.missing
  assert 'decoder.decoder_layers.1.attention.attention.q_bias' in report.left_over
  lines = str(report).splitlines()
  assert any(
    'left over' in x and 'decoder.decoder_layers.{0-1}.output.dense.bias' in x
    for x in lines
  )
  # It is no matter then how large that decoder is.
  other = dataclasses.replace(TINY, decoder_width=384, decoder_depth=12)
  adopt(open_source(huggingface), other, lambda: {'encoder': _never()['encoder']})


def test_a_fine_tuned_encoder_has_no_final_norm(tmp_path, params):
  tuned = random_params(classifier)
  export_reference(tuned, TINY, tmp_path / 'x.pth')
  fresh = jax.tree.map(np.zeros_like, params['encoder'])
  fresh['norm']['scale'] += 1
  found, report = adopt(
    open_source(tmp_path / 'x.pth'), TINY, lambda: {'encoder': fresh}
  )
  assert set(report.missing) == {'encoder/norm/scale', 'encoder/norm/bias'}
  assert set(report.left_over) == {
    'fc_norm.weight',
    'fc_norm.bias',
    'head.weight',
    'head.bias',
  }
  assert any('no final norm' in note for note in report.notes)
  assert_equal(found['encoder']['norm'], fresh['norm'])
  assert_equal(found['encoder']['stack'], tuned['encoder']['stack'])


def test_a_head_of_other_outputs_is_new_and_said(tmp_path):
  tuned = random_params(lambda rngs: classifier(rngs, outputs=400))
  export_huggingface(tuned, TINY, tmp_path)
  found, report = adopt(open_source(tmp_path), TINY, _zeros(classifier))
  assert report.missing == ('head/bias', 'head/kernel')
  assert set(report.left_over) == {'classifier.weight', 'classifier.bias'}
  assert 'the head has 400 outputs in the file and 3 here' in report.notes
  assert not found['head']['bias'].any()
  assert_equal(found['norm'], tuned['norm'])


def test_tensors_of_no_use_are_named(huggingface):
  _changed(
    huggingface,
    lambda t: t.update(
      {'projector.weight': np.ones(2, np.float32), 'step': np.ones(1, np.int64)}
    ),
  )
  report = take_all(open_source(huggingface), TINY)[1]
  assert report.left_over == ('projector.weight', 'step')
  assert 'left over in the file: projector.weight, step' in str(report)


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    ({'width': 96}, ('width 48', 'the config wants width 96')),
    ({'depth': 12, 'mlp_width': 192}, ('depth 2, mlp_width 96', 'depth 12, mlp_width')),
    ({'patch': 8}, ('patch 16', 'wants patch 8')),
    ({'tubelet': 1}, ('tubelet 2', 'wants tubelet 1')),
    ({'heads': 6}, ('heads 4', 'wants heads 6')),
    ({'decoder_depth': 4}, ('decoder_depth 2', 'wants decoder_depth 4')),
  ],
)
def test_other_sizes_than_wanted(huggingface, change, words):
  config = dataclasses.replace(TINY, **change)
  with pytest.raises(InputError) as error:
    adopt(open_source(huggingface), config, _zeros(pretraining, config))
  _one_line(error, str(huggingface), 'is a VideoMAE of no known size', *words)


def test_a_known_size_is_called_by_its_name(tmp_path):
  tiny = videomae.preset('tiny', frames=4, size=32)
  params = random_params(lambda rngs: pretraining(rngs, tiny))
  export_reference(params, tiny, tmp_path / 'x.pth')
  source = open_source(tmp_path / 'x.pth')
  assert infer_config(source) == dataclasses.replace(tiny, frames=16, size=224)
  with pytest.raises(InputError) as error:
    adopt(source, videomae.preset('B'), dict)
  _one_line(error, 'x.pth: is VideoMAE-tiny with', 'set encoder.size')


def _less(name):
  return lambda tensors: tensors.pop(name)


_LAYER = 'videomae.encoder.layer.1'


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    (
      lambda t: [t.pop(k) for k in list(t) if 'layernorm_after' in k],
      ['nothing for encoder/stack/blocks/norm2/'],
    ),
    (
      lambda t: [t.pop(k) for k in list(t) if k.startswith('videomae.layernorm')],
      ['nothing for encoder/norm/'],
    ),
    (
      lambda t: [t.pop(k) for k in list(t) if k.startswith('videomae.encoder')],
      ['nothing for encoder/stack/blocks/up/kernel'],
    ),
    (
      lambda t: t.pop('videomae.encoder.layer.0.output.dense.bias'),
      ['layer 0 of', 'output.dense.bias', 'is missing'],
    ),
    (lambda t: t.pop(f'{_LAYER}.output.dense.bias'), ['(1, 48), must be (2, 48)']),
    (
      lambda t: t.update({f'{_LAYER}.gamma_1': np.ones(48, np.float32)}),
      [f'{_LAYER}.gamma_1', 'the results would be wrong'],
    ),
    (
      lambda t: t.update({f'{_LAYER}.output.dense.bias': np.ones(47, np.float32)}),
      ['layer.0.output.dense.bias', '(47,) and (48,)'],
    ),
    (
      lambda t: t.update({'mask_token': np.ones((1, 1, 20), np.float32)}),
      ['mask_token', 'shape (20,), must be (24,)'],
    ),
    (
      lambda t: t.update({f'{_LAYER}.output.dense.bias': np.ones(48, np.int32)}),
      ['stored as I32, float32', 'must be floats'],
    ),
    (
      lambda t: t.update({f'{_LAYER}.output.dense.bias': np.full(48, np.nan, 'f4')}),
      ['not finite'],
    ),
    (
      lambda t: t.update({f'module.{_LAYER}.output.dense.bias': np.ones(48, 'f4')}),
      ['are the same tensor by name'],
    ),
    (
      lambda t: t.pop('videomae.embeddings.patch_embeddings.projection.weight'),
      ['is no VideoMAE of Hugging Face', 'decoder.decoder_layers.0'],
    ),
  ],
)
def test_tensors_that_are_missing_or_do_not_fit(huggingface, change, words):
  _changed(huggingface, change)
  with pytest.raises(InputError) as error:
    adopt(open_source(huggingface), TINY, _zeros(pretraining))
  _one_line(error, str(huggingface), *words)


@pytest.mark.parametrize(
  ('settings', 'words'),
  [
    ({'hidden_act': 'relu'}, ["hidden_act is 'relu'", "only be 'gelu'"]),
    ({'num_channels': 1}, ['num_channels is 1', 'only be 3']),
    ({'model_type': 'vit'}, ['is of a vit, not a videomae']),
    ({'image_size': [48, 64]}, ['image_size is [48, 64]', 'not supported']),
    ({'num_attention_heads': 0}, ['num_attention_heads is 0']),
    ({'num_frames': 15}, ['15 frames', 'cannot be cut']),
    (
      {'use_mean_pooling': False, 'architectures': ['VideoMAEForVideoClassification']},
      ['reads the first token'],
    ),
  ],
)
def test_settings_that_this_model_does_not_have(huggingface, settings, words):
  _set(huggingface, **settings)
  with pytest.raises(InputError) as error:
    infer_config(open_source(huggingface))
  _one_line(error, str(huggingface), *words)


def test_settings_that_change_the_meaning_are_said(huggingface):
  _set(huggingface, norm_pix_loss=False, layer_norm_eps=1e-12)
  source = open_source(huggingface)
  notes = take_all(source, TINY)[1].notes
  assert [note.split()[0] for note in notes[:2]] == ['layer_norm_eps', 'transformers']
  assert notes[2:] == (
    "the decoder was trained with target 'pixels'; here it is 'normalised'",
  )
  assert infer_config(source).target == 'pixels'


def test_another_noise_floor_than_the_file_s_is_said(huggingface):
  config = dataclasses.replace(TINY, noise_floor=0.05)
  notes = adopt(open_source(huggingface), config, _never)[1].notes
  assert notes[-1] == (
    'the decoder was trained with noise_floor 1e-06; here it is 0.05'
  )


def test_without_config_json_the_heads_are_those_of_the_config(huggingface, params):
  (huggingface / 'config.json').unlink()
  source = open_source(huggingface / 'model.safetensors')
  found, report = adopt(source, TINY, _never)
  assert_equal(found, params)
  assert 'the number of heads is not in the file: 4 are assumed' in report.notes
  with pytest.raises(InputError, match='no known size is 48 wide; give --heads'):
    infer_config(source)


def test_double_precision_is_rounded_and_said(params, tmp_path):
  tensors = tensors_of(params, TINY, 'reference')
  write_torch(
    tmp_path / 'x.pth',
    {'module': {k: v.astype(np.float64) for k, v in tensors.items()}},
  )
  found, report = adopt(open_source(tmp_path / 'x.pth'), TINY, _never)
  assert_equal(found, params)
  assert 'stored as float64, used as float32' in report.notes


def test_folders_and_files_that_hold_no_weights(huggingface, tmp_path):
  def fails(path, *words):
    with pytest.raises(InputError) as error:
      open_source(path)
    _one_line(error, *words)

  fails(tmp_path / 'none', 'none: there is no such checkpoint')
  fails(tmp_path, 'holds neither model.safetensors nor pytorch_model.bin')
  weights, config = huggingface / 'model.safetensors', huggingface / 'config.json'
  config.write_text('{')
  fails(huggingface, 'config.json: cannot be read as JSON')
  config.write_text('[]')
  fails(huggingface, 'config.json: must be a JSON object')
  config.write_text('{}')
  whole = weights.read_bytes()
  weights.write_bytes(whole[:-10])
  fails(huggingface, 'model.safetensors: is not whole')
  weights.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\n')
  fails(huggingface, 'is a pointer of Git LFS')
  weights.write_bytes(b'')
  fails(huggingface, 'is neither safetensors nor')
  weights.rename(huggingface / 'model-1.safetensors')
  index = huggingface / 'model.safetensors.index.json'
  for piece in ('../model.safetensors', 'absent.safetensors'):
    index.write_text(json.dumps({'weight_map': {'a': piece}}))
    fails(huggingface, f'names {piece!r}, which is not in this folder')
  index.write_text('{"weight_map": [1]}')
  fails(huggingface, 'has no weight_map')
  write_torch(tmp_path / 'x.pth', {'weights': {'a': np.ones(1, np.float32)}})
  fails(
    tmp_path / 'x.pth',
    'holds no tensors under model, module, state_dict',
    'there is weights',
  )
