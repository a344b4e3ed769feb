"""What all stages of a job share: its beginning, its clock, its audit.

`config` is a config.Config; `facts` is what becomes run.json.
"""

import contextlib
import time
from pathlib import Path

import jax

from mvp_jax import compiled, devices, hosts
from mvp_jax.evaluation import audit
from mvp_jax.files import write_json
from mvp_jax.workdir import (
  check_hosts,
  claim,
  in_use,
  provenance,
  seal,
)


@contextlib.contextmanager
def begun(config, workdir):
  """Claims the work directory for a job, and keeps other runs out of it.

  Yields:
    The first facts: code, versions, devices, and the seconds of an earlier run.

  Raises:
    InputError: another run's, or the processes of this job differ.
  """
  check_hosts(config)
  with in_use(workdir):
    earlier = claim(workdir, config)
    devices.tell()
    compiled.use(Path(config.data.data_dir) / 'compiled')
    try:
      yield {
        **provenance(),
        'seconds': earlier.get('seconds', {}),
        'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
      }
    finally:
      compiled.seal()
    hosts.on_main(lambda: seal(workdir))


@contextlib.contextmanager
def timed(stage, facts):
  """Adds to the seconds of a stage, of this run and those it goes on from."""
  start = time.monotonic()
  yield
  before = facts['seconds'].get(stage, 0)
  facts['seconds'][stage] = round(before + time.monotonic() - start, 1)


def conclude(workdir, facts, checks):
  """Adds checks of the audit to run.json; raises InputError if one has failed."""
  facts['audit'] = audit.report(checks, facts.get('audit'))
  if hosts.is_main():
    write_json(workdir / 'run.json', facts)
  audit.stop_if_failed(facts['audit'])


def evaluated_modalities(config):
  """The modalities that some evaluated model reads: {name: Modality}."""
  names = dict.fromkeys(
    name for model in config.evaluation.models for name in config.modalities_of(model)
  )
  return {name: config.modalities[name] for name in names}


def encoded(config):
  """Whether some evaluated model reads frames through the encoder."""
  return any(modality.encoded for modality in evaluated_modalities(config).values())
