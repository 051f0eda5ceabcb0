"""What is to be fetched, where it goes, and the record of what is there.

Names come from servers: `safe_path` lets none of them leave the folder of a download.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from data_pipelines.downloads.client import DownloadError
from data_pipelines.downloads.contents import Contents
from data_pipelines.errors import InputError

MANIFEST = "downloads.json"
PART, PART_STATE = ".part", ".part.json"
_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+,=@~#()-]*")
_CHECKSUM = re.compile(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}")
_SAVE_EVERY_SECONDS = 5


def safe_path(path: str, *, url: str) -> str:
  """`path` itself, where it is a plain relative path; it came from the server at `url`.

  Raises:
    DownloadError: it could name something outside the download's folder, a hidden file, or one of the download's own.
  """
  components = path.split("/")
  fits = all(_COMPONENT.fullmatch(c) and len(c) <= 200 for c in components)
  if not fits or path == MANIFEST or path.endswith((PART, PART_STATE)):
    raise DownloadError(
        url, f"names a file {path!r}, which is not stored",
        "Names are plain relative paths. If the server is what it should be, report this.",
    )
  return path


@dataclasses.dataclass(frozen=True)
class RemoteFile:
  """One file of a release.

  Attributes:
    url: where it is.
    path: where it goes, relative to the download's folder; see `safe_path`.
    licence: under which it may be used: its short name, a colon, and what else there is to say.
    size: in bytes, as its publisher says, or None.
    approximate_size: as a listing for humans says ("1.2G"), in bytes, or None.
    checksum: `md5:` or `sha256:` and hexadecimal digits, as its publisher says, or None.
    contents: what else is known of it, or None.
  """

  url: str
  path: str
  licence: str
  size: int | None = None
  approximate_size: int | None = None
  checksum: str | None = None
  contents: Contents | None = None

  def __post_init__(self):
    safe_path(self.path, url=self.url)
    if self.checksum is not None and not _CHECKSUM.fullmatch(self.checksum):
      raise DownloadError(self.url, f"its listing gives the checksum {self.checksum!r}", "Expected md5 or sha256.")
    if self.size is not None and not (isinstance(self.size, int) and self.size >= 0):
      raise DownloadError(self.url, f"its listing gives the size {self.size!r}", "Expected a number of bytes.")

  @property
  def expected_bytes(self) -> int | None:
    """The best figure for planning."""
    return self.size if self.size is not None else self.approximate_size


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a release comes to.

  Attributes:
    files: to fetch.
    notes: what whoever asked should know: what was chosen, and what was not found.
  """

  files: list[RemoteFile]
  notes: list[str] = dataclasses.field(default_factory=list)

  def __post_init__(self):
    seen: dict[str, RemoteFile] = {}
    for file in self.files:
      if (other := seen.setdefault(file.path, file)) is not file:
        raise DownloadError(file.url, f"would go to {file.path}, and so would {other.url}", "Ask for one of them.")


def checksum(path: str | os.PathLike, kind: str) -> str:
  """The file's checksum as `kind:hexadecimal`; kind is `md5` or `sha256`."""
  with open(path, "rb") as stream:
    # MD5 serves against accidents; machines that forbid it for security allow it so.
    digest = hashlib.file_digest(stream, lambda: hashlib.new(kind, usedforsecurity=False))
  return f"{kind}:{digest.hexdigest()}"


class Manifest:
  """`downloads.json`: what is in the folder, where it is from and how it was verified.

  `{"version": 1, "files": {path: {url, size, checksum, verified, validator, licence}}}`, sorted, without dates of its
  own: the same files of the same server give the same bytes. `checksum` is the publisher's where there is one, else the
  sha256 of what came; `verified` says against what (`md5`, `sha256`, `size`, or `transfer` where only HTTP marked the
  end); `validator` is the server's ETag or date of the last change.
  """

  def __init__(self, root: pathlib.Path):
    self._path = root / MANIFEST
    self._saved = time.monotonic()
    self.files: dict[str, dict] = {}
    if self._path.exists():
      try:
        found = json.loads(self._path.read_text())["files"]
      except (ValueError, KeyError, TypeError):
        found = None
      entries = found.values() if isinstance(found, dict) else [None]
      if not all(isinstance(e, dict) and _CHECKSUM.fullmatch(str(e.get("checksum"))) for e in entries):
        raise InputError(self._path, "is no record of downloads", "Remove it: the files are then verified anew.")
      self.files = found

  def get(self, path: str) -> Mapping | None:
    return self.files.get(path)

  def put(self, path: str, entry: Mapping) -> None:
    """Records a file. Written at most every few seconds, for a release has tens of thousands of files; see `save`."""
    self.files[path] = dict(entry)
    if time.monotonic() - self._saved > _SAVE_EVERY_SECONDS:
      self.save()

  def save(self) -> None:
    text = json.dumps({"version": 1, "files": dict(sorted(self.files.items()))}, indent=1) + "\n"
    beside = self._path.with_name(f".{MANIFEST}.new")
    beside.write_text(text)
    os.replace(beside, self._path)
    self._saved = time.monotonic()


@contextmanager
def locked(root: pathlib.Path) -> Iterator[None]:
  """Holds the folder for this process, making it where it does not exist.

  Raises:
    InputError: another download is writing there.
  """
  root.mkdir(parents=True, exist_ok=True)
  with open(root / ".download.lock", "w", encoding="ascii") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise InputError(root, "another download is writing here", "Wait for it, or choose another --out.") from None
    yield
