"""The ratings of a manifest: on which scale the answers are, and what they are."""

import dataclasses
import math

RATINGS = ('valence', 'arousal', 'dominance', 'liking', 'familiarity')
REQUIRED = ('valence', 'arousal')  # of every trial, unless others are trained on
SCALE = 1.0, 9.0  # of stored ratings, whatever was asked for
_SHORTER = (
  7.0  # the highest answer of other scales in use, which may be taken for SCALE
)


def scaled(value, scale):
  """An answer on a scale (lowest, highest) as a rating on `SCALE`."""
  (low, high), (bottom, top) = scale, SCALE
  return bottom + (top - bottom) * (value - low) / (high - low)


@dataclasses.dataclass
class Answers:
  """All answers to one question. `said`: whether the manifest tells their scale."""

  name: str
  values: list[float] = dataclasses.field(default_factory=list)
  scales: set[tuple[float, float]] = dataclasses.field(default_factory=set)
  high: int = 0
  said: bool = True

  def add(self, value, scale, said):
    self.values.append(value)
    self.scales.add(scale)
    self.high += scaled(value, scale) > math.fsum(SCALE) / 2
    self.said &= said

  def __str__(self):
    scales = ' or '.join(f'{low:g} to {high:g}' for low, high in sorted(self.scales))
    return (
      f'{self.name}: {min(self.values):g} to {max(self.values):g} on the scale '
      f'{scales}, {self.high / len(self.values):.0%} high ({len(self.values)})'
    )

  @property
  def note(self):
    """A remark where the scale may be another than it is taken for, or ''."""
    if self.said or max(self.values) > _SHORTER:
      return ''
    name, (low, high) = self.name, SCALE
    return (
      f'column {name}: the scale is taken as {low:g} to {high:g}, but no answer is '
      f'above {max(self.values):g}; if that was the highest one possible, say so in '
      f'columns rating_min and rating_max, or {name}_min and {name}_max'
    )
