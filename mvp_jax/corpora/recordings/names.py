"""Who is who in a manifest: one normal form of the names of people and of stimuli.

People are told apart by it in every manifest, and on both sides of a fold.
"""

import re
import unicodedata
import zlib
from typing import NamedTuple

from mvp_jax.errors import InputError

# Letters of Greek and Cyrillic that look like Latin ones, small or capital: a keyboard
# of those makes another P01, which nobody sees.
_LOOK_ALIKE = str.maketrans(
  'авекмнорстухіјαβεηικμνορτυχζ', 'abekmhopctyxijabehikmnoptyxz'
)
_BETWEEN = r'[\s_.,:;/\\()\[\]#\'"\u2010-\u2015\u2212-]+'  # spaces, dashes and the like


class Names(NamedTuple):
  """Names, each in one spelling, the first.

  Attributes:
    first: {name as written: its first spelling}.
    numbers: {first spelling: number}, the same in every manifest.
    alike: {name as written: another one that it looks like}; left out of the others.
    note: a line on spellings that were taken as one, or ''.
  """

  first: dict[str, str]
  numbers: dict[str, int]
  alike: dict[str, str]
  note: str


def people(names):
  """The people of some names, in the order of rows: Names.

  A number is one however it is written: 1, 01, 1.0. Other spellings of what looks
  like one name, such as P01 and p1, are `alike`: two people are never made one.
  """
  return _named(
    names,
    'subject',
    lambda name: normal(name).translate(_LOOK_ALIKE),
    lambda one, other: _plain(one) == _plain(other),
  )


def stimuli(names):
  """The stimuli of some names, in the order of rows: Names. Spellings are one."""
  return _named(names, 'stimulus', normal, lambda one, other: True)


def normal(name):
  """The normal form of a name: case, spaces, dashes between letters and zeros in front
  of a number do not count, a dash between two numbers does (S1-11 is not S11-1), and so
  does the sign of a name that is a number."""
  text = unicodedata.normalize('NFKC', _plain(name)).casefold()
  if re.fullmatch('-[0-9]+', text):  # -1 is not 1
    return text
  text = re.sub(rf'(?<=\d){_BETWEEN}(?=\d)', '\n', text)
  text = re.sub(_BETWEEN, '', text.replace('\n', '\0')).replace('\0', '-')
  return re.sub(r'(?<!\d)0+(?=\d)', '', text) or name


def _plain(name):
  """A name as it would be written in one go: 1 for 01 and 1.0, letters composed, no
  signs that nobody sees (a space without width, say)."""
  text = ''.join(c for c in name if unicodedata.category(c) != 'Cf')
  text = ' '.join(unicodedata.normalize('NFC', text).split())
  number = re.fullmatch(r'([+\u2212-]?)0*([0-9]+?)(?:[.,]0+)?', text)
  if not number:
    return text
  return f'-{number[2]}' if number[1] not in '+' else number[2]


def _named(names, column, form, are_one):
  first, alike, spellings = {}, {}, {}
  for name in dict.fromkeys(names):
    known = spellings.setdefault(form(name), [])
    if known and not are_one(known[0], name):
      alike[name] = known[0]
      continue
    known.append(name)
    first[name] = known[0]
  told = '; '.join(' = '.join(_shown(s)) for s in spellings.values() if len(s) > 1)
  note = told and f'column {column}: taken as one: {told}'
  return Names(first, _numbers(set(first.values()), column), alike, note)


def _shown(spellings):
  """As written, or with escapes where they look the same."""
  plain = {_plain(name) for name in spellings}
  same = len(plain) < len(spellings) and not ''.join(spellings).isascii()
  return map(ascii, spellings) if same else spellings


def _numbers(names, column):
  """{name: number}. Raises InputError if two names have one number."""
  numbers = {name: _number(normal(name)) for name in names}
  if len(set(numbers.values())) < len(numbers):
    raise InputError(
      f'column {column}: two of {", ".join(sorted(names))} have one number; rename one'
    )
  return numbers


def _number(name):
  """A normal name's number, the same in every manifest, for whom an encoder has seen is
  known by number. That of p7 ends in 007."""
  if re.fullmatch(r'[0-9]{1,9}', name):
    return int(name)
  match = re.fullmatch(r'(.*[^0-9])([0-9]{1,3})', name)
  if not match:
    return zlib.crc32(name.encode()) >> 1
  return (zlib.crc32(match[1].encode()) % 2_000_000 + 1) * 1000 + int(match[2])
