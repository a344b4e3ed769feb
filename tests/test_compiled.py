"""Compiled programs are found again; what is not as it was written is not run."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from configs import deap_fusion
from mvp_jax import compiled
from mvp_jax.config import parse, resolve
from mvp_jax.jobs import common
from mvp_jax.models.videomae import preset
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.state import abstract_state, train_step
from mvp_jax.training.tasks import MaskedVideo
from tests.training.tiny import OPTIMISER, make_batch, video_example

_TASK = MaskedVideo(
  preset('tiny', depth=1, decoder_depth=1, frames=4, size=16, patch=8)
)
_HIT, _MISS = (f'/jax/compilation_cache/cache_{word}' for word in ('hits', 'misses'))


@pytest.fixture
def folder(tmp_path):
  before = jax.config.jax_compilation_cache_dir
  yield tmp_path / 'compiled'
  jax.config.update('jax_compilation_cache_dir', before)


def test_what_is_damaged_or_was_not_sealed_is_compiled_anew(folder, capsys):
  compiled.use(folder)
  for name in ('a-cache', 'b-cache'):
    (folder / name).write_bytes(name.encode())
  compiled.seal()
  (folder / 'c-cache').write_bytes(b'of a run that was killed')
  (folder / 'b-cache').write_bytes(b'B-cache')
  compiled.use(folder)
  assert [path.name for path in folder.glob('*-cache')] == ['a-cache']
  (line,) = capsys.readouterr().err.splitlines()
  assert line == f'{folder}/b-cache: is not what was written; it is compiled anew'


def test_a_cache_of_others_is_left_alone(folder):
  folder.mkdir()
  jax.config.update('jax_compilation_cache_dir', str(folder))
  compiled.seal()
  assert not [*folder.iterdir()]


@pytest.fixture
def found():
  """Events of JAX's cache as they happen; the cache is off again afterwards."""
  events = []

  def listen(event, **_):
    events.extend([event] * (event in (_HIT, _MISS)))

  jax.monitoring.register_event_listener(listen)
  least = jax.config.jax_persistent_cache_min_compile_time_secs
  yield events
  jax.monitoring.unregister_event_listener(listen)
  jax.config.update('jax_compilation_cache_dir', None)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', least)
  compilation_cache.reset_cache()


def test_a_job_finds_the_step_that_an_earlier_one_compiled(
  found, tmp_path, monkeypatch
):
  monkeypatch.setattr(compiled, '_SECONDS', 0.0)
  # An earlier job of this process had another folder.
  compiled.use(tmp_path / 'other')
  jax.jit(lambda x: x + 1)(jnp.zeros(3)).block_until_ready()
  settings = resolve(deap_fusion.get_config(), {})
  settings['data']['data_dir'] = str(tmp_path / 'data')
  mesh = make_mesh(MeshConfig(), jax.devices()[:2])

  def step_of(workdir):
    found.clear()
    jax.clear_caches()
    train_step.cache_clear()
    standard = jax.numpy_dtype_promotion('standard')  # for Optax
    with common.begun(parse(settings), tmp_path / workdir), standard:
      state = abstract_state(_TASK, OPTIMISER, mesh)
      step = train_step(_TASK, OPTIMISER, mesh)
      step.lower(state, make_batch(video_example, 0)).compile()
    return found

  assert _MISS in step_of('first')
  kept = [path.name for path in (tmp_path / 'data' / 'compiled').iterdir()]
  assert any('jit_step' in name for name in kept)
  again = step_of('second')
  assert _HIT in again and _MISS not in again
