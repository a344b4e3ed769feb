"""The first stage of a job: the corpus, or its twin, prepared.

`config` is a config.Config; `facts` is what becomes run.json.
"""

import dataclasses
import functools
from pathlib import Path

from mvp_jax import corpora, hosts
from mvp_jax.data import streams
from mvp_jax.data.trials import PreparedCorpus
from mvp_jax.errors import InputError
from mvp_jax.evaluation import account, crops
from mvp_jax.files import write_json
from mvp_jax.jobs.common import evaluated_modalities, timed
from mvp_jax.locks import waited_for
from mvp_jax.preparation import load_builder, prepare
from mvp_jax.preparation.account import ACCOUNT, check_trials, read_account
from mvp_jax.synthetic.tree import require_whole
from mvp_jax.training import encoder as encoders
from mvp_jax.workdir import (
  FINGERPRINT,
  check_source,
)

_SYNTHETIC_NOTE = """\
========================================================================
 SYNTHETIC: no {} was given ({}),
 so this run uses a made-up twin, in the same layout and with planted effects.
 Its scores say that the program works, and nothing about emotion.
========================================================================"""


def check_corpus(config, name, streams, own=None):
  """Validates how a corpus is to be prepared. Raises InputError."""
  try:
    load_builder(name).configure(streams=streams, **_preparation(config, name, own))
    if not config.data.manual_dir and corpora.find(name).twin is None:
      raise InputError(
        f'manual_dir: {name} has no synthetic twin; give the folder that holds it'
      )
  except InputError as error:
    raise InputError(f'config.data: {error}') from error


def corpus(config, workdir, facts):
  """The prepared corpus, of the official files or of a twin: a PreparedCorpus."""
  facts.update(
    dataset=config.dataset,
    published=dict(corpora.find(config.dataset).published),
    target=config.target.describe(),
    models=list(config.evaluation.models),
  )
  with timed('data', facts):
    found = prepared_corpus(config, config.dataset, facts, streams_of(config))
    check_source(workdir, found.metadata['fingerprint'])
    facts[FINGERPRINT] = found.metadata['fingerprint']
    if hosts.is_main():
      write_json(workdir / 'run.json', facts)
      (workdir / 'account.csv').write_bytes(
        (found.directory / 'account.csv').read_bytes()
      )
      account.write_page(found, workdir / account.PAGE)
      crops.write(workdir / crops.FILE, found)
  facts['without_baseline'] = _without_baseline(found)
  for name, count in facts['without_baseline'].items():
    if count and hosts.is_main():
      asked = found.metadata['streams'][name]
      remedy = "levels count from the trial's own mean"
      if asked['kind'] == 'frames' or asked['rate'] is None:  # action units
        remedy = "the face counts from the trial's first seconds"
      print(
        f'{name}: {count} of {len(found.trials)} trials have less than half of the '
        f'{asked["before"]:g} s before their onset that are asked for: there, {remedy}',
        flush=True,
      )
  return found


def streams_of(config):
  """The streams that the evaluated models and the simple baselines read."""
  wanted = {
    stream
    for modality in evaluated_modalities(config).values()
    for stream in modality.streams
  }
  wanted |= {*config.target.streams, *corpora.find(config.dataset).always}
  return tuple(sorted(wanted))


def _without_baseline(corpus):
  """{stream: trials in which a channel, or a face, has too little of the baseline}."""
  found = {}
  for name, facts in (streams.series(corpus) | streams.frames(corpus)).items():
    if asked := facts.get('before'):
      own = [t.streams[name] for t in corpus.trials if name in t.streams]
      found[name] = sum(not one.covers(asked) for one in own)
  return found


def _preparation(config, name, own=None, rated=True):
  """How a corpus is prepared: what `prepare` takes of its fields."""
  data = config.data
  own = data.corpus if own is None else own
  return {
    'workers': data.workers or None,
    'beam': data.beam,
    'allow_dropped': data.allow_dropped,
    'frame_rate': data.frame_rate,
    'frame_size': data.frame_size,
    'crop': data.crop,
    'clean': data.clean,
    'ratings': config.target.ratings if rated else (),
    **({'channels': data.channels} if data.channels and name == config.dataset else {}),
    **{f.name: getattr(own, f.name) for f in dataclasses.fields(own)},
  }


def prepared_corpus(config, name, facts, streams, folder=None, own=None, rated=True):
  """Prepares a corpus, of the official files or of a twin: a PreparedCorpus.

  Args:
    streams: names of those wanted.
    folder: of the official files; None: that of the config, or of its twin.
    own: settings of the corpus, if not those of the config.
    rated: whether every trial must have the ratings of the target.
  """
  data, known = config.data, corpora.find(name)
  manual_dir = folder or (Path(data.manual_dir) if data.manual_dir else None)
  check = None
  if manual_dir is None:
    kind = encoders.fingerprint(config.twin, known.version)
    manual_dir = Path(data.data_dir) / 'twins' / f'{name}-{kind}'
    if hosts.is_main():
      given = 'config.pretrain.sources' if config.job == 'pretrain' else ''
      print(
        _SYNTHETIC_NOTE.format(known.title, given or 'config.data.manual_dir'),
        flush=True,
      )
    lock = Path(data.data_dir) / 'locks' / f'{manual_dir.name}.lock'

    def write():
      with waited_for(lock, f'writing {manual_dir}'):
        known.twin.write(manual_dir, config.twin, data.workers or None)

    with timed('twin', facts):
      hosts.on_main(write)
    check = functools.partial(require_whole, manual_dir)
  with timed('prepare', facts):
    directory = Path(
      hosts.on_main(
        lambda: str(
          prepare(
            name,
            manual_dir,
            Path(data.data_dir) / 'prepared',
            streams=streams,
            check=check,
            **_preparation(config, name, own, rated),
          )
        )
      )
    )
  hosts.check_shared(directory)
  found = PreparedCorpus(directory)
  outcomes = read_account(directory / ACCOUNT)
  check_trials(directory / ACCOUNT, [trial.trial_id for trial in found.trials])
  facts.update(
    synthetic=found.metadata['synthetic'],
    ceiling=found.metadata['ceiling'],
    trials_in=len(outcomes),
    trials_out=len(found.trials),
    dropped={
      row['trial_id']: row['outcome'] for row in outcomes if row['outcome'] != 'ok'
    },
  )
  return found
