"""The same frames in several crops, beside each other."""

import dataclasses
import json

import numpy as np
import pytest

from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError
from mvp_jax.evaluation import ablation, crops
from mvp_jax.evaluation.predictions import write_predictions
from tests.data import tiny_trials


class _Corpus:
  """Persons of two trials, whose frames are filled with their own number."""

  def __init__(self, persons, frames=21):
    self.metadata = {'streams': {'video': {'kind': 'frames', 'rate': 2.0}}}
    self.trials = [
      Trial(
        trial_id=f's{subject:02d}_trial{number:02d}',
        subject=subject,
        trial=number,
        stimulus=1,
        ratings={},
        streams={'video': tiny_trials.frames(frames, 2.0)} if frames else {},
      )
      for subject in range(1, persons + 1)
      for number in (1, 2)
    ]

  def frames(self, trial, numbers, stream):
    return np.stack([np.full((32, 32, 3), n, np.uint8) for n in numbers])


@pytest.mark.parametrize(
  ('persons', 'kept'), [(1, [1]), (3, [1, 2, 3]), (15, [1, 3, 5, 7, 9, 11, 13, 15])]
)
def test_the_middle_of_first_trials_is_kept(tmp_path, persons, kept):
  crops.write(tmp_path / 'x.npz', _Corpus(persons))
  found = crops.read(tmp_path / 'x.npz')
  assert [crop.trial_id for crop in found] == [f's{n:02d}_trial01' for n in kept]
  for crop in found:
    assert crop.seconds == 5.0 and crop.image.shape == (96, 96, 3)
    assert (crop.image == 10).all()


def test_no_video_no_file_and_a_damaged_one(tmp_path):
  crops.write(tmp_path / 'x.npz', _Corpus(3, frames=0))
  assert not list(tmp_path.iterdir()) and crops.read(tmp_path / 'x.npz') == []
  (tmp_path / 'x.npz').write_bytes(b'PK\x03\x04')
  with pytest.raises(InputError, match=r'x\.npz: cannot be read'):
    crops.read(tmp_path / 'x.npz')
  np.savez(tmp_path / 'x.npz', seconds=np.ones(2))
  with pytest.raises(InputError, match=r'x\.npz: cannot be read'):
    crops.read(tmp_path / 'x.npz')


@pytest.fixture
def ablated(tmp_path, predictions, run_facts):
  """Runs 'x' and 'y' with crops X and Y; y lacks the first of three persons."""
  for name in 'xy':
    folder = tmp_path / 'runs' / name
    folder.mkdir(parents=True)
    write_predictions(
      folder / 'predictions.csv',
      [
        dataclasses.replace(row, score=row.score ** (1 + (name == 'y')))
        for row in predictions
        if row.model in ('video', 'class_prior')
      ],
    )
    (folder / 'run.json').write_text(json.dumps(run_facts))
    (folder / 'config.json').write_text(json.dumps({'data': {'crop': name.upper()}}))
    corpus = _Corpus(3)
    corpus.trials = corpus.trials[2 * (name == 'y') :]
    crops.write(folder / crops.FILE, corpus)
  return tmp_path, {
    'crop': [
      ablation.Variant('X, whole face', 'video', 'x'),
      ablation.Variant('Y, face only', 'video', 'y'),
    ],
    'other': [ablation.Variant('X', 'video', 'x')],
  }


def test_the_ablation_shows_labels_and_the_frames_that_all_crops_have(ablated):
  workdir, variants = ablated
  ablation.write_ablation(workdir, variants)
  said = (workdir / 'report.md').read_text()
  assert (
    said.index('figures/labels.png')
    < said.index('## crop')
    < said.index('figures/crop_frames.png')
    < said.index('## other')
  )
  assert 'High is a rating above 5' in said and 'other_frames' not in said
  found = crops.common(
    {
      v.name: crops.read(workdir / 'runs' / v.run / crops.FILE)
      for v in variants['crop']
    }
  )
  assert [[c.trial_id for c in own] for own in found.values()] == [
    ['s02_trial01', 's03_trial01']
  ] * 2
  drawn = [axes for axes in crops.figure(found, True).axes if axes.images]
  assert [axes.get_title() for axes in drawn] == [
    's02_trial01\n5 s',
    's03_trial01\n5 s',
    '',
    '',
  ]
  (workdir / 'runs' / 'y' / crops.FILE).unlink()
  ablation.write_ablation(workdir, variants)
  assert 'Pictures of the crops: absent' in (workdir / 'report.md').read_text()


def test_an_ablation_of_predictions_that_miss_a_trial(ablated):
  workdir, variants = ablated
  folder = workdir / 'runs' / 'y'
  (folder / 'account.csv').write_text(
    'subject,trial,outcome\n'
    + ''.join(f'{s},{t},ok\n' for s in range(1, 9) for t in range(1, 22))
  )
  with pytest.raises(InputError, match=r'y/predictions\.csv: subject 1 trial 21 val'):
    ablation.write_ablation(workdir, variants)
