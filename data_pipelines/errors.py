"""The error that every reader and builder raises for bad input."""

import os


class InputError(ValueError):
  """Input that cannot be used. The message names the file, the record, what is wrong and what to do.

  Attributes:
    path: the file.
    record: the record in it (name, line or coordinates), or None where the whole file is meant.
  """

  def __init__(self, path: str | os.PathLike, problem: str, remedy: str, *, record: str | None = None):
    self.path = os.fspath(path)
    self._arguments = (path, problem, remedy, record)
    self.record = record
    where = f"{self.path}: {record}" if record else self.path
    super().__init__(f"{where}: {problem}. {remedy}")

  def __reduce__(self):
    """Errors travel from the workers of a build to its driver."""
    return _input_error, self._arguments


def _input_error(path: str | os.PathLike, problem: str, remedy: str, record: str | None) -> InputError:
  return InputError(path, problem, remedy, record=record)
