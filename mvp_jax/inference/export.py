"""Writes the trained models of a run as one folder that can be passed on.

  python -m mvp_jax export RUN FOLDER [--model NAME] [--stablehlo]

FOLDER then holds model.json, safetensors and README.md, the model card: what it reads,
on whom it was trained, how well it did. `predict` and `mvp_jax.load` take it like a
run. With --stablehlo it also holds the network as programs of jax.export, which run
without this package (docs/predict.md): of the run's models that of --model, else the
main one. That takes flatbuffers (requirements-export.txt).

Exit status: 0 it is written; 2 something given is wrong.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

PROGRAM, ENCODER_PROGRAM = 'model.stablehlo', 'encoder.stablehlo'
CARD = 'README.md'
_PLATFORMS = ('cpu', 'cuda', 'tpu')


def main(argv=None):
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(
    'python -m mvp_jax export',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('run', help='work directory of a finished run')
  parser.add_argument('folder', type=Path, help='new or empty')
  parser.add_argument('--model', help="of the run's models; default: its main one")
  parser.add_argument(
    '--stablehlo', action='store_true', help='also programs for jax.export'
  )
  args = parser.parse_args(argv)
  export(args.run, args.folder, args.model, args.stablehlo)
  print(f'{args.folder}: exported, see {args.folder / CARD}')
  return 0


def export(run, folder, name=None, stablehlo=False):
  """Writes an exported model; see the module.

  Args:
    run: work directory, or an exported model.
    folder: pathlib.Path, new or empty.
    name: of the model of which programs are written; None = the run's main one.
    stablehlo: whether there are any.

  Raises:
    InputError: there is no such model, `folder` holds something, or of these models no
      program can be written.
  """
  from mvp_jax.errors import InputError
  from mvp_jax.files import atomic_write
  from mvp_jax.inference import folder as folders
  from mvp_jax.inference.model import Ensemble

  folder = Path(folder)
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise InputError(f'{folder}: is there and not empty; give another folder')
  found = folders.read(run)
  ensemble = Ensemble(found, name)
  if stablehlo and ensemble.clips:
    raise InputError(
      f'{found.path}: --stablehlo is for models of whole trials, and these read single '
      'clips (input.windows); leave it out'
    )
  if stablehlo and importlib.util.find_spec('flatbuffers') is None:
    raise InputError(
      '--stablehlo: jax.export writes its programs with flatbuffers, which is not '
      'installed; pip install flatbuffers'
    )
  record = found.record | {'training': found.record.get('training') or _training(run)}
  programs = _programs(ensemble) if stablehlo else {}
  for file, program in programs.items():
    with atomic_write(folder / file) as part:
      part.write_bytes(program)
  with atomic_write(folder / CARD) as part:
    part.write_text(_card(ensemble, record, bool(programs)), 'utf-8')
  folders.copy(found.path, folder, record)


def _training(run):
  """What the files of a run tell of its training, for the card: a dict."""
  from mvp_jax import targets
  from mvp_jax.evaluation import files, results
  from mvp_jax.workdir import require_whole

  workdir = Path(run)
  require_whole(workdir)
  facts = files.read_json(workdir / 'run.json')
  if facts is None:
    return {}
  encoder, audit = facts.get('encoder') or {}, facts.get('audit') or {}
  target = targets.from_dict(facts['target'])
  rows = files.read_whole_predictions(workdir, target)
  scores = {}
  for result in results.evaluate(rows, target, facts['models'][0]):
    scores[result.target] = {
      name: [one.value, one.low, one.high]
      for name in result.everyone
      for one in [result.scores[name][target.headline]]
    }
  return {
    'git': facts.get('git'),
    'protocol': facts.get('protocol'),
    'trials_dropped': len(facts.get('dropped') or {}),
    'encoder': {
      'source': Path(str(encoder.get('source', ''))).name,
      'kind': encoder.get('kind'),
      'synthetic': encoder.get('synthetic'),
      'people': len(encoder.get('trained_on_subjects') or ()),
    },
    'audit': {
      'passed': audit.get('passed'),
      'checks': [
        f'{check["name"]}: {check["detail"]}' for check in audit.get('checks', ())
      ],
    },
    'score': target.scores[target.headline].name,
    'scores': scores,
  }


def _programs(ensemble):
  """{file: bytes of a serialised jax.export.Exported}."""
  import functools

  import jax
  import numpy as np
  from jax import export as jax_export

  from mvp_jax.inference.model import scores_of
  from mvp_jax.training.state import build_model
  from mvp_jax.training.tasks import FrameFeatures

  def written(function, inputs, dimension):
    (size,) = jax_export.symbolic_shape(dimension)
    asked = {
      name: jax.ShapeDtypeStruct((size, *shape), np.dtype(kind))
      for name, (shape, kind) in inputs.items()
    }
    one = jax_export.export(jax.jit(function), platforms=_PLATFORMS)(asked)
    return bytes(one.serialize())

  def scores(batch):
    found = scores_of(ensemble.task, ensemble.variables, ensemble.scales, batch)
    return found.reshape(-1, ensemble.parts, *found.shape[1:]).mean(1)

  programs = {PROGRAM: written(scores, ensemble.inputs, 'batch')}
  if ensemble.frozen is not None:
    backbone, clips = ensemble.backbone, ensemble.config.input.clips
    task, size = FrameFeatures(backbone), ensemble.metadata['frame_size']

    def features(batch):
      model = build_model(task, ensemble.frozen)
      return functools.partial(task.features, model)(batch)

    frames = {'frames': ((clips.frames, size, size, 3), 'uint8')}
    programs[ENCODER_PROGRAM] = written(features, frames, 'clips')
  for name, variables in ensemble.readers.items():
    reader = ensemble.modalities[name].reader
    task = FrameFeatures(reader)

    def read(batch, task=task, variables=variables):
      return task.features(build_model(task, variables), batch)

    pictures = {'frames': ((reader.bands, reader.bins), 'float32')}
    programs[f'encoder_{name}.stablehlo'] = written(read, pictures, 'clips')
  return programs


def _card(ensemble, record, programs):
  """The model card, as Markdown."""
  from mvp_jax.evaluation.document import (
    Banner,
    Bullets,
    Folded,
    Heading,
    Paragraph,
    Table,
    to_markdown,
  )
  from mvp_jax.inference.result import SYNTHETIC, least_seconds, unit
  from mvp_jax.targets import promises

  metadata, training = record['metadata'], record['training']
  target, config = ensemble.target, ensemble.config
  blocks: list = []
  if metadata['synthetic']:
    blocks.append(
      Banner(
        SYNTHETIC,
        'Trained on made-up people of a twin. What it says of a real person means '
        'nothing.',
      )
    )
  least, middle, most = record['seconds']
  blocks += [
    Paragraph(
      f'Predicts {", ".join(target.ratings)} ({unit(target)}) from '
      f'{" and ".join(ensemble.modalities)}. {target.meaning()}'
    ),
    Heading('Training'),
    Bullets(
      [
        f'{config.dataset}: {record["subjects"]} people, {record["trials"]} trials '
        f'of {least:.0f} to {most:.0f} s (median {middle:.0f})',
        f'{sum(len(x["members"]) for x in record["models"].values())} trainings in '
        'all folds and seeds, of '
        + ', '.join(
          f'{name} ({"+".join(one["modalities"])})'
          for name, one in record['models'].items()
        ),
        *_encoder_lines(training.get('encoder') or {}),
        f'program: {record.get("git")}; '
        + ', '.join(f'{k} {v}' for k, v in (record.get('versions') or {}).items()),
      ]
    ),
    Heading('What it reads'),
    Bullets(_reads(ensemble, metadata)),
    Paragraph(
      f'Recordings are cut into windows of at most {config.input.max_seconds:g} s. '
      f'Shorter ones than {least_seconds(ensemble):.1f} s were not trained on.'
    ),
  ]
  if scores := training.get('scores'):
    blocks.append(Heading(f'Held-out {training["score"]} with 95 % intervals'))
    blocks.append(
      Table(
        ['rating', 'model', training['score'], 'from', 'to'],
        [
          [rating, name, *('n/a' if x is None or x != x else f'{x:.3f}' for x in of)]
          for rating, own in scores.items()
          for name, of in own.items()
        ],
        text_columns=2,
      )
    )
    audit = training['audit']
    blocks.append(
      Paragraph(
        f'Protocol {training["protocol"]}. Leak audit '
        f'{"passed" if audit["passed"] else "not passed"}. Models are tested one by '
        'one on people of other folds; the ensemble of all of them has no held-out '
        'people among those it was trained on.'
      )
    )
    blocks.append(Folded('Leak audit', '\n'.join(audit['checks'])))
  promised = [
    f'{name}, {rating}: {promises.from_dict(given).told()}'
    for name, one in record['models'].items()
    for rating, given in one.get('promises', {}).items()
  ]
  blocks.append(Heading('What it promises of new people'))
  if promised:
    blocks.append(Bullets(promised))
  else:
    blocks.append(Paragraph('Nothing: its run has learnt no abstention.'))
  blocks += [
    Heading('Use'),
    Folded('Command and Python', _USE.format(options=_options(ensemble))),
  ]
  if programs:
    blocks.append(Folded('Without this package', _JAX_ALONE))
    inputs = '\n'.join(
      f'{name}: {kind} [batch, {", ".join(map(str, shape))}]'
      for name, (shape, kind) in ensemble.inputs.items()
    )
    blocks.append(Folded('Inputs of the program', inputs))
  return to_markdown(f'{ensemble.name}, trained on {config.dataset}', blocks, '.')


def _encoder_lines(encoder):
  if not encoder.get('kind'):
    return []
  made_up = ', made-up ones' if encoder.get('synthetic') else ''
  return [
    f'video encoder: {encoder["kind"]}, {encoder["source"]}, trained on '
    f'{encoder["people"]} people{made_up}'
  ]


def _reads(ensemble, metadata):
  lines = []
  for name, facts in metadata['streams'].items():
    if name not in {x for own in ensemble.modalities.values() for x in own.streams}:
      continue
    if facts['kind'] == 'series':
      units = facts.get('units') or [''] * len(facts['channels'])
      channels = ', '.join(
        f'{channel} ({unit})'
        for channel, unit in zip(facts['channels'], units, strict=False)
      )
      rate = f'{facts["rate"]:g} Hz' if facts['rate'] else 'irregular'
      cleaned = ', cleaned' if metadata.get('clean') else ''
      lines.append(f'{name}: {channels}, {rate}{cleaned}')
    elif facts['kind'] == 'frames':
      lines.append(
        f'{name}: faces of {metadata["frame_size"]} pixels, {facts["rate"]:g} frames a '
        f'second, crop {metadata.get("crop")}'
      )
    else:
      lines.append(f'{name}: sound, mono, {facts["rate"]:g} Hz')
  return lines


def _options(ensemble):
  signals = ensemble.metadata['streams'].get('signals')
  reads = {x for own in ensemble.modalities.values() for x in own.streams}
  if not signals or 'signals' not in reads:
    return ''
  return ' --signals clip.csv ' + ' '.join(
    f'--{name} COLUMN' for name in signals['channels']
  )


_USE = """\
python -m mvp_jax predict FOLDER clip.mp4{options}

import mvp_jax
model = mvp_jax.load('FOLDER')
print(model.predict('clip.mp4', ...).result['estimates'])
"""

_JAX_ALONE = """\
from jax import export  # takes flatbuffers: pip install jax flatbuffers
program = export.deserialize(bytearray(open('model.stablehlo', 'rb').read()))
scores = program.call(inputs)  # [models, batch, ratings] or [models, batch, L, ratings]

inputs is a dict of the arrays below, of any batch size. Features of frames come from
encoder.stablehlo in the same way: {'frames': uint8 [clips, T, H, W, 3]} -> tokens.
Where model.json names a temperature of a model, the logit of its probability is divided
by it; then comes origin + unit * score. The estimate is the mean over models. Where the
promises of model.json have a threshold, max(p, 1 - p) has to reach it for an answer.
"""


if __name__ == '__main__':
  sys.exit(main())
