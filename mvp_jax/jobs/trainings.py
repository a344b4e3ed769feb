"""How a model is trained on all folds and seeds: as one program, in turn, or on clips.

Each way yields, for every fold and seed, what the models say of the held-out trials;
`Trainings` chooses the way by what the model reads and how large its data is.
"""

import collections
import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mvp_jax import hosts
from mvp_jax.data.batches import evaluation_batches, passes
from mvp_jax.data.clip_examples import LaidClips, TrainingClips
from mvp_jax.data.examples import OneWindowEach, TrialExamples, lasting
from mvp_jax.data.lengths import plan
from mvp_jax.data.scales import moments, pooled_scale, token_squares
from mvp_jax.data.splits import SIDES, select
from mvp_jax.data.windows import averaged, joined
from mvp_jax.evaluation import audit, cases
from mvp_jax.files import atomic_write
from mvp_jax.jobs import reading, stages, starts
from mvp_jax.models.emotion import EmotionConfig
from mvp_jax.training import encoder as encoders
from mvp_jax.training import sharding
from mvp_jax.training.laid import labels, laid
from mvp_jax.training.many import Member, Models, together_bytes
from mvp_jax.training.metric_log import MetricLog
from mvp_jax.training.overview import parameter_table
from mvp_jax.training.pretrain import Seen, called
from mvp_jax.training.sharding import put_batch
from mvp_jax.training.single import fit_and_score
from mvp_jax.training.state import forward
from mvp_jax.training.tasks import Emotion, VideoEmotion


def examples_of(config, corpus, trials, model, encoding, plan=None):
  """TrialExamples of what a model reads of trials, stretches or windows."""
  modalities = {name: config.modalities[name] for name in config.modalities_of(model)}
  if config.target.level == 'frame':
    modalities = {
      name: one.in_time() if hasattr(one, 'in_time') else one
      for name, one in modalities.items()
    }
  return TrialExamples(
    corpus, trials, config.input, modalities, config.target, encoding, plan
  )


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a training leaves what."""

  workdir: Path
  log: MetricLog
  facts: dict  # of run.json
  attention: dict  # as `cases.write` takes it
  kept: Any = None  # folder.Writer of the models; None: they are not kept


@dataclasses.dataclass(frozen=True)
class _Trained:
  """What one training says of its fold's test trials."""

  fold: Any
  seed: int
  trials: list
  scores: np.ndarray  # [trials, ...]
  look: Any  # function of ids: what can be looked at, see `_look`; or None


@dataclasses.dataclass(frozen=True)
class Trainings:
  """What all trainings of a run share."""

  config: Any
  mesh: Any
  corpus: Any
  trials: list  # or their stretches
  whole: dict  # {trial_id: Trial}
  encoding: Any
  start: Any  # the encoder's variables
  starts: dict  # by modality: its pre-trained variables from random ones

  def train(self, model, folds, place):
    """Trains a model on all folds and seeds: rows of predictions."""
    config = self.config
    if config.input.windows == 'random':
      trained = self._on_clips(model, folds, place)
    else:
      encoding = self.encoding if self._reads_frames(model) else None
      end_to_end = encoding is not None and encoding.features is None
      examples = self._padded(model, encoding, folds, config.train.accumulate)
      alone = end_to_end or self._is_large(model, examples)
      if alone and (ways := sharding.batch_ways(self.mesh)) > 1:
        unit = config.train.accumulate * ways
        examples = self._padded(model, encoding, folds, unit)
      reading.tell_lengths(examples, place.facts)
      if place.kept is not None:
        place.kept.reads(model, examples.longest())
      task = self._task(model, examples)
      one_way = self._alone if alone else self._together
      trained = one_way(model, folds, place, task, examples)
    rows = []
    for one in trained:  # as they come: their variables need not stay
      found = [
        row
        for trial, score in zip(one.trials, one.scores, strict=True)
        for row in stages.rows(
          config, one.fold, one.seed, self.corpus, trial, model, score
        )
      ]
      rows += found
      if model == config.evaluation.models[0] and one.seed == config.seed and one.look:
        # The trials that are chosen of all folds will be among those of each.
        shown = cases.rows_of(cases.choose(found, config.target, model))
        place.attention.update(one.look({(r.subject, r.trial) for r in shown}))
    return rows

  def _padded(self, model, encoding, folds, unit):
    """TrialExamples, padded to the lengths that suit the training of some folds.

    Rows of a length come in multiples of `unit`.
    """
    config = self.config
    seconds = np.array([lasting(trial, config.target) for trial in self.trials])
    found = plan(
      [seconds[[np.atleast_1d(x)[0] for x in self._items(fold)]] for fold in folds],
      config.input.max_seconds,
      config.train.batch_size,
      config.input.lengths,
      unit,
    )
    return examples_of(config, self.corpus, self.trials, model, encoding, found)

  def _is_large(self, model, examples):
    """Whether the data is too much to lie in memory as a whole; then says so."""
    size = examples.bytes
    limit = together_bytes(self.mesh)
    if size <= limit or self.config.evaluation.grid.size > 1:
      return False
    if hosts.is_main():
      print(
        f'{model}: its data ({size / 1e9:.1f} GB) is more than may lie in memory '
        f'({limit / 1e9:.1f} GB): it is read from files, one training after another',
        flush=True,
      )
    return True

  def _reads_frames(self, model):
    names = self.config.modalities_of(model)
    return any(self.config.modalities[name].encoded for name in names)

  def _task(self, model, examples):
    config = self.config
    names = config.modality_names
    networks = tuple(
      (name, modality.network(self.corpus.metadata, self.encoding))
      for name, modality in examples.modalities.items()
    )
    return Emotion(
      EmotionConfig(
        config.model, networks, config.target, names, config.input.max_seconds
      )
    )

  def _started(self, fresh):
    """A model's random variables, but for what was pre-trained."""
    for name, start in self.starts.items():
      if name in fresh['modalities']:
        fresh = _placed(fresh, ('modalities', name), start(fresh['modalities'][name]))
    return fresh

  def _runs(self, folds):
    return [(fold, seed) for seed in stages.seeds(self.config) for fold in folds]

  def _together(self, model, folds, place, task, examples):
    """All folds and seeds as one program, see `training.many`."""
    config, facts = self.config, place.facts
    runs, grid = self._runs(folds), config.evaluation.grid
    scales = scales_of(examples, folds, facts)
    data = laid(examples, [self._items(fold) for fold in folds])
    lengths = grid.steps or (config.train.optimiser.steps,)
    tried = []  # of each length: members, their Models, variables
    for steps in lengths:
      words = [f'steps={steps}'] if grid.steps else []
      members = self._members(model, runs, examples, scales, words, data)
      optimiser = dataclasses.replace(config.train.optimiser, steps=steps)
      models = Models(
        task,
        data,
        members,
        dataclasses.replace(config.train, optimiser=optimiser),
        self.mesh,
        config.evaluation.together,
        self._started if self.starts else None,
      )
      variables = models.fit(
        run=' '.join([model, *words]),
        directory=place.workdir.joinpath('checkpoints', model, *words),
        log=place.log,
        batch_size=config.evaluation.batch_size,
      )
      tried.append((members, models, variables))
    _count(place, model, models.one(variables, 0))
    chosen = _chosen(tried, len(runs), len(grid.points()), config, facts)
    asked = [[()] * len(members) for members, _, _ in tried]
    for (fold, _), (length, numbers) in zip(runs, chosen, strict=True):
      for number in numbers:
        asked[length][number] = examples.rows(fold.validation) + examples.rows(
          fold.test
        )
    scores = [
      models.scores(variables, rows, config.evaluation.batch_size)
      if any(rows)
      else None
      for rows, (_, models, variables) in zip(asked, tried, strict=True)
    ]
    for (fold, seed), (length, numbers) in zip(runs, chosen, strict=True):
      _, models, variables = tried[length]

      def look(
        wanted, fold=fold, number=numbers[0], models=models, variables=variables
      ):
        test = examples.select(fold.test, fold.target, scales[fold.fold])
        return _look(task, models.one(variables, number), test, wanted, self.mesh)

      trials = [examples.trials[i] for i in asked[length][numbers[0]]]
      mean = np.mean([scores[length][number] for number in numbers], axis=0)
      parts = (models.one(variables, number) for number in numbers)
      kept = parts, scales[fold.fold]
      yield self._trained(model, fold, seed, place, trials, mean, look, kept)

  def _members(self, model, runs, examples, scales, words, data):
    """A Member of each run, point of the grid and part of an ensemble, in order."""
    evaluation = self.config.evaluation
    return [
      Member(
        '/'.join(
          (
            stages.run_name(self.config, fold, seed, model, part),
            *words,
            *(f'{name}={value:g}' for name, value in point.items()),
          )
        ),
        f'fold{fold.fold}/{model}',
        stages.run_seed(seed, fold, part),
        self._items(fold),
        examples.rows(fold.validation),
        scales[fold.fold],
        labels(
          examples,
          fold.target,
          [i for side in SIDES for i in getattr(fold, side)],
          data,
        ),
        point,
      )
      for fold, seed in runs
      for point in evaluation.grid.points()
      for part in range(evaluation.ensemble)
    ]

  def _items(self, fold):
    """What to train on, each as often as an epoch reads it: a tuple.

    Numbers of `trials`; of several windows of a trial, of which one is read each time,
    a tuple of them.
    """
    target, wanted, own = self.config.target, frozenset(fold.train), {}
    for number, trial in enumerate(self.trials):
      if trial.trial_id in wanted:
        key = number if target.level == 'frame' else trial.trial_id
        own.setdefault(key, []).append(number)
    return tuple(
      tuple(numbers) if len(numbers) > 1 else numbers[0]
      for numbers in own.values()
      for _ in range(target.draws(fold.target, self.trials[numbers[0]]))
    )

  def _trained(self, model, fold, seed, place, trials, scores, look, kept):
    """A _Trained of `trials`, those to validate on first, and all their scores.

    `kept` are the variables of the models of an ensemble, or of the only one, and the
    scales of what they read.
    """
    if self.config.target.level == 'frame':
      trials, scores = joined(trials, scores, self.config.target)
    else:
      trials, scores = averaged(trials, scores)
    trials, scores = [self.whole[x.trial_id] for x in trials], np.array(scores)
    count = len(fold.validation)
    known, tested = scores[:count], scores[count:]
    target, value = self.config.target, None
    if self.config.evaluation.temperature:
      value = target.temperature(fold.target, trials[:count], known)
    if value is not None:
      name = stages.run_name(self.config, fold, seed, model)
      place.facts.setdefault('temperatures', {})[name] = round(value, 3)
      what = f'temperature of {model}'
      audit.fitted(place.facts, fold, what, trials[:count], validation=True)
      tested = target.tempered(tested, value)
    if place.kept is not None:
      parts, scales = list(kept[0]), kept[1]
      for part, variables in enumerate(parts):
        self._keep_readers(model, fold, seed, part, place, variables)
      parts = [on_host(x, self.mesh) for x in parts]
      hosts.on_main(lambda: place.kept.add(model, fold, seed, parts, scales, value))
    return _Trained(fold, seed, trials[count:], tested, look)

  def _keep_readers(self, model, fold, seed, part, place, variables):
    """Leaves what modalities trained to read with as a start for other runs."""
    config = self.config
    for name in config.modalities_of(model):
      modality = config.modalities[name]
      reader = getattr(modality, 'reader', None)
      if reader is None or modality.frozen:
        continue
      run = stages.run_name(config, fold, seed, model, part)
      starts.keep_encoder(
        modality,
        modality.trained(variables['modalities'][name]),
        reader,
        self._seen(fold),
        config.seed,
        place.facts.get('pretrained', {}).get(name, {'source': 'none, random weights'}),
        place.workdir / encoders.TRAINED / run / name,
      )

  def _seen(self, fold):
    """What a training of a fold learns from."""
    return Seen(
      self.corpus,
      [self.whole[trial] for trial in fold.train],
      {'labels': f'ratings of {", ".join(self.config.target.ratings)}'},
    )

  def _alone(self, model, folds, place, task, examples):
    """One training after another, with the encoder in each if it is trained."""
    trained = self.encoding is not None and self.encoding.features is None
    paths = [
      ('modalities', name, 'encoder')
      for name, modality in examples.modalities.items()
      if modality.encoded and trained
    ]
    scales = scales_of(examples, folds, place.facts)
    for fold, seed in self._runs(folds):
      train, own = self._items(fold), (fold.target, scales[fold.fold])
      sides = [
        examples.take(rows, *own)
        for rows in (examples.rows(fold.validation), examples.rows(fold.test))
      ]
      read = None
      if any(isinstance(item, tuple) for item in train):
        windows = examples.take(range(len(examples)), *own)
        sides.insert(0, OneWindowEach(windows, train))
        read = sides[0].read
      else:
        sides.insert(0, examples.take(train, *own))

      def start(fresh):
        for path in paths:
          fresh = _placed(fresh, path, self.start)
        return self._started(fresh)

      path = paths[0] if paths else None
      parts, scores = self._fit(
        model, fold, seed, place, task, sides, start, path, read, examples.plan
      )

      def look(wanted, test=sides[-1], variables=parts[0]):
        return _look(task, variables, test, wanted, self.mesh)

      trials = [*sides[1].trials, *sides[2].trials]
      kept = parts, scales[fold.fold]
      yield self._trained(model, fold, seed, place, trials, scores, look, kept)

  def _on_clips(self, model, folds, place):
    """As `_alone`, on random clips; tested on clips laid over each trial."""
    config, corpus = self.config, self.corpus
    task = VideoEmotion(self.encoding.backbone, config.target, config.regularisation)
    for fold, seed in self._runs(folds):
      train = self._items(fold)
      sides = [
        clips(
          corpus,
          trials,
          config.input,
          corpus.metadata['frame_size'],
          config.target,
          fold.target,
        )
        for trials, clips in (
          ([self.trials[i] for i in train], TrainingClips),
          (select(self.trials, fold.validation), LaidClips),
          (select(self.trials, fold.test), LaidClips),
        )
      ]

      def start(fresh):
        if not config.encoder.pretrained:
          return fresh
        # The classifier has its own norm, after the mean over tokens.
        kept = {name: x for name, x in self.start.items() if name in fresh['encoder']}
        return _placed(fresh, ('encoder',), kept)

      parts, scores = self._fit(
        model, fold, seed, place, task, sides, start, ('encoder',), sides[0].read
      )
      trials = [*sides[1].trials, *sides[2].trials]
      kept = parts, {}
      yield self._trained(model, fold, seed, place, trials, scores, None, kept)

  def _fit(
    self, model, fold, seed, place, task, sides, start, path, read=None, plan=None
  ):
    """The variables of each model of an ensemble, and their mean scores.

    Scores are those of the validation trials, then those of the test trials. The
    encoder of each, at a path in its variables, stays for other runs to start from.
    None: none is trained.
    """
    config, found = self.config, []
    for part in range(config.evaluation.ensemble):
      name = stages.run_name(config, fold, seed, model, part)
      found.append(
        fit_and_score(
          task,
          sides,
          config.train,
          config.evaluation.batch_size,
          mesh=self.mesh,
          seed=stages.run_seed(seed, fold, part),
          run=name,
          directory=place.workdir / 'checkpoints' / name,
          log=place.log,
          start=start,
          read=read,
          plan=plan,
          called=called(config.encoder, 'config.train'),
        )
      )
      # Not of trainings that only measure leaks.
      if path and 'encoder' in place.facts:
        starts.keep_encoder(
          config.encoder,
          functools.reduce(lambda tree, part: tree[part], path, found[-1][0]),
          self.encoding.backbone,
          self._seen(fold),
          config.seed,
          place.facts['encoder'],
          place.workdir / encoders.TRAINED / name,
        )
    _count(place, model, found[0][0])
    parts, scores = zip(*found, strict=True)
    return parts, np.mean(scores, axis=0)


def scales_of(examples, folds, facts):
  """{fold: {array: what `scales.rescaled` takes}}, of training trials."""
  squares = {name: token_squares(examples, name) for name in examples.scaled}
  values = {name: examples.stacked(name) for name in examples.standardised}
  scales = {}
  for fold in folds:
    train = list(examples.rows(fold.train))
    scales[fold.fold] = {
      name: pooled_scale(*(x[train] for x in of)) for name, of in squares.items()
    } | {
      name: moments(x[train], name, examples.pools(name)) for name, x in values.items()
    }
    for name in squares:
      audit.fitted(facts, fold, f'scale of {name}', fold.train)
    for name in values:
      audit.fitted(facts, fold, f'mean and deviation of {name}', fold.train)
  return scales


def _count(place, model, variables):
  """Notes how many numbers a model has; all of its arrays stand in a file."""
  known = place.facts.setdefault('parameters', {})
  count = sum(x.size for x in jax.tree.leaves(variables))
  if model not in known and hosts.is_main():
    path = place.workdir / 'parameters' / f'{model}.txt'
    with atomic_write(path) as part:
      part.write_text(parameter_table(variables) + '\n')
    print(f'{model}: {count:,} parameters, listed in {path}', flush=True)
  known[model] = count


def _chosen(tried, runs, points, config, facts):
  """Which of the models that were tried each run takes: those that validate best.

  Args:
    tried: list of (members, Models, variables), one for each number of steps.

  Returns:
    list of (number in `tried`, numbers of members: the parts of an ensemble).
  """
  numbers = np.arange(len(tried[0][0])).reshape(runs, points, -1)  # run, point, part
  if points == len(tried) == 1:
    return [(0, of_run.tolist()) for of_run in numbers[:, 0]]
  batch_size = config.evaluation.batch_size
  losses = np.stack(
    [models.validation(variables, batch_size)['loss'] for _, models, variables in tried]
  )
  chosen, noted = [], facts.setdefault('chosen', {})
  for of_run in numbers:
    loss = losses[:, of_run].mean(-1)  # length, point
    length, point = np.unravel_index(np.argmin(loss), loss.shape)
    parts = of_run[point].tolist()
    chosen.append((int(length), parts))
    noted |= {
      tried[length][0][i].run: {'validation_loss': float(losses[length, i])}
      for i in parts
    }
  return chosen


def on_host(variables, mesh):
  """Variables on the host, however they are laid out: in all processes."""
  return jax.device_get(jax.device_put(variables, sharding.replicated(mesh)))


def _placed(variables, path, part):
  """Nested dicts with another part at a path."""
  name, *rest = path
  return {**variables, name: _placed(variables[name], rest, part) if rest else part}


def _look(task, variables, test, wanted, mesh):
  """What a model's fusion shows of some test trials, as `cases.write` takes it.

  Args:
    test: TrialExamples.
    wanted: {(subject, trial)}.
  """
  windows = collections.Counter(t.trial_id for t in test.trials)
  shown = (t for t in test.trials if windows[t.trial_id] == 1 and not t.start)
  ids = [t.trial_id for t in shown if (t.subject, t.trial) in wanted]
  test = test.select(ids, test.labels, test.scales)
  look, found = forward(task, mesh, 'attention'), {}
  unit = sharding.batch_ways(mesh)
  batches = evaluation_batches(test, mesh.size, sharding.rows_on(mesh), unit)
  for (numbers, _), batch in zip(passes(test, mesh.size, unit), batches, strict=True):
    seen = jax.device_get(look(variables, put_batch(batch, mesh)))
    for i, number in enumerate(numbers):
      trial = test.trials[number]
      found[trial.subject, trial.trial] = cases.attention_of(seen, i)
  return found
