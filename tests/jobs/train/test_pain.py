"""Runs on pain: BioVid's body, UNBC-McMaster's frames by action units."""

import csv
import dataclasses

import pytest

from configs import biovid_fusion, unbc_dmsn
from mvp_jax.config import merge, parse, resolve
from mvp_jax.corpora.biovid.twin import BioVidSpec
from mvp_jax.corpora.unbc.twin import UnbcSpec
from mvp_jax.jobs import train
from tests import running

_TINY = {
  'data': {'frame_rate': 5.0, 'frame_size': 32, 'workers': 1},
  'input': {'clips': {'frames': 4, 'spacing': 2.0}},
  'encoder': {'subjects': 0, 'pretrained': False},
  'train': {
    'batch_size': 8,
    'validate_every': 0,
    'optimiser': {'steps': 3, 'warmup_steps': 1},
  },
  'evaluation': {'folds': 2, 'validation_subjects': 0},
}


def _run(configs, folder, twin, **sections):
  """Runs an embedded default that is made smaller."""
  config = configs.get_config()
  embedded = config.embedded.to_dict()
  small = {'twin': dataclasses.asdict(twin), 'data': {'data_dir': str(folder / 'data')}}
  for part in (_TINY, small, sections):
    merge(part, embedded)
  config.embedded = embedded
  running.run(train, parse(resolve(config)), folder / 'run')
  return folder / 'run'


def test_the_strongest_pain_against_none_by_the_body(tmp_path):
  spec = BioVidSpec(
    subjects=4,
    samples=2,
    classes=(0, 4),
    frame_rate=5.0,
    width=96,
    height=96,
    openface=False,
  )
  folder = _run(biovid_fusion, tmp_path, spec, evaluation={'models': ('physio',)})
  facts = running.facts(folder)
  assert (facts['dataset'], facts['trials_in'], facts['trials_out']) == (
    'biovid',
    16,
    16,
  )
  rows = [row for row in running.predictions(folder) if row['model'] == 'physio']
  assert len(rows) == 16 and {row['target'] for row in rows} == {'pain'}
  assert {(row['rating'], row['label']) for row in rows} == {('0.0', '0'), ('4.0', '1')}
  text = (folder / 'report.md').read_text()
  assert 'SYNTHETIC' in text and '.949' in text  # the best possible
  assert 'logistic' in text


def test_the_pain_of_every_frame_by_action_units(tmp_path):
  spec = UnbcSpec(
    subjects=4,
    sequences=2,
    seconds=6.0,
    frame_rate=5.0,
    width=96,
    height=96,
  )
  folder = _run(
    unbc_dmsn,
    tmp_path,
    spec,
    data={'corpus': {'video_rate': 5.0}},
    target={'rate': 5.0},
    evaluation={'models': ('action_units',)},
  )
  facts = running.facts(folder)
  assert (facts['dataset'], facts['trials_out']) == ('unbc', 8)
  with (folder / 'frames.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  assert {row['model'] for row in rows} >= {'action_units', 'formula'}
  assert all(0 <= float(row['prediction']) <= 16 for row in rows)
  text = (folder / 'report.md').read_text()
  assert 'ICC(3,1)' in text and 'AUROC at 2' in text
  data, kept = tmp_path / 'data', tmp_path / 'features'
  # Ratings are written with four digits.
  assert running.check_kept(folder, data, 'action_units', kept, atol=6e-5)


@pytest.mark.parametrize(
  'words', ['', 'small', 'dmsn', 'dmsn,small', 'small,dmsn', 'dmsn,null']
)
@pytest.mark.parametrize('folder', ['', 'UNBC'])
def test_video_mae_reads_the_face_or_dmsn(words, folder):
  config = unbc_dmsn.get_config(words)
  config.data.manual_dir = folder
  found = parse(resolve(config))
  assert found.encoder.backbone(found.input.clips, found.data.frame_size)
  if 'dmsn' not in words:
    assert found.encoder.kind == 'videomae' and not found.encoder.finetune
    return
  assert (found.encoder.kind, found.encoder.variant) == ('dmsn', 'A')
  assert found.encoder.finetune and found.input.clips.tubelet == 8
