"""Unpickles what comes from outside within bounds of memory and time.

A pickle is a program for a small machine. Python's own machine, in C, takes what the
program asks for: a memo up to its highest index, or a hash of tuples within tuples,
which takes for ever. Here it is the machine in Python with what a real file never does
left out.
"""

import pickle

# Operations of a pickle. A checkpoint of VideoMAE-g with its optimiser has 200,000, one
# of DEAP's files 100.
_MOST_OPERATIONS = 2_000_000
_MOST_PARTS = 1000  # of a key
_TIMES, _LEAST = 4, 16 << 20  # what is made of a pickle, by its file's size, and bytes


class StandIn:
  """An object that stands for one of another class, whose state it takes."""

  def __setstate__(self, state):
    pass


class _Ignored(StandIn):
  """Stands for a set, which no array needs; what is put into it is let go."""

  def add(self, item):
    pass


class _File:
  """What is left of a file, of which no more is read than there is."""

  def __init__(self, file, size):
    self._file, self._left = file, size

  def read(self, count):
    if count > self._left:
      raise EOFError('it ends early')
    self._left -= count
    return self._file.read(count)

  def readline(self):
    line = self._file.readline()
    self._left -= len(line)
    return line


class _Operations(dict):
  """Functions by their codes, each use of which counts."""

  left = _MOST_OPERATIONS

  def __getitem__(self, code):
    self.left -= 1
    if self.left < 0:
      raise ValueError(f'more than {_MOST_OPERATIONS} operations')
    return super().__getitem__(code)

  def __missing__(self, code):
    raise ValueError(f'an operation {code} that no array needs')


class BoundedUnpickler(pickle._Unpickler):
  """The base of unpicklers that make stand-ins of all but plain values.

  Subclasses say in `find_class` what stands for a name: functions, or subclasses of
  `StandIn`. What these make they `spend`. All that is wrong raises ValueError, or what
  Python raises of a damaged pickle.

  Args:
    file: of bytes, to be read from where it is.
    size: bytes there are to read.
    whole: bytes of the file that the values lie in; None = `size`.
    encoding: of texts of Python 2.
  """

  def __init__(self, file, size, whole=None, encoding='utf-8'):
    super().__init__(_File(file, size), encoding=encoding)
    self._size, self._left = size, max(_LEAST, _TIMES * (whole or size))
    self.dispatch = _Operations(self._known)

  def spend(self, count):
    """Notes that so many bytes are made. Raises ValueError if no real file does."""
    self._left -= count
    if self._left < 0:
      raise ValueError(f'it asks for {_TIMES} times the memory that its file has')

  def load_put(self):
    super().load_put()
    self._check_memo()

  def load_long_binput(self):
    super().load_long_binput()
    self._check_memo()

  def _check_memo(self):
    last = next(reversed(self.memo))
    if last > self._size:  # no pickler numbers more than it has written
      raise ValueError(f'a memo up to {last} in {self._size} bytes (PUT {last})')

  def load_setitem(self):
    check_key(self.stack[-2])
    super().load_setitem()

  def load_setitems(self):
    for key in self.stack[::2]:
      check_key(key)
    super().load_setitems()

  def load_dict(self):
    for key in self.stack[::2]:
      check_key(key)
    super().load_dict()

  def load_empty_set(self):
    self.append(_Ignored())

  def load_frozenset(self):
    self.pop_mark()
    self.append(_Ignored())

  def load_bytearray8(self):
    self.load_binbytes8()
    self.stack[-1] = bytearray(self.stack[-1])

  def load_build(self):
    state, made = self.stack.pop(), self.stack[-1]
    if isinstance(made, StandIn):
      made.__setstate__(state)
    elif not isinstance(made, dict):  # attributes of a dict have no use
      raise ValueError(f'a state for {type(made).__name__}')

  _known = pickle._Unpickler.dispatch | {
    code[0]: function
    for code, function in (
      (pickle.PUT, load_put),
      (pickle.LONG_BINPUT, load_long_binput),
      (pickle.SETITEM, load_setitem),
      (pickle.SETITEMS, load_setitems),
      (pickle.DICT, load_dict),
      (pickle.EMPTY_SET, load_empty_set),
      (pickle.FROZENSET, load_frozenset),
      (pickle.BYTEARRAY8, load_bytearray8),
      (pickle.BUILD, load_build),
    )
  }
  for code in (pickle.EXT1, pickle.EXT2, pickle.EXT4):  # classes by number
    del _known[code[0]]
  del code


def check_key(key):
  """Raises ValueError if a key of a dict could take long to hash."""
  parts, todo = 0, [key]
  while todo:
    one = todo.pop()
    parts += len(one) if isinstance(one, tuple) else 1
    if parts > _MOST_PARTS or (isinstance(one, int) and one.bit_length() > 64):
      raise ValueError('a key of a dict that is no name or number')
    if isinstance(one, tuple):
      todo += one
