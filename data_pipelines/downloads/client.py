"""HTTP as a good guest: it says who it is, waits when it is told to, gives up after a bounded number of attempts.

`requests` carries it: it heeds the proxy and certificate settings of the environment (`HTTPS_PROXY`,
`REQUESTS_CA_BUNDLE`), which clusters need and bare `urllib3` leaves to its caller; retries, redirects and waiting are
decided here, for a transfer that is continued needs to know about each attempt.
"""

import contextlib
import dataclasses
import datetime
import email.utils
import importlib.metadata
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from data_pipelines.errors import InputError

MAX_LISTING_BYTES = 1 << 28
_CHUNK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)
_UNUSABLE_URL = (
    requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema,
)


class DownloadError(InputError):
  """A file or listing that cannot be had. `path` is its URL."""


class Transient(Exception):
  """A failed attempt after which another one makes sense.

  Attributes:
    host: who failed.
    retry_after: seconds that the server asks to wait, or None.
  """

  def __init__(self, host: str, problem: str, retry_after: float | None = None):
    self.host, self.retry_after = host, retry_after
    super().__init__(problem)


class Stopped(Exception):
  """The run was interrupted."""


@dataclasses.dataclass(frozen=True)
class Patience:
  """How long to wait for a server; times in seconds.

  Attributes:
    connect: for a connection.
    stall: for the next bytes of an answer.
    attempts: failures in a row, without a new stretch of the file between them, before giving up.
    backoff: before the second attempt; doubles with each, with up to half of it off at random.
    backoff_limit: the longest pause that is our own choice.
    retry_after_limit: the longest pause that a server may ask for; beyond it the download ends and says so.
    redirects: followed in a row.
  """

  connect: float = 20
  stall: float = 60
  attempts: int = 8
  backoff: float = 1
  backoff_limit: float = 120
  retry_after_limit: float = 3600
  redirects: int = 5


class Clock:
  """Time and waiting, so that tests need not wait."""

  def __init__(self):
    self._stopped = threading.Event()

  def now(self) -> float:
    return time.monotonic()

  def wait(self, seconds: float) -> None:
    """Raises Stopped where the run is stopped before or meanwhile."""
    self._stopped.wait(seconds)
    self.check()

  def check(self) -> None:
    if self._stopped.is_set():
      raise Stopped

  def stop(self) -> None:
    """Makes every waiting or transferring thread raise Stopped."""
    self._stopped.set()


def user_agent() -> str:
  """What servers see, such as `bsm_jax/0.1.0 (data_pipelines.download)`."""
  try:
    version = importlib.metadata.version("bsm_jax")
  except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
    version = "unknown"
  return f"bsm_jax/{version} (data_pipelines.download) {requests.utils.default_user_agent()}"


def content_length(response: requests.Response) -> int | None:
  """The announced length of the body in bytes, None where there is none or it is no number."""
  text = response.headers.get("Content-Length", "")
  return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def parse_retry_after(value: str | None) -> float | None:
  """Seconds of a `Retry-After` header (RFC 9110: a number, or a date), None where there is none that can be read."""
  if not value:
    return None
  if re.fullmatch("[0-9]+", value.strip()):
    return float(value)
  try:
    date = email.utils.parsedate_to_datetime(value)
    date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    return max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())
  except (ValueError, OverflowError):
    return None


class Client:
  """Requests to public servers. Threads may share one; each gets a connection of its own, kept open."""

  def __init__(
      self, patience: Patience | None = None, *, clock: Clock | None = None, say: Callable[[str], None] = print,
  ):
    self.patience = patience or Patience()
    self.clock = clock or Clock()
    self.say = say
    self._local = threading.local()
    self._lock = threading.Lock()
    self._not_before: dict[str, float] = {}

  @contextlib.contextmanager
  def open(
      self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None,
      accept: Collection[int] = (200,),
  ) -> Iterator[requests.Response]:
    """One attempt: the answer, its body not yet read. What breaks off while the body is read is Transient, too.

    Raises:
      Transient: no connection, a stall, a broken answer, 429, or a fault of the server's.
      DownloadError: another status than those in `accept`, or a redirect that is not followed.
    """
    host = urlsplit(url).netloc
    try:
      response = self._follow(method, url, dict(headers or {}))
      with response:
        if response.status_code in accept:
          yield response
          return
        self._refuse(url, response)
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
      if isinstance(error, _UNUSABLE_URL):
        raise DownloadError(url, f"cannot be asked for ({error})", "Check --base_url.") from error
      if isinstance(error, requests.exceptions.SSLError):
        remedy = "Check the clock, the proxy and the certificates (REQUESTS_CA_BUNDLE) of this machine."
        raise DownloadError(url, f"no secure connection ({error})", remedy) from error
      raise Transient(host, _describe(error, self.patience)) from error

  def _follow(self, method: str, url: str, headers: dict[str, str]) -> requests.Response:
    first = url
    for _ in range(self.patience.redirects + 1):
      self._await_turn(urlsplit(url).netloc)
      response = self._session().request(
          method, url, headers=headers, stream=True, allow_redirects=False,
          timeout=(self.patience.connect, self.patience.stall),
      )
      target = response.headers.get("Location")
      if response.status_code not in _REDIRECTS or not target:
        return response
      response.close()
      target = urljoin(url, target)
      old, new = urlsplit(url).scheme, urlsplit(target).scheme
      if new not in ("http", "https") or (old, new) == ("https", "http"):
        problem = f"redirects from {old} to {new or 'nowhere'} ({target})"
        raise DownloadError(first, problem, "Nothing is fetched over a less secure connection than was asked for.")
      url = target
    raise DownloadError(
        first, f"redirects more than {self.patience.redirects} times", "The server is misconfigured; try later."
    )

  def _refuse(self, url: str, response: requests.Response) -> None:
    status = f"HTTP {response.status_code} {response.reason or ''}".rstrip()
    if response.status_code in _WORTH_ANOTHER_TRY:
      # A redirect may have led elsewhere: who answered is who must be left alone.
      host = urlsplit(response.url).netloc
      raise Transient(host, status, parse_retry_after(response.headers.get("Retry-After")))
    remedy = {
        404: "It was moved or withdrawn: see what the folder above it holds.",
        403: "The server does not allow it; if it did before, wait some hours.",
    }.get(response.status_code, "Look at it in a browser.")
    raise DownloadError(url, f"the server answers {status}", remedy)

  def _session(self) -> requests.Session:
    session = getattr(self._local, "session", None)
    if session is None:
      session = self._local.session = requests.Session()
      session.headers = {"User-Agent": user_agent(), "Accept": "*/*", "Accept-Encoding": "identity"}
      session.auth = lambda request: request  # or requests would send the passwords of ~/.netrc
    return session

  def _await_turn(self, host: str) -> None:
    """Waits until the host may be asked again, whichever thread was told so."""
    self.clock.check()
    while True:
      with self._lock:
        seconds = self._not_before.get(host, 0) - self.clock.now()
      if seconds <= 0:
        return
      self.clock.wait(seconds)

  def attempts(self, url: str) -> "Attempts":
    return Attempts(self, url)

  def hold(self, host: str, seconds: float) -> None:
    """Lets no thread ask this host for so long."""
    with self._lock:
      self._not_before[host] = max(self._not_before.get(host, 0), self.clock.now() + seconds)

  def text(self, url: str, *, limit: int = MAX_LISTING_BYTES) -> str:
    """A listing, retried like everything else. Raises DownloadError also where it has more than `limit` bytes."""
    return self.page(url, limit=limit)[0]

  def page(self, url: str, *, limit: int = MAX_LISTING_BYTES) -> tuple[str, str | None]:
    """As `text`, with the path and query of the next page where the server names one (RFC 8288, `rel="next"`)."""
    attempts = self.attempts(url)
    while True:
      try:
        with self.open(url) as response:
          body = bytearray()
          for chunk in response.iter_content(_CHUNK):
            self.clock.check()
            body += chunk
            if len(body) > limit:
              raise DownloadError(url, f"a listing of more than {limit:,} bytes", "It is no listing; check --base_url.")
          follows = response.links.get("next", {}).get("url")
          if follows:
            parts = urlsplit(follows)
            follows = parts.path + (f"?{parts.query}" if parts.query else "")
          return body.decode("utf-8", errors="replace"), follows
      except Transient as error:
        attempts.failed(error)

  def head(self, url: str) -> tuple[int | None, str | None]:
    """Size in bytes and validator (see `validator`); None for each that the server does not say."""
    attempts = self.attempts(url)
    while True:
      try:
        with self.open(url, method="HEAD", accept=(200, 405, 501)) as response:
          return (content_length(response), validator(response)) if response.status_code == 200 else (None, None)
      except Transient as error:
        attempts.failed(error)


class Attempts:
  """The failures of one transfer in a row."""

  def __init__(self, client: Client, url: str):
    self._client, self._url, self._failures = client, url, 0

  def failed(self, error: Transient, *, progressed: bool = False) -> None:
    """Waits before the next attempt.

    Args:
      error: what went wrong.
      progressed: whether the attempt brought a new stretch of the file: the count then starts anew.

    Raises:
      DownloadError: there were too many, or the server asks for a longer pause than `Patience` allows.
    """
    patience = self._client.patience
    self._failures = 1 if progressed else self._failures + 1
    if self._failures >= patience.attempts:
      raise DownloadError(
          self._url, f"{error}, {self._failures} times in a row",
          "What is there is kept: run the same command again later.",
      ) from error
    asked = error.retry_after
    if asked is not None and asked > patience.retry_after_limit:
      raise DownloadError(
          self._url, f"{error}: the server asks to wait {asked:.0f} s", "Run the same command again after that time."
      ) from error
    pause = min(patience.backoff_limit, patience.backoff * 2 ** (self._failures - 1)) * random.uniform(0.5, 1)
    if asked is not None:
      pause = max(pause, asked)
      self._client.hold(error.host, pause)  # one thread was told; the others come from the same place
    tried = f"attempt {self._failures + 1} of {patience.attempts}"
    self._client.say(f"{self._url}: {error}; {tried} in {pause:.0f} s")
    self._client.clock.wait(pause)


def validator(response: requests.Response) -> str | None:
  """What tells this version of a file from another, for `If-Range`: a strong ETag, else the date of the last change."""
  tag = response.headers.get("ETag", "")
  return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _describe(error: Exception, patience: Patience) -> str:
  if isinstance(error, requests.exceptions.ConnectTimeout):
    return f"no connection within {patience.connect:g} s"
  stalls = (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)
  if isinstance(error, stalls) or "timed out" in str(error):  # requests hides some of them in a ConnectionError
    return f"nothing came for {patience.stall:g} s"
  if isinstance(error, urllib3.exceptions.ProtocolError | requests.exceptions.ChunkedEncodingError):
    return "the connection was closed early"
  if isinstance(error, requests.exceptions.ConnectionError):
    return "no connection"
  return f"the answer cannot be read ({type(error).__name__})"
