"""What is predicted: a target owns its label, loss, prediction, scores and baselines.

A new one is a frozen dataclass that subclasses `Target`, and one `register`.
"""

import dataclasses
from typing import Any

from mvp_jax.errors import InputError
from mvp_jax.targets.base import (
  CEILING,
  Baseline,
  Fitted,
  Mean,
  Said,
  Score,
  Sums,
  Target,
  check_ratings,
)
from mvp_jax.targets.binary import Binary
from mvp_jax.targets.concordance import Concordance
from mvp_jax.targets.regression import Regression

__all__ = [
  'CEILING',
  'TARGETS',
  'Baseline',
  'Binary',
  'Concordance',
  'Fitted',
  'Mean',
  'Regression',
  'Said',
  'Score',
  'Sums',
  'Target',
  'check_ratings',
  'find',
  'from_dict',
  'register',
]
TARGETS: dict[str, type[Target]] = {}


def register(target: type[Target]) -> type[Target]:
  """Makes a target known by its `kind`; may decorate the class."""
  TARGETS[target.kind] = target
  return target


def find(kind: str) -> type[Target]:
  """The target of a kind. Raises InputError, listing those that there are."""
  if kind not in TARGETS:
    raise InputError(f'target.kind: {kind!r} is none of {", ".join(sorted(TARGETS))}')
  return TARGETS[kind]


def from_dict(described: Any) -> Target:
  """The target that `Target.describe` told of, as run.json has it.

  Raises InputError if there is no such kind or setting.
  """
  if not isinstance(described, dict) or not isinstance(described.get('kind'), str):
    raise InputError(f'target: {described!r} has no kind')
  cls = find(described['kind'])
  known = {field.name for field in dataclasses.fields(cls)}
  settings = {k: tuple(x) if isinstance(x, list) else x for k, x in described.items()}
  del settings['kind']
  if unknown := sorted(set(settings) - known):
    raise InputError(
      f'target.{unknown[0]}: no such setting of {cls.kind}; '
      f'there are {", ".join(sorted(known))}'
    )
  return cls(**settings)


register(Binary)
register(Concordance)
register(Regression)
