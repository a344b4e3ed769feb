"""The job 'ablation': one experiment in many variants, a table for each question.

A question names its variants, and each variant is written as on the command line:
settings without `--config.`, one after another. A word without `=` is the model
whose scores are shown (`fusion` if there is none):

  ('fusion', (('cross-attention', ''), ('sum', 'model.fusion=sum'))),
  ('backbone', (('action units alone', 'video video_backbone=au'), ...)), ...

Every variant is a run of the main job in a folder of its own, equal ones run once.
A rerun finds finished ones done and goes on with the one that was stopped.
"""

import dataclasses
import json
from pathlib import Path

from mvp_jax import experiment
from mvp_jax.config import parse
from mvp_jax.errors import InputError
from mvp_jax.evaluation.ablation import Variant, write_ablation
from mvp_jax.targets.binary import BASELINES
from mvp_jax.training import hosts
from mvp_jax.workdir import claim, in_use


@dataclasses.dataclass(frozen=True)
class Config(experiment.Config):
  """The main job's settings, and what is varied."""

  job: str = 'ablation'
  ablation: tuple = ()  # (question, ((variant, settings), ...)), ...; see the module


@dataclasses.dataclass(frozen=True)
class _Run:
  """A run that one or more variants show."""

  name: str
  config: experiment.Config


def run(config, workdir):
  """Runs all variants; see the module. Raises InputError.

  Writes to `workdir`: runs/<variant>/ (each as `experiment.run`), report.html,
  report.md, figures/, tables/.
  """
  workdir = Path(workdir)
  variants, runs = plan(config)
  with in_use(workdir):
    claim(workdir, config)
    for number, one in enumerate(runs, 1):
      folder = workdir / 'runs' / one.name
      done = _is_done(folder, one.config)
      if hosts.is_main():
        print(
          f'ablation {number}/{len(runs)}: {one.name}{": done" if done else ""}',
          flush=True,
        )
      if not done:
        experiment.run(one.config, folder)
    hosts.on_main(lambda: print(f'report: {write_ablation(workdir, variants)}'))


def plan(config):
  """The variants {question: [Variant]} and the runs that they need.

  Raises:
    InputError: a setting that does not exist, or no variants.
  """
  if not config.ablation or not all(words for _, words in config.ablation):
    raise InputError(
      'config.ablation: name at least one question, and variants of each'
    )
  base = {
    name: value
    for name, value in dataclasses.asdict(config).items()
    if name != 'ablation'
  } | {'job': 'fusion'}
  variants, trees, models = {}, {}, {}
  for question, words in config.ablation:
    variants[question] = []
    for name, text in words:
      where = f'config.ablation.{question}.{name}'
      if name in BASELINES:
        raise InputError(f'{where}: is the name of a baseline; choose another')
      model, tree = _vary(base, text, where)
      key = json.dumps(tree, sort_keys=True)
      if key not in trees:
        settings = [word for word in text.split() if '=' in word]
        trees[key] = '_'.join(settings).replace('/', '_') or 'base', tree
        models[key] = set()
      models[key].add(model)
      variants[question].append(Variant(name, model, trees[key][0]))
  runs = []
  for key, (name, tree) in trees.items():
    order = [m for m in experiment.MODELS if m in models[key]]
    tree['evaluation'] = tree['evaluation'] | {'models': tuple(order)}
    runs.append(_Run(name, parse(tree, experiment.Config, f'config (ablation {name})')))
  return variants, runs


def _vary(base, text, where):
  """The model shown and the settings of a variant, a nested dict."""
  tree, model = json.loads(json.dumps(base)), 'fusion'
  for word in text.split():
    path, equals, value = word.partition('=')
    if not equals:
      model = word
      if model not in experiment.MODELS:
        raise InputError(
          f'{where}: {word!r} is neither a setting (name=value) nor '
          f'one of {", ".join(experiment.MODELS)}'
        )
      continue
    *sections, name = path.split('.')
    section = tree
    for part in sections:
      section = section.get(part) if isinstance(section, dict) else None
    if not isinstance(section, dict) or name not in section:
      raise InputError(f'{where}: there is no setting {path!r}')
    section[name] = _typed(value, section[name], f'{where}: {path}')
  return model, tree


def _typed(text, before, where):
  """A setting's new value, of the type that it had."""
  try:
    if isinstance(before, bool):
      return {'True': True, 'False': False}[text]
    if isinstance(before, list):
      return text.split(',')
    return type(before)(text)
  except (KeyError, ValueError) as error:
    raise InputError(f'{where}: {text!r} is no {type(before).__name__}') from error


def _is_done(folder, config):
  """Whether a folder holds the finished run of this very config."""
  path = folder / 'config.json'
  if not (folder / 'report.html').exists() or not path.exists():
    return False
  return json.loads(path.read_text()) == json.loads(
    json.dumps(dataclasses.asdict(config))
  )
