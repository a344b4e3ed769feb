"""The package's commands: python -m mvp_jax COMMAND [ARGUMENT ...]"""

import difflib
import importlib
import sys

from mvp_jax.errors import ending

# command: module whose `main(arguments)` runs it, imported only when wanted; purpose
COMMANDS = {
  'run': ('mvp_jax.launch', 'run the job of a config file, as launch.py does'),
  'predict': ('mvp_jax.inference.command', 'say what a run makes of new files'),
  'export': ('mvp_jax.inference.export', 'write trained models as one folder'),
  'check': (
    'mvp_jax.corpora.recordings.check',
    'validate a manifest of recordings and its files',
  ),
  'weights': ('mvp_jax.weights.__main__', 'show, import, export VideoMAE weights'),
  'report': ('mvp_jax.evaluation.report', 'rewrite the report of a work directory'),
  'account': ('mvp_jax.evaluation.account', 'show what became of each trial'),
  'clock-audit': ('mvp_jax.clock_audit', 'check that video and signals are in step'),
}


def main(arguments=None):
  """Runs a command; returns its exit status, 2 where there is no such command."""
  name, *rest = (sys.argv[1:] if arguments is None else arguments) or ['--help']
  if name in ('-h', '--help'):
    lines = (f'  {name:13}{purpose}' for name, (_, purpose) in COMMANDS.items())
    print(__doc__, '', *lines, '', 'COMMAND --help tells more.', sep='\n')
    return 0
  if name not in COMMANDS:
    near = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f'; did you mean {near[0]}?' if near else ''
    there = f'no command {name!r}; there are {" ".join(COMMANDS)}'
    print(f'error: {there}{hint}', file=sys.stderr)
    return 2
  try:
    return importlib.import_module(COMMANDS[name][0]).main(rest)
  except (Exception, KeyboardInterrupt) as error:
    ended = ending(error)
    if ended is None:
      raise
    print('error:', *ended[0].split(), file=sys.stderr)
    return ended[1]


if __name__ == '__main__':
  sys.exit(main())
