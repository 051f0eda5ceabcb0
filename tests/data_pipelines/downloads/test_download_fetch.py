"""One file from a bad server: it comes whole and verified, or an error says what was wrong; nothing else is left."""

import hashlib
import json
import random

import pytest

from data_pipelines.downloads.client import Client, DownloadError, Patience, Stopped
from data_pipelines.downloads.fetch import Fetcher
from data_pipelines.downloads.files import MANIFEST, RemoteFile
from tests.data_pipelines.downloads import flaky_server as flaky
from tests.data_pipelines.downloads.fetch_sample import (
  CHECKSUM,
  CONTENT,
  OTHER,
  Positions,
  assert_whole,
  make_client,
  make_fetch,
  md5,
  names,
)


def ranges(server, path="/f.bin") -> list[str | None]:
  return [request.headers.get("Range") for request in server.asked("GET", path)]


# Transfers


def test_file_comes_whole_and_the_manifest_says_what_it_is(server, fetch, tmp_path):
  served = server.add("/f.bin", CONTENT)
  assert fetch() is True
  assert_whole(tmp_path)
  assert json.loads((tmp_path / MANIFEST).read_text()) == {"version": 1, "files": {"f.bin": {
      "url": f"{server.url}/f.bin", "size": len(CONTENT), "checksum": md5(CONTENT), "verified": "md5",
      "licence": "CC0: all of it", "validator": served.etag,
  }}}
  assert fetch.progress[0] == 0 and fetch.progress[-1] == len(CONTENT)


def test_transfer_that_breaks_off_is_continued_where_it_stopped(server, fetch, tmp_path):
  served = server.add("/f.bin", CONTENT, flaky.truncate(100_000))
  fetch()
  assert_whole(tmp_path)
  assert ranges(server) == [None, "bytes=100000-"]
  assert server.requests[-1].headers["If-Range"] == served.etag


def test_transfer_that_stalls_is_continued_where_it_stopped(server, tmp_path):
  server.add("/f.bin", CONTENT, flaky.stall(100_000))
  client = make_client(stall=0.3)
  make_fetch(server, client, tmp_path)()
  assert_whole(tmp_path)
  assert ranges(server)[:2] == [None, "bytes=100000-"]
  assert "nothing came for 0.3 s" in client.said[0]


def test_another_run_continues_what_an_earlier_one_left(server, fetch, client, tmp_path):
  server.add("/f.bin", CONTENT, *[flaky.truncate(50_000)] * 4)
  with pytest.raises(DownloadError, match="4 times in a row"):
    fetch()
  # Each attempt brought 50,000 bytes: what came is kept, beside the file's place and not in it.
  assert (tmp_path / "f.bin.part").read_bytes() == CONTENT[:200_000]
  assert not (tmp_path / "f.bin").exists()
  fetch()
  assert_whole(tmp_path)
  assert ranges(server)[-1] == "bytes=200000-"
  assert fetch.progress[0] == 200_000


def test_part_that_is_whole_is_verified_without_asking_again(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.truncate(299_999))
  client = Client(Patience(attempts=1), clock=flaky.FakeClock(), say=lambda line: None)
  with pytest.raises(DownloadError):
    Fetcher(client, tmp_path).fetch(RemoteFile(f"{server.url}/f.bin", "f.bin", "", checksum=md5(CONTENT)), Positions())
  with open(tmp_path / "f.bin.part", "ab") as part:
    part.write(CONTENT[299_999:])
  fetch()
  assert_whole(tmp_path)
  assert len(server.requests) == 1


def test_server_that_ignores_ranges_begins_anew(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000), ranges=False)
  fetch()
  assert_whole(tmp_path)
  assert ranges(server) == [None, "bytes=100000-"]


def test_server_that_always_begins_anew_and_breaks_off_is_given_up(server, fetch):
  content = CONTENT * 10
  server.add("/f.bin", content, *[flaky.truncate(2_000_000)] * 50, ranges=False)
  with pytest.raises(DownloadError, match="closed early"):
    fetch(checksum=md5(content))
  assert len(server.requests) == 4


def test_progress_renews_the_patience_with_a_server(server, fetch, tmp_path):
  content = CONTENT * 40
  server.add("/f.bin", content, *[flaky.truncate(1_200_000)] * 9)
  fetch(checksum=md5(content))
  assert_whole(tmp_path, content)


def test_file_that_changes_between_attempts_is_never_mixed(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000), flaky.replace_with(OTHER))
  fetch(checksum=None)
  assert_whole(tmp_path, OTHER)


def test_file_that_changes_again_and_again_is_given_up(server, fetch, tmp_path):
  contents = [random.Random(i).randbytes(300_000) for i in range(20)]
  server.add("/f.bin", CONTENT, *[flaky.replace_then_truncate(c, 200_000) for c in contents])
  with pytest.raises(DownloadError, match="4 times in a row"):
    fetch(checksum=None)
  assert not (tmp_path / "f.bin").exists()


@pytest.mark.parametrize("shift", [-7, 7])
def test_continuation_at_another_place_is_not_appended(server, fetch, tmp_path, shift):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000), flaky.continue_with(CONTENT, shift=shift))
  fetch(checksum=None)
  assert_whole(tmp_path)


@pytest.mark.parametrize("other", [{"content": OTHER}, {"content": CONTENT + b"more", "etag": False}])
def test_continuation_of_another_version_is_not_appended(server, fetch, tmp_path, other):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000), flaky.continue_with(**other))
  fetch(checksum=None)
  assert_whole(tmp_path)
  assert ranges(server) == [None, "bytes=100000-", None]


def test_server_that_sends_less_than_was_asked_for_is_asked_for_the_rest(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000), flaky.continue_with(CONTENT, length=50_000))
  fetch(checksum=None)
  assert_whole(tmp_path)
  assert ranges(server) == [None, "bytes=100000-", "bytes=150000-"]


def test_server_without_versions_is_not_continued_where_no_checksum_would_show_it(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000), validators=False)
  fetch(checksum=None)
  assert_whole(tmp_path)
  assert ranges(server) == [None, None]


def test_server_without_versions_is_continued_where_there_is_a_checksum(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000), validators=False)
  fetch()
  assert_whole(tmp_path)
  assert ranges(server) == [None, "bytes=100000-"]


def test_part_beyond_the_end_of_a_file_that_shrank_is_dropped(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, *[flaky.truncate(250_000)] * 1, *[flaky.answer(503)] * 3)
  with pytest.raises(DownloadError):
    fetch(checksum=None)
  server.add("/f.bin", OTHER[:1000])
  fetch(checksum=None)
  assert_whole(tmp_path, OTHER[:1000])


@pytest.mark.parametrize("state", [
    None, "{", "[]", "{}", '{"url": "http://elsewhere/f.bin", "checksum": null, "validator": null, "announced": null}',
])
def test_part_of_unknown_origin_is_not_continued(server, fetch, tmp_path, state):
  server.add("/f.bin", CONTENT)
  (tmp_path / "f.bin.part").write_bytes(OTHER[:1000])
  if state:
    (tmp_path / "f.bin.part.json").write_text(state)
  fetch()
  assert_whole(tmp_path)
  assert ranges(server) == [None]


def test_part_is_continued_at_another_address_of_the_same_content(server, client, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000), *[flaky.answer(503)] * 3)
  with pytest.raises(DownloadError):
    fetch()
  server.add("/moved/f.bin", CONTENT)
  remote = RemoteFile(f"{server.url}/moved/f.bin", "f.bin", "", checksum=md5(CONTENT))
  Fetcher(client, tmp_path).fetch(remote, Positions())
  assert ranges(server, "/moved/f.bin") == ["bytes=100000-"]
  assert (tmp_path / "f.bin").read_bytes() == CONTENT


def test_damaged_part_is_found_by_the_checksum_and_begun_anew(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000), *[flaky.answer(503)] * 3)
  with pytest.raises(DownloadError):
    fetch()
  (tmp_path / "f.bin.part").write_bytes(OTHER[:100_000])
  fetch()
  assert_whole(tmp_path)
  assert ranges(server)[-2:] == ["bytes=100000-", None]


def test_connection_closed_without_an_answer_is_tried_again(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.hang_up)
  fetch()
  assert_whole(tmp_path)


def test_trickle_is_as_good_as_a_stall(server, tmp_path):
  server.add("/f.bin", CONTENT, flaky.trickle)
  said: list[str] = []
  client = Client(Patience(stall=0.5, attempts=4, backoff=0.01), say=said.append)
  Fetcher(client, tmp_path).fetch(RemoteFile(f"{server.url}/f.bin", "f.bin", "", checksum=CHECKSUM), Positions())
  assert (tmp_path / "f.bin").read_bytes() == CONTENT
  assert "bytes came in" in said[0]


def test_empty_file_is_a_file(server, fetch, tmp_path):
  server.add("/f.bin", b"")
  fetch(checksum=md5(b""), size=0)
  assert_whole(tmp_path, b"")


def test_chunked_answer_without_a_length_is_whole_only_with_its_end(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.chunked(whole=False), flaky.chunked(whole=True))
  fetch(checksum=None)
  assert_whole(tmp_path)
  assert json.loads((tmp_path / MANIFEST).read_text())["files"]["f.bin"]["verified"] == "transfer"


def test_file_that_nothing_could_verify_is_refused(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.without_length)
  with pytest.raises(DownloadError, match="neither a checksum nor a size"):
    fetch(checksum=None)
  assert not (tmp_path / "f.bin").exists()


def test_checksum_verifies_a_file_without_a_length(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.without_length)
  fetch()
  assert_whole(tmp_path)


def test_compression_in_transit_that_was_not_asked_for_is_refused(server, fetch):
  server.add("/f.bin", CONTENT, headers={"Content-Encoding": "gzip"})
  with pytest.raises(DownloadError, match="comes compressed"):
    fetch(checksum=None)


def test_gzip_file_that_a_server_labels_as_encoded_is_stored_as_it_is(server, fetch, tmp_path):
  content = b"\x1f\x8b" + CONTENT
  server.add("/f.gz", content, headers={"Content-Encoding": "gzip"})
  fetch(checksum=None, path="f.gz")
  assert_whole(tmp_path, content, "f.gz")


def test_stopped_transfer_keeps_what_came(server, client, fetch, tmp_path):
  server.add("/f.bin", CONTENT, flaky.truncate(100_000))
  client.clock.wait = lambda seconds: (client.clock.stop(), client.clock.check())
  with pytest.raises(Stopped):
    fetch()
  assert (tmp_path / "f.bin.part").read_bytes() == CONTENT[:100_000]


# Verification


def test_damaged_transfer_is_fetched_once_more_from_its_beginning(server, fetch, client, tmp_path):
  server.add("/f.bin", CONTENT, flaky.answer(200, OTHER))
  fetch()
  assert_whole(tmp_path)
  assert ranges(server) == [None, None]
  assert f"expected {md5(CONTENT)}, got {md5(OTHER)}" in client.said[0]


def test_wrong_checksum_twice_is_an_error_with_both_checksums_and_leaves_nothing(server, fetch, tmp_path):
  server.add("/f.bin", OTHER)
  with pytest.raises(DownloadError) as error:
    fetch()
  assert f"{server.url}/f.bin: f.bin: expected {md5(CONTENT)}, got {md5(OTHER)}" in str(error.value)
  assert len(server.requests) == 2
  assert names(tmp_path) == {MANIFEST}


def test_sha256_is_checked_as_well(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT)
  fetch(checksum=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
  with pytest.raises(DownloadError, match="expected sha256:00"):
    fetch(checksum=f"sha256:{'0' * 64}")
  assert (tmp_path / "f.bin").read_bytes() == CONTENT  # the old file stays until a right one takes its place


def test_size_other_than_listed_is_an_error_with_both(server, fetch):
  server.add("/f.bin", CONTENT)
  with pytest.raises(DownloadError, match="expected 299,999 bytes, the server sends 300,000"):
    fetch(checksum=None, size=299_999)


def test_endless_answer_is_cut_at_the_listed_size(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT * 100, *[flaky.without_length] * 2)
  with pytest.raises(DownloadError, match="expected 1,000 bytes, got more"):
    fetch(checksum=None, size=1000)
  assert names(tmp_path) == {MANIFEST}


def test_end_before_the_listed_size_is_no_whole_file(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, *[flaky.without_length] * 2)
  with pytest.raises(DownloadError, match="expected 300,001 bytes, got 300,000"):
    fetch(checksum=None, size=300_001)
  assert names(tmp_path) == {MANIFEST}


def test_length_that_claims_too_much_is_not_taken_for_a_whole_file(server, fetch, tmp_path):
  server.add("/f.bin", CONTENT, *[flaky.claim(400_000)] * 4)
  with pytest.raises(DownloadError, match="closed early"):
    fetch(checksum=None)
  assert not (tmp_path / "f.bin").exists()


def test_length_that_claims_too_little_is_found_by_the_checksum(server, fetch):
  server.add("/f.bin", CONTENT, *[flaky.claim(200_000)] * 2)
  with pytest.raises(DownloadError, match=f"expected {md5(CONTENT)}, got {md5(CONTENT[:200_000])}"):
    fetch()


def test_page_in_place_of_a_gzip_file_is_seen_without_a_checksum(server, fetch):
  server.add("/f.gz", "<!DOCTYPE html><title>Please log in</title>")
  with pytest.raises(DownloadError, match="expected gzip, got a file that begins with b'<!DOCTYPE html>"):
    fetch(checksum=None, path="f.gz")
