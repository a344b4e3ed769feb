"""What is odd about the sound of a trial: flags that inform and decide nothing."""

import numpy as np

FULL = 0.99  # of full scale; 8 bits reach .992
_BLOCK_SECONDS = 0.01
_LOUDEST = 95  # percentile of blocks
# Three real people who talk have -10 to -13 dB; a microphone that is switched off, and
# the noise of its amplifier, has -70 and less.
_SILENT = -60.0
# Of the samples. The same three, as loud as they can be, have up to 5e-5; made louder
# by half and so cut off, .0018 to .0046.
_CLIPPED = 1e-3
_MISSING = 0.2  # as of body signals
GOOD = 'good'


def sound_quality(chunks, count, recorded, rate, clipped):
  """Judges the sound of a trial.

  Args:
    chunks: sequence of bytes, int16 [time] in a row.
    count: samples of the trial.
    recorded: int [stretches, 2], first sample and last + 1 of what was recorded.
    rate: Hz.
    clipped: share of the samples that reach full scale in any channel, as recorded.

  Returns:
    dict: recorded (share of the trial), level (decibel below full scale that 5 % of the
    time are louder than), clipped, flags: of 'missing', 'silent' and 'clipped', or
    'good'.
  """
  share = float(np.diff(recorded).sum() / max(1, count))
  level = _level(chunks, recorded, round(_BLOCK_SECONDS * rate))
  found = {
    'missing': share < 1 - _MISSING,
    'silent': level < _SILENT,
    'clipped': clipped > _CLIPPED,
  }
  return {
    'recorded': share,
    'level': level,
    'clipped': float(clipped),
    'flags': ' '.join(name for name, there in found.items() if there) or GOOD,
  }


def _level(chunks, recorded, block):
  powers, first = [], 0
  for chunk in chunks:
    samples = np.frombuffer(chunk, '<i2').astype(np.float32) / 32768
    for begin, end in recorded.tolist():
      part = samples[max(0, begin - first) : max(0, end - first)]
      blocks = part[: len(part) // block * block].reshape(-1, block)
      powers.append(blocks.var(1))
    first += len(samples)
  powers = np.concatenate(powers) if powers else np.zeros(0)
  if not len(powers):
    return -120.0
  return float(10 * np.log10(max(np.percentile(powers, _LOUDEST), 1e-12)))
