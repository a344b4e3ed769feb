"""Files are predicted as the run that trained the models has prepared its own."""

import csv
import json
import shutil

import av
import cv2
import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

import mvp_jax
from mvp_jax import checksums, compiled
from mvp_jax.data.trial import Series, Trial
from mvp_jax.errors import InputError
from mvp_jax.inference import command
from mvp_jax.inference.predict import Estimates
from mvp_jax.inference.recordings import Found

GIVEN = {'rate': 128, 'eda': 'EDA', 'ppg': 'PPG', 'signals_onset': 3}


def files_of(run, row):
  return run.study / row['video'], run.study / row['signals']


def frames_of(path):
  """When the frames of a video are shown after the first, by PyAV alone: [n]."""
  with av.open(str(path)) as container:
    frames = container.decode(video=0)
    times = np.array([float(frame.pts * frame.time_base) for frame in frames])
  return times - times[0]


@pytest.fixture(scope='module')
def model(run):
  return mvp_jax.load(run.workdir)


@pytest.fixture(scope='module')
def said(run, model):
  """The Prediction of the first trial's own files."""
  video, signals = files_of(run, run.rows[0])
  return model.predict(video, signals=signals, **GIVEN)


def write_signals(path, source, **changed):
  with source.open(newline='') as file:
    rows = list(csv.DictReader(file))
  for i, row in enumerate(rows):
    row.update({name: change(i, row[name]) for name, change in changed.items()})
  with path.open('w', newline='') as file:
    writer = csv.DictWriter(file, ['EDA', 'PPG'])
    writer.writeheader()
    writer.writerows(rows)
  return path


def write_grey(path, seconds, rate=5):
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=rate)
    stream.width, stream.height, stream.pix_fmt = 128, 96, 'yuv420p'
    for _ in range(round(seconds * rate)):
      image = np.full((96, 128, 3), 120, np.uint8)
      out.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
    out.mux(stream.encode())
  return path


def test_a_held_out_trial_s_own_files_are_predicted_as_by_the_run(run, model, said):
  rows = [x for x in run.predictions if x['model'] == 'fusion' and x['trial'] == '1']
  subject = rows[0]['subject']  # of the first row: P01
  members = [(member.fold, member.seed) for member in model._ensemble.members]
  assert members == [(0, 0), (1, 0), (0, 1), (1, 1)]
  compared = 0
  for row in rows:
    if row['subject'] == subject:
      place = members.index((int(row['fold']), int(row['seed'])))
      rating = model.ratings.index(row['target'])
      value = said.estimates.windows[0, place, rating]
      np.testing.assert_allclose(value, float(row['score']), atol=1e-5)
      compared += 1
  assert compared == 4  # seeds, ratings


def test_all_models_are_one_ensemble(said):
  each = said.estimates.windows[0]  # members, ratings
  for i, name in enumerate(('valence', 'arousal')):
    one = said.result['estimates'][name]
    assert one['value'] == pytest.approx(each[:, i].mean(), abs=1e-6)
    assert one['spread'] == pytest.approx(each[:, i].std(), abs=1e-6)
    # 1 where all say the same, 0 where half say 0 and half say 1.
    assert one['confidence'] == pytest.approx(1 - 2 * each[:, i].std(), abs=1e-4)
    assert (one['unit'], one['calibrated']) == ('probability of high', True)


def test_of_four_people_no_run_learns_when_to_answer(run, said):
  for name in ('valence', 'arousal'):
    one = said.result['estimates'][name]
    assert (one['answer'], one['abstains'], one['risk']) == (None, True, 0.2)
    told = "it abstains: this run can't tell when it is wrong: of the surest"
    assert one['note'].startswith(told) and 'of 4 people)' in one['note']
    assert said.windows[f'{name}_answer'].tolist() == ['']
  facts = json.loads((run.workdir / 'run.json').read_text())['promises']['fusion']
  record = json.loads((run.workdir / 'models' / 'model.json').read_text())
  assert record['models']['fusion']['promises'] == facts
  assert facts['valence']['people'] == 4


@pytest.fixture(scope='module')
def promising(run, tmp_path_factory):
  """A function of promises -> the run's models as if they had learnt them."""

  def changed(name, **promises):
    models = tmp_path_factory.mktemp(name) / 'models'
    shutil.copytree(run.workdir / 'models', models)
    record = json.loads((models / 'model.json').read_text())
    record['models']['fusion']['promises'] = promises
    (models / checksums.FILE).unlink()
    (models / 'model.json').write_text(json.dumps(record))
    return mvp_jax.load(models)

  return changed


def test_an_answer_is_given_from_the_confidence_on_that_was_learnt(
  run, said, promising
):
  value = said.result['estimates']['valence']['value']
  sure = max(value, 1 - value)
  learnt = {'kind': 'abstention', 'risk': 0.15, 'share': 0.6, 'wrong': 0.05}
  learnt |= {'answered': 30, 'people': 40}
  video, signals = files_of(run, run.rows[0])
  model = promising(
    'threshold',
    valence=learnt | {'threshold': sure - 1e-3},
    arousal=learnt | {'threshold': 0.99999},
  )
  found = model.predict(video, signals=signals, **GIVEN)
  valence, arousal = (found.result['estimates'][x] for x in ('valence', 'arousal'))
  wanted = 'high' if value > 0.5 else 'low'
  assert (valence['answer'], valence['abstains'], valence['risk']) == (
    *(wanted, False),
    0.15,
  )
  assert 'abstains' not in valence['note']
  assert (arousal['answer'], arousal['abstains']) == (None, True)
  assert 'sure, and answers from 1.00 on are wrong in at most 15%' in arousal['note']
  (row,) = found.windows.to_dict('records')
  assert (row['valence_answer'], row['arousal_answer']) == (wanted, '')
  # Of what is shorter than all that it was tested on it says nothing.
  short = model.predict(video, signals=signals, duration=5, **GIVEN)
  assert short.result['estimates']['valence']['abstains']


def test_models_of_which_nothing_is_promised_answer_and_say_so(run, promising):
  video, signals = files_of(run, run.rows[0])
  found = promising('none').predict(video, signals=signals, **GIVEN)
  one = found.result['estimates']['valence']
  assert one['answer'] in ('high', 'low') and one['risk'] is None
  assert 'its run has learnt no abstention: nothing is promised of it' in one['note']


def test_every_frame_has_a_row(run, said):
  video, _ = files_of(run, run.rows[0])
  times, table = frames_of(video), said.frames
  assert table['frame'].tolist() == list(range(len(times)))
  np.testing.assert_allclose(table['seconds'], times, atol=1e-3)
  assert table['face'].tolist() == [1] * len(times) and set(table['face_id']) == {0}
  middle = table['box_left'] + table['box_width'] / 2
  assert middle.between(0, 128).all() and (table['box_width'] > 20).all()
  assert table['valence'].notna().all()
  assert set(table['note']) == set(said.windows['note']) == {'SYNTHETIC'}


def test_several_faces_are_told_apart(run, model, tmp_path):
  """Two people side by side: the one who is predicted, and another, who leaves."""
  rows = run.rows[0], run.rows[-1]
  films = []
  for row in rows:
    with av.open(str(run.study / row['video'])) as container:
      films.append([x.to_ndarray(format='rgb24') for x in container.decode(video=0)])
  count, path = len(films[0]), tmp_path / 'two.mp4'
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=6)
    stream.width, stream.height, stream.pix_fmt = 256, 96, 'yuv420p'
    stream.options = {'crf': '12'}
    for k in range(count):
      other = (
        films[1][k % len(films[1])] if k < count // 2 else np.zeros_like(films[1][0])
      )
      other = cv2.resize(other, None, fx=0.75, fy=0.75)
      image = np.zeros((96, 256, 3), np.uint8)
      image[:, :128], image[:72, 128:224] = films[0][k], other
      out.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
    out.mux(stream.encode())
  said = model.predict(path, signals=run.study / rows[0]['signals'], **GIVEN)
  table = said.frames
  assert len(table) == 2 * count and said.result['faces'] == 2
  assert table['frame'].tolist() == np.repeat(np.arange(count), 2).tolist()
  first, second = (table[table['face_id'] == i] for i in (0, 1))
  assert first['face'].all() and first['valence'].notna().all()
  assert second['face'][: count // 3].all() and not second['face'][-count // 3 :].any()
  assert second['valence'].isna().all()
  assert (first['box_left'] < 128).all() and (second['box_left'].dropna() > 128).all()
  assert second['box_left'].notna().tolist() == second['face'].astype(bool).tolist()
  told = '2 faces are seen; what is said is of the one that is followed, the largest'
  assert any(note.startswith(told) for note in said.result['notes'])


def test_a_manifest_is_predicted_row_by_row(run, said, tmp_path, capsys):
  study = tmp_path / 'study'
  shutil.copytree(run.study, study)
  (study / run.rows[1]['video']).unlink()
  (study / checksums.FILE).unlink()  # of a twin, which is refused when damaged
  lines = (study / 'manifest.csv').read_text().splitlines()
  (study / 'manifest.csv').write_text('\n'.join(lines[:4]))
  status = command.main([str(run.workdir), str(study), f'--out={tmp_path / "out"}'])
  assert status == 1
  (told,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith('error')]
  assert told.startswith('error: P01_trial02: row 3, column video:')
  with (tmp_path / 'out' / 'summary.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 3
  assert [row['recording'] for row in rows if row['problem']] == ['P01_trial02']
  folder = tmp_path / 'out' / 'P01_trial01'
  result = json.loads((folder / 'result.json').read_text())
  value = said.result['estimates']['valence']['value']
  assert result['estimates']['valence']['value'] == pytest.approx(value, abs=1e-5)
  assert 'the recording itself is made up' in result['notes']
  assert 'Attention: at which moments' in (folder / 'page.html').read_text()
  for name in ('frames.csv', 'windows.csv', 'result.json', 'page.html'):
    assert 'SYNTHETIC' in (folder / name).read_text()


def test_the_overlay_has_every_frame_at_its_time(run, tmp_path):
  video, signals = files_of(run, run.rows[0])
  arguments = [str(run.workdir), str(video), '--out', str(tmp_path), '--overlay']
  arguments += ['--signals', str(signals), '--rate=128', '--eda', 'EDA', '--ppg=PPG']
  assert command.main([*arguments, '--signals-onset', '3']) == 0
  found = frames_of(tmp_path / video.stem / 'overlay.mp4')
  np.testing.assert_allclose(found, frames_of(video), atol=1e-3)


def test_what_was_compiled_serves_the_next_time(run, tmp_path, monkeypatch):
  """Programs without a checksum would be thrown away, and compiled every time."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr(compiled, '_SECONDS', 0)
  names = 'jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs'
  before = {name: getattr(jax.config, name) for name in names}
  jax.config.update('jax_compilation_cache_dir', None)
  jax.clear_caches()
  row = run.rows[0]
  files = [str(run.study / row['video']), '--signals', str(run.study / row['signals'])]
  channels = ['--rate=128', '--eda=EDA', '--ppg=PPG', '--signals-onset=3']
  channels.append(f'--out={tmp_path / "out"}')
  try:
    assert command.main([str(run.workdir), *files, *channels]) == 0
    found = {path.name for path in tmp_path.glob('mvp_jax/*-cache')}
  finally:
    compilation_cache.reset_cache()
    for name, value in before.items():
      jax.config.update(name, value)
  assert any('scores_of' in name for name in found)
  assert json.loads((tmp_path / 'mvp_jax' / checksums.FILE).read_text()).keys() == found


def test_what_cannot_be_predicted_is_one_line(run, model, tmp_path):
  video, signals = files_of(run, run.rows[0])
  # A blank picture, one that is not there, one that ends early.
  grey = write_grey(tmp_path / 'grey.mp4', 9)
  short = write_grey(tmp_path / 'short.mp4', 4)
  for path, told in (
    (grey, 'grey.mp4: a face in 0.0% of the frames'),
    (tmp_path / 'none.mp4', 'none.mp4: no such file'),
    (short, 'video: from the onset it goes on for 4.0 s, eda for 9.0'),
  ):
    with pytest.raises(InputError) as error:
      model.predict(path, signals=signals, **GIVEN)
    assert told in str(error.value) and 'row 2' not in str(error.value)


@pytest.mark.parametrize(
  ('given', 'told'),
  [
    ({}, 'fusion reads physio, of which nothing is given; give --signals FILE --eda'),
    ({'signals': 'x.csv', 'gsr': '1'}, '--gsr: no such option'),
    ({'signals': 'none.csv', 'eda': '1', 'ppg': '2', 'rate': 9}, 'none.csv: no such'),
  ],
)
def test_what_is_given_wrong_is_one_line(run, model, given, told):
  with pytest.raises(InputError, match=told):
    model.predict(files_of(run, run.rows[0])[0], **given)


def test_several_videos_cannot_share_signals(run, model):
  videos = [files_of(run, row)[0] for row in run.rows[:2]]
  with pytest.raises(InputError, match='--signals: says it of 2 videos at once'):
    model.predictions(videos, signals='x.csv')
  with pytest.raises(InputError, match='a manifest says it all'):
    model.predictions([run.study, videos[0]])


def test_unlike_inputs_are_said(run, model, tmp_path):
  video, signals = files_of(run, run.rows[0])
  flat = write_signals(tmp_path / 'flat.csv', signals, EDA=lambda i, x: '3.5')
  notes = model.predict(video, signals=flat, **GIVEN).result['notes']
  assert any(note.startswith('eda:') and 'masked' in note for note in notes)
  # Trained with channels left out now and then.
  without = {name: x for name, x in GIVEN.items() if name != 'eda'}
  notes = model.predict(video, signals=signals, **without).result['notes']
  assert any(note.startswith('there is no eda;') for note in notes)
  short = model.predict(video, signals=signals, duration=5, **GIVEN)
  one = short.result['estimates']['valence']
  assert one['confidence'] is None and 'lasts 5.0 s' in one['note']
  assert len(short.frames) == len(frames_of(video))  # also those after it
  assert short.frames['valence'].notna().tolist() == [
    time < 5 for time in short.frames['seconds'].round(3)
  ]


def test_what_a_video_shows_before_a_named_onset_is_its_baseline(
  run, model, said, monkeypatch
):
  assert said.estimates.found.trial.streams['video'].before is None
  video, signals = files_of(run, run.rows[0])
  given = GIVEN | {'signals': signals, 'signals_onset': 6, 'video_onset': 3}
  one = model.predict(video, **given)
  before = one.estimates.found.trial.streams['video'].before
  np.testing.assert_allclose(before.times, np.arange(-10, 0) / 5, atol=0.1)
  assert before.valid.all()
  # Models whose corpus had none read none.
  known = model._ensemble.metadata['streams']['video']
  assert known['before'] == 2
  monkeypatch.setitem(known, 'before', 0.0)
  other = model.predict(video, **given)
  assert other.estimates.found.trial.streams['video'].before is None
  assert np.abs(one.estimates.windows - other.estimates.windows).max() > 1e-4


def test_models_that_have_seen_trials_without_signals_go_without(run, model, tmp_path):
  models = shutil.copytree(run.workdir / 'models', tmp_path / 'models')
  record = json.loads((models / 'model.json').read_text())
  record['without'] = {'physio': 1, 'video': 1}
  (models / checksums.FILE).unlink()
  (models / 'model.json').write_text(json.dumps(record))
  video, signals = files_of(run, run.rows[0])
  both = mvp_jax.load(models)
  seen = both.predict(video)
  assert seen.frames['valence'].notna().all()
  assert any(x.startswith('there is nothing of physio;') for x in seen.result['notes'])
  heard = both.predict(signals=signals, **GIVEN)
  assert heard.frames is None and heard.result['estimates']['valence']['value']
  assert any(x.startswith('there is nothing of video;') for x in heard.result['notes'])
  with pytest.raises(
    InputError, match='nothing is given, but resp; give --signals FILE'
  ):
    both.predict(signals=signals, rate=128, resp='EDA')


def test_long_recordings_are_cut_into_windows(model):
  ensemble, rate = model._ensemble, 4.0
  values = np.zeros((round(30 * rate), 2), np.float32)
  series = Series(values, values == 0, ('eda', 'ppg'), rate)
  trial = Trial('x', 1, 1, None, {}, {'signals': series})
  windows = ensemble.windows(trial)
  assert ensemble.seconds == 9
  assert [x.start for x in windows] == [0, 4.5, 9, 13.5, 18, 21]
  assert all(x.seconds == 9 for x in windows)
  assert [x.start for x in ensemble.windows(trial, 9)] == [0, 9, 18, 21]
  short = trial.stretch(0, 9.25)
  assert ensemble.windows(short) == [short]


def test_a_moment_is_the_mean_of_the_windows_that_hold_it():
  said = Estimates(
    found=Found('x', None),
    seconds=8.0,
    starts=np.array([0.0, 2.0, 4.0]),
    ends=np.array([4.0, 6.0, 8.0]),
    windows=np.array([1.0, 3.0, np.nan]).reshape(3, 1, 1),
    course=None,
    face_shares=np.ones(3),
    times=None,
    onset=0.0,
    faces=None,
    boxes=None,
    timing={},
  )
  found = said.at(np.array([-1, 0, 1.9, 3, 5, 7, 9]))[:, 0, 0]
  np.testing.assert_array_equal(found, [np.nan, 1, 1, 2, 3, np.nan, np.nan])


def test_public_names(said):
  assert {'load', 'Model', 'Prediction', 'InputError'} <= set(dir(mvp_jax))
  assert isinstance(said, mvp_jax.Prediction)
  with pytest.raises(AttributeError, match='nothing'):
    _ = mvp_jax.nothing
