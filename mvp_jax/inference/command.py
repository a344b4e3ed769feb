"""Says what the models of a run make of new files.

  python -m mvp_jax predict RUN VIDEO... [--out DIR]
  python -m mvp_jax predict RUN clip.mp4 --signals clip.csv --rate 128 --eda EDA --ppg 3
  python -m mvp_jax predict RUN study/manifest.csv

RUN is the work directory of a finished run, or an exported model. What belongs to a
video is named as the columns of a manifest (docs/recordings.md): --signals, --rate,
--time, --eda, --eda-unit, --audio, --duration, --video-onset, ... A folder stands for
the videos in it, or for its manifest.csv.

Of each recording DIR/NAME gets frames.csv, windows.csv, result.json and page.html
(docs/predict.md); DIR/summary.csv says what became of all of them.

Exit status: 0 all were predicted; 1 some were not, a line says why of each; 2 something
given is wrong.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path

SUMMARY = 'summary.csv'


def main(argv=None):
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(
    'python -m mvp_jax predict',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument('run', help='work directory of a run, or an exported model')
  parser.add_argument('videos', nargs='*', help='videos, folders, or a manifest.csv')
  parser.add_argument(
    '--out', type=Path, default=Path('predictions'), help='default: predictions'
  )
  parser.add_argument('--model', help="of the run's models; default: its main one")
  parser.add_argument('--fold', type=int, help='only the models tested on this fold')
  parser.add_argument(
    '--hop', type=float, help='seconds between windows; default: half of one'
  )
  parser.add_argument(
    '--overlay', action='store_true', help='also a video with box and curves'
  )
  parser.add_argument(
    '--workers', type=int, default=1, help='processes that read files; default: 1'
  )
  given, rest = _given(parser, sys.argv[1:] if argv is None else argv)
  args = parser.parse_args(rest)
  # What is slow to import comes after --help.
  from mvp_jax.errors import InputError
  from mvp_jax.files import write_table
  from mvp_jax.inference import overlay, page
  from mvp_jax.inference.library import Model
  from mvp_jax.inference.model import load

  if args.hop is not None and not args.hop > 0:
    raise InputError(f'--hop: {args.hop:g} is not above 0 seconds')
  model, rows = load(args.run, args.model, args.fold), []

  def write(one, corpus):
    folder, problem = args.out / one.name, one.problem
    if not problem:
      one.save(folder)
      page.write_page(folder, model, one, corpus)
      if args.overlay and one.frames is not None:
        overlay.write_overlay(folder, model, one)
    rows.append(_row(one, model))
    _tell(one)

  with _programs_kept():
    Model(model).predictions(
      args.videos, hop=args.hop, workers=args.workers, each=write, **given
    )
  write_table(args.out / SUMMARY, rows)
  lost = [row for row in rows if row['problem']]
  print(f'{len(rows)} in, {len(rows) - len(lost)} predicted: {args.out / SUMMARY}')
  return 1 if lost else 0


def _given(parser, arguments):
  """Parts columns of a manifest from what the parser knows.

  Returns ({column: text}, all other arguments).
  """
  own = {option for action in parser._actions for option in action.option_strings}
  given, others, left = {}, [], list(arguments)
  while left:
    word = left.pop(0)
    name, equals, value = word.partition('=')
    if not name.startswith('--') or name in own:
      others.append(word)
      continue
    if not equals:
      if not left or left[0].startswith('--'):
        parser.error(f'argument {name}: expected one value')
      value = left.pop(0)
    given[name[2:].replace('-', '_')] = value
  return given, others


@contextlib.contextmanager
def _programs_kept():
  """Keeps compiled programs for the next time, unless they are kept elsewhere."""
  import jax

  from mvp_jax import compiled

  if jax.config.jax_compilation_cache_dir is None:
    home = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    compiled.use(Path(home, 'mvp_jax'))
  try:
    yield
  finally:
    compiled.seal()


def _row(one, model):
  from mvp_jax.inference.result import shown_answer

  row = {'recording': one.name, 'problem': one.problem}
  if not one.problem:
    row |= {'seconds': one.result['seconds']}
    for name, said in one.result['estimates'].items():
      row |= {name: said['value'], f'{name}_spread': said['spread']}
      row |= {f'{name}_answer': shown_answer(said)}
    row |= {'notes': '; '.join(one.result['notes'])}
  if model.folder.synthetic:
    row['note'] = 'SYNTHETIC'
  return row


def _tell(one):
  if one.problem:
    print('error:', *f'{one.name}: {one.problem}'.split(), file=sys.stderr, flush=True)
    return
  from mvp_jax.inference.result import shown_answer

  made_up = 'SYNTHETIC ' if 'note' in one.result else ''
  said = []
  for name, x in one.result['estimates'].items():
    value = 'n/a' if x['value'] is None else f'{x["value"]:.3f}'
    spread = '' if x['spread'] is None else f' +- {x["spread"]:.3f}'
    said.append(f'{name} {value}{spread} ({shown_answer(x)})')
  print(f'{made_up}{one.name}: {", ".join(said)}', flush=True)


if __name__ == '__main__':
  sys.exit(main())
