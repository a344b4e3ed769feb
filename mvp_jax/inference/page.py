"""A page that shows a prediction: face, signals, and what is said of them over time."""

import numpy as np

from mvp_jax.data import streams
from mvp_jax.evaluation import case_figures, cases, sketches
from mvp_jax.evaluation.document import (
  Banner,
  Bullets,
  Card,
  Cards,
  Folded,
  Heading,
  Paragraph,
  Table,
  to_html,
)
from mvp_jax.evaluation.figures import picture
from mvp_jax.files import atomic_write
from mvp_jax.inference.result import PAGE, SYNTHETIC, scale, shown_answer

_MOMENTS = 2000  # of a curve: more than can be seen
_CROPS = 8
_MOST_WINDOWS = 60  # in the table


def write_page(folder, model, prediction, corpus):
  """Writes the page of a Prediction beside its tables.

  Args:
    folder: pathlib.Path.
    model: model.Ensemble.
    prediction: result.Prediction without a problem.
    corpus: recordings.Recordings that its trial is of.
  """
  result = prediction.result
  blocks = []
  if model.folder.synthetic:
    blocks.append(Banner(SYNTHETIC, result['note'].partition(': ')[2] + '.'))
  blocks += [
    Paragraph(
      f'{result["video"] or prediction.name}, {result["seconds"]:.1f} s, read by '
      f'{result["model"]["models"]} models ({model.name}: '
      f'{", ".join(model.modalities)}) that were trained on '
      f'{result["model"]["people"]} people of {result["model"]["trained_on"]}.'
    ),
    _answers(result),
    Paragraph(
      f'{result["meaning"]} Spread: the deviation over models. Confidence: 1 where all '
      'models say the same, 0 where they are as far apart as the scale allows; whether '
      'they are right it does not say.'
    ),
    *_promises(model),
  ]
  if result['notes']:
    blocks.append(Bullets(result['notes']))
  blocks += [
    Heading('Over time'),
    _figure(model, prediction, corpus),
    *_crops(prediction, corpus),
  ]
  if len(prediction.windows) > 1:
    blocks += [Heading('Windows'), _windows(prediction)]
  facts = prediction.estimates.found.facts
  told = '\n'.join(f'{name}: {text}' for name, text in facts.items() if text)
  blocks.append(Folded('What was found in the files', told))
  with atomic_write(folder / PAGE) as part:
    part.write_text(to_html(f'{prediction.name}: prediction', blocks), 'utf-8')


def _promises(model):
  if model.promises:
    yield Paragraph('What its run promises of new people, by those it was tested on:')
    yield Bullets([f'{name}: {one.told()}' for name, one in model.promises.items()])


def _text(value, digits=3):
  return 'n/a' if value is None else f'{value:.{digits}f}'


def _answers(result):
  rows = [
    [
      name,
      shown_answer(one),
      one['unit'],
      one['note'],
      _text(one['value']),
      _text(one['spread']),
      _text(one['confidence'], 2),
    ]
    for name, one in result['estimates'].items()
  ]
  header = ['estimate', 'answer', 'unit', 'note', 'value', 'spread', 'confidence']
  return Table(header, rows, text_columns=4)


def _figure(model, prediction, corpus):
  estimates = prediction.estimates
  moments = np.linspace(0, estimates.seconds, _MOMENTS, endpoint=False)
  said = estimates.at(moments, model.target.rate)
  mean, spread = said.mean(1), said.std(1)
  courses = {
    name: (moments, mean[:, i], spread[:, i])
    for i, name in enumerate(model.target.ratings)
  }
  trial = estimates.found.trial
  arrays = cases.shown(corpus, trial)
  if len(estimates.starts) == 1:
    arrays |= cases.coarse(model.attention(corpus, trial, estimates.features))
  figure = case_figures.recording(
    courses, scale(model.target), arrays, model.folder.synthetic
  )
  caption = (
    'What is said of each moment is the mean over the windows that hold it. Grey: '
    'nothing valid.'
  )
  if len(estimates.starts) == 1 and estimates.course is None:
    caption = 'One answer to all of the recording, hence a straight line. ' + (
      'Grey: nothing valid.'
    )
  if 'weights' in arrays:
    caption += (
      ' Attention: at which moments (across) the models look when asked at another '
      '(up), and its mean, where 1 is even attention; the mean over all models.'
    )
  if 'shares' in arrays:
    caption += f' {case_figures.SHARES} The mean over all models.'
  return picture('over_time', figure, caption)


def _crops(prediction, corpus):
  trial = prediction.estimates.found.trial
  name = streams.pictured(corpus, trial)
  if name is None:
    return []
  video = trial.streams[name]
  count = len(video.times)
  places = np.unique(((np.arange(_CROPS) + 0.5) / _CROPS * count).astype(int))
  images = corpus.frames(trial, places, stream=name)
  cards = [
    Card(
      f'{video.times[place]:.1f} s',
      [] if video.valid[place] else ['no face'],
      [sketches.thumbnail(image)],
      [],
      not video.valid[place],
    )
    for place, image in zip(places.tolist(), images, strict=True)
  ]
  return [Heading('The face as the models see it'), Cards(cards)]


def _windows(prediction):
  table = prediction.windows.head(_MOST_WINDOWS)
  rows = [
    [
      name if isinstance(name, str) else ('n/a' if np.isnan(name) else f'{name:.3g}')
      for name in row
    ]
    for row in table.itertuples(index=False)
  ]
  return Table(list(table.columns), rows, text_columns=0)
