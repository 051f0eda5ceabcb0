"""What is in a download's folder: files that are there, their record, and names that servers give."""

import json

import pytest

from data_pipelines.downloads.client import DownloadError
from data_pipelines.downloads.fetch import Fetcher
from data_pipelines.downloads.files import MANIFEST, RemoteFile, locked
from data_pipelines.errors import InputError
from tests.data_pipelines.downloads import flaky_server as flaky
from tests.data_pipelines.downloads.fetch_sample import (
  CONTENT,
  OTHER,
  Positions,
  assert_whole,
  md5,
)

# Files that are there


def test_file_that_is_there_and_verified_is_not_asked_for(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT)
  fetch()
  before = (tmp_path / MANIFEST).read_bytes()
  server.requests.clear()
  assert fetch() is False
  assert fetch.progress == [len(CONTENT)]
  assert server.requests == []
  assert (tmp_path / MANIFEST).read_bytes() == before


def test_file_without_checksum_is_only_asked_after(server, fetch):
  server.add("/f.bin", CONTENT)
  fetch(checksum=None)
  server.requests.clear()
  assert fetch(checksum=None) is False
  assert [request.method for request in server.requests] == ["HEAD"]


@pytest.mark.parametrize("checksum", [md5(CONTENT), None])
def test_damaged_file_of_the_right_size_is_fetched_anew(server, fetch, client, tmp_path, checksum):
  server.add("/f.bin", CONTENT)
  fetch(checksum=checksum)
  (tmp_path / "f.bin").write_bytes(OTHER)
  assert fetch(checksum=checksum) is True
  assert_whole(tmp_path)
  assert "expected" in client.said[0] and "fetched anew" in client.said[0]


def test_cut_off_file_is_fetched_anew_even_without_recheck(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT)
  fetch()
  (tmp_path / "f.bin").write_bytes(CONTENT[:-1])
  assert fetch(recheck=False) is True
  assert_whole(tmp_path)


def test_without_recheck_size_and_record_are_trusted(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT)
  fetch()
  (tmp_path / "f.bin").write_bytes(OTHER)
  assert fetch(recheck=False) is False


@pytest.mark.parametrize("checksum", [md5, lambda content: None])
def test_file_that_was_renewed_on_the_server_is_fetched_anew(server, fetch, tmp_path, checksum):
  server.add("/f.bin", CONTENT)
  fetch(checksum=checksum(CONTENT))
  server.add("/f.bin", OTHER)
  assert fetch(checksum=checksum(OTHER)) is True
  assert_whole(tmp_path, OTHER)


def test_right_file_without_a_record_is_recorded(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT)
  (tmp_path / "f.bin").write_bytes(CONTENT)
  assert fetch() is False
  assert json.loads((tmp_path / MANIFEST).read_text())["files"]["f.bin"]["checksum"] == md5(CONTENT)


def test_file_of_another_size_without_a_record_is_fetched_anew(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT)
  (tmp_path / "f.bin").write_bytes(CONTENT[:-1])
  assert fetch(checksum=None) is True
  assert_whole(tmp_path)


def test_two_folders_get_the_same_manifest(server, client, tmp_path):
  server.add("/a.bin", CONTENT)
  server.add("/b.bin", OTHER, flaky.truncate(7))
  named = {"a.bin": CONTENT, "b.bin": OTHER}
  remotes = [RemoteFile(f"{server.url}/{n}", n, "CC0", checksum=md5(content)) for n, content in named.items()]
  manifests = []
  for name, order in (("x", remotes), ("y", remotes[::-1])):
    (tmp_path / name).mkdir()
    fetcher = Fetcher(client, tmp_path / name)
    for remote in order:
      fetcher.fetch(remote, Positions())
    fetcher.manifest.save()
    manifests.append((tmp_path / name / MANIFEST).read_bytes())
  assert manifests[0] == manifests[1]


@pytest.mark.parametrize("content", [
    "{", "[]", '{"files": 3}', '{"files": {"a": 3}}', '{"files": {"f.bin": {"checksum": "crc32:0"}}}',
])
def test_damaged_manifest_is_an_error_that_says_what_to_do(fetch, tmp_path, content):
  (tmp_path / MANIFEST).write_text(content)
  with pytest.raises(InputError, match="Remove it"):
    fetch()


# Names and folders


@pytest.mark.parametrize("path", [
    "../f", "a/../../f", "/etc/passwd", "a//b", "", ".", "..", "a/.", ".hidden", "a/.hidden/b", "a\\b", "C:\\a", "a\nb",
    "a\0b", "é", "-rf", "f.part", "f.part.json", MANIFEST, "x" * 300,
])
def test_name_that_could_lead_out_of_the_folder_is_refused(path):
  with pytest.raises(DownloadError, match="names a file"):
    RemoteFile("http://127.0.0.1/", path, "")


@pytest.mark.parametrize("path", ["GCF_1.1_a/GCF_1.1_a_rna.fna.gz", "sample/10BT/000_00000.parquet", "a(b)+c=d,e@f"])
def test_names_that_occur_are_taken(path):
  assert RemoteFile("http://127.0.0.1/", path, "").path == path


@pytest.mark.parametrize("size", [-1, "10", 1.5])
def test_size_that_is_none_is_refused(size):
  with pytest.raises(DownloadError, match="gives the size"):
    RemoteFile("http://127.0.0.1/", "f", "", size=size)


@pytest.mark.parametrize("checksum", ["md5:xyz", "crc32:00000000", "0" * 32, f"md5:{'0' * 31}"])
def test_checksum_that_is_none_is_refused(checksum):
  with pytest.raises(DownloadError, match="gives the checksum"):
    RemoteFile("http://127.0.0.1/", "f", "", checksum=checksum)


def test_folder_is_one_downloads_at_a_time(tmp_path):
  with locked(tmp_path), pytest.raises(InputError, match="another download is writing here"), locked(tmp_path):
    pass
