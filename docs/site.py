"""Hooks of mkdocs: pages that lie outside of docs/, and the page of public names."""

import re
from pathlib import Path

from mkdocs.structure.files import File

_ROOT = Path(__file__).parents[1]
_OUTSIDE = {
  'README.md': 'index.md',
  'CONTRIBUTING.md': 'contributing.md',
  'CHANGELOG.md': 'changelog.md',
} | {
  path.relative_to(_ROOT).as_posix(): f'datasets/{path.parent.name}.md'
  for path in sorted(_ROOT.glob('datasets/*/README.md'))
}


def on_files(files, config):
  """Adds pages from outside, and the one of public names."""
  for source, page in _OUTSIDE.items():
    text = (_ROOT / source).read_text()
    files.append(File.generated(config, page, content=_linked(text, source, page)))
  public = re.search(
    r'_PUBLIC = \{(.*?)\}', (_ROOT / 'mvp_jax/__init__.py').read_text(), re.DOTALL
  )
  names = re.findall(r"'(\w+)': '([\w.]+)'", public.group(1))
  blocks = '\n\n'.join(f'::: {module}.{name}' for name, module in names)
  text = '# Public names\n\n`import mvp_jax`; all else is private by convention.\n\n'
  text += f'{blocks}\n'
  files.append(File.generated(config, 'api.md', content=text))
  return files


def on_page_markdown(markdown, page, config, files):
  """Sends links that leave docs/ to where their pages are."""
  if page.file.generated_by:
    return markdown
  return _linked(markdown, f'docs/{page.file.src_uri}', page.file.src_uri)


def _linked(text, source, page):
  """Markdown with links as from `page` of the site instead of a file `source`."""

  def link(match):
    target, _, heading = match.group(1).partition('#')
    if not target or re.match(r'\w+:', target):
      return match.group(0)
    path = ((_ROOT / source).parent / target).resolve().relative_to(_ROOT).as_posix()
    found = _OUTSIDE.get(path) or path.removeprefix('docs/')
    up = '../' * page.count('/')
    return f']({up}{found}{"#" if heading else ""}{heading})'

  return re.sub(r'\]\(([^)\s]+)\)', link, text)
