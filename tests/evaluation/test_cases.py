"""Success and failure: chosen by a rule, kept, drawn, whatever there is of a trial."""

import dataclasses

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from mvp_jax.data.trial import Trial
from mvp_jax.errors import InputError
from mvp_jax.evaluation import case_figures, cases, run_sections
from mvp_jax.evaluation.predictions import Prediction
from mvp_jax.models.fusion.base import Names
from mvp_jax.targets import Binary
from tests.data import tiny_trials
from tests.evaluation.conftest import generate_case, write_cases

_TARGET, _FACTS = Binary(), run_sections.Facts({})
_FACES = ('faces', 'face_times')
_SHARES = {
  'shares': np.array([[0.2, np.nan, 0.7], [0.1, 0.4, 0.9]], np.float32),
  'share_times': np.array([0.5, 1.5, 2.5], np.float32),
  'share_names': np.array(['voice', 'video']),
}
_ATTENTION = ('weights', 'query_times', 'query_valid', 'key_times', 'key_valid')


def _row(subject, trial, label, score, target='valence', model='fusion', seed=0):
  return Prediction(
    'deap',
    subject,
    trial,
    '1',
    0,
    seed,
    model,
    target,
    7.0 if label else 3.0,
    label,
    score,
  )


def _numbers(rows):
  return [(row.subject, row.trial) for row in rows]


def test_the_surest_are_chosen_by_the_rule():
  rows = [
    _row(1, 1, 1, 0.9),
    _row(1, 2, 1, 0.97),
    _row(1, 3, 0, 0.2),
    _row(1, 4, 0, 0.3),
    _row(2, 1, 0, 0.8),
    _row(2, 2, 1, 0.1),
    _row(2, 3, 1, 0.4),
    _row(2, 4, 1, 0.5),
  ]
  other = [dataclasses.replace(row, model='video', score=1 - row.score) for row in rows]
  prior = [dataclasses.replace(row, model='class_prior', score=0.6) for row in rows]
  again = [dataclasses.replace(row, seed=1, score=1 - row.score) for row in rows]
  found = cases.choose([*again, *prior, *other, *rows], _TARGET)['valence']
  assert found.right == [rows[1], rows[2]] and found.wrong == [rows[5], rows[4]]
  # Of equals the first by number, whatever the order of the file.
  equal = [_row(2, 1, 1, 0.9), _row(1, 9, 1, 0.9), _row(1, 3, 1, 0.9)]
  assert _numbers(cases.choose(equal, _TARGET)['valence'].right) == [(1, 3)]
  assert cases.choose(equal, _TARGET)['valence'].wrong == []
  assert _numbers(cases.choose([_row(1, 1, 0, 0.5)], _TARGET)['valence'].wrong) == [
    (1, 1)
  ]
  # Without fusion the first model; without a model nothing.
  assert cases.choose([*other, *prior], _TARGET)['valence'].right[0].model == 'video'
  assert cases.choose(prior, _TARGET) == {}


def test_the_choice_of_all_folds_is_among_that_of_each(predictions):
  each = [
    row
    for fold in range(4)
    for row in cases.rows_of(
      cases.choose([row for row in predictions if row.fold == fold], _TARGET)
    )
  ]
  chosen = cases.choose(predictions, _TARGET)
  assert list(chosen) == ['valence', 'arousal']
  assert set(_numbers(cases.rows_of(chosen))) <= set(_numbers(each))
  # One trial is kept once, though both targets may show it.
  both = [_row(1, 1, 1, 0.9), _row(1, 1, 0, 0.1, 'arousal')]
  assert len(cases.rows_of(cases.choose(both, _TARGET))) == 1


class _Corpus:
  """Trials whose frames are filled with their own number."""

  metadata = {  # noqa: RUF012
    'streams': {
      'body': {'kind': 'series', 'rate': 128.0, 'channels': ['eda', 'ppg']},
      'face': {'kind': 'frames', 'rate': 10.0},
    }
  }

  def __init__(self, trials):
    self.trials = trials

  def frames(self, trial, numbers, stream):
    return np.stack([np.full((96, 96, 3), n, np.uint8) for n in numbers])


def _trial(number, frames):
  return Trial(
    trial_id=f'own {number}',
    subject=3,
    trial=number,
    stimulus=1,
    ratings={},
    streams={
      'body': tiny_trials.series(np.ones((640, 2), np.float32)),
      **({'face': tiny_trials.frames(frames, 10.0)} if frames else {}),
    },
  )


def test_attention_over_features_is_kept_and_drawn(tmp_path):
  corpus, rows = _Corpus([_trial(1, 80)]), [_row(3, 1, 1, 0.9)]
  seen = {
    'shares': np.stack([np.zeros((2, 3)), _SHARES['shares']]),
    'share_times': np.stack([np.zeros(3), _SHARES['share_times']]),
    'share_names': Names(('voice', 'video')),
  }
  attention = cases.attention_of(seen, 1)
  chosen = cases.choose(rows, _TARGET)
  cases.write(tmp_path, corpus, chosen, {(3, 1): attention})
  found = cases.read(cases.path(tmp_path, rows[0]))
  for name, x in _SHARES.items():
    np.testing.assert_array_equal(found[name], x)
  figure = case_figures.cases(chosen['valence'], [found], False)
  (axis,) = [x for x in figure.axes if x.get_ylabel() == 'through\nattention']
  lines = {line.get_label(): line.get_ydata() for line in axis.lines}
  np.testing.assert_array_equal(lines['voice'], _SHARES['shares'][0].astype(float))
  np.testing.assert_array_equal(lines['video'], _SHARES['shares'][1].astype(float))
  assert cases.attention_of({'scores': 0}, 0) == {}
  damaged = dict(np.load(cases.path(tmp_path, rows[0])))
  np.savez(cases.path(tmp_path, rows[0]), **damaged | {'share_times': np.zeros(4)})
  with pytest.raises(InputError, match='share_times has shape .* disagrees with'):
    cases.read(cases.path(tmp_path, rows[0]))


def test_what_is_kept_of_a_trial(tmp_path):
  corpus = _Corpus([_trial(1, 80), _trial(2, 3), _trial(3, 0)])
  rows = [_row(3, 1, 1, 0.9), _row(3, 2, 0, 0.1), _row(3, 3, 1, 0.2)]
  attention = {(3, 1): {name: generate_case()[name] for name in _ATTENTION}, (3, 9): {}}
  folder = tmp_path / 'cases'
  folder.mkdir()
  (folder / 's09_trial09.npz').write_bytes(b'of an earlier choice')
  cases.write(folder, corpus, cases.choose(rows, _TARGET), attention)
  assert sorted(file.name for file in folder.iterdir()) == [
    's03_trial01.npz',
    's03_trial02.npz',
    's03_trial03.npz',
  ]
  first, second, third = (cases.read(cases.path(folder, row)) for row in rows)
  assert first['trial_id'] == 'own 1' and first['signals'].shape == (640, 2)
  assert first['faces'].shape == (8, 64, 64, 3)
  assert first['faces'][:, 0, 0, 0].tolist() == [5, 15, 25, 35, 45, 55, 65, 75]
  np.testing.assert_allclose(first['face_times'], np.arange(0.5, 8))
  assert first['weights'].shape == (60, 30) and 'weights' not in second
  assert len(second['faces']) == 3 and 'faces' not in third
  cases.write(folder, corpus, {}, {})
  assert not list(folder.iterdir())


def test_long_trials_keep_less_attention(tmp_path):
  rng = np.random.default_rng(0)
  valid = np.arange(1001) < 950
  seen = {
    'weights': rng.random((1001, 7)),
    'query_times': np.arange(1001.0),
    'query_valid': valid,
    'key_times': np.arange(7.0),
    'key_valid': np.ones(7, bool),
  }
  row = _row(3, 1, 1, 0.9)
  cases.write(
    tmp_path, _Corpus([_trial(1, 0)]), cases.choose([row], _TARGET), {(3, 1): seen}
  )
  kept = cases.read(cases.path(tmp_path, row))
  assert kept['weights'].shape == (167, 7)  # of six each
  np.testing.assert_allclose(
    kept['weights'][5], seen['weights'][30:36].mean(0), rtol=1e-5
  )
  # The last valid ones are fewer; those after them are none.
  np.testing.assert_allclose(
    kept['weights'][158], seen['weights'][948:950].mean(0), rtol=1e-5
  )
  assert kept['query_valid'].tolist() == [True] * 159 + [False] * 8
  np.testing.assert_allclose(
    case_figures.marginal(kept), case_figures.marginal(seen), rtol=0.02
  )


@pytest.mark.parametrize(
  ('without', 'rows'),
  [((), 5), (_ATTENTION, 3), (_FACES, 4), ((*_FACES, *_ATTENTION), 2)],
)
@pytest.mark.parametrize('count', [(2, 2), (1, 0), (0, 1)])
def test_what_is_not_there_has_no_row(without, rows, count):
  found = [
    {name: x for name, x in generate_case(i).items() if name not in without}
    for i in range(sum(count))
  ]
  chosen = cases.Cases(
    [_row(1, i, 1, 0.9) for i in range(count[0])],
    [_row(2, i, 1, 0.1) for i in range(count[1])],
  )
  figure = case_figures.cases(chosen, found, False)
  bars = not set(_ATTENTION) & set(without)
  assert len(figure.axes) == rows * sum(count) + bars
  titles = [axis.get_title('left') for axis in figure.axes if axis.get_title('left')]
  assert titles == (
    ['Right: p(high) = .90, rated 7, high'] * count[0]
    + ['WRONG: p(high) = .10, rated 7, high'] * count[1]
  )
  about = [text.get_text() for axis in figure.axes for text in axis.texts]
  assert about == [
    f'P02_clip{i}: subject {subject}, trial {trial}, stimulus 1'
    for i, (subject, trial) in enumerate(
      [(1 + wrong, i) for wrong in (0, 1) for i in range(count[wrong])]
    )
  ]
  assert not [text for text in figure.texts if text.get_text() == 'SYNTHETIC']


def test_of_a_trial_without_a_stimulus_none_is_named():
  row = dataclasses.replace(_row(1, 2, 1, 0.9), stimulus='none')
  figure = case_figures.cases(cases.Cases([row], []), [generate_case(0)], False)
  about = [text.get_text() for axis in figure.axes for text in axis.texts]
  assert about == ['P02_clip0: subject 1, trial 2']


def test_trials_may_lack_what_others_have():
  nothing = {
    **{
      name: x
      for name, x in generate_case().items()
      if name not in (*_FACES, *_ATTENTION)
    },
    'signals': np.zeros((0, 0), np.float32),
    'channels': np.zeros(0, str),
    'signals_valid': np.zeros((0, 0), bool),
    'units': np.zeros(0, str),
  }
  invalid = generate_case(1)
  for name in ('signals_valid', 'query_valid', 'key_valid'):
    invalid[name] = np.zeros_like(invalid[name])
  chosen = cases.Cases(
    [_row(1, 1, 1, 0.9), _row(1, 2, 0, 0.1)], [_row(2, 1, 1, 0.1), _row(2, 2, 1, 0.2)]
  )
  figure = case_figures.cases(chosen, [generate_case(), nothing, None, invalid], True)
  said = [text.get_text() for axis in figure.axes for text in axis.texts]
  assert said.count('none') == said.count('not kept') == 5
  assert 'SYNTHETIC' in [text.get_text() for text in figure.texts]
  assert case_figures.cases(chosen, [nothing] * 4, False).axes
  figure.canvas.draw()


def _meshes(figure):
  return [
    mesh
    for axis in figure.axes
    for mesh in axis.collections
    if isinstance(mesh, QuadMesh) and axis.get_ylabel() != 'x even'
  ]


def test_padding_is_not_drawn():
  """Shorter trials are padded: by moments at time 0, or at times after the end."""
  plain, padded = generate_case(), generate_case()
  keys, queries = padded['key_valid'], padded['query_valid']
  padded['key_times'] = np.where(keys, padded['key_times'], 0.0)
  padded['weights'] = np.where(
    queries[:, None] & keys, padded['weights'], padded['weights'].max() * 50
  )
  chosen = cases.Cases([_row(1, 1, 1, 0.9)], [_row(2, 1, 1, 0.1)])
  figure = case_figures.cases(chosen, [plain, padded], False)
  figure.canvas.draw()
  used = plain['weights'][np.ix_(queries, keys)] * keys.sum()
  meshes = _meshes(figure)
  assert len(meshes) == 2
  for mesh in meshes:
    x, y = np.moveaxis(mesh.get_coordinates(), -1, 0)
    assert (np.diff(x, axis=1) >= 0).all() and (np.diff(y, axis=0) >= 0).all()
    assert (x.min(), x.max()) == (0, 56) and (y.min(), y.max()) == (0, 58)
    np.testing.assert_allclose(
      np.sort(mesh.get_array().compressed()), np.sort(used, None)
    )
    assert mesh.get_clim() == (0, pytest.approx(used.max()))
    assert mesh.axes.get_ylim() == (0, 58)


def test_what_is_not_valid_within_a_trial_stays_empty():
  case = generate_case()
  case['key_valid'][10:15] = False  # 20 to 30 s
  chosen = cases.Cases([_row(1, 1, 1, 0.9)], [])
  (mesh,) = _meshes(case_figures.cases(chosen, [case], False))
  x, shown = mesh.get_coordinates()[0, :, 0], mesh.get_array()
  inside = (x[:-1] >= 20) & (x[1:] <= 30) & (np.diff(x) > 0)
  assert np.diff(x)[inside].sum() == 10 and shown.mask[:, inside].all()
  outside = (np.diff(x) > 0) & ~inside
  assert not shown.mask[::2, outside].any()


def test_marginal():
  weights = np.array([[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 1]])
  np.testing.assert_allclose(
    case_figures.marginal(
      {
        'weights': weights,
        'query_valid': np.array([1, 1, 0]),
        'key_valid': np.array([1, 1, 1, 0]),
      }
    ),
    [1.5, 1.5, 0, np.nan],
  )


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'weights': np.ones((2, 60, 30))}, 'weights has shape'),
    ({'key_times': np.ones(29)}, 'key_times has shape'),
    ({'key_times': None}, 'no array key_times'),
    ({'channels': None}, 'no array channels'),
    ({'faces': np.zeros((5, 8, 8), np.uint8)}, 'faces has shape'),
    ({'sound_level': np.zeros(5)}, 'no array sound_times'),
  ],
)
def test_files_of_another_shape(tmp_path, change, message):
  arrays = {k: v for k, v in (generate_case() | change).items() if v is not None}
  np.savez(tmp_path / 'x.npz', **arrays)
  with pytest.raises(InputError, match=f'x.npz: {message}') as error:
    cases.read(tmp_path / 'x.npz')
  assert '\n' not in str(error.value)


def test_broken_and_missing_files(tmp_path):
  assert cases.read(tmp_path / 'x.npz') is None
  (tmp_path / 'x.npz').write_bytes(b'PK\x03\x04 broken')
  with pytest.raises(InputError, match='x.npz: cannot be read'):
    cases.read(tmp_path / 'x.npz')


def test_in_the_report_of_one_trial_and_of_several_seeds(tmp_path, predictions):
  one = [row for row in predictions if (row.subject, row.trial) == (1, 1)]
  write_cases(tmp_path, one, without=_ATTENTION)
  _, *pictures = run_sections.success_and_failure(tmp_path, one, _FACTS, False)
  for picture, target in zip(pictures, ('valence', 'arousal'), strict=True):
    (row,) = (r for r in one if (r.target, r.model) == (target, 'fusion'))
    right = (row.score >= 0.5) == row.label
    assert f'{target}, held-out trials of fusion: of each class' in picture.caption
    assert f'No trial is predicted {"wrongly" if right else "rightly"}' in (
      picture.caption
    )
    assert 'mean over layers and heads' not in picture.caption
    assert picture.png.startswith(b'\x89PNG')
  two = [*one, *(dataclasses.replace(row, seed=4) for row in one)]
  _, picture, _ = run_sections.success_and_failure(tmp_path, two, _FACTS, False)
  assert 'held-out trials of fusion (seed 0): ' in picture.caption
