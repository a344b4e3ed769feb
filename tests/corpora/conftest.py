"""Fixtures of the raw readers, for readers of corpora."""

from tests.raw.conftest import (  # noqa: F401
  draw_face,
  write_python2_pickle,
  write_video,
)
