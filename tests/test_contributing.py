"""The modality that CONTRIBUTING.md adds works as it stands there."""

import dataclasses
import re
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvp_jax.data.trial import Series
from mvp_jax.errors import InputError
from mvp_jax.models import modalities


@pytest.fixture
def breath(monkeypatch):
  text = (Path(__file__).parents[1] / 'CONTRIBUTING.md').read_text()
  (code,) = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  monkeypatch.setattr(modalities, 'MODALITIES', dict(modalities.MODALITIES))
  exec(code, {'__name__': __name__})
  return modalities.find('breath')(gain=2.0)


def test_the_modality_of_the_guide(breath):
  values = np.arange(16, dtype=np.float32).reshape(8, 2)
  stream = Series(values, np.ones((8, 2), bool), ('chest', 'belly'), 4.0)
  facts = {'streams': {'breath': {'rate': 4.0, 'channels': stream.channels}}}
  corpus = types.SimpleNamespace(metadata=facts)
  options = types.SimpleNamespace(max_seconds=5.0)
  trial = types.SimpleNamespace(trial_id='s1_t1', streams={'breath': stream})
  window = types.SimpleNamespace(trial=trial, start=0.5, padded=3.0)

  item = breath.inputs(corpus, [window], options)[0]
  assert item['valid'].tolist() == [False] * 2 + [True] * 6 + [False] * 4
  np.testing.assert_array_equal(item['x'][2:8], 2 * values[2:])
  assert {name: x.dtype for name, x in item.items()} == {
    'x': np.float32,
    'valid': bool,
    'times': np.float32,
  }

  network = breath.network(facts)
  assert hash(network) == hash(dataclasses.replace(network))
  model = network.create(types.SimpleNamespace(width=4), rngs=nnx.Rngs(0))
  tokens = model({name: jnp.asarray(x)[None] for name, x in item.items()})
  assert tokens.x.shape == (1, 12, 4) and tokens.valid.sum() == 6

  trial.streams = {}
  with pytest.raises(InputError, match='s1_t1 has no stream breath'):
    breath.inputs(corpus, [window], options)
