"""Fixtures of the downloader's tests: a server that misbehaves as it is told, and a release in public formats."""

import pytest

from data_pipelines import miniature
from data_pipelines.downloads.client import Client
from tests.data_pipelines.downloads.fetch_sample import make_client, make_fetch
from tests.data_pipelines.downloads.flaky_server import flaky_server


@pytest.fixture
def server(monkeypatch):
  monkeypatch.setenv("NO_PROXY", "127.0.0.1")
  with flaky_server() as running:
    yield running


@pytest.fixture
def client() -> Client:
  """A client that waits on no real clock."""
  return make_client()


@pytest.fixture
def fetch(server, client, tmp_path):
  """Fetches one file from the server into an empty folder."""
  return make_fetch(server, client, tmp_path)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
  return miniature.write_release(tmp_path_factory.mktemp("release") / "release", genes=30)
