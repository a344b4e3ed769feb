"""The job 'ablate': one experiment in many variants, a table for each question.

A question names its variants, and each variant is written as on the command line:
settings without `--config.`, one after another. A word without `=` is the model
whose scores are shown (the main one if there is none):

  ('fusion', (('cross-attention', ''), ('sum', 'model.fusion=sum'))),
  ('face', (('VideoMAE', 'video'), ('action units', 'video models.video=action_units')))

Every variant is a run of the job 'train' in a folder of its own, equal ones run once.
A rerun finds finished ones done, goes on with the one that was stopped, and runs what
was added to the questions.
"""

import copy
import dataclasses
import json
from pathlib import Path

from mvp_jax import devices, hosts
from mvp_jax.config import Config, of_kind, parse, to_tree
from mvp_jax.errors import InputError
from mvp_jax.evaluation.ablation import COSTS, Variant, write_ablation
from mvp_jax.files import read_json, write_json
from mvp_jax.jobs import starts, train
from mvp_jax.jobs.common import encoded
from mvp_jax.training.costs import costs
from mvp_jax.workdir import claim, in_use

_NAME = 100  # letters: of a folder that is called as its settings


@dataclasses.dataclass(frozen=True)
class _Run:
  """A run that one or more variants show."""

  name: str
  config: Config


def run(config, workdir):
  """Runs all variants; see the module. Raises InputError.

  Writes to `workdir`: runs/<variant>/ (each as `train.run`), report.html,
  report.md, figures/, tables/; costs.json if encoders differ.
  """
  workdir = Path(workdir)
  variants, runs = plan(config)
  with in_use(workdir):
    claim(workdir, config)
    devices.tell()
    for number, one in enumerate(runs, 1):
      folder = workdir / 'runs' / one.name
      done = _is_done(folder, one.config)
      if hosts.is_main():
        print(
          f'ablation {number}/{len(runs)}: {one.name}{": done" if done else ""}',
          flush=True,
        )
      if not done:
        train.run(one.config, folder)
    _measure(runs, workdir)
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
  base = to_tree(dataclasses.replace(config, ablation=(), job='train'))
  variants, names, configs, models = {}, {}, {}, {}
  for question, words in config.ablation:
    variants[question] = []
    for name, text in words:
      where = f'config.ablation.{question}.{name}'
      if name in config.target.sources | config.target.reserved:
        raise InputError(f'{where}: is the name of a baseline; choose another')
      model, varied = _vary(base, text, where)
      model = model or varied.evaluation.models[0]
      key = json.dumps(to_tree(varied), sort_keys=True)
      if key not in names:
        settings = [word for word in text.split() if '=' in word]
        said = '_'.join(settings) or 'base'
        said = said if len(said) <= _NAME else f'{question} {name}'
        names[key] = said.replace('/', '_')
        configs[key], models[key] = varied, set()
      models[key].add(model)
      variants[question].append(Variant(name, model, names[key]))
  runs = [
    _Run(name, _showing(configs[key], models[key])) for key, name in names.items()
  ]
  return variants, runs


def _measure(runs, workdir):
  """Notes what the encoders of the runs cost, if they are several: costs.json.

  They are measured here, one after another, so that all have the same machine.
  """
  path = workdir / COSTS
  networks = {
    one.name: (backbone, one.config.encoder.feature_batch)
    for one in runs
    if encoded(one.config) and (backbone := starts.backbone(one.config)) is not None
  }
  known = read_json(path) or {}
  if len(set(networks.values())) < 2 or networks.keys() <= known.keys():
    return
  measured = {}  # equal encoders once
  for network, batch in networks.values():
    if network not in measured:
      measured[network] = costs(network, batch)
  found = {name: measured[network] for name, (network, _) in networks.items()}
  hosts.on_main(lambda: write_json(path, found))


def _showing(config, models):
  """The config with those models alone, in the config's order."""
  order = tuple(name for name in config.models if name in models)
  return dataclasses.replace(
    config, evaluation=dataclasses.replace(config.evaluation, models=order)
  )


def _vary(base, text, where):
  """The model shown, or None, and the Config of a variant."""
  tree, model = copy.deepcopy(base), None
  for word in text.split():
    path, equals, value = word.partition('=')
    if not equals:
      model = word
      continue
    *sections, name = path.split('.')
    section = tree
    for part in sections:
      section = section.get(part) if isinstance(section, dict) else None
    if not isinstance(section, dict) or isinstance(section.get(name, {}), dict):
      raise InputError(f'{where}: there is no setting {path!r}')
    section[name] = value
    if name == 'kind' and len(sections) == 1:
      tree[sections[0]] = of_kind(sections[0], section, tree)
  config = parse(tree, where=where)
  if model is not None and model not in config.models:
    raise InputError(
      f'{where}: {model!r} is neither a setting (name=value) nor one of '
      f'{", ".join(config.models)}'
    )
  return model, config


def _is_done(folder, config):
  """Whether a folder holds the finished run of this very config."""
  path = folder / 'config.json'
  if not (folder / 'report.html').exists() or not path.exists():
    return False
  return read_json(path) == json.loads(json.dumps(to_tree(config)))
