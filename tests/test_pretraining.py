"""The pre-training job end to end: sources, resume, the encoder it leaves."""

import dataclasses
import functools
import json
import pathlib

import av
import jax
import numpy as np
import pytest

from mvp_jax import pretraining
from mvp_jax.config import DataConfig
from mvp_jax.corpora.amigos.twin import write_amigos_twin
from mvp_jax.corpora.amigos.twin_spec import AmigosSpec
from mvp_jax.corpora.recordings.twin import write_recordings_twin
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError
from mvp_jax.pretraining import Config, ModelConfig
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training import encoder as encoders
from mvp_jax.training import sharding
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.tasks import MaskedVideo
from tests import jobs

_STEPS = 4


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  return Config(
    data=DataConfig(
      data_dir=str(tmp_path_factory.mktemp('data')),
      frame_rate=2.0,
      frame_size=32,
      workers=1,
    ),
    twin=TwinSpec(
      subjects=2, trials=2, frame_rate=2.0, width=128, height=96, pixel_aspect=(1, 1)
    ),
    clips=ClipLayout(frames=4, stride=2),
    clips_per_trial=2,
    masks=MaskConfig(ratio=0.5),
    views=ViewConfig(repeats=2),
    model=ModelConfig(size='tiny', dtype='float32'),
    train=TrainConfig(
      batch_size=4,
      log_every=1,
      checkpoint_every=2,
      inspect_every=2,
      accumulate=2,
      optimiser=OptimiserConfig(steps=_STEPS, warmup_steps=1),
    ),
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A folder of two small videos."""
  folder = tmp_path_factory.mktemp('videos')
  for number in range(2):
    with av.open(str(folder / f'{number}.mp4'), 'w') as container:
      stream = container.add_stream('mpeg4', rate=10)
      stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
      for i in range(120):
        image = np.full((48, 64, 3), 2 * i, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
      container.mux(stream.encode())
  return folder


@pytest.fixture(scope='module')
def run():
  """Function of (config, workdir, devices=1)."""
  return functools.partial(jobs.run, pretraining)


@pytest.fixture(scope='module')
def workdir(config, run, tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'first'
  run(config, folder)
  return folder


def _metrics(workdir, split='train'):
  return {
    x['step']: {k: v for k, v in x.items() if k != 'time'}
    for x in jobs.metrics(workdir)
    if x['split'] == split
  }


def _params(workdir):
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])
  return jax.device_get(encoders.read(workdir, mesh)[0])


def test_all_that_is_promised_is_there(workdir, config):
  assert list(_metrics(workdir)) == [1, 2, 3, 4]
  speed = list(_metrics(workdir, 'speed').values())[-1]
  assert speed['examples_per_second'] > 0 and 0 <= speed['input_wait'] <= 1
  assert 0 < speed['utilisation'] < 1
  with np.load(workdir / 'reconstructions' / f'step_{_STEPS}.npz') as arrays:
    assert arrays['clips'].shape == (4, 3, 4, 32, 32, 3)
  report = (workdir / 'report.html').read_text()
  assert 'SYNTHETIC' in report and 'reconstructions' in report
  assert 'Absent' not in report
  events = b''.join(p.read_bytes() for p in workdir.glob('tensorboard/**/*tfevents*'))
  assert b'reconstructions' in events and b'\x89PNG' in events
  rows = (workdir / 'account-0-deap.csv').read_text().splitlines()
  assert len(rows) == 1 + 4
  assert (workdir / 'account-0-deap.html').exists()
  assert 'href="account-0-deap.html"' in report


def test_the_record_says_what_it_has_seen(workdir):
  record = json.loads((workdir / encoders.RECORD).read_text())
  assert record['dataset'] == 'deap' and record['synthetic']
  assert record['trained_on_subjects'] == [1, 2] and record['trials'] == 4
  assert record['subjects_of'] == {'deap': [1, 2]}
  assert record['masks']['ratio'] == 0.5 and record['views']['repeats'] == 2


def test_the_work_directory_is_an_encoder(workdir, config, run, tmp_path, capsys):
  params = _params(workdir)
  frozen = dataclasses.replace(
    config,
    checkpoint=str(workdir),
    train=dataclasses.replace(
      config.train, optimiser=OptimiserConfig(steps=1, learning_rate=0.0)
    ),
  )
  run(frozen, tmp_path)
  assert 'the encoder starts from it' in capsys.readouterr().out
  jax.tree.map(
    np.testing.assert_array_equal, _params(tmp_path)['encoder'], params['encoder']
  )


def test_interrupted_it_goes_on_to_the_same_end(
  workdir, config, run, tmp_path, monkeypatch
):
  write = MetricLog.write

  def stop_at_three(self, run, split, step, metrics):
    if step == 3:
      raise KeyboardInterrupt
    write(self, run, split, step, metrics)

  monkeypatch.setattr(MetricLog, 'write', stop_at_three)
  with pytest.raises(KeyboardInterrupt):
    run(config, tmp_path)
  assert not (tmp_path / encoders.RECORD).exists()
  monkeypatch.setattr(MetricLog, 'write', write)
  run(config, tmp_path)
  assert _metrics(tmp_path) == _metrics(workdir)
  jax.tree.map(np.testing.assert_array_equal, _params(tmp_path), _params(workdir))


def test_several_sources_on_several_devices(
  workdir, config, run, folder, tmp_path, capsys, monkeypatch
):
  put, batches = sharding.put_batch, []
  monkeypatch.setattr(
    sharding,
    'put_batch',
    lambda batch, mesh: (batches.append(batch), put(batch, mesh))[1],
  )
  (deap,) = (pathlib.Path(config.data.data_dir) / 'twins').iterdir()
  both = dataclasses.replace(
    config,
    sources=(f'deap:{deap}', f'videos:{folder}'),
    weights=(1.0, 2.0),
    subjects=(2,),
    views=ViewConfig(scales=(1.0,), repeats=1),
    train=dataclasses.replace(config.train, accumulate=1),
  )
  run(both, tmp_path, devices=2)
  facts = jobs.facts(tmp_path)
  assert [(s['dataset'], s['trials'], s['subjects']) for s in facts['sources']] == [
    ('deap', 2, 1),
    ('videos', 2, 2),
  ]
  record = json.loads((tmp_path / encoders.RECORD).read_text())
  assert record['trained_on_subjects'] == [2]  # a file's number is no subject's
  assert 'mesh: 2 data x 1 fsdp x 1 tensor' in capsys.readouterr().out
  rows = [
    line.split() for line in (tmp_path / pretraining.SHARDINGS).read_text().splitlines()
  ]
  shapes = {row[0]: row[1] for row in rows if row and row[0].startswith('batch/')}
  assert shapes == {
    f'batch/{name}': 'x'.join(map(str, x.shape)) for name, x in batches[0].items()
  }
  assert list(_metrics(tmp_path)) == [1, 2, 3, 4]


def test_the_record_of_several_corpora_says_whose_subjects_are_whose(
  workdir, config, tmp_path
):
  (deap,) = (pathlib.Path(config.data.data_dir) / 'twins').iterdir()
  spec = AmigosSpec(
    subjects=3, stimuli=('58',), frame_rate=2.0, width=128, height=96, scale=0.1
  )
  write_amigos_twin(tmp_path / 'amigos', spec, workers=1)
  both = dataclasses.replace(
    config,
    sources=(f'amigos:{tmp_path / "amigos"}', f'deap:{deap}'),
    data=dataclasses.replace(config.data, exclude=(2,)),
  )
  corpora = pretraining._corpora(both, {'seconds': {}})
  model = pretraining._check(both, make_mesh(MeshConfig(), jax.devices()[:1])).model
  sources = [pretraining._clips(both, model, corpus) for corpus in corpora]
  record = pretraining._record(both, MaskedVideo(model), corpora, sources)
  assert record['subjects_of'] == {'amigos': [1, 3], 'deap': [1, 2]}
  assert record['dataset'] == 'amigos+deap' and record['trials'] == 2 + 4
  with pytest.raises(InputError, match=r'test subjects \[3\] of amigos'):
    encoders.check_overlap(record, corpora[0], [2, 3], False)
  encoders.check_overlap(record, corpora[1], [3], False)


def test_own_recordings_are_a_source_whatever_their_signals_are(config, tmp_path):
  folder = tmp_path / 'own'
  write_recordings_twin(
    folder,
    TwinSpec(
      subjects=2,
      trials=1,
      frame_rate=4.0,
      width=96,
      height=96,
      pixel_aspect=(1, 1),
      video_seconds=6.0,
    ),
    workers=1,
  )
  (folder / 'P02' / 'trial01.csv').unlink()
  own = dataclasses.replace(config, sources=(f'recordings:{folder}',))
  (corpus,) = pretraining._corpora(own, {'seconds': {}})
  model = pretraining._check(own, make_mesh(MeshConfig(), jax.devices()[:1])).model
  source = pretraining._clips(own, model, corpus)
  clip = source.read(source[0], np.random.default_rng(0))
  assert clip['frames'].shape[-3:] == (32, 32, 3) and clip['frames'].std() > 5
  record = pretraining._record(own, MaskedVideo(model), [corpus], [source])
  first, second = record['subjects_of']['recordings']
  assert record['dataset'] == 'recordings' and record['trials'] == 2
  with pytest.raises(InputError, match=f'test subjects .{second}. of recordings'):
    encoders.check_overlap(record, corpus, [second], False)
  chosen = dataclasses.replace(own, subjects=(first,))
  assert {t.subject for t in pretraining._clips(chosen, model, corpus).trials} == {
    first
  }


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'sources': ('seed:x',)}, r"config\.sources: 'seed:x' is none of deap:FOLDER"),
    ({'sources': ('videos:',)}, r"config\.sources: 'videos:' is none of"),
    ({'weights': (1.0, 2.0)}, r'config\.weights: 2 weights for 0 sources'),
    (
      {'sources': ('deap:x', 'amigos:y'), 'subjects': (1,)},
      r'config\.subjects: of which of amigos, deap',
    ),
    ({'subjects': (9,)}, r'config\.subjects: deap has no video of 9'),
    ({'masks': MaskConfig(ratio=0.01)}, r'config\.masks\.ratio: .* hides 0 of 4'),
    ({'views': ViewConfig(repeats=3)}, r'config\.train\.batch_size: 4 counts views'),
    ({'clips': ClipLayout(frames=3)}, r'config: .* see clips'),
    ({'clips': ClipLayout(frames=16, stride=50)}, r'deap: .* needs'),
  ],
)
def test_what_cannot_work_is_one_line(config, run, tmp_path, changes, message):
  with pytest.raises(InputError, match=message):
    run(dataclasses.replace(config, **changes), tmp_path)
  assert not (tmp_path / 'checkpoints').exists()


def test_no_model_of_that_size():
  with pytest.raises(ValueError, match='size: one of tiny, S, B'):
    ModelConfig(size='Q')
  with pytest.raises(ValueError, match='remat: one of none, linear, full'):
    ModelConfig(remat='some')
