"""Writes report.html, report.md, figures/ and tables/ from the files of a run.

    python -m mvp_jax report WORKDIR

makes them anew. Only predictions.csv must be there; a section whose file or fact is
missing says so. Where the leak audit has failed there are no scores.
"""

import argparse
import shutil
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

from mvp_jax.errors import InputError
from mvp_jax.evaluation import (
  course_sections,
  courses,
  files,
  run_sections,
  score_sections,
  summary,
)
from mvp_jax.evaluation.document import (
  Heading,
  Paragraph,
  Section,
  pictures,
  to_html,
  to_markdown,
)
from mvp_jax.evaluation.results import TargetResult, evaluate
from mvp_jax.files import atomic_write, read_json
from mvp_jax.workdir import require_whole

_FIGURES, _TABLES = 'figures', 'tables'


class Report(NamedTuple):
  """A report as it was written, and what it tells."""

  path: Path  # of the HTML
  results: list[TargetResult]  # none where the leak audit has failed
  summary: str  # its opening and the main table, as text for a terminal


def write_report(workdir: Path) -> Report:
  """Writes report.html, report.md, figures/ and tables/.

  Raises InputError if the predictions are missing or lack trials, or any file is not
  as it should be.
  """
  workdir = Path(workdir)
  require_whole(workdir)
  run = read_json(workdir / 'run.json')
  config = read_json(workdir / 'config.json')
  facts = run_sections.Facts(run or {})
  synthetic = facts.get('synthetic', bool) or False
  title = 'emotion from face, voice and body'
  if facts.audit and not facts.audit[0]:
    for folder in (_FIGURES, _TABLES):  # of an earlier run, with scores
      shutil.rmtree(workdir / folder, ignore_errors=True)
    dataset = facts.get('dataset', str) or 'Unknown corpus'
    path = save(
      workdir,
      f'{dataset.upper()}: {title}',
      [*run_sections.origin(run, facts, synthetic), *run_sections.audit_failed(facts)],
    )
    return Report(path, [], '')

  predictions = files.read_whole_predictions(workdir, facts.target)
  curves = files.read_curves(workdir / 'metrics.jsonl')
  results = evaluate(predictions, facts.target, facts.main)
  in_time = courses.evaluate(predictions, facts.target, facts.main)
  ceiling = facts.get('ceiling', dict)
  dataset = ', '.join(dict.fromkeys(row.dataset.upper() for row in predictions))
  opening = summary.opening(results, dataset, facts.get('synthetic', bool))
  blocks = [
    *run_sections.accepted(facts),
    Paragraph(opening),
    *run_sections.origin(run, facts, synthetic),
    *run_sections.tested(results, facts),
    *score_sections.result(results, ceiling, synthetic),
    *score_sections.scores(results, ceiling, synthetic),
    *score_sections.comparisons(results),
    *score_sections.subjects(results, synthetic),
    *course_sections.recordings(in_time, synthetic),
    *course_sections.shifts(in_time, synthetic),
    *score_sections.calibration(results, facts.get('promises', dict), synthetic),
    *run_sections.success_and_failure(workdir, predictions, facts, synthetic),
    Heading('Details'),
    *score_sections.confusions(results, synthetic),
    *run_sections.audit_section(facts),
    *run_sections.leak_meter(facts),
    *run_sections.folds(results, predictions, facts),
    Section(
      'Data and dropped trials',
      list(run_sections.data(workdir, predictions, facts, synthetic)),
    ),
    Section('Video encoder', list(run_sections.encoder(predictions, facts))),
    Section(
      'Learning curves',
      list(run_sections.learning(curves, synthetic, results[0].models)),
    ),
    Section('How it was made', list(run_sections.how(predictions, facts, config))),
  ]
  score_sections.write_tables(workdir / _TABLES, results, ceiling)
  course_sections.write_tables(workdir / _TABLES, in_time)
  path = save(workdir, f'{dataset}: {title}', blocks)
  lines = [f'LEAK ACCEPTED: {line}' for line in run_sections.accepted_lines(facts)]
  lines += [textwrap.fill(opening, 88), '', summary.summary_table(results, ceiling)]
  return Report(path, results, '\n'.join(lines))


def save(workdir, title, blocks):
  """Writes blocks as report.html, report.md and figures/; returns the first."""
  for picture in pictures(blocks):
    with atomic_write(workdir / _FIGURES / f'{picture.name}.png') as part:
      part.write_bytes(picture.png)
  with atomic_write(workdir / 'report.md') as part:
    part.write_text(to_markdown(title, blocks, _FIGURES), 'utf-8')
  path = workdir / 'report.html'
  with atomic_write(path) as part:
    part.write_text(to_html(title, blocks), 'utf-8')
  return path


def main(arguments=None) -> int:
  parser = argparse.ArgumentParser(
    prog='python -m mvp_jax report',
    description='Makes the report of a work directory anew.',
  )
  parser.add_argument('workdir', type=Path)
  workdir = parser.parse_args(arguments).workdir
  try:
    print(write_report(workdir).path)
  except InputError as error:
    print('error:', error, file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main())
