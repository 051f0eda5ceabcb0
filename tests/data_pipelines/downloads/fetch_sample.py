"""Fetching `/f.bin` of a local server into a folder, for the tests of transfers."""

import hashlib
import pathlib
import random
from collections.abc import Callable

from data_pipelines.downloads.client import Client, Patience
from data_pipelines.downloads.fetch import Fetcher
from data_pipelines.downloads.files import MANIFEST, RemoteFile
from tests.data_pipelines.downloads.flaky_server import FakeClock, Server

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)


def md5(content: bytes) -> str:
  return f"md5:{hashlib.md5(content).hexdigest()}"


CHECKSUM = md5(CONTENT)


class Positions(list):
  """A `FileProgress`."""

  def at(self, position: int) -> None:
    self.append(position)


def make_client(stall: float = 10) -> Client:
  """A client whose pauses take no time, and which writes down what it says in `said`. `stall` does take its time."""
  said: list[str] = []
  client = Client(Patience(connect=10, stall=stall, attempts=4), clock=FakeClock(), say=said.append)
  client.said = said
  return client


def make_fetch(server: Server, client: Client, folder: pathlib.Path) -> Callable[..., bool]:
  """A function that fetches a file of the server and returns whether it was transferred; its progress is `progress`."""
  def run(checksum=CHECKSUM, size=None, path="f.bin", **options) -> bool:
    fetcher = Fetcher(client, folder, **options)
    run.progress = Positions()
    try:
      remote = RemoteFile(f"{server.url}/{path}", path, "CC0: all of it", size=size, checksum=checksum)
      return fetcher.fetch(remote, run.progress)
    finally:
      fetcher.manifest.save()
  return run


def names(folder: pathlib.Path) -> set[str]:
  return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def assert_whole(folder: pathlib.Path, content: bytes = CONTENT, name: str = "f.bin") -> None:
  """The file is there, its record is, and nothing else."""
  assert (folder / name).read_bytes() == content
  assert names(folder) == {name, MANIFEST}
