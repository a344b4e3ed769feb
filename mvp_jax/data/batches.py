"""Batches: Grain for training, padded passes for evaluation."""

import grain
import jax
import numpy as np
from absl import flags


def training_batches(source, batch_size, seed, workers=0, read=None):
  """Endless shuffled batches of this process's share; the position can be saved.

  Args:
    source: has `__len__` and `__getitem__`.
    batch_size: over all processes together.
    seed: of the order and of `read`'s random numbers.
    workers: reader processes; 0 = threads of this process.
    read: function of (item, numpy Generator) for what is random in an example.

  Returns:
    grain.IterDataset of dicts of arrays.
  """
  processes = jax.process_count()
  data = grain.MapDataset.source(source)[jax.process_index()::processes]
  data = data.seed(seed).shuffle().repeat()
  if read is not None:
    data = data.random_map(read)
  # Whole batches are what the threads hand over: cheaper than single examples,
  # and the order does not depend on the number of workers.
  data = data.batch(batch_size // processes, drop_remainder=True)
  data = data.to_iter_dataset(
      grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
  if workers:
    if not flags.FLAGS.is_parsed():  # Grain reads them; in a notebook nobody has
      flags.FLAGS.mark_as_parsed()
    data = data.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
  return data


def evaluation_batches(source, batch_size):
  """One pass in order. The last batch is filled up with examples of weight 0."""
  for start in range(0, len(source), batch_size):
    items = [source[i] for i in range(start, min(start + batch_size, len(source)))]
    padding = {**items[-1], 'weight': np.float32(0)}
    items += [padding] * (batch_size - len(items))
    yield {k: np.stack([item[k] for item in items]) for k in items[0]}
