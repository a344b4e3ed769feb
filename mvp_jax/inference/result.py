"""What is told of a recording: tables by frame and by window, and one answer."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write, write_json
from mvp_jax.inference.predict import Estimates
from mvp_jax.raw.channels import GOOD

FRAMES, WINDOWS, RESULT, PAGE = 'frames.csv', 'windows.csv', 'result.json', 'page.html'
SYNTHETIC = 'SYNTHETIC'
_DIGITS = 6
# A model whose answers differ by less, as a share of the scale, says one thing.
_STILL = 1e-3
_LEAST_FACE = 0.8  # of the frames; with fewer it is said
_SLOW = 0.95  # of the frame rate trained on; below it frames were repeated
_TOLD_WINDOWS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
  """What the models say of one recording.

  Attributes:
    name: of its folder.
    problem: why it could not be predicted, a line; '' where it could. All below is then
      None.
    frames: a row for each frame of the video (see docs/predict.md); None without video.
    windows: a row for each window.
    result: the answer, as result.json has it.
    estimates: predict.Estimates: what each model says, and where.
  """

  name: str
  problem: str = ''
  frames: pd.DataFrame | None = None
  windows: pd.DataFrame | None = None
  result: dict[str, Any] | None = None
  estimates: Estimates | None = None

  def save(self, folder):
    """Writes frames.csv, windows.csv, result.json. Raises InputError on a problem."""
    if self.problem:
      raise InputError(f'{self.name}: {self.problem}')
    folder = Path(folder)
    for name, table in ((FRAMES, self.frames), (WINDOWS, self.windows)):
      if table is not None:
        with atomic_write(folder / name) as part:
          table.to_csv(part, index=False, lineterminator='\n')
    write_json(folder / RESULT, self.result)


def prediction(model, estimates, corpus, notes=()):
  """The Prediction of Estimates.

  Args:
    model: model.Ensemble.
    corpus: recordings.Recordings that they are of.
    notes: what is to be said of all recordings.
  """
  windows = _windows(model, estimates)
  return Prediction(
    estimates.found.name,
    frames=_frames(model, estimates),
    windows=windows,
    result=_result(model, estimates, corpus, notes),
    estimates=estimates,
  )


def _columns(model, values, answered=False):
  """{column: [n]}: mean over models and deviation, of float [n, M, K].

  A single model has no deviation.

  Args:
    answered: whether they are of what the run was tested on, trials or moments of them,
      so that its promises hold of each: then also the answers, of numbers intervals.
  """
  mean, spread = values.mean(1), values.std(1)
  if values.shape[1] < 2:
    spread = np.full_like(spread, np.nan)
  found = {}
  for i, name in enumerate(model.target.ratings):
    found[name] = mean[:, i].round(_DIGITS)
    found[f'{name}_spread'] = spread[:, i].round(_DIGITS)
    if not answered:
      continue
    if model.target.classes:
      found[f'{name}_answer'] = [answer_of(model, name, x)[0] or '' for x in mean[:, i]]
    elif ends := answer_of(model, name, mean[:, i])[0]:
      for side, x in zip(('low', 'high'), ends, strict=True):
        found[f'{name}_{side}'] = x.round(_DIGITS)
  return found


def answer_of(model, rating, value):
  """What is answered, and why nothing is or what is to be known of it, a text or ''.

  Args:
    model: model.Ensemble.
    rating: name of what is predicted.
    value: the mean over its models: of a trial, or [n] of moments of a target in time.

  Returns:
    (of classes 'high', 'low' or None, of numbers (low, high) or None; text).
  """
  promise = model.promises.get(rating)
  if model.target.classes and not np.isfinite(value):
    return None, ''
  if promise is None:
    answer = ('high' if value >= 0.5 else 'low') if model.target.classes else None
    return answer, 'its run has learnt no abstention: nothing is promised of it'
  if model.target.classes:
    return promise.answer(value), promise.why(value)
  half = promise.moment if np.ndim(value) and model.target.level == 'frame' else None
  return promise.answer(value, scale(model.target) or (), half), promise.why(value)


def _note(model, table):
  if model.folder.synthetic:
    table['note'] = SYNTHETIC
  return table


def _windows(model, estimates):
  table = {
    'window': np.arange(len(estimates.starts)),
    'start': estimates.starts.round(_DIGITS),
    'end': estimates.ends.round(_DIGITS),
    'face_share': estimates.face_shares.round(4),
  }
  of_trials = model.target.level == 'trial'
  columns = _columns(model, estimates.windows, of_trials)
  return _note(model, pd.DataFrame(table | columns))


def _frames(model, estimates):
  times = estimates.times
  if times is None:
    return None
  count = len(times)
  table: dict[str, Any] = {
    'frame': np.arange(count),
    'seconds': times.round(_DIGITS),
  }
  said = estimates.at(times - estimates.onset, model.target.rate)
  in_time = model.target.level == 'frame'
  if estimates.faces is None:
    return _note(model, pd.DataFrame(table | _columns(model, said, in_time)))
  parts, people = [], len(estimates.others)
  for person, boxes in enumerate(estimates.others):
    own = estimates.who == person
    placed = np.where(own[:, None], estimates.boxes, boxes)
    there = np.where(own, estimates.faces, np.isfinite(boxes[:, 0]))
    part = table | {'face_id': person, 'face': there.astype(int)}
    for i, side in enumerate(('left', 'top', 'width', 'height')):
      part[f'box_{side}'] = placed[:, i].round(2)
    part |= _columns(model, np.where(own[:, None, None], said, np.nan), in_time)
    parts.append(pd.DataFrame(part))
  rows = pd.concat(parts, ignore_index=True)
  order = np.arange(people * count).reshape(people, count).T.ravel()
  return _note(model, rows.iloc[order].reset_index(drop=True))


def _result(model, estimates, corpus, notes):
  record = model.folder.record
  video = estimates.found.video
  return {
    **({'note': f'{SYNTHETIC}: {_MADE_UP}'} if model.folder.synthetic else {}),
    'recording': estimates.found.name,
    'video': None if video is None else str(video),
    'seconds': round(estimates.seconds, 3),
    'frames': None if estimates.times is None else len(estimates.times),
    'faces': len(estimates.others),
    'windows': len(estimates.starts),
    'estimates': {
      name: _estimate(model, estimates, i)
      for i, name in enumerate(model.target.ratings)
    },
    'meaning': model.target.meaning(),
    'notes': [
      *notes,
      *(['the recording itself is made up'] if corpus.synthetic else []),
      *_remarks(model, estimates, corpus.units),
    ],
    'model': {
      'folder': str(model.folder.path),
      'name': model.name,
      'reads': list(model.modalities),
      'models': len(model.members),
      'synthetic': model.folder.synthetic,
      'trained_on': model.config.dataset,
      'people': record['subjects'],
      'trials': record['trials'],
    },
    'timing': {stage: round(x, 3) for stage, x in estimates.timing.items()},
  }


_MADE_UP = (
  'the models were trained on made-up people; what they say means nothing of a real one'
)


def _estimate(model, estimates, place):
  """One rating of the whole recording: value, unit, spread, answer, note, ..."""
  target, least = model.target, least_seconds(model)
  name = target.ratings[place]
  promise = model.promises.get(name)
  said = estimates.windows[:, :, place]
  if estimates.course is not None:
    said = estimates.course[:, :, place]
  said = said[np.isfinite(said[:, 0])]
  found: dict[str, Any] = {
    'value': None,
    'unit': unit(target),
    'spread': None,
    'confidence': None,
    'answer': None,
    'abstains': True,
    'risk': None if promise is None else promise.risk,
    'least_seconds': round(least, 1),
    'note': '',
  }
  if target.classes:
    found['calibrated'] = all(x.temperature is not None for x in model.members)
  if not len(said):
    why = ' or '.join(sorted({*estimates.notes} - {''}))
    return found | {'note': f'nothing is said of any window: {why}'}
  by_model = said.mean(0)
  value, spread = float(by_model.mean()), float(by_model.std())
  found |= {'value': round(value, _DIGITS), 'spread': round(spread, _DIGITS)}
  remarks = []
  low, high = scale(target) or (None, None)
  if len(model.members) < 2:
    remarks.append('a single model: there is no spread and no confidence')
    found['spread'] = None
  elif low is not None:
    found['confidence'] = round(max(0.0, 1 - 2 * spread / (high - low)), 4)
  else:
    remarks.append('no scale is known: the spread is all that is said of confidence')
  answer, why = answer_of(model, name, value)
  if estimates.seconds < least:
    found['confidence'] = answer = None
    remarks.append(
      f'the recording lasts {estimates.seconds:.1f} s, and no shorter one than '
      f'{least:.1f} s was trained on: do not rely on it'
    )
  if not target.classes and answer is not None:
    answer = [round(float(x), _DIGITS) for x in answer]
  found |= {'answer': answer, 'abstains': answer is None}
  if why:
    remarks.append(f'it abstains: {why}' if promise and answer is None else why)
  if target.classes and abs(value - 0.5) < spread:
    remarks.append('the models disagree on high and low')
  span = high - low if low is not None else max(abs(value), 1e-9)
  if len(said) > 1 and np.ptp(said.mean(1)) < _STILL * span:
    remarks.append('the models say the same of every moment')
  return found | {'note': '; '.join(remarks)}


def shown_answer(estimate):
  """The answer of an estimate of result.json as text."""
  answer = estimate['answer']
  if isinstance(answer, list):
    return f'{answer[0]:.3g} to {answer[1]:.3g}'
  return answer or 'no answer'


def least_seconds(model):
  """How long a recording has to be: as the shortest that was trained on."""
  return model.folder.record['seconds'][0] - 0.5


def scale(target):
  """The ends of what a target's predictions can be, or None."""
  if target.classes:
    return 0.0, 1.0
  own = tuple(getattr(target, 'scale', ()))
  return own if len(own) == 2 else None


def unit(target):
  """What a number stands for."""
  if target.classes:
    return 'probability of high'
  ends = scale(target)
  return f'rating from {ends[0]:g} to {ends[1]:g}' if ends else 'rating'


def _remarks(model, estimates, units):
  """What is unlike what the models have seen, and what is not told."""
  facts = estimates.found.facts

  def number(name, default=np.nan):
    try:
      return float(facts.get(name, ''))
    except ValueError:
      return default

  streams = model.metadata['streams']
  found = []
  if estimates.faces is not None:
    people = len(estimates.others)
    if people > 1:
      whose = estimates.who[estimates.faces]
      shares = np.bincount(whose, minlength=people) / max(len(whose), 1)
      told = ', '.join(f'{i} ({x:.0%})' for i, x in enumerate(shares) if x)
      found.append(
        f'{people} faces are seen; what is said is of the one that is followed, the '
        f'largest: face_id {told} of its frames'
      )
    if not model.folder.record['cut_out']:
      found.append(
        'the models were trained on faces that others had cut out; here they are cut '
        'out by this program'
      )
    share = number('face_share', 1.0)
    if share < _LEAST_FACE:
      found.append(f'a face is seen in {share:.0%} of the frames')
    if facts.get('face_flags', GOOD) not in ('', GOOD):
      found.append(f'face: {facts["face_flags"]}')
    rate, known = number('video_rate'), streams['video']['rate']
    if rate < _SLOW * known:
      found.append(
        f'the video has {rate:.3g} frames a second, the models were trained on '
        f'{known:g}: frames were repeated'
      )
    if number('broken_packets', 0) > 0:
      found.append(f'{number("broken_packets"):.0f} packets of the video are damaged')
    if facts.get('video_notes'):
      found.append(f'video: {facts["video_notes"]}')
  if 'signals' in estimates.found.trial.streams:
    signals = streams['signals']
    trained = dict(zip(signals['channels'], signals.get('units') or (), strict=False))
    for name in signals['channels']:
      here, known = units.get(name), trained.get(name)
      if here and known and here != known:
        found.append(f'unit of {name}: {here} here, {known} in training')
      flags = facts.get(f'{name}_flags', '')
      if flags not in ('', GOOD):
        found.append(f'{name}: {flags}')
      if facts.get(f'{name}_notes'):
        found.append(f'{name}: {facts[f"{name}_notes"]}')
  for what in sorted({*estimates.notes} - {''}):
    here = np.array([text == what for text in estimates.notes])
    spans = zip(estimates.starts[here], estimates.ends[here], strict=True)
    some = [f'{a:.0f} to {b:.0f} s' for a, b in spans]
    more = ', ...' if len(some) > _TOLD_WINDOWS else ''
    found.append(
      f'nothing is said of {len(some)} of {len(here)} windows, of which there is '
      f'{what}: {", ".join(some[:_TOLD_WINDOWS])}{more}'
    )
  if estimates.times is not None:
    clock = estimates.times - estimates.onset
    late, early = (clock >= estimates.seconds).sum(), (clock < 0).sum()
    if late:
      found.append(
        f'nothing is said of the last {late} frames of the video, after '
        f'{estimates.seconds:.1f} s, where the recording ends'
      )
    if early:
      found.append(f'nothing is said of the {early} frames before the onset')
  if facts.get('audio_flags', GOOD) not in ('', GOOD):
    found.append(f'sound: {facts["audio_flags"]}')
  return found


def failed(found):
  """The Prediction of what could not be predicted."""
  return Prediction(found.name, found.problem)
