"""Features of a frozen backbone, worked out once for each trial and kept in files."""

import io
import time

import jax
import numpy as np

from mvp_jax import checksums, hosts
from mvp_jax.files import atomic_write
from mvp_jax.progress import Progress
from mvp_jax.training import sharding
from mvp_jax.training.state import forward
from mvp_jax.training.tasks import FrameFeatures

_SEAL_SECONDS = 15.0  # features of so long are lost where a run is killed


def cache_features(
  backbone, params, corpus, trials, layout, batch_size, *, mesh, directory
):
  """Runs a frozen backbone over the clips of trials.

  The tokens of each trial that has the stream, float32 [clips * slots, D], NaN of a
  clip that cannot be read, are written to `<stretch_id>.npy` in `directory`. Existing
  files are kept, so that a killed run resumes; damaged ones are made anew. No other
  run may be at it.

  Args:
    layout: how clips lie in a trial: data.clips.ClipLayout, or of sound
      data.log_mel.Pictures.
    batch_size: clips that are worked on at a time.
  """
  sums = {}

  def find_missing():
    directory.mkdir(parents=True, exist_ok=True)
    sums.update(checksums.whole(directory, _is_array))
    return [
      i
      for i, t in enumerate(trials)
      if layout.stream in t.streams and f'{t.stretch_id}.npy' not in sums
    ]

  def seal():
    sums.update(checksums.seal(directory, _is_array, sums))

  missing = hosts.on_main(find_missing)
  if not missing:
    return
  todo = [trials[i] for i in missing]
  run = forward(FrameFeatures(backbone), mesh, 'features')
  rows = sharding.batch_rows(batch_size, mesh)

  def compute(clips):  # list of arrays, as the backbone takes them
    padded = np.stack(clips + [clips[-1]] * (batch_size - len(clips)))
    tokens = run(params, sharding.put_batch({'frames': padded[rows]}, mesh))
    return np.asarray(jax.device_get(tokens))[: len(clips)]

  shown = hosts.console() if len(trials) > 1 else io.StringIO()
  with Progress(
    len(trials),
    f'{layout.stream} features',
    'trial',
    len(trials) - len(todo),
    shown,
  ) as progress:
    clips, done, open_trials = [], [], []  # of trials not yet written
    sealed = time.monotonic()

    def work():
      done.extend(compute(clips))
      clips.clear()

    def write():
      while open_trials and len(done) >= len(open_trials[0][1]):
        trial, there = open_trials.pop(0)
        tokens = np.stack(done[: len(there)])
        del done[: len(there)]
        tokens[~np.array(there)] = np.nan
        tokens = tokens.reshape(-1, tokens.shape[-1])
        if hosts.is_main():
          with atomic_write(directory / f'{trial.stretch_id}.npy') as part:
            np.save(part, tokens)
        progress.update()

    for trial in todo:
      there = []  # which of its clips can be read
      for clip, readable in layout.clips(corpus, trial):
        clips.append(clip)
        there.append(readable)
        if len(clips) == batch_size:
          work()
      open_trials.append((trial, there))
      write()
      if hosts.is_main() and time.monotonic() - sealed > _SEAL_SECONDS:
        seal()
        sealed = time.monotonic()
    if clips:
      work()
    write()
  hosts.on_main(seal)


def _is_array(name):
  return name.endswith('.npy') and '/' not in name  # a folder below is another's
