"""Training steps compiled for TPUs that are not here: memory, collectives, bounds.

  python benchmarks/tpu_compile.py CONFIG TOPOLOGY [SETTING=VALUE ...]
  python benchmarks/tpu_compile.py videomae_pretrain v5e:4x8 encoder.remat=linear
  python benchmarks/tpu_compile.py --all      all of the table that are not known yet
  python benchmarks/tpu_compile.py --table    the table of docs/scale.md

CONFIG is a file of configs/, taken at full size; settings are as on the command line,
without --config. TPU's own compiler, in the package libtpu, runs on any CPU and refuses
what does not fit. Its version goes with that of JAX, see what `jax[tpu]` asks for:

  pip install --no-deps --target libtpu libtpu==0.0.42.1      (for JAX 0.10.2)
  PYTHONPATH=libtpu python benchmarks/tpu_compile.py ...

Nothing is run: there are no times, but bounds. What is found stays in
benchmarks/tpu_compile.json, or in the file that --found names.
"""

import argparse
import json
import os
import pathlib
import sys

import jax

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from benchmarks.tpu_steps import Case, measure

FOUND = pathlib.Path(__file__).with_suffix('.json')
# What docs/scale.md shows, the most wanted first.
_PRETRAIN = 'videomae_pretrain'
TABLE = (
  Case(_PRETRAIN, 'v5e:4x8'),
  Case(_PRETRAIN, 'v5e:4x8', ('encoder.remat=linear',)),
  Case('deap_fusion', 'v5e:4x8'),
  Case('deap_video', 'v5e:4x8'),
  Case(
    _PRETRAIN,
    'v5p:4x4x4',
    ('encoder.size=L', 'encoder.train.batch_size=2048', 'mesh.fsdp=4'),
  ),
  Case(_PRETRAIN, 'v6e:8x8', ('encoder.train.batch_size=2048',)),
  # One host, four hosts.
  Case(_PRETRAIN, 'v5e:2x2', ('encoder.train.accumulate=8',)),
  Case(_PRETRAIN, 'v5e:4x4', ('encoder.train.accumulate=2',)),
  # What the docs recommend of each size on each topology.
  *(
    Case(_PRETRAIN, topology, tuple(words.split()))
    for topology, settings in {
      'v5p:4x4x4': (
        'encoder.size=H encoder.train.batch_size=4096 encoder.remat=linear',
        'encoder.size=H encoder.train.batch_size=4096',
        'encoder.size=g encoder.patch=14 encoder.train.batch_size=4096 mesh.fsdp=4',
        'encoder.size=S encoder.train.batch_size=16384',
        'encoder.size=L encoder.train.batch_size=4096',
        'encoder.train.batch_size=8192',
      ),
      'v5e:4x8': (
        'encoder.size=L encoder.remat=linear mesh.fsdp=4',
        'encoder.size=H encoder.remat=linear encoder.train.batch_size=512 mesh.fsdp=8',
        'encoder.size=g encoder.patch=14 encoder.remat=full '
        'encoder.train.batch_size=512 mesh.fsdp=8',
        'encoder.size=S encoder.train.batch_size=2048',
      ),
      'v6e:8x8': (
        'encoder.size=L encoder.train.batch_size=2048',
        'encoder.size=H encoder.remat=linear encoder.train.batch_size=2048 mesh.fsdp=4',
        'encoder.size=g encoder.patch=14 encoder.remat=full '
        'encoder.train.batch_size=2048 mesh.fsdp=4',
        'encoder.size=S encoder.train.batch_size=8192',
      ),
    }.items()
    for words in settings
  ),
)


def known(path):
  """{text of a Case: what `measure` found} so far."""
  return json.loads(path.read_text()) if path.exists() else {}


def keep(path, case, found):
  """Adds what `measure` found of a Case."""
  part = path.with_suffix('.part')
  everything = dict(sorted((known(path) | {str(case): found}).items()))
  part.write_text(json.dumps(everything, indent=1) + '\n')
  part.replace(path)


def table(everything):
  """The table of docs/scale.md: Markdown."""
  rows = [
    (
      'step',
      'chips (hosts)',
      'batch',
      'memory of a chip, GiB',
      'collectives a step',
      'a chip does',
      'at most of peak',
      'compiled in',
    ),
    ('---',) * 8,
  ]
  for case in TABLE:
    if (found := everything.get(str(case))) is None:
      continue
    rows.append(
      (
        f'`{" ".join([case.config, *case.settings])}`',
        f'{found["chips"]} {case.topology.replace(":", " ")} ({found["hosts"]})',
        f'{found["batch"]:,}',
        _memory(found),
        *(_work(found) if found['fits'] else ('',) * 4),
      )
    )
  return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def _memory(found):
  need = f'{found["needed_gib"]:.1f} of {found["limit_gib"]:g}'
  if not found['fits']:
    return f'{need}: **refused**'
  parts = found['memory_gib']
  return (
    f'{need} ({", ".join(f"{x:.1f} {name}" for name, x in parts.items() if x > 0.05)})'
  )


def _work(found):
  sent = ', '.join(
    f'{x["count"]} {kind} {x["bytes"] / 1e6:.0f} MB'
    for kind, x in found['collectives'].items()
  )
  does = f'{found["moved_bytes"] / 1e9:.1f} GB'
  if 'flops' in found:
    does = f'{found["flops"] / 1e12:.1f} TFLOP, {does}'
  bound = max(found['least_seconds'], key=found['least_seconds'].get)
  most = f'{found["most_of_peak"]:.0%}' if 'most_of_peak' in found else '-'
  if found['least_sent_bytes']:
    sent += f' (least {found["least_sent_bytes"] / 1e6:.0f} MB)'
  return (
    sent or 'none',
    does,
    f'{most} ({bound})',
    f'{found["compile_cpu_seconds"]} s',
  )


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('case', nargs='*', help='CONFIG TOPOLOGY [SETTING=VALUE ...]')
  parser.add_argument('--all', action='store_true')
  parser.add_argument('--table', action='store_true')
  parser.add_argument('--found', type=pathlib.Path, default=FOUND)
  args = parser.parse_args()
  # No TPU is looked for.
  jax.config.update('jax_platforms', 'cpu')
  os.environ |= {'TPU_SKIP_MDS_QUERY': '1', 'TPU_WORKER_HOSTNAMES': 'localhost'}
  os.environ['ALLOW_MULTIPLE_LIBTPU_LOAD'] = '1'  # beside another that compiles
  cases = [Case(args.case[0], args.case[1], tuple(args.case[2:]))] if args.case else []
  if args.all:
    cases += [case for case in TABLE if str(case) not in known(args.found)]
  for case in cases:
    found = measure(case)
    keep(args.found, case, found)
    print(json.dumps({str(case): found}), flush=True)
  if args.table:
    print(table(known(args.found)))


if __name__ == '__main__':
  main()
