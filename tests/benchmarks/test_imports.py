"""What benchmarks import of the package is there: they are run too seldom to tell."""

import ast
import importlib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_OURS = ('mvp_jax', 'configs')


def _imported(tree):
  """(module, name) of all that is imported from the package, wherever it stands."""
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module:
      if node.module.split('.')[0] in _OURS:
        yield from ((node.module, alias.name) for alias in node.names)
    elif isinstance(node, ast.Import):
      for alias in node.names:
        if alias.name.split('.')[0] in _OURS:
          yield alias.name, None


@pytest.mark.parametrize(
  'path', sorted((_ROOT / 'benchmarks').glob('*.py')), ids=lambda path: path.stem
)
def test_what_a_benchmark_imports_is_there(path):
  for module, name in _imported(ast.parse(path.read_text('utf-8'))):
    found = importlib.import_module(module)
    if name is not None and not hasattr(found, name):  # it may be a module
      importlib.import_module(f'{module}.{name}')
