"""All models of a run as one ensemble: what they say of prepared trials."""

import functools
import itertools
import math
import types
from typing import NamedTuple

import jax
import numpy as np

from mvp_jax.data.batches import evaluation_batches, in_order
from mvp_jax.data.clip_examples import LaidClips
from mvp_jax.data.examples import TrialExamples
from mvp_jax.data.lengths import Plan
from mvp_jax.data.scales import rescaled
from mvp_jax.data.windows import TOLERANCE, stretches
from mvp_jax.errors import InputError
from mvp_jax.evaluation import cases
from mvp_jax.inference import folder as folders
from mvp_jax.models.emotion import EmotionConfig
from mvp_jax.models.modalities import Encoding
from mvp_jax.targets import promises
from mvp_jax.training.features import cache_features
from mvp_jax.training.sharding import MeshConfig, make_mesh
from mvp_jax.training.state import build_model, init_variables, merged
from mvp_jax.training.tasks import Emotion, VideoEmotion

_TOGETHER = 8  # windows that are predicted at a time
# Windows are padded to one of these parts of the longest: each is compiled for itself.
_SHARES = (8, 4, 2, 1)
_CLIPS = 4  # that the encoder reads at a time on a CPU, where more are no faster


class Member(NamedTuple):
  """One training of the run.

  What its models say is brought to its temperature (see `targets.Target.tempered`) and
  then to the scale of the ratings (see `targets.Target.restored`): origin + unit * x.
  """

  fold: int
  seed: int
  temperature: float | None
  origin: list[float]
  unit: list[float]


class Ensemble:
  """The trained models of one name, of all folds and seeds of a run.

  Args:
    folder: folder.Folder.
    name: of the model; None = the run's main one.
    fold: only those that were tested on this fold; None = all.

  Attributes:
    members: list of Member.
    modalities: {name: Modality} that they read.
    target: what they predict.
    metadata: of the corpus that they were trained on.
    parts: models of each member, whose mean counts.
    task, variables, scales: of all parts of all members, see `scores_of`.
    inputs: {array: (shape of an example, dtype)} that they read.
    promises: {rating: what its run has learnt to promise, of `targets.promises`}.
    backbone, frozen: of frames and its variables, a nested dict; None without.
    readers: {name of a modality: variables of its own frozen backbone}.

  Raises:
    InputError: there is no such model or fold, or its arrays do not fit this version.
  """

  def __init__(self, folder, name=None, fold=None):
    self.folder, self.config, record = folder, folder.config, folder.record
    known = record['models']
    self.name = name or next(iter(known))
    if self.name not in known:
      raise InputError(
        f'{folder.path}: no model {self.name!r}; there are {", ".join(known)}'
      )
    own = known[self.name]['members']
    if fold is not None:
      folds = sorted({one['fold'] for one in own})
      own = [one for one in own if one['fold'] == fold]
      if not own:
        raise InputError(
          f'{folder.path}: no fold {fold}; there are {", ".join(map(str, folds))}'
        )
    self.members = [Member(*(x[name] for name in Member._fields)) for x in own]
    self.parts = len(own[0]['files'])
    self.metadata, self.target = record['metadata'], self.config.target
    names = self.config.modalities_of(self.name)
    self.modalities = {name: self.config.modalities[name] for name in names}
    self._mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    self.reads_frames = any(x.encoded for x in self.modalities.values())
    self.frozen = folder.encoder() if self.reads_frames else None
    self.backbone = None
    if self.reads_frames:
      like = types.SimpleNamespace(metadata=self.metadata)
      self.backbone = self.config.encoder.network(self.config, [like])
    self.readers = {
      name: folder.encoder(name)
      for name, modality in self.modalities.items()
      if getattr(modality, 'frozen', False)
    }
    for name in (name for name, variables in self.readers.items() if not variables):
      raise InputError(
        f'{folder.path}: {folders.encoder_file(name)} is missing; train it anew'
      )
    self.inputs = known[self.name]['inputs']
    self.promises = {
      rating: promises.from_dict(given)
      for rating, given in known[self.name].get('promises', {}).items()
    }
    self.task = self._task()
    files = [folder.member(file) for one in own for file in one['files']]
    self._check(files, [file for one in own for file in one['files']])
    self.variables, self.scales = jax.tree.map(lambda *x: np.stack(x), *files)

  @property
  def clips(self):
    """Whether it reads single clips of a trial, not all of it."""
    return self.config.input.windows == 'random'

  @property
  def seconds(self):
    """How long a window is at most."""
    return self.config.input.max_seconds

  def reads(self, modality):
    """Names of the streams that a modality reads; all but pictures if it names none."""
    own = self.modalities[modality].streams
    known = self.metadata['streams'].items()
    return own or tuple(name for name, facts in known if facts['kind'] != 'frames')

  def _encoding(self, features=None):
    return Encoding(self.backbone, features) if self.reads_frames else None

  def _task(self):
    config = self.config
    if self.clips:
      return VideoEmotion(self.backbone, self.target, config.regularisation)
    encoding = self._encoding('features' if self.frozen is not None else None)
    networks = tuple(
      (name, modality.network(self.metadata, encoding))
      for name, modality in self.modalities.items()
    )
    names = config.modality_names
    return Emotion(
      EmotionConfig(config.model, networks, self.target, names, self.seconds)
    )

  def _check(self, files, names):
    """Raises InputError unless all arrays are those of the network."""
    wanted = _shapes(jax.eval_shape(lambda: _variables(self.task)))
    for name, (variables, _) in zip(names, files, strict=True):
      found = _shapes(variables)
      for path in sorted(wanted.keys() | found.keys()):
        if wanted.get(path) != found.get(path):
          raise InputError(
            f'{self.folder.path / name}: {path} is {found.get(path, "not there")}, in '
            f'this version {wanted.get(path, "not there")}; train it anew, or use the '
            'version that it was trained with'
          )

  def spans(self, trial, hop=None):
    """Windows of a trial no longer than what was trained on: list of (start, end), s.

    One that is short enough is its own only window. Else they begin every `hop`
    seconds, the last one where it ends with the trial. None: as in training; windows of
    a target in time then are equal and follow each other.
    """
    if self.target.level == 'frame' and hop is None:
      starts = [x.start for x in stretches([trial], self.target, self.seconds)]
      return list(itertools.pairwise([*starts, trial.seconds]))
    return self.spans_of(trial.seconds, hop)

  def spans_of(self, seconds, hop):
    """The windows of `spans` of so many seconds, of a target in time with a hop."""
    length, step = self.lengths(hop)
    if self.target.level == 'frame':
      rate = self.target.rate
      last = math.ceil(seconds * rate - 1e-3) / rate - length
      tolerance = 0.5 / rate
    else:
      last, tolerance = seconds - length, TOLERANCE
    if last <= tolerance:
      return [(0.0, seconds)]
    starts = [*(step * np.arange(math.ceil((last - tolerance) / step))).tolist(), last]
    return [(start, start + length) for start in starts]

  def lengths(self, hop=None):
    """How long a window is, and from one's start to the next: two times in seconds.

    Of a target in time they are of whole labels.
    """
    length = self.seconds
    step = hop or self.config.input.hop_seconds or length / 2
    if self.target.level != 'frame':
      return length, step
    rate = self.target.rate
    return tuple(max(1, math.floor(x * rate + 1e-6)) / rate for x in (length, step))

  def windows(self, trial, hop=None):
    """The windows of `spans`, as a list of Trial."""
    spans = self.spans(trial, hop)
    if len(spans) == 1:
      return [trial]
    spans[-1] = spans[-1][0], trial.seconds + 1  # to the end, whatever is left
    return [trial.stretch(*span) for span in spans]

  def examples(self, corpus, windows, directory):
    """Windows as the models read them, not scaled yet: has __len__ and __getitem__.

    Args:
      corpus: PreparedCorpus, or one that looks like it.
      windows: list of Trial, of this corpus.
      directory: pathlib.Path for features of frames; what is in it is taken over.
    """
    options = self.config.input
    if self.clips:
      size = self.metadata['frame_size']
      return LaidClips(corpus, windows, options, size, None)
    size = self.config.encoder.feature_batch
    if self._mesh.devices.flat[0].platform == 'cpu':
      size = min(size, _CLIPS)

    def cache(backbone, variables, layout, folder):
      cache_features(
        backbone,
        variables,
        corpus,
        windows,
        layout,
        size,
        mesh=self._mesh,
        directory=folder,
      )

    if self.frozen is not None:
      cache(self.backbone, self.frozen, options.clips, directory)
    modalities = dict(self.modalities)
    for name, variables in self.readers.items():
      own, folder = modalities[name], directory / name
      cache(own.reader, variables, own.layout, folder)
      modalities[name] = own.cached(folder)
    encoding = self._encoding(directory if self.frozen is not None else None)
    plan = None
    if self.target.level == 'trial':
      plan = Plan(tuple(self.seconds / share for share in _SHARES))
    return TrialExamples(corpus, windows, options, modalities, None, encoding, plan)

  def predict(self, corpus, windows, directory):
    """What every member says of some windows, as `examples` takes them.

    Returns:
      float64 [windows, members, ratings], or [windows, members, L, ratings] of a target
      in time, padded: on the scale of the ratings, not `finished` yet.
    """
    examples = self.examples(corpus, windows, directory)
    run, found = _scores(self.task), []
    together = 1 if self.backbone and self.frozen is None else _TOGETHER
    together = min(together, len(windows))
    for batch in evaluation_batches(examples, together):
      scores = run(self.variables, self.scales, batch)
      found.append(np.moveaxis(np.asarray(scores), 1, 0))
    scores = in_order(found, examples, together)
    parts = scores.reshape(len(windows), -1, self.parts, *scores.shape[2:])
    return self._restored(parts.mean(2))

  def attention(self, corpus, window, directory):
    """What the fusion shows of a window, the mean over all models, or {}.

    As `cases.attention_of` gives it.
    """
    if self.clips or len(self.modalities) < 2:
      return {}
    examples = self.examples(corpus, [window], directory)
    (batch,) = evaluation_batches(examples, 1)
    seen = jax.device_get(_attention(self.task)(self.variables, self.scales, batch))
    for name in {'attention', 'shares'} & set(seen):
      seen[name] = seen[name].mean(0)
    for name in {*cases.SIDES, 'share_times'} & set(seen):
      seen[name] = seen[name][0]
    return cases.attention_of(seen, 0)

  def _restored(self, scores):
    scores = scores.astype(float)
    for i, member in enumerate(self.members):
      own = scores[:, i]
      if member.temperature is not None:
        own = self.target.tempered(own, member.temperature)
      scores[:, i] = np.array(member.origin) + np.array(member.unit) * own
    return scores


def _variables(task):
  return merged(*init_variables(task, jax.random.key(0)))


def _shapes(tree):
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): tuple(np.shape(x))
    for path, x in jax.tree_util.tree_leaves_with_path(tree)
  }


def scores_of(task, variables, scales, batch):
  """What each of some models says: [models, B, ...], see `Task.scores`.

  Args:
    task: that has `scores`.
    variables, scales: nested dicts of arrays [models, ...].
    batch: {name: [B, ...]}, not scaled yet.
  """

  return _of_each('scores', task, variables, scales, batch)


def _of_each(method, task, variables, scales, batch):
  def one(model):
    own, scale = model
    scaled = {name: rescaled(batch[name], x) for name, x in scale.items()}
    return getattr(task, method)(build_model(task, own), batch | scaled)

  return jax.lax.map(one, (variables, scales))


@functools.cache
def _attention(task):
  return jax.jit(functools.partial(_of_each, 'attention', task))


@functools.cache
def _scores(task):
  return jax.jit(functools.partial(scores_of, task))


def load(path, name=None, fold=None):
  """The Ensemble of a work directory or an exported model, see there."""
  return Ensemble(folders.read(path), name, fold)
