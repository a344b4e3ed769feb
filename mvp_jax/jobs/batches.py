"""What the sizes of batches mean for a job: its learning rates, and its memory."""

from mvp_jax import hosts
from mvp_jax.jobs import common
from mvp_jax.training.pretrain import SECTION, called


def trainings(config):
  """{section: TrainConfig} of the trainings that a job may do."""
  found, encoder = {}, config.encoder
  if config.job != 'pretrain':
    found['config.train'] = config.train
  if config.job == 'pretrain' or (encoder.pretrained and not encoder.checkpoint):
    found |= {f'{SECTION}.train': encoder.train} if encoder.pretrains else {}
  return found


def say(config, recipe):
  """Says, where a batch is not the recipe's, what becomes of the learning rate.

  Args:
    config: config.Config.
    recipe: nested dict of the settings that the learning rates were chosen for. It may
      not fit the others of the config.
  """
  for section, train in trainings(config).items():
    before = recipe
    for part in section.split('.')[1:]:
      before = before.get(part, {})
    line = told(section, train, before)
    if line and hosts.is_main():
      print(line, flush=True)


def told(section, train, recipe):
  """The line of `say` on one training, whose section `recipe` is, or None.

  What the recipe leaves out is as it is now.
  """
  size, rate = train.batch_size, train.optimiser.learning_rate
  before, parts = recipe.get('batch_size', size), []
  if train.accumulate != recipe.get('accumulate', train.accumulate):
    parts.append(
      f'{section}.accumulate is {train.accumulate}: a step is still one of all {size} '
      'examples and keeps its learning rate'
    )
  if size != before:
    line = f'{section}.batch_size is {size}, in the config file {before}: '
    if rate != recipe.get('optimiser', {}).get('learning_rate', rate):
      line += f'the learning rate is {rate:g}, as given'
    else:
      line += (
        f'the learning rate stays {rate:g}, for it is not scaled with the batch '
        f'(in proportion: --{section}.optimiser.learning_rate={rate * size / before:g})'
      )
    parts.append(line)
  return '; '.join(parts) or None


def memory(config):
  """Settings of a job that take memory, for `errors.no_memory`.

  Returns:
    Those to lower, those to raise, and that of what is computed twice, or ''.
  """
  sections = list(trainings(config))
  pretrains, frames = f'{SECTION}.train' in sections, True
  lower, end_to_end = [], False
  if config.job != 'pretrain':
    frames = common.encoded(config)
    end_to_end = config.encoder.finetune or config.input.windows == 'random'
    lower.append('config.evaluation.batch_size')
    lower += ['config.encoder.feature_batch'] if frames and not end_to_end else []
  if not frames:
    sections = ['config.train']
  lower = [*(f'{section}.batch_size' for section in sections), *lower]
  lower.append('config.data.workers')
  trained = frames and (pretrains or end_to_end)
  remat = called(config.encoder, '').remat if trained else ''
  return lower, [f'{section}.accumulate' for section in sections], remat
