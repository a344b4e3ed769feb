"""Settings that messages name exist."""

import ast
import pathlib
import re

import pytest

from mvp_jax import corpora, targets
from mvp_jax.config import Config, parse, to_tree
from mvp_jax.jobs.batches import memory, told
from tests.running import changed

_PACKAGE = pathlib.Path(__file__).parents[1] / 'mvp_jax'
_CONFIGS = [
  *(parse({'dataset': name}) for name in corpora.CORPORA),
  *(parse({'dataset': 'deap', 'target': {'kind': kind}}) for kind in targets.TARGETS),
]
_FILES = ('json', 'py')  # config.json is no setting
_NAME = re.compile(r'\bconfig\.([a-z_]+(?:\.[a-z_]+)*)(?![\w.({])')


def _texts(path):
  """The texts of a module that are neither docstrings nor patterns, f-strings too."""
  tree = ast.parse(path.read_text())
  said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
  for node in ast.walk(tree):
    if isinstance(node, ast.Constant) and id(node) not in said:
      yield str(node.value)


def _has(config, name):
  tree = to_tree(config)
  for part in name.split('.'):
    if not isinstance(tree, dict) or part not in tree:
      return False
    tree = tree[part]
  return True


def test_every_setting_that_some_text_names_exists():
  named = {
    (path.name, name)
    for path in _PACKAGE.rglob('*.py')
    for text in _texts(path)
    for name in _NAME.findall(text)
    if name not in _FILES
  }
  assert len(named) > 30  # they are found
  lacking = {
    (file, name) for file, name in named if not any(_has(c, name) for c in _CONFIGS)
  }
  assert not lacking


_VIDEO = {'evaluation': {'models': ('video',)}}
_JOBS = [
  ({'job': 'pretrain'}, 'config.encoder.remat', ['config.encoder.train.batch_size']),
  ({}, 'config.encoder.remat', ['config.train.batch_size']),
  ({'evaluation': {'models': ('physio',)}}, '', ['config.train.batch_size']),
  (
    {**_VIDEO, 'encoder': {'pretrained': False}},
    '',
    ['config.train.batch_size', 'config.encoder.feature_batch'],
  ),
  (
    {**_VIDEO, 'encoder': {'pretrained': False, 'finetune': True}},
    'config.encoder.remat',
    ['config.train.batch_size', 'config.evaluation.batch_size'],
  ),
]


@pytest.mark.parametrize(('given', 'remat', 'lower'), _JOBS)
def test_what_takes_memory_are_settings_of_the_job(given, remat, lower):
  sections = {k: v for k, v in given.items() if isinstance(v, dict)}
  config = changed(Config(dataset='deap', job=given.get('job', 'train')), **sections)
  smaller, larger, found = memory(config)
  assert found == remat and set(lower) <= set(smaller)
  assert all(name.endswith('.accumulate') for name in larger)
  for name in (*smaller, *larger, *filter(None, [found])):
    assert _has(config, name.removeprefix('config.'))
    if config.job == 'pretrain':  # which trains and evaluates nothing else
      assert not name.startswith(('config.train.', 'config.evaluation.'))


def test_another_batch_says_what_becomes_of_the_learning_rate():
  recipe = Config(dataset='deap')
  before = to_tree(recipe.train)
  assert told('config.train', recipe.train, before) is None

  def line(rate=3e-4, **fields):
    train = changed(recipe, train=fields).train
    optimiser = changed(train, optimiser={'learning_rate': rate})
    return told('config.train', optimiser, before)

  assert line(batch_size=8) == (
    'config.train.batch_size is 8, in the config file 32: the learning rate stays '
    '0.0003, for it is not scaled with the batch (in proportion: '
    '--config.train.optimiser.learning_rate=7.5e-05)'
  )
  assert line(batch_size=8, rate=1e-4).endswith('the learning rate is 0.0001, as given')
  assert line(accumulate=4) == (
    'config.train.accumulate is 4: a step is still one of all 32 examples and keeps '
    'its learning rate'
  )
