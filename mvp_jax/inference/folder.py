"""The folder of trained models: all that predicting takes, and nothing to execute.

  model.json            what they read, how it is prepared, what they predict
  encoder.safetensors   the frozen encoder of all of them, if they read through one
  encoder_voice.safetensors, ...   that of a modality alone
  <model>/fold0.safetensors, ...   each trained model: its arrays and its scales

A run writes it as `models/` of its work directory; `export` makes a folder of its own.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from mvp_jax import checksums, corpora
from mvp_jax import config as configs
from mvp_jax.data import streams
from mvp_jax.errors import InputError
from mvp_jax.files import atomic_write, write_json

FOLDER = 'models'  # of a work directory
RECORD = 'model.json'
FORMAT = 1  # a folder of another one is refused
# Of the corpus that was trained on, as `PreparedCorpus.metadata` has it. Whose files
# they were stays behind.
_METADATA = (
  *('title', 'streams', 'frame_size', 'crop', 'chunk', 'sound_chunk', 'clean'),
  *('settings', 'synthetic', 'ratings'),
)
_KEYS = {'config', 'metadata', 'prepared', 'seconds', 'without', 'models', 'cut_out'}
_HERE = {'manual_dir': '', 'data_dir': 'data', 'beam': ''}  # says nothing elsewhere
_POINTS, _DIGITS = 10_007, 9
_ANEW = 'train or export the model anew'
_SCALE = 'scale/'  # before the names of scales; of a pair '/0' and '/1' behind


class Writer:
  """Writes the models of a run as they come, and at last the record of them all.

  From `begin` to `finish` there is none, so that a run that was stopped is known by it.
  """

  def __init__(self, directory, target):
    self.directory, self._target = Path(directory), target
    self._members, self._inputs, self._encoders = {}, {}, set()

  def begin(self):
    for name in (RECORD, checksums.FILE):
      (self.directory / name).unlink(missing_ok=True)

  def encoder(self, variables, modality=''):
    """Keeps the variables of a frozen encoder, a nested dict.

    Of that of frames, or of the one that a modality has for itself.
    """
    self._encoders.add(encoder_file(modality))
    _save(self.directory / encoder_file(modality), _flat(variables))

  def reads(self, model, example):
    """Notes the arrays of an example that a model reads: {name: array}."""
    self._inputs[model] = {
      name: [list(np.shape(x)), str(np.asarray(x).dtype)]
      for name, x in example.items()
      if '/' in name
    }

  def add(self, model, fold, seed, parts, scales, temperature=None):
    """Keeps what one training gave.

    Args:
      model: its name.
      fold: data.splits.Fold.
      seed: of the training.
      parts: nested dicts of arrays: the models of an ensemble, or the only one.
      scales: {array: what `scales.rescaled` takes}.
      temperature: of the predictions, or None.
    """
    files = []
    for part, variables in enumerate(parts):
      name = f'{model}/fold{fold.fold}_seed{seed}_part{part}.safetensors'
      arrays = {}
      for key, scale in scales.items():
        if isinstance(scale, tuple):
          arrays |= {f'{_SCALE}{key}/{i}': x for i, x in enumerate(scale)}
        else:
          arrays[_SCALE + key] = scale
      _save(self.directory / name, arrays | _flat(variables))
      files.append(name)
    # Of many points, for a target may round what it restores.
    points = np.linspace(-1, 1, _POINTS)
    given = points[:, None] * np.ones((1, len(self._target.ratings)))
    restored = np.asarray(self._target.restored(fold.target, given), float)
    line = np.polyfit(points, restored, 1).round(_DIGITS)
    self._members.setdefault(model, []).append(
      {
        'fold': fold.fold,
        'seed': seed,
        'temperature': temperature,
        'origin': line[1].tolist(),
        'unit': line[0].tolist(),
        'files': files,
      }
    )

  def finish(self, config, corpus, trials, facts):
    """Writes the record.

    Args:
      config: config.Config, with the length that was trained on.
      corpus: PreparedCorpus.
      trials: list of Trial, those of all folds.
      facts: of run.json.
    """
    tree = configs.to_tree(config)
    tree['data'] |= _HERE
    tree['ablation'] = ()
    for section in (tree['encoder'], *tree['modalities'].values()):
      if section.get('checkpoint'):
        section['checkpoint'] = Path(section['checkpoint']).name
    modalities = {
      name: config.modalities[name]
      for model in self._members
      for name in config.modalities_of(model)
    }
    seconds = sorted(trial.seconds for trial in trials)
    record = {
      'format': FORMAT,
      'git': facts.get('git'),
      'versions': facts.get('versions'),
      'config': tree,
      'metadata': {
        name: corpus.metadata[name] for name in _METADATA if name in corpus.metadata
      },
      'prepared': {
        name: corpora.find(name).version for name in {corpus.name, 'recordings'}
      },
      'subjects': len({trial.subject for trial in trials}),
      'trials': len(trials),
      'seconds': [seconds[0], seconds[len(seconds) // 2], seconds[-1]],
      # Whether faces were cut out of videos here, not by others.
      'cut_out': _cut_out(corpus),
      # Of each modality, trials that have nothing of it.
      'without': {
        name: sum(not set(modality.streams) & set(t.streams) for t in trials)
        for name, modality in modalities.items()
        if modality.streams
      },
      'models': {
        model: {
          'modalities': list(config.modalities_of(model)),
          'parameters': facts.get('parameters', {}).get(model),
          'inputs': self._inputs.get(model),
          'promises': facts.get('promises', {}).get(model, {}),
          'members': members,
        }
        for model, members in self._members.items()
      },
    }
    kept = {name for own in self._members.values() for x in own for name in x['files']}
    for path in self.directory.rglob('*.safetensors'):  # of an earlier config
      if path.relative_to(self.directory).as_posix() not in kept | self._encoders:
        path.unlink()
    _finish(self.directory, json.loads(json.dumps(record)))


def _cut_out(corpus):
  for trial in corpus.trials:
    for name in streams.frames(corpus):
      if name in trial.streams:
        return bool(len(corpus.boxes(trial, name)[0]))
  return True


@dataclasses.dataclass(frozen=True)
class Folder:
  """A folder of trained models that was read.

  Attributes:
    path: where it is.
    record: as `Writer.finish` writes it.
    config: config.Config.
  """

  path: Path
  record: dict
  config: configs.Config

  @property
  def synthetic(self):
    """Whether the models were trained on made-up people."""
    return bool(self.record['metadata']['synthetic'])

  def encoder(self, modality=''):
    """The variables of a frozen encoder, as `Writer.encoder` took them, or None."""
    path = self.path / encoder_file(modality)
    return _nested(_load(self.path, encoder_file(modality))) if path.exists() else None

  def member(self, name):
    """A model's variables, a nested dict, and its scales, of one of its files."""
    arrays, scales = _load(self.path, name), {}
    for key in sorted(key for key in arrays if key.startswith(_SCALE)):
      array, own = key.removeprefix(_SCALE), arrays.pop(key)
      name, _, place = array.rpartition('/')
      if place.isdigit():
        scales[name] = (*scales.get(name, ()), own)
      else:
        scales[array] = own
    return _nested(arrays), scales


def encoder_file(modality=''):
  """The name of the file of an encoder, see `Writer.encoder`."""
  return f'encoder_{modality}.safetensors' if modality else 'encoder.safetensors'


def find(path):
  """The folder of models of a work directory, or the path itself. Raises InputError."""
  path = Path(path)
  for folder in (path / FOLDER, path):
    if (folder / RECORD).is_file():
      return folder
  if not path.is_dir():
    raise InputError(
      f'{path}: no such folder; give the work directory of a run, or an exported model'
    )
  if (path / 'config.json').is_file():
    raise InputError(
      f'{path}: this run has kept no models: it is unfinished, of a job that trains '
      'none, or of an earlier version; run its command again to its end'
    )
  raise InputError(
    f'{path}: neither the work directory of a run nor an exported model ({RECORD} is '
    'missing)'
  )


def read(path):
  """Reads a folder of models, or that of a work directory: Folder.

  Raises:
    InputError: there is none, or it was written by another version.
  """
  folder = find(path)
  try:
    record = json.loads((folder / RECORD).read_text('utf-8'))
    known = record.get('format')
  except (OSError, ValueError, AttributeError) as error:
    raise InputError(f'{folder / RECORD}: cannot be read ({error})') from None
  checksums.require(folder, RECORD, _ANEW)
  advice = 'train it anew, or use that version'
  if known != FORMAT:
    raise InputError(
      f'{folder}: these models are of format {known}, this version reads {FORMAT}; '
      f'{advice}'
    )
  lacking = _KEYS - set(record)
  if lacking:
    raise InputError(
      f'{folder / RECORD}: damaged, {", ".join(sorted(lacking))} missing; {advice}'
    )
  for name, version in record['prepared'].items():
    now = corpora.find(name).version
    if now != version:
      raise InputError(
        f'{folder}: trained on what version {version} of the preparation of {name} '
        f'made, this one is {now} and would show the models something else; {advice}'
      )
  try:
    config = configs.parse(record['config'])
  except InputError as error:
    raise InputError(
      f'{folder}: its settings are of another version ({error}); {advice}'
    ) from None
  return Folder(folder, record, config)


def copy(source, target, record):
  """Copies the arrays of a folder of models, and writes the record last."""
  for path in sorted(source.rglob('*.safetensors')):
    where = target / path.relative_to(source)
    with atomic_write(where) as part:
      shutil.copyfile(path, part)
  _finish(target, record)


def _finish(folder, record):
  write_json(folder / RECORD, record)
  checksums.seal(folder, lambda name: name.endswith(('.safetensors', RECORD)))


def _flat(tree, prefix=''):
  """{'a/0/b': array} of nested dicts."""
  if not isinstance(tree, dict):
    return {prefix: tree}
  joined = f'{prefix}/' if prefix else ''
  return {
    key: x
    for name, own in tree.items()
    for key, x in _flat(own, f'{joined}{name}').items()
  }


def _nested(arrays):
  """What `_flat` took apart; places in lists are numbers, as NNX has them."""
  tree: dict = {}
  for key, x in arrays.items():
    *path, last = (int(word) if word.isdigit() else word for word in key.split('/'))
    place = tree
    for word in path:
      place = place.setdefault(word, {})
    place[last] = x
  return tree


def _save(path, arrays):
  whole = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
  with atomic_write(path) as part:  # `save_file` lets nobody else read it
    part.write_bytes(safetensors.numpy.save(whole))


def _load(folder, name):
  try:
    arrays = safetensors.numpy.load_file(folder / name)
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    raise InputError(f'{folder / name}: cannot be read ({error}); {_ANEW}') from None
  checksums.require(folder, name, _ANEW)
  return arrays
