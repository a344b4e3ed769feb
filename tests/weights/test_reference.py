"""The reference repository's checkpoints: read, computed with, and written."""

import argparse
import collections
import copy
import dataclasses

import jax
import numpy as np
import pytest

from mvp_jax.errors import InputError
from mvp_jax.weights.export import export_reference
from mvp_jax.weights.sources import infer_config, open_source
from mvp_jax.weights.transfer import take_all
from tests.weights.pytorch import (
  ReferenceClassifier,
  ReferencePretraining,
  assert_close,
  call,
  masks,
  pixels,
  positions,
  shaken,
  taken,
  torch,
)
from tests.weights.tiny import (
  TINY,
  assert_equal,
  classifier,
  clips,
  pretraining,
  random_params,
)


def _pixels():
  return pixels(clips()).transpose(1, 2)


@pytest.fixture(scope='module')
def models():
  torch.manual_seed(1)
  return {
    'pretraining': shaken(ReferencePretraining()),
    'classifier': shaken(ReferenceClassifier()),
  }


def _save(path, state, entry='model'):
  torch.save(
    {
      entry: collections.OrderedDict(state),
      'epoch': 799,
      'optimizer': {'state': {0: {'exp_avg': torch.ones(3)}}},
      'args': argparse.Namespace(model='vit', lr=np.float64(1e-3)),
    },
    path,
  )
  return path


def test_pretraining_logits_and_gradients(models, tmp_path):
  model = models['pretraining']
  params, report = take_all(
    open_source(_save(tmp_path / 'p.pth', model.state_dict())), TINY
  )
  assert report.kind == 'pre-training' and not report.left_over
  visible, masked, hidden = masks()
  logits = model(_pixels(), hidden)
  model.zero_grad()
  (logits**2).mean().backward()

  def run(model):
    logits = model(clips(), visible, masked)
    return (logits**2).mean(), logits

  run, params = call(pretraining, params, run)
  (_, ours), grads = jax.value_and_grad(run, has_aux=True)(params)
  assert_close(ours, logits)
  jax.tree.map(
    assert_close, grads, taken({k: v.grad for k, v in model.named_parameters()})
  )


@pytest.mark.parametrize(
  'prefix', ['', 'module.', 'backbone.', 'encoder.', 'module.encoder.', 'model.']
)
def test_classifier_logits_whatever_the_prefix(models, tmp_path, prefix):
  model = models['classifier']
  path = _save(
    tmp_path / 'f.pth',
    {prefix + k: v for k, v in model.state_dict().items()},
    entry='module',
  )
  params, report = take_all(open_source(path), TINY)
  assert report.kind == 'classifier' and not report.left_over
  if not prefix:  # compiled once
    run, params = call(classifier, params, lambda model: model(clips()))
    assert_close(run(params), model(_pixels()))
  else:
    assert_equal(params, taken(model.state_dict()))


_ONE, _OTHER = 'pretraining', 'classifier'  # of `models`


@pytest.mark.parametrize(
  'place',
  [
    'model_ema',
    'ema',
    'ema.module',
    'state_dict_ema',
    'student',
    'teacher',
    'net.model',
  ],
)
def test_an_entry_of_any_name_is_found(models, tmp_path, place):
  state = dict(models[_ONE].state_dict())
  saved = {'epoch': 3, 'optimizer': {'state': {0: {'exp_avg': torch.ones(3)}}}}
  name, _, inner = place.partition('.')
  saved[name] = {inner: state} if inner else state
  torch.save(saved, tmp_path / 'x.pth')
  params, report = take_all(open_source(tmp_path / 'x.pth'), TINY)
  assert_equal(params, taken(state))
  assert f'beside {place!r} in the file, not used: epoch, optimizer' in report.notes


@pytest.mark.parametrize(
  ('used', 'beside'),
  [('model', 'model_ema'), ('student', 'teacher'), ('online', 'target')],
)
def test_the_model_itself_is_used_and_not_its_average(models, tmp_path, used, beside):
  states = {used: models[_ONE].state_dict(), beside: models[_OTHER].state_dict()}
  torch.save(dict(sorted(states.items())), tmp_path / 'entries.pth')
  report = take_all(open_source(tmp_path / 'entries.pth'), TINY)[1]
  assert report.kind == 'pre-training'
  assert f'beside {used!r} in the file, not used: {beside}' in report.notes
  named = {f'{n}.{k}': x for n, state in states.items() for k, x in state.items()}
  torch.save({'state_dict': named}, tmp_path / 'names.pth')
  params, report = take_all(open_source(tmp_path / 'names.pth'), TINY)
  assert_equal(params, taken(states[used]))
  assert f'{beside}.head.weight' in report.left_over
  note = f'used, and not those of {beside}.*'
  assert any(note in said for said in report.notes) or used == 'model'


@pytest.mark.parametrize(
  'prefix',
  ['student.', 'ema.', 'model_ema.module.', 'module.student.', 'student.backbone.'],
)
def test_all_tensors_may_bear_one_prefix(models, tmp_path, prefix):
  state = models[_OTHER].state_dict()
  head = prefix.replace('backbone.', '')  # around a backbone lies its head
  named = {(head if 'head' in k else prefix) + k: x for k, x in state.items()}
  torch.save(named, tmp_path / 'x.pth')
  params, report = take_all(open_source(tmp_path / 'x.pth'), TINY)
  assert_equal(params, taken(state))
  assert not report.left_over


def test_of_two_models_none_is_taken_by_chance(models, tmp_path):
  state = dict(models[_ONE].state_dict())
  torch.save({'left': state, 'right': state}, tmp_path / 'x.pth')
  with pytest.raises(InputError, match="several VideoMAEs, 'left', 'right'; keep"):
    open_source(tmp_path / 'x.pth')
  named = {f'{n}.{k}': x for n in ('left', 'right') for k, x in state.items()}
  torch.save(named, tmp_path / 'x.pth')
  with pytest.raises(InputError, match="several VideoMAEs, 'left.', 'right.'; keep"):
    open_source(tmp_path / 'x.pth')


@pytest.mark.parametrize('biases', ['none', 'fused'])
def test_other_biases_of_the_attention(models, tmp_path, biases):
  """None at all (qkv_bias=False), or one of all three, as other programs have it."""
  model = copy.deepcopy(models[_OTHER])
  state, said = dict(model.state_dict()), []
  for i, block in enumerate(model.blocks):
    query, value = (state.pop(f'blocks.{i}.attn.{x}_bias') for x in 'qv')
    if biases == 'none':
      for bias in (block.attn.q_bias, block.attn.v_bias):
        torch.nn.init.zeros_(bias)
    else:  # that of the keys changes nothing
      state[f'blocks.{i}.attn.qkv.bias'] = torch.cat([query, 7 * query, value])
  params, report = take_all(open_source(_save(tmp_path / 'x.pth', state)), TINY)
  said = any('qkv_bias=False' in note for note in report.notes)
  assert said is (biases == 'none') and not report.left_over
  run, params = call(classifier, params, lambda model: model(clips()))
  assert_close(run(params), model(_pixels()))


def test_what_lies_beside_the_weights_is_named(models, tmp_path):
  path = _save(tmp_path / 'p.pth', models['pretraining'].state_dict())
  notes = take_all(open_source(path), TINY)[1].notes
  assert "beside 'model' in the file, not used: epoch, optimizer, args" in notes
  assert any('argparse.Namespace' in n and 'neither made nor run' in n for n in notes)
  assert 'the number of heads is not in the file: 4 are assumed' in notes


def test_a_bare_state_dict(models, tmp_path):
  state = models['classifier'].state_dict()
  torch.save(state, tmp_path / 'f.pth')
  assert_equal(take_all(open_source(tmp_path / 'f.pth'), TINY)[0], taken(state))


def test_positions_are_recomputed_and_learnt_ones_refused(models, tmp_path):
  state = dict(models['classifier'].state_dict())
  state['pos_embed'] = positions(TINY.tokens, TINY.width)
  report = take_all(open_source(_save(tmp_path / 'f.pth', state)), TINY)[1]
  assert report.recomputed == ('pos_embed',) and not report.left_over
  state['pos_embed'] = torch.randn(1, TINY.tokens, TINY.width)
  with pytest.raises(InputError, match='pos_embed holds learnt positions'):
    open_source(_save(tmp_path / 'f.pth', state))


@pytest.mark.parametrize(
  ('make', 'reference'),
  [(pretraining, ReferencePretraining), (classifier, ReferenceClassifier)],
)
def test_round_trip_through_the_reference_is_exact(tmp_path, make, reference):
  params = random_params(make)
  export_reference(params, TINY, tmp_path / 'ours.pth')
  source = open_source(tmp_path / 'ours.pth')
  found = infer_config(source, heads=4)
  assert (found.frames, found.size) == (16, 224)  # not in such a file
  decoder = dict(decoder_width=24, decoder_depth=2, decoder_heads=2)
  if make is pretraining:
    assert {f: getattr(found, f) for f in decoder} == decoder
  assert dataclasses.replace(found, frames=4, size=48, **decoder) == TINY
  assert_equal(take_all(source, TINY)[0], params)
  model = reference()
  model.load_state_dict(
    torch.load(tmp_path / 'ours.pth', weights_only=True)['model'], strict=True
  )
  assert_equal(taken(model.state_dict()), params)
  _save(tmp_path / 'theirs.pth', model.state_dict())
  assert_equal(take_all(open_source(tmp_path / 'theirs.pth'), TINY)[0], params)
