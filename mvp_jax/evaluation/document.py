"""A report as a list of blocks, and its rendering as HTML and as Markdown.

Both renderings come from the same blocks, so they say the same. All text is
escaped here and nowhere else.
"""

import base64
import html
import io
import re
from typing import NamedTuple

from PIL import Image

_QUALITY = 90  # of pictures in the page; a third of the size of the PNG


class Heading(NamedTuple):
  text: str
  level: int = 2


class Paragraph(NamedTuple):
  text: str


class Banner(NamedTuple):
  """Something that must not be overlooked."""

  title: str
  text: str


class Bullets(NamedTuple):
  items: list[str]


class Table(NamedTuple):
  """Cells of text; the first `text_columns` are aligned left, the rest right.

  Rows in `muted` stand back: they are there to compare with.
  """

  header: list[str]
  rows: list[list[str]]
  text_columns: int = 1
  muted: frozenset[int] = frozenset()


class Picture(NamedTuple):
  """A PNG; `name` is its file name without suffix. The page has it as WebP."""

  name: str
  caption: str
  png: bytes


class Folded(NamedTuple):
  """Long preformatted text that opens on demand."""

  title: str
  text: str


class Link(NamedTuple):
  """A line that leads to another file beside the page, `target`."""

  text: str
  target: str


class Sketch(NamedTuple):
  """A small line drawing, `width` x `height` units, stretched to the place there is.

  `lines` is SVG path data; `spans` are (from, to) along x that are shaded.
  """

  label: str
  width: int
  height: int
  lines: str
  spans: list[tuple[float, float]]


class Card(NamedTuple):
  """One of many alike: lines of text, JPEGs side by side, sketches below."""

  title: str
  lines: list[str]
  jpegs: list[bytes]
  sketches: list[Sketch]
  flagged: bool = False


class Cards(NamedTuple):
  """Cards side by side, as many as there is room for. Markdown has their texts."""

  cards: list[Card]


class Section(NamedTuple):
  """Blocks that open on demand."""

  title: str
  blocks: list


def pictures(blocks: list) -> list[Picture]:
  """All pictures among blocks, those in sections too."""
  found = []
  for block in blocks:
    if isinstance(block, Picture):
      found.append(block)
    elif isinstance(block, Section):
      found += pictures(block.blocks)
  return found


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1d2430; --soft: #5b6675;
  --page: #f6f7f9; --card: #fff; --line: #dfe3e8; --accent: #0b66a8;
  --warn: #a32a00; --warn-page: #fff0e8; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e4e8ee; --soft: #98a3b3; --page: #14181e; --card: #1c222a;
    --line: #323b47; --accent: #6cb8f0; --warn: #ffb08a; --warn-page: #3a2015; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
main {{ max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }}
h1 {{ font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; }}
h2 {{ font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }}
h3 {{ font-size: 1.05rem; margin: 1.2rem 0 .3rem; }}
p, ul {{ margin: .6rem 0; max-width: 48rem; overflow-wrap: anywhere; }}
li {{ margin: .25rem 0; }}
.banner {{ background: var(--warn-page); color: var(--warn); border-radius: 10px;
  border: 2px solid var(--warn); padding: .8rem 1.1rem; margin: 1rem 0; }}
.banner strong {{ font-size: 1.15rem; letter-spacing: .06em; }}
.banner p {{ margin: .2rem 0 0; }}
.scroll {{ overflow-x: auto; background: var(--card); border-radius: 10px;
  border: 1px solid var(--line); margin: .9rem 0; }}
table {{ border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: .42rem .9rem; text-align: right; vertical-align: top; }}
th {{ color: var(--soft); font-weight: 600; border-bottom: 1px solid var(--line);
  white-space: nowrap; }}
td {{ white-space: nowrap; }}
td.text {{ white-space: normal; overflow-wrap: anywhere; min-width: 7rem; }}
.text {{ text-align: left; }}
tr + tr td {{ border-top: 1px solid var(--line); }}
tr.muted td {{ color: var(--soft); }}
figure {{ margin: 1rem 0; }}
img {{ display: block; width: 100%; height: auto; border-radius: 10px;
  border: 1px solid var(--line); background: #fff; }}
figcaption {{ color: var(--soft); font-size: .88rem; margin-top: .4rem;
  max-width: 48rem; }}
details {{ background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: .6rem 1rem; margin: .9rem 0; }}
summary {{ cursor: pointer; color: var(--accent); }}
.section > summary {{ font-size: 1.1rem; font-weight: 600; }}
pre {{ overflow-x: auto; font-size: .82rem; line-height: 1.45; }}
.cards {{ display: grid; gap: .7rem; margin: .9rem 0;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }}
.card {{ background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .6rem .7rem; font-size: .82rem; line-height: 1.35; overflow-wrap: anywhere;
  content-visibility: auto; contain-intrinsic-size: auto 16rem; }}
.card.flagged {{ border-color: var(--warn); }}
.card.flagged p:first-of-type {{ color: var(--warn); }}
.card h4 {{ margin: 0 0 .15rem; font-size: .9rem; }}
.card p {{ margin: .1rem 0; color: var(--soft); }}
.card .strip {{ display: flex; gap: 4px; margin: .35rem 0; }}
.card img {{ flex: 1 1 0; min-width: 0; border-radius: 6px; border: 0; }}
.card svg {{ display: block; width: 100%; height: 2.3rem; margin-bottom: .25rem;
  background: var(--page); border-radius: 4px; }}
.card path {{ fill: none; stroke: var(--accent); stroke-width: 1;
  vector-effect: non-scaling-stroke; }}
.card rect {{ fill: var(--warn); opacity: .3; }}
a {{ color: var(--accent); }}
@media print {{ body {{ background: #fff; }} h2 {{ break-after: avoid; }}
  figure, .scroll {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def to_html(title: str, blocks: list) -> str:
  """One self-contained page: pictures are data URIs, nothing else is loaded."""
  return _PAGE.format(title=html.escape(title), body='\n'.join(map(_html, blocks)))


def to_markdown(title: str, blocks: list, folder: str) -> str:
  """The same as Markdown; pictures are linked as `folder/name.png`."""
  parts = [f'# {_md(title)}', *(_markdown(block, folder) for block in blocks)]
  return '\n\n'.join(parts) + '\n'


def words(key) -> str:
  """A key of a JSON file, or the name of a stream, for people."""
  return str(key).replace('_', ' ')


def _html(block):
  e = html.escape
  match block:
    case Heading(text, level):
      return f'<h{level}>{e(text)}</h{level}>'
    case Paragraph(text):
      return f'<p>{e(text)}</p>'
    case Banner(title, text):
      said = f'<strong>{e(title)}</strong><p>{e(text)}</p>'
      return f'<div class="banner" role="note">{said}</div>'
    case Bullets(items):
      return '<ul>' + ''.join(f'<li>{e(item)}</li>' for item in items) + '</ul>'
    case Table():
      return _html_table(block)
    case Picture(name, caption, png):
      data = base64.b64encode(_webp(png)).decode()
      return (
        f'<figure><img alt="{e(name)}" src="data:image/webp;base64,{data}">'
        f'<figcaption>{e(caption)}</figcaption></figure>'
      )
    case Folded(title, text):
      return f'<details><summary>{e(title)}</summary><pre>{e(text)}</pre></details>'
    case Link(text, target):
      return f'<p><a href="{e(target)}">{e(text)}</a></p>'
    case Cards(cards):
      return f'<div class="cards">{"".join(map(_html_card, cards))}</div>'
    case Section(title, blocks):
      inside = '\n'.join(map(_html, blocks))
      return f'<details class="section"><summary>{e(title)}</summary>{inside}</details>'
  raise TypeError(f'not a block: {block!r}')


def _webp(png):
  content = io.BytesIO()
  Image.open(io.BytesIO(png)).convert('RGB').save(content, 'webp', quality=_QUALITY)
  return content.getvalue()


def _html_card(card):
  e = html.escape
  images = ''.join(
    f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'
    for jpeg in card.jpegs
  )
  return (
    f'<div class="card{" flagged" if card.flagged else ""}">'
    f'<h4>{e(card.title)}</h4>'
    + ''.join(f'<p>{e(line)}</p>' for line in card.lines)
    + (f'<div class="strip">{images}</div>' if images else '')
    + ''.join(map(_html_sketch, card.sketches))
    + '</div>'
  )


def _html_sketch(sketch):
  label = html.escape(sketch.label)
  spans = ''.join(
    f'<rect x="{a:g}" width="{b - a:g}" height="{sketch.height}"/>'
    for a, b in sketch.spans
  )
  lines = f'<path d="{html.escape(sketch.lines)}"/>' if sketch.lines else ''
  return (
    f'<p>{label}</p><svg role="img" aria-label="{label}" '
    f'preserveAspectRatio="none" viewBox="0 0 {sketch.width} {sketch.height}">'
    f'{spans}{lines}</svg>'
  )


def _html_table(table):
  text, muted = ' class="text"', ' class="muted"'

  def cells(tag, row):
    return ''.join(
      f'<{tag}{text if i < table.text_columns else ""}>{html.escape(cell)}</{tag}>'
      for i, cell in enumerate(row)
    )

  rows = ''.join(
    f'<tr{muted if i in table.muted else ""}>{cells("td", row)}</tr>'
    for i, row in enumerate(table.rows)
  )
  return (
    f'<div class="scroll"><table><thead><tr>{cells("th", table.header)}</tr>'
    f'</thead><tbody>{rows}</tbody></table></div>'
  )


def _md(text):
  """Escapes what could become HTML, a link, emphasis or a table border."""
  text = html.escape(' '.join(text.split()), quote=False)
  text = re.sub(r'[\\`*|$]', r'\\\g<0>', text)
  return re.sub(r'\](?=[(\[:])', r'\\]', text)


def _markdown(block, folder):
  match block:
    case Heading(text, level):
      return f'{"#" * level} {_md(text)}'
    case Paragraph(text):
      return _md(text)
    case Banner(title, text):
      return f'> **{_md(title)}**\n>\n> {_md(text)}'
    case Bullets(items):
      return '\n'.join(f'- {_md(item)}' for item in items)
    case Table(header, rows, text_columns):
      rule = ['---' if i < text_columns else '---:' for i in range(len(header))]
      lines = [map(_md, header), rule, *(map(_md, row) for row in rows)]
      return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    case Picture(name, caption):
      return f'![{_md(name)}]({folder}/{name}.png)\n\n{_md(caption)}'
    case Link(text, target):
      return f'[{_md(text)}]({target})'
    case Cards(cards):
      texts = ('; '.join([card.title, *card.lines]) for card in cards)
      return '\n'.join(f'- {_md(text)}' for text in texts)
    case Folded(title, text):
      code = '\n'.join(f'    {line}' for line in text.splitlines())
      return f'<details><summary>{_md(title)}</summary>\n\n{code}\n\n</details>'
    case Section(title, blocks):
      inside = '\n\n'.join(_markdown(block, folder) for block in blocks)
      return f'<details><summary>{_md(title)}</summary>\n\n{inside}\n\n</details>'
  raise TypeError(f'not a block: {block!r}')
