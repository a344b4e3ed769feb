"""The pre-training job end to end: sources, resume, the encoder it leaves."""

import dataclasses
import functools
import json
import pathlib

import av
import jax
import numpy as np
import pytest

from mvp_jax import corpora
from mvp_jax.config import Config, DataConfig
from mvp_jax.data.clips import ClipLayout
from mvp_jax.data.examples import InputConfig
from mvp_jax.data.masks import MaskConfig
from mvp_jax.data.views import ViewConfig
from mvp_jax.errors import InputError
from mvp_jax.evaluation.audit import check_encoder
from mvp_jax.jobs import pretrain as job
from mvp_jax.jobs import starts
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training import encoder as encoders
from mvp_jax.training import sharding
from mvp_jax.training.encoder import VideoMAEEncoder
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.optimiser import OptimiserConfig
from mvp_jax.training.pretrain import record as record_of
from mvp_jax.training.sharding import MeshConfig, make_mesh
from tests import running

_STEPS = 4


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  return Config(
    job='pretrain',
    dataset='deap',
    data=DataConfig(
      data_dir=str(tmp_path_factory.mktemp('data')),
      frame_rate=2.0,
      frame_size=32,
      workers=1,
    ),
    twin=TwinSpec(
      subjects=2, trials=2, frame_rate=2.0, width=128, height=96, pixel_aspect=(1, 1)
    ),
    input=InputConfig(clips=ClipLayout(frames=4, stride=2)),
    encoder=VideoMAEEncoder(
      size='tiny',
      dtype='float32',
      clips_per_trial=2,
      masks=MaskConfig(ratio=0.5),
      views=ViewConfig(repeats=2),
      train=TrainConfig(
        batch_size=4,
        log_every=1,
        checkpoint_every=2,
        inspect_every=2,
        accumulate=2,
        optimiser=OptimiserConfig(steps=_STEPS, warmup_steps=1),
      ),
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
        image = np.full((48, 64, 3), 2 * i + number, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
      container.mux(stream.encode())
  return folder


@pytest.fixture(scope='module')
def run():
  """Function of (config, workdir, devices=1)."""
  return functools.partial(running.run, job)


@pytest.fixture(scope='module')
def workdir(config, run, tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'first'
  run(config, folder, drawn=True)
  return folder


def _metrics(workdir, split='train'):
  return {
    x['step']: {k: v for k, v in x.items() if k != 'time'}
    for x in running.metrics(workdir)
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
  assert len(record['people']) == 2
  assert record['encoder']['masks']['ratio'] == 0.5
  assert record['encoder']['views']['repeats'] == 2


def test_the_work_directory_is_an_encoder(workdir, config, run, tmp_path, capsys):
  params = _params(workdir)
  frozen = running.changed(
    config,
    encoder={
      'checkpoint': str(workdir),
      'train': dataclasses.replace(
        config.encoder.train, optimiser=OptimiserConfig(steps=1, learning_rate=0.0)
      ),
    },
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
  both = running.changed(
    config,
    pretrain={
      'sources': (f'deap:{deap}', f'videos:{folder}'),
      'weights': (1.0, 2.0),
      'subjects': (2,),
    },
    encoder={
      'views': ViewConfig(scales=(1.0,), repeats=1),
      'train': dataclasses.replace(config.encoder.train, accumulate=1),
    },
  )
  run(both, tmp_path, devices=2)
  facts = running.facts(tmp_path)
  assert [(s['dataset'], s['trials'], s['subjects']) for s in facts['sources']] == [
    ('deap', 2, 1),
    ('videos', 2, 2),
  ]
  record = json.loads((tmp_path / encoders.RECORD).read_text())
  assert len(record['people']) == 1 + 2  # a subject, and two files
  assert 'mesh: 2 data x 1 fsdp x 1 tensor' in capsys.readouterr().out
  rows = [line.split() for line in (tmp_path / job.SHARDINGS).read_text().splitlines()]
  shapes = {row[0]: row[1] for row in rows if row and row[0].startswith('batch/')}
  assert shapes == {
    f'batch/{name}': 'x'.join(map(str, x.shape)) for name, x in batches[0].items()
  }
  assert list(_metrics(tmp_path)) == [1, 2, 3, 4]


def _prepared(config):
  """The prepared corpora of a config, and their clips."""
  found = job.prepared(config, {'seconds': {}})
  backbone = starts.backbone(config, found)
  sources, held_out = job._clips(config, backbone, found)
  return found, sources, held_out, record_of(config.encoder, backbone, sources, 0)


def test_the_record_of_several_corpora_says_whose_subjects_are_whose(
  workdir, config, tmp_path
):
  (deap,) = (pathlib.Path(config.data.data_dir) / 'twins').iterdir()
  amigos = corpora.find('amigos')
  spec = amigos.twin.Spec(
    subjects=3, stimuli=('58',), frame_rate=2.0, width=128, height=96, scale=0.1
  )
  amigos.twin.write(tmp_path / 'amigos', spec, 1)
  both = running.changed(
    config, pretrain={'sources': (f'amigos:{tmp_path / "amigos"}', f'deap:{deap}')}
  )
  found, _, _, record = _prepared(both)
  assert record['dataset'] == 'amigos+deap' and record['trials'] == 3 + 4
  assert len(record['people']) == 3 + 2
  for corpus in found:
    seen = check_encoder(record, corpus, [2], False)
    assert not seen.passed and 'test subjects 2' in seen.detail
    assert check_encoder(record, corpus, [2], True).passed
    assert check_encoder(record, corpus, [], False).passed


def test_another_study_by_manifest_is_not_taken_for_the_one_trained_on(
  config, tmp_path
):
  """Both number their subjects from 1."""
  recordings = corpora.find('recordings')
  for seed in (0, 1):
    spec = recordings.twin.Spec(
      subjects=2,
      trials=1,
      seed=seed,
      frame_rate=4.0,
      width=96,
      height=96,
      pixel_aspect=(1, 1),
      video_seconds=6.0,
    )
    recordings.twin.write(tmp_path / str(seed), spec, 1)
  (tmp_path / '0' / 'P02' / 'trial01.csv').unlink()  # signals are not needed here
  own = running.changed(
    config,
    pretrain={'sources': (f'recordings:{tmp_path / "0"}',)},
    input={'clips': ClipLayout(frames=4, stride=1)},
  )
  (corpus,), (source,), _, record = _prepared(own)
  clip = source.read(source[0], np.random.default_rng(0))
  assert clip['frames'].shape[-3:] == (32, 32, 3) and clip['frames'].std() > 5
  assert record['dataset'] == 'recordings' and record['trials'] == 2
  subjects = [trial.subject for trial in corpus.trials]
  assert not check_encoder(record, corpus, subjects[1:], False).passed
  other = running.changed(own, pretrain={'sources': (f'recordings:{tmp_path / "1"}',)})
  (study,), _, _, _ = _prepared(other)
  assert {trial.subject for trial in study.trials} == set(subjects)
  assert check_encoder(record, study, subjects, False).passed
  chosen = running.changed(own, pretrain={'subjects': (subjects[0],)})
  assert {t.subject for t in _prepared(chosen)[1][0].trials} == {subjects[0]}


def test_subjects_held_out_are_watched_and_not_trained_on(config, run, tmp_path):
  watched = running.changed(
    config,
    pretrain={'held_out': 1},
    encoder={'train': dataclasses.replace(config.encoder.train, validate_every=2)},
  )
  run(watched, tmp_path)
  assert list(_metrics(tmp_path, 'validation')) == [2, 4]
  record = json.loads((tmp_path / encoders.RECORD).read_text())
  assert len(record['trained_on_subjects']) == 1 and record['trials'] == 2
  with pytest.raises(InputError, match=r'config\.pretrain\.held_out: 2 subjects of'):
    run(running.changed(watched, pretrain={'held_out': 2}), tmp_path / 'all')


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'pretrain': {'sources': ('seed:x',)}},
      r"config\.pretrain\.sources: 'seed:x' is none of .*deap:FOLDER",
    ),
    (
      {'pretrain': {'sources': ('videos:',)}},
      r"config\.pretrain\.sources: 'videos:' is none of",
    ),
    (
      {'pretrain': {'weights': (1.0, 2.0)}},
      r'config\.pretrain\.weights: 2 weights for 0 sources',
    ),
    (
      {'pretrain': {'sources': ('deap:x', 'amigos:y'), 'subjects': (1,)}},
      r'config\.pretrain\.subjects: of which of amigos, deap',
    ),
    (
      {'pretrain': {'subjects': (9,)}},
      r'config\.pretrain\.subjects: deap has no video of 9',
    ),
    (
      {'encoder': {'masks': MaskConfig(ratio=0.01)}},
      r'config\.encoder\.masks\.ratio: .* hides 0 of 4',
    ),
    ({'input': {'clips': ClipLayout(frames=3)}}, r'config: .* see input\.clips'),
    ({'input': {'clips': ClipLayout(frames=16, stride=50)}}, r'deap: .* needs'),
  ],
)
def test_what_cannot_work_is_one_line(config, run, tmp_path, changes, message):
  with pytest.raises(InputError, match=message):
    run(running.changed(config, **changes), tmp_path)
  assert not (tmp_path / 'checkpoints').exists()


def test_no_model_of_that_size():
  with pytest.raises(ValueError, match='size: one of tiny, S, B'):
    VideoMAEEncoder(size='Q')
  with pytest.raises(ValueError, match='remat: one of none, linear, full'):
    VideoMAEEncoder(remat='some')
