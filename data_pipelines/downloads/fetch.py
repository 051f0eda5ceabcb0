"""One file at a time, whole or not at all: continued where it stopped, verified, then moved into place.

`NAME.part` holds what came so far, `NAME.part.json` which version of the file it is (its ETag or date of last change).
A transfer is continued with `Range` and `If-Range` (RFC 9110), so that a file that changed meanwhile is sent from its
beginning. A file is renamed to its own name only when its checksum is right, or its size where none is published.
"""

import json
import os
import pathlib
import re
import threading
from typing import Protocol

import requests

from data_pipelines.downloads.client import Client, DownloadError, Transient, content_length, validator
from data_pipelines.downloads.files import PART, PART_STATE, Manifest, RemoteFile, checksum, safe_path

_CHUNK = 1 << 17
# So much new data between two failures is progress, and the attempts are counted anew.
_STRETCH = 1 << 20
# Fewer bytes in the time that a server may be silent are as good as silence.
_TRICKLE = 1 << 10


class FileProgress(Protocol):
  """Is told of each file's progress."""

  def at(self, position: int) -> None:
    """So many bytes of the file are there."""


class _Mismatch(Exception):
  """What came is not what was announced."""


class _Part:
  """The unfinished file beside its place."""

  def __init__(self, target: pathlib.Path, remote: RemoteFile):
    self.path = target.with_name(target.name + PART)
    self._state_path = target.with_name(target.name + PART_STATE)
    self._source = {"url": remote.url, "checksum": remote.checksum}
    self.validator: str | None = None
    self.announced: int | None = None
    try:
      state = json.loads(self._state_path.read_text())
      # The same content may have moved: an address can hold the revision of a whole repository.
      if state["url"] == remote.url or state["checksum"] == remote.checksum is not None:
        self.validator, self.announced = state["validator"], state["announced"]
      else:
        self.reset()
    except (OSError, ValueError, KeyError, TypeError):
      self.reset()  # nobody knows what the bytes are a part of

  def size(self) -> int:
    return self.path.stat().st_size if self.path.exists() else 0

  def begin(self, response: requests.Response, announced: int | None) -> None:
    self.validator, self.announced = validator(response), announced
    state = {**self._source, "validator": self.validator, "announced": announced}
    self._state_path.write_text(json.dumps(state) + "\n")

  def reset(self) -> None:
    self.path.unlink(missing_ok=True)
    self._state_path.unlink(missing_ok=True)
    self.validator = self.announced = None

  def move_to(self, target: pathlib.Path) -> None:
    os.replace(self.path, target)
    self._state_path.unlink(missing_ok=True)


class Fetcher:
  """Fetches files into a folder and keeps its manifest. Threads may share one; each file is one thread's."""

  def __init__(self, client: Client, root: pathlib.Path, *, recheck: bool = True):
    """
    Args:
      client: to ask with.
      root: the folder, which exists.
      recheck: compute the checksum of files that are there; else their size and their record in the manifest count.
    """
    self._client, self._root, self._recheck = client, root, recheck
    self.manifest = Manifest(root)
    self._lock = threading.Lock()

  def fetch(self, remote: RemoteFile, progress: FileProgress) -> bool:
    """Makes sure that the file is there and verified.

    Returns:
      Whether it was fetched; False where it was there.

    Raises:
      DownloadError: naming the file, what was expected, what came and what to do.
      Stopped: the client's clock was stopped; what came is kept.
    """
    target = self._root / safe_path(remote.path, url=remote.url)
    if target.exists():
      if (problem := self._is_there(remote, target)) is None:
        progress.at(target.stat().st_size)
        return False
      self._client.say(f"{remote.path}: {problem}; it is fetched anew")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target, remote)
    for again in (False, True):
      try:
        self._complete(remote, part, progress)
        found, verified = self._verify(remote, part)
        break
      except _Mismatch as mismatch:
        part.reset()
        if again:
          raise DownloadError(
              remote.url, f"{remote.path}: {mismatch}, also when it is fetched again from its beginning",
              "The server holds a damaged or half-replaced file: try again in some hours.",
          ) from None
        self._client.say(f"{remote.path}: {mismatch}; it is fetched again from its beginning")
    entry = {
        "url": remote.url, "size": part.size(), "checksum": found, "licence": remote.licence,
        "validator": part.validator, "verified": verified,
    }
    part.move_to(target)
    self._record(remote.path, entry)
    return True

  def _record(self, path: str, entry: dict) -> None:
    with self._lock:
      self.manifest.put(path, entry)

  # Files that are there

  def _is_there(self, remote: RemoteFile, target: pathlib.Path) -> str | None:
    """None where the file is the right one, else what is wrong with it."""
    size, record = target.stat().st_size, self.manifest.get(remote.path)
    expected, version = remote.size, None
    if remote.checksum is None:
      expected, version = self._client.head(remote.url)
    if expected is not None and expected != size:
      return f"has {size:,} bytes, the server's {expected:,}"
    if version is not None and record and version != record.get("validator"):
      return "was changed on the server"
    wanted = remote.checksum or (record or {}).get("checksum")
    if not self._recheck and record and (record.get("checksum"), record.get("size")) == (wanted, size):
      return None
    found = checksum(target, wanted.split(":")[0] if wanted else "sha256")
    if wanted is not None and found != wanted:
      return f"has {found}, expected {wanted}"
    if not record or record.get("checksum") != found:
      self._record(remote.path, {
          "url": remote.url, "size": size, "checksum": found, "licence": remote.licence, "validator": version,
          "verified": found.split(":")[0] if remote.checksum else "size" if expected is not None else "transfer",
      })
    return None

  # Files that are not

  def _complete(self, remote: RemoteFile, part: _Part, progress: FileProgress) -> None:
    """Transfers until the part is as long as it should be."""
    attempts = self._client.attempts(remote.url)
    mark = part.size()
    while True:
      try:
        self._transfer(remote, part, progress)
        return
      except Transient as error:
        # The mark never goes back: a server that always begins anew is given up, too.
        if progressed := part.size() >= mark + _STRETCH:
          mark = part.size()
        attempts.failed(error, progressed=progressed)

  def _transfer(self, remote: RemoteFile, part: _Part, progress: FileProgress) -> None:
    """One request; returns when the part is complete as far as its length tells."""
    expected = remote.size if remote.size is not None else part.announced
    # Without a version or a checksum nothing would show that two parts are of different files.
    if not (part.validator or remote.checksum):
      part.reset()
    offset = part.size()
    if offset and offset == expected:
      return
    headers = {}
    if offset:
      headers["Range"] = f"bytes={offset}-"
      if part.validator:
        headers["If-Range"] = part.validator
    with self._client.open(remote.url, headers=headers, accept=(200, 206, 416) if offset else (200,)) as response:
      offset, announced = self._start(remote, part, response, offset)
      with open(part.path, "ab") as stream:
        progress.at(offset)
        since, at = self._client.clock.now(), offset
        # read1 hands over what has come, undecoded; iter_content would wait for a full chunk and lose it in a stall.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
          self._client.clock.check()
          offset += len(chunk)
          if remote.size is not None and offset > remote.size:
            raise _Mismatch(f"expected {remote.size:,} bytes, got more")
          stream.write(chunk)
          progress.at(offset)
          # A byte now and then is no stall to the socket, and would never end.
          if (now := self._client.clock.now()) - since > self._client.patience.stall:
            if offset - at < _TRICKLE:
              raise Transient("", f"only {offset - at} bytes came in {now - since:.0f} s")
            since, at = now, offset
        stream.flush()
        os.fsync(stream.fileno())  # or a power cut could leave a file of the right name without its content
    if announced is not None and offset < announced:
      raise Transient("", f"the connection was closed early, at byte {offset:,} of {announced:,}")

  def _start(
      self, remote: RemoteFile, part: _Part, response: requests.Response, offset: int
  ) -> tuple[int, int | None]:
    """Prepares the part for the answer's body. Returns where the body begins, and the announced size of the file."""
    if response.headers.get("Content-Encoding", "identity") != "identity" and not remote.path.endswith((".gz", ".tgz")):
      raise DownloadError(remote.url, "comes compressed though asked not to", "Look for a proxy that does this.")
    if response.status_code == 416:
      part.reset()
      raise Transient("", f"the server has nothing at byte {offset:,}")
    if response.status_code == 206:
      first, announced = _content_range(response)
      if first != offset or part.validator and validator(response) not in (None, part.validator):
        part.reset()
        raise Transient("", "the server continues another file than the one that was begun")
      announced = part.announced if announced is None else announced
    else:
      part.reset()  # the server does not continue, or the file changed: this is its beginning
      offset, announced = 0, content_length(response)
      has_end = announced is not None or response.raw.chunked
      if not has_end and remote.size is None and remote.checksum is None:
        raise DownloadError(
            remote.url, "has neither a checksum nor a size: nobody can tell whether it comes whole",
            "Fetch it by other means.",
        )
      part.begin(response, announced)
    if None not in (announced, remote.size) and announced != remote.size:
      raise _Mismatch(f"expected {remote.size:,} bytes, the server sends {announced:,}")
    return offset, announced

  def _verify(self, remote: RemoteFile, part: _Part) -> tuple[str, str]:
    """The checksum of a part that is what it should be, and how that was seen (as in the manifest)."""
    expected = remote.size if remote.size is not None else part.announced
    if expected is not None and part.size() != expected:
      raise _Mismatch(f"expected {expected:,} bytes, got {part.size():,}")
    found = checksum(part.path, remote.checksum.split(":")[0] if remote.checksum else "sha256")
    if remote.checksum is not None and found != remote.checksum:
      raise _Mismatch(f"expected {remote.checksum}, got {found}")
    if remote.checksum is None and remote.path.endswith(".gz"):
      with open(part.path, "rb") as stream:
        start = stream.read(16)
      if not start.startswith(b"\x1f\x8b"):  # such as a login page in its place
        raise _Mismatch(f"expected gzip, got a file that begins with {start!r}")
    return found, found.split(":")[0] if remote.checksum else "size" if expected is not None else "transfer"


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
  """First byte and total size of `Content-Range: bytes 5-9/10`; None for what is missing or `*`."""
  value = response.headers.get("Content-Range", "").strip()
  match = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", value)
  if not match:
    return None, None
  return int(match[1]), None if match[2] == "*" else int(match[2])
