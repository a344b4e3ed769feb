"""Damages valid files in many ways."""

import re

_TEXTS = (
  *(b'nan', b'inf', b'-1', b'0', b'1e308', b'1e-300', b'8e301', b'99999999999', b''),
  *(b'-0.0', b'1e9', b'2,5', b'"', b'\xc2\xb2', b'x' * 300, b'1' * 5000, b'\0'),
)
_WORDS = b'\xff\xff\xff\xff', b'\xff\xff\xff\x7f', b'\0\0\0\x80', bytes(4), bytes(8)
_NUMBER = re.compile(rb'[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?')


def mutated(data, rng):
  """One to three changes of a file's bytes; `rng` of NumPy."""
  data = bytearray(data)
  for _ in range(rng.integers(1, 4)):
    data = _CHANGES[rng.integers(len(_CHANGES))](data, rng)
  return bytes(data)


def _place(data, rng):
  # Heads of files say most.
  near = min(len(data), 600) if rng.random() < 0.7 else len(data)
  return int(rng.integers(0, near + 1))


def _flip(data, rng):
  for _ in range(rng.integers(1, 8)):
    at = _place(data, rng)
    if at < len(data):
      data[at] ^= int(rng.integers(1, 256))
  return data


def _number(data, rng):
  near = len(data) if rng.random() < 0.3 else 2000
  found = list(_NUMBER.finditer(bytes(data[:near])))
  if found:
    first, last = found[rng.integers(len(found))].span()
    data[first:last] = _TEXTS[rng.integers(len(_TEXTS))]
  return data


def _word(data, rng):
  at, word = _place(data, rng), _WORDS[rng.integers(len(_WORDS))]
  data[at : at + len(word)] = word
  return data


def _cut(data, rng):
  return data[: _place(data, rng)]


def _drop(data, rng):
  at = _place(data, rng)
  del data[at : at + int(rng.integers(1, 200))]
  return data


def _again(data, rng):
  at = _place(data, rng)
  data[at:at] = data[at : at + int(rng.integers(1, 200))]
  return data


def _noise(data, rng):
  at = _place(data, rng)
  data[at:at] = rng.bytes(int(rng.integers(1, 40)))
  return data


_CHANGES = _flip, _number, _number, _word, _word, _cut, _drop, _again, _noise
