"""What the documentation says to type exists, and its links lead somewhere."""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from mvp_jax.__main__ import COMMANDS
from mvp_jax.config import parse, resolve

_ROOT = Path(__file__).parents[1]
_PAGES = sorted(
  path.relative_to(_ROOT).as_posix()
  for folder in ('.', 'docs', 'datasets/*')
  for path in _ROOT.glob(f'{folder}/*.md')
)
_BLOCK = re.compile(r'^[ \t]*```sh\n(.*?)^[ \t]*```', re.DOTALL | re.MULTILINE)


def _commands(page):
  """Words of each command of a page, with what its variables stand for."""
  for block in _BLOCK.findall((_ROOT / page).read_text()):
    variables = {}
    for line in block.replace('\\\n', ' ').splitlines():
      words = shlex.split(line, comments=True)
      if not words:
        continue
      if re.fullmatch(r'[A-Z]+=.*', words[0]):
        name, _, value = words[0].partition('=')
        variables[f'${name}'] = shlex.split(value)
        continue
      for known, value in variables.items():
        if words[0] == known:
          words = value + words[1:]
      for command in ' '.join(map(shlex.quote, words)).split(" '&&' "):
        yield shlex.split(command)


def _all(page):
  return [' '.join(words) for words in _commands(page)]


def test_there_are_commands_to_try():
  found = [command for page in _PAGES for command in _all(page)]
  assert sum('--config=' in command for command in found) > 30
  assert sum('-m mvp_jax ' in command for command in found) > 3


@pytest.mark.parametrize('page', _PAGES)
def test_links_lead_somewhere(page):
  text = re.sub(r'```.*?```', '', (_ROOT / page).read_text(), flags=re.DOTALL)
  for target in re.findall(r'\]\(([^)\s]+)\)', text):
    if re.match(r'https?://|mailto:', target):
      continue
    name, _, heading = target.partition('#')
    path = (_ROOT / page).parent / name if name else _ROOT / page
    assert path.exists(), f'{page}: {target}'
    if heading and path.suffix == '.md':
      assert heading in _anchors(path.read_text()), f'{page}: {target}'


def _anchors(text):
  titles = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
  return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


@pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')  # absl's
@pytest.mark.parametrize('page', _PAGES)
def test_configs_and_settings_are_there(page, monkeypatch):
  for words in _commands(page):
    given = [word for word in words if word.startswith('--config')]
    if not given or not given[0].startswith('--config=configs/'):
      continue
    values = flags.FlagValues()
    config_flags.DEFINE_config_file('config', flag_values=values)
    file, *others = (word for word in given if '...' not in word)
    others = [word.replace('=N', '=1') for word in others]
    argv = ['launch.py', f'--config={_ROOT}/{file.removeprefix("--config=")}', *others]
    monkeypatch.setattr(sys, 'argv', argv)  # where ml_collections looks, too
    values(argv)
    known = config_flags.get_override_values(values['config'])
    assert parse(resolve(values.config, known)), ' '.join(words)


@pytest.mark.parametrize('page', _PAGES)
def test_commands_are_there(page):
  for words in _commands(page):
    for place, word in enumerate(words):
      if word != '-m':
        continue
      module = words[place + 1]
      if module == 'mvp_jax':
        assert words[place + 2 :] == [] or words[place + 2] in COMMANDS, words
      elif module.startswith('mvp_jax'):
        path = _ROOT / module.replace('.', '/')
        path = path / '__main__.py' if path.is_dir() else path.with_suffix('.py')
        assert "__name__ == '__main__'" in path.read_text(), words


@pytest.mark.parametrize('page', _PAGES)
def test_files_of_the_repository_are_there(page):
  for words in _commands(page):
    for word in words:
      if re.match(r'(configs|benchmarks|docs|requirements)[\w./-]*\.\w+$', word):
        assert (_ROOT / word).exists(), f'{page}: {word}'


@pytest.mark.parametrize('page', _PAGES)
def test_python_blocks_are_python(page):
  text = (_ROOT / page).read_text()
  for block in re.findall(r'^```python\n(.*?)^```', text, re.DOTALL | re.MULTILINE):
    ast.parse(block)


def test_every_page_is_in_the_site_s_table_of_contents():
  site = (_ROOT / 'mkdocs.yml').read_text()
  nav = set(re.findall(r'- ([\w/]+\.md)$', site, re.MULTILINE))
  pages = {path.name for path in (_ROOT / 'docs').glob('*.md')}
  corpora = {f'datasets/{path.name}.md' for path in (_ROOT / 'datasets').iterdir()}
  assert nav == pages | corpora | {
    *('index.md', 'api.md', 'contributing.md', 'changelog.md')
  }
