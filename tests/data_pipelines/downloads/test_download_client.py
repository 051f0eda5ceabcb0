"""Manners: who we say we are, when we ask again and when no more, which redirects are followed."""

import datetime
import email.utils
import io
import threading

import hypothesis
import hypothesis.strategies as st
import pytest
import requests

from data_pipelines.downloads.client import Client, Clock, DownloadError, Patience, Stopped, parse_retry_after
from tests.data_pipelines.downloads import flaky_server as flaky


@pytest.fixture
def clock() -> flaky.FakeClock:
  return flaky.FakeClock()


@pytest.fixture
def client(clock) -> Client:
  said: list[str] = []
  client = Client(Patience(connect=10, stall=10, attempts=4), clock=clock, say=said.append)
  client.said = said
  return client


def test_client_says_who_it_is_and_asks_for_bytes_as_they_are(server, client):
  server.add("/a", "text")
  assert client.text(f"{server.url}/a") == "text"
  headers = server.requests[0].headers
  assert headers["User-Agent"].startswith("bsm_jax/")
  assert "data_pipelines.download" in headers["User-Agent"]
  assert headers["Accept-Encoding"] == "identity"


def test_password_file_of_the_user_is_not_sent(server, client, tmp_path, monkeypatch):
  (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
  monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
  server.add("/a", "text")
  client.text(f"{server.url}/a")
  assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_fault_is_asked_again_after_a_pause(server, client, clock, status):
  server.add("/a", "text", flaky.answer(status))
  assert client.text(f"{server.url}/a") == "text"
  assert len(clock.waits) == 1 and 0.5 <= clock.waits[0] <= 1
  assert f"HTTP {status}" in client.said[0] and "attempt 2 of 4" in client.said[0]


def test_pauses_double_up_to_a_limit_with_some_chance_in_them(server, clock):
  client = Client(Patience(attempts=9, backoff=1, backoff_limit=20), clock=clock, say=lambda line: None)
  server.add("/a", "text", *[flaky.answer(503)] * 8)
  client.text(f"{server.url}/a")
  for pause, longest in zip(clock.waits, [1, 2, 4, 8, 16, 20, 20, 20]):
    assert longest / 2 <= pause <= longest
  assert len(clock.waits) == 8 and len({pause / 2**i for i, pause in enumerate(clock.waits[:4])}) == 4


def test_number_of_attempts_is_bounded(server, client):
  server.add("/a", "text", *[flaky.answer(503)] * 99)
  with pytest.raises(DownloadError, match=rf"{server.url}/a: HTTP 503 .*, 4 times in a row.*again later"):
    client.text(f"{server.url}/a")
  assert len(server.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_lasting_fault_is_an_error_at_once(server, client, clock, status):
  server.add("/a", "text", flaky.answer(status))
  with pytest.raises(DownloadError, match=f"the server answers HTTP {status}"):
    client.text(f"{server.url}/a")
  assert clock.waits == []


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(server, client, clock, status):
  server.add("/a", "text", flaky.answer(status, Retry_After="77"))
  client.text(f"{server.url}/a")
  assert clock.waits == [77]


def test_retry_after_holds_back_every_request_to_that_host(server, client, clock, monkeypatch):
  def interrupted(seconds):
    raise Stopped

  server.add("/a", "text", flaky.answer(429, Retry_After="77"))
  server.add("/b", "text")
  with monkeypatch.context() as patch, pytest.raises(Stopped):
    patch.setattr(clock, "wait", interrupted)
    client.text(f"{server.url}/a")
  client.text(f"{server.url}/b")
  assert clock.waits == [77]  # nothing was wrong with /b


def test_retry_after_longer_than_our_patience_is_an_error_that_says_how_long(server, client, clock):
  server.add("/a", "text", flaky.answer(429, Retry_After="86400"))
  with pytest.raises(DownloadError, match="asks to wait 86400 s"):
    client.text(f"{server.url}/a")
  assert clock.waits == []


def test_retry_after_is_a_number_or_a_date():
  assert parse_retry_after("120") == 120
  later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
  assert 90 < parse_retry_after(email.utils.format_datetime(later, usegmt=True)) <= 100
  assert parse_retry_after("Mon, 01 Jan 2001 00:00:00 GMT") == 0
  assert [parse_retry_after(value) for value in (None, "", "soon", "-5", "1e9", "²")] == [None] * 6


@hypothesis.given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ Jan \d+ \d+:\d+:\d+ [A-Z+0-9-]+"))
def test_any_retry_after_is_seconds_or_nothing(value):
  seconds = parse_retry_after(value)
  assert seconds is None or seconds >= 0


def test_redirects_are_followed_with_the_headers(server, client):
  server.add("/a", "", flaky.answer(302, Location="/b"))
  server.add("/b", "", flaky.answer(307, Location=f"{server.url}/c"))
  server.add("/c", "text")
  with client.open(f"{server.url}/a", headers={"Range": "bytes=2-"}, accept=(206,)) as response:
    assert response.content == b"xt"


def test_circle_of_redirects_is_an_error(server, client):
  server.add("/a", "", *[flaky.answer(302, Location="/a")] * 99)
  with pytest.raises(DownloadError, match="redirects more than 5 times"):
    client.text(f"{server.url}/a")
  assert len(server.requests) == 6


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/a", "file:///etc/passwd", "javascript:1"])
def test_redirect_to_something_else_than_http_is_refused(server, client, target):
  server.add("/a", "", flaky.answer(302, Location=target))
  with pytest.raises(DownloadError, match="redirects from http to"):
    client.text(f"{server.url}/a")


def redirecting(monkeypatch, target: str) -> list[str]:
  """Every request is answered with a redirect; returns the addresses asked for."""
  asked = []

  def request(session, method, url, **options):
    asked.append(url)
    response = requests.Response()
    response.status_code, response.url = (302, url) if url != target else (200, url)
    response.headers["Location"] = target
    response.raw = io.BytesIO(b"text")
    return response

  monkeypatch.setattr(requests.Session, "request", request)
  return asked


def test_redirect_from_https_to_http_is_refused(client, monkeypatch):
  asked = redirecting(monkeypatch, "http://example.org/b")
  with pytest.raises(DownloadError, match="redirects from https to http .*less secure"):
    client.text("https://example.org/a")
  assert asked == ["https://example.org/a"]


def test_redirect_from_http_to_https_is_followed(client, monkeypatch):
  asked = redirecting(monkeypatch, "https://example.org/b")
  assert client.text("http://example.org/a") == "text"
  assert asked == ["http://example.org/a", "https://example.org/b"]


def test_certificate_that_is_not_accepted_is_an_error_at_once(client, clock, monkeypatch):
  def request(*arguments, **options):
    raise requests.exceptions.SSLError("self-signed certificate")

  monkeypatch.setattr(requests.Session, "request", request)
  with pytest.raises(DownloadError, match="no secure connection .*self-signed.*REQUESTS_CA_BUNDLE"):
    client.text("https://example.org/a")
  assert clock.waits == []


def test_server_that_is_not_there_is_an_error_after_all_attempts(client, server, clock):
  with pytest.raises(DownloadError, match="no connection, 4 times"):
    client.text("http://127.0.0.1:9/a")
  assert len(clock.waits) == 3


def test_address_that_is_none_is_an_error_at_once(client, clock):
  with pytest.raises(DownloadError, match="cannot be asked for"):
    client.text("http://")
  assert clock.waits == []


def test_stalled_listing_is_asked_for_again(server, clock):
  said: list[str] = []
  server.add("/a", "text" * 1000, flaky.stall(10))
  assert Client(Patience(stall=0.3), clock=clock, say=said.append).text(f"{server.url}/a") == "text" * 1000
  assert "nothing came for 0.3 s" in said[0]


def test_cut_off_listing_is_asked_for_again(server, client):
  server.add("/a", "text" * 1000, flaky.truncate(10), flaky.hang_up)
  assert client.text(f"{server.url}/a") == "text" * 1000


def test_listing_has_a_limit(server, client):
  server.add("/a", "x" * 1001)
  with pytest.raises(DownloadError, match="more than 1,000 bytes"):
    client.text(f"{server.url}/a", limit=1000)


def test_size_and_version_are_asked_without_the_file(server, client):
  served = server.add("/a", "text")
  assert client.head(f"{server.url}/a") == (4, served.etag)
  server.add("/b", "text", validators=False)
  assert client.head(f"{server.url}/b") == (4, None)
  server.add("/c", "text", flaky.answer(405))
  assert client.head(f"{server.url}/c") == (None, None)


def test_date_of_change_stands_in_for_a_weak_etag(server, client):
  server.add("/a", "text", validators=False, headers={"ETag": 'W/"x"', "Last-Modified": flaky.DATE})
  assert client.head(f"{server.url}/a") == (4, flaky.DATE)


def test_stopping_ends_a_pause():
  clock = Clock()
  threading.Timer(0.05, clock.stop).start()
  with pytest.raises(Stopped):
    clock.wait(60)
  with pytest.raises(Stopped):
    clock.check()
