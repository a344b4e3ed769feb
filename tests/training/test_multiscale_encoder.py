"""MSN-69 and DMSN as encoders: settings, sizes, what a checkpoint must share."""

import dataclasses

import jax
import numpy as np
import pytest

from mvp_jax.config import parse, to_tree
from mvp_jax.data.clips import ClipLayout
from mvp_jax.errors import InputError
from mvp_jax.files import write_json
from mvp_jax.models.backbones.multiscale import DMSN, MSN69
from mvp_jax.targets.binary import Binary
from mvp_jax.training import encoder, pretrain
from mvp_jax.training.multiscale_encoder import DMSNEncoder, MSN69Encoder
from mvp_jax.training.sharding import put_batch
from mvp_jax.training.state import init_state, train_step
from mvp_jax.training.tasks import VideoEmotion
from tests.training.films import Films
from tests.training.tiny import OPTIMISER

_SIZES = dict(stem=4, widths=(8, 8, 8, 16), blocks=(1, 1, 1, 1))
_SETTINGS = DMSNEncoder(pretrained=False, **_SIZES)
_CLIPS = ClipLayout(frames=8, stride=1, spacing=1.0, tubelet=8)


@pytest.mark.parametrize('kind', ['msn69', 'dmsn'])
def test_the_defaults_are_the_full_networks(kind):
  clips = {'frames': 16, 'tubelet': 16}
  tree = {
    'dataset': 'deap',
    'data': {'frame_size': 112},
    'encoder': {'kind': kind, 'pretrained': False},
    'input': {'clips': clips},
  }
  config = parse(tree)
  assert config.encoder.network(config) == {'msn69': MSN69(), 'dmsn': DMSN()}[kind]
  assert parse(to_tree(config)).encoder == config.encoder
  with pytest.raises(InputError, match=f"no pre-training of '{kind}'"):
    parse({'dataset': 'deap', 'encoder': {'kind': kind}})


def test_what_does_not_fit_is_said_by_its_setting():
  network = _SETTINGS.backbone(_CLIPS, 48)
  assert network == DMSN(8, 48, 8, **_SIZES) and network.slots == 1
  with pytest.raises(InputError, match=r'^input\.clips\.tubelet is 2, in clips of 16'):
    _SETTINGS.backbone(ClipLayout(), 112)
  with pytest.raises(InputError, match=r'^data\.frame_size is 100 pixels, must be'):
    _SETTINGS.backbone(_CLIPS, 100)
  with pytest.raises(ValueError, match=r"^encoder\.variant 'D' is none of A, B, C"):
    dataclasses.replace(_SETTINGS, variant='D')
  with pytest.raises(ValueError, match=r'^encoder\.widths is'):
    MSN69Encoder(pretrained=False, widths=(8,))
  with pytest.raises(ValueError, match=r"^encoder\.dtype 'float16' is none of"):
    MSN69Encoder(pretrained=False, dtype='float16')


def test_it_is_trained_end_to_end_and_its_operations_are_known(one_device):
  network = _SETTINGS.backbone(_CLIPS, 16)
  task = VideoEmotion(network, Binary())
  batch = {
    'frames': np.random.default_rng(0).integers(0, 256, (4, 1, 8, 16, 16, 3), np.uint8),
    'label': np.tile(np.float32([[0, 1], [1, 0]]), (2, 1)),
    'weight': np.ones(4, np.float32),
  }
  assert task.flops(batch) == 6 * network.macs
  config = dataclasses.replace(OPTIMISER, layer_decay=0.75)
  state = init_state(task, config, one_device, 0)
  before = jax.device_get(state.model_state)
  state, metrics = train_step(task, config, one_device)(
    state, put_batch(batch, one_device)
  )
  assert np.isfinite(metrics['loss'])
  for old, new in zip(
    jax.tree.leaves(before), jax.tree.leaves(state.model_state), strict=True
  ):
    assert np.abs(old - new).max() > 0  # every running statistic has moved


def test_what_was_trained_is_a_start_for_clips_of_other_sizes(one_device, tmp_path):
  network = _SETTINGS.backbone(_CLIPS, 16)
  variables = encoder.fresh(network, one_device, 3)
  folder = tmp_path / encoder.TRAINED / 'fold0' / 'video'
  encoder.save(variables, folder)
  with pytest.raises(InputError, match='holds no finished encoder'):
    encoder.check(network, folder)
  corpus = Films()
  seen = pretrain.Seen(corpus, corpus.trials, {'labels': 'ratings of valence'})
  record = pretrain.record(_SETTINGS, network, [seen], 0)
  write_json(folder / encoder.RECORD, record)
  larger = dataclasses.replace(network, size=32, frames=16, dtype='bfloat16')
  found, known, _ = encoder.load(larger, one_device, folder)
  jax.tree.map(np.testing.assert_array_equal, found, variables)
  assert known['labels'] == 'ratings of valence' and 'deap:2' in known['people']
  with pytest.raises(InputError, match='has variant C; the config wants variant A'):
    encoder.check(dataclasses.replace(network, variant='A'), folder)
  with pytest.raises(InputError, match='is another kind of encoder than encoder.kind'):
    encoder.check(MSN69(8, 16, 8), folder)
  with pytest.raises(InputError, match=r'1 trained encoders, .* one of them: .*video'):
    encoder.check(network, tmp_path)
