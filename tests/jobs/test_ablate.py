"""Ablations: variants as on the command line, run once each, compared in tables."""

import csv
import dataclasses
import json

import pytest

from configs import (
  affwild2_ablation,
  amigos_ablation,
  deap_ablation,
  dmsn_ablation,
)
from mvp_jax.config import Config, DataConfig, EvaluationConfig, parse, resolve
from mvp_jax.data.examples import InputConfig
from mvp_jax.errors import InputError
from mvp_jax.jobs import ablate, train
from mvp_jax.models.backbones.multiscale import DMSN, MSN69
from mvp_jax.synthetic.spec import TwinSpec
from mvp_jax.training.loop import TrainConfig
from mvp_jax.training.multiscale_encoder import DMSNEncoder
from mvp_jax.training.optimiser import OptimiserConfig
from tests import running


def _config(questions, **fields):
  return Config(
    job='ablate',
    dataset='deap',
    ablation=tuple(
      (question, tuple(words.items())) for question, words in questions.items()
    ),
    **fields,
  )


@pytest.mark.parametrize('module', [deap_ablation, amigos_ablation])
def test_questions_of_the_config_files(module):
  config = parse(resolve(module.get_config()))
  variants, runs = ablate.plan(config)
  assert list(variants) == [
    'modality',
    'backbone',
    'fusion',
    'length',
    'crop',
    'pretraining',
  ]
  base = variants['modality'][0].run
  # What is equal is run once, with all models that are shown of it.
  assert {v.run for v in variants['modality']} == {base}
  assert variants['length'][0].run == variants['fusion'][0].run == base
  assert len(runs) == len({run.name for run in runs}) == 15
  of = {run.name: run.config for run in runs}
  assert of[base].evaluation.models == ('fusion', 'physio', 'video')
  joint = of[variants['fusion'][4].run]
  assert joint.model.fusion == 'joint' and joint.evaluation.models == ('fusion',)
  assert of[variants['backbone'][1].run].evaluation.models == ('fusion', 'video')
  for run in runs:  # else nothing differs from the main job
    same = dataclasses.replace(run.config, evaluation=of[base].evaluation)
    assert (same == of[base]) == (run.name == base)


def test_fusions_in_time_are_compared_on_voice_and_face():
  config = parse(resolve(affwild2_ablation.get_config()))
  variants, runs = ablate.plan(config)
  assert list(variants) == ['modality', 'fusion']
  assert variants['modality'][0].run == variants['fusion'][0].run  # JCA itself
  fusions = [run.config.model.fusion for run in runs]
  assert len(set(fusions)) == len(fusions) == 8
  # Recursive attention that is gone through once would be JCA.
  depths = {run.config.model.fusion: run.config.model.depth for run in runs}
  assert depths['joint_recursive'] == depths['joint_gated'] == 2
  assert {run.config.evaluation.protocol for run in runs} == {'official'}
  assert {run.config.target.kind for run in runs} == {'concordance'}


@pytest.mark.parametrize('folder', ['', 'deap'])
def test_networks_of_several_kinds_are_compared(folder):
  tree = dmsn_ablation.get_config()
  tree.data.manual_dir = folder
  variants, runs = ablate.plan(parse(resolve(tree)))
  (shown,) = variants.values()
  of = {run.name: run.config for run in runs}
  assert len(of) == len(shown) == 6 and max(map(len, of)) <= 100
  networks = {}
  for variant in shown:
    config = of[variant.run]
    assert config.evaluation.models == ('video',) and config.job == 'train'
    networks[variant.name] = config.encoder.network(config)
  for name in 'ABC':
    assert networks[f'DMSN-{name}'].variant == name
  full = {'frames': 16, 'size': 112, 'tubelet': 16}
  if folder:
    assert networks['MSN-69'] == MSN69(**full)
    assert networks['DMSN-C'] == DMSN(**full)
    assert (networks['VideoMAE'].width, networks['VideoMAE'].size) == (768, 224)
  else:
    assert networks['MSN-69'].blocks == (1, 1, 1, 1)
    assert (networks['VideoMAE'].width, networks['VideoMAE'].size) == (96, 64)
  units = of[shown[-1].run]
  assert units.models['video'] == 'action_units' and units.input.windows == 'whole'


@pytest.mark.parametrize('folder', ['', 'UNBC'])
def test_networks_are_compared_on_pain(folder):
  tree = dmsn_ablation.get_config('unbc')
  tree.data.manual_dir = folder
  variants, runs = ablate.plan(parse(resolve(tree)))
  (shown,) = variants.values()
  *dmsn, video_mae, units = (
    {run.name: run.config for run in runs}[variant.run] for variant in shown
  )
  assert [config.encoder.variant for config in dmsn] == ['C', 'B', 'A']
  assert all(config.encoder.finetune for config in dmsn)
  # Of VideoMAE and action units a small model is trained, on what lies ready.
  assert video_mae.encoder.pretrained and not video_mae.encoder.finetune
  assert units.evaluation.models == ('action_units',)
  assert units.train == video_mae.train != dmsn[0].train
  assert {config.encoder.subjects for config in (*dmsn, video_mae, units)} == {4}


def test_a_variant_of_another_kind_takes_its_settings():
  words = 'encoder.kind=dmsn encoder.variant=A encoder.pretrained=False'
  config = _config({'encoder': {'VideoMAE': 'video', 'DMSN': f'video {words}'}})
  _, runs = ablate.plan(config)
  assert [run.config.encoder.kind for run in runs] == ['videomae', 'dmsn']
  assert runs[1].config.encoder == DMSNEncoder(
    pretrained=False, variant='A', dtype='bfloat16'
  )
  with pytest.raises(InputError, match=r"there is no setting 'encoder\.variant'"):
    ablate.plan(_config({'encoder': {'a': '', 'b': 'encoder.variant=A'}}))


def test_encoders_are_measured_once_each(tmp_path, monkeypatch):
  words = 'encoder.kind=dmsn encoder.pretrained=False input.clips.tubelet=16'
  questions = {
    'network': {
      'C': f'video {words}',
      'A': f'video {words} encoder.variant=A',
      'as C': f'video {words} train.batch_size=16',
      'physio': 'physio',
    }
  }
  _, runs = ablate.plan(_config(questions))
  measured = []

  def costs(network, batch):
    measured.append((network.variant, batch))
    return {'parameters': network.parameters}

  monkeypatch.setattr(ablate, 'costs', costs)
  for _ in range(2):  # of a second run they are known
    ablate._measure(runs, tmp_path)
  assert measured == [('C', 32), ('A', 32)]
  found = json.loads((tmp_path / 'costs.json').read_text())
  assert len(found) == 3 and len({of['parameters'] for of in found.values()}) == 2


@pytest.mark.parametrize(
  ('text', 'problem'),
  [
    ('model.fusoin=sum', "there is no setting 'model.fusoin'"),
    ('model=sum', "there is no setting 'model'"),
    ('seed=one', "seed: 'one' is a str, expected int"),
    ('encoder.finetune=yes', "encoder.finetune: 'yes' is a str, expected bool"),
    ('audio', "'audio' is neither a setting"),
    ('model.fusion=mean', "fusion 'mean' is none of"),
  ],
)
def test_a_variant_that_cannot_be(text, problem):
  with pytest.raises(InputError, match=problem) as error:
    ablate.plan(_config({'fusion': {'base': '', 'other': text}}))
  assert '\n' not in str(error.value)


def test_no_variants_and_names_of_baselines_are_refused():
  with pytest.raises(InputError, match='name at least one question'):
    ablate.plan(_config({}))
  with pytest.raises(InputError, match='and variants of each'):
    ablate.plan(_config({'fusion': {}}))
  with pytest.raises(InputError, match='the name of a baseline'):
    ablate.plan(_config({'classic': {'svm': ''}}))


def test_runs_tables_and_resuming(tmp_path, monkeypatch, capsys):
  config = _config(
    {
      'length': {'whole': 'physio', 'end': 'physio input.last_seconds=20'},
      'rate': {'slow': 'physio', 'fast': 'physio train.optimiser.learning_rate=0.1'},
    },
    data=DataConfig(data_dir=str(tmp_path / 'data'), workers=1),
    twin=TwinSpec(
      subjects=4, trials=4, frame_rate=1.0, width=64, height=64, pixel_aspect=(1, 1)
    ),
    input=InputConfig(),
    model=running.SIZES,
    modalities=running.MODALITIES,
    train=TrainConfig(
      batch_size=8, validate_every=0, optimiser=OptimiserConfig(steps=3, warmup_steps=1)
    ),
    evaluation=EvaluationConfig(folds=2, validation_subjects=0, batch_size=8),
  )
  folder = tmp_path / 'ablation'

  stopped, run = [], train.run

  def stop_at_the_second(config, workdir):
    if len(stopped) == 1:
      raise KeyboardInterrupt
    stopped.append(workdir.name)
    run(config, workdir)

  monkeypatch.setattr(train, 'run', stop_at_the_second)
  with running.few_devices(), pytest.raises(KeyboardInterrupt):
    ablate.run(config, folder)
  assert stopped == ['base'] and not (folder / 'report.html').exists()
  again = []
  monkeypatch.setattr(
    train,
    'run',
    lambda config, workdir: (again.append(workdir.name), run(config, workdir)),
  )
  with running.few_devices(drawn=True):
    ablate.run(config, folder)
  assert again == ['input.last_seconds=20', 'train.optimiser.learning_rate=0.1']
  assert 'ablation 1/3: base: done' in capsys.readouterr().out

  report = (folder / 'report.html').read_text()
  assert 'SYNTHETIC' in report and 'report: ' not in report
  with (folder / 'tables' / 'length.csv').open(newline='') as file:
    rows = {row['']: row for row in csv.DictReader(file)}
  assert list(rows)[:2] == ['whole', 'end'] and 'majority class' in rows
  for row in rows.values():
    assert 0 <= float(row['valence']) <= 1
  # Differences are to the first, with their sign.
  assert rows['whole']['valence: difference'] == ''
  assert float(rows['end']['valence: difference']) == pytest.approx(
    float(rows['end']['valence']) - float(rows['whole']['valence'])
  )
  assert (folder / 'tables' / 'rate.tex').read_text().count('\\\\') >= 4
  facts = json.loads((folder / 'runs' / 'base' / 'config.json').read_text())
  assert facts['evaluation']['models'] == ['physio'] and facts['job'] == 'train'
