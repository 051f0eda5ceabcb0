"""A local HTTP server that serves files well, or badly in the ways in which public servers do.

Each file has a list of faults: the first request for it meets the first one, and so on; then it is served as it should
be, with ETag, Last-Modified, ranges and If-Range. What was asked is kept in `requests`.
"""

import contextlib
import dataclasses
import hashlib
import http.server
import pathlib
import re
import sys
import threading
from collections.abc import Callable, Iterator
from urllib.parse import unquote

from data_pipelines.downloads.client import Clock

DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


@dataclasses.dataclass
class Served:
  """A file on the server.

  Attributes:
    content, headers: what is sent, and headers beside the usual ones.
    faults: see below.
    ranges: whether transfers can be continued.
    validators: whether there is an ETag and a date.
    redirect_to: where it is instead.
  """

  content: bytes
  faults: list[Callable] = dataclasses.field(default_factory=list)
  ranges: bool = True
  validators: bool = True
  headers: dict[str, str] = dataclasses.field(default_factory=dict)
  redirect_to: str | None = None

  @property
  def etag(self) -> str:
    return f'"{hashlib.md5(self.content).hexdigest()}"'


@dataclasses.dataclass(frozen=True)
class Request:
  method: str
  path: str
  headers: dict[str, str]


class Server:
  """`files`: path (with a query, if any) to `Served`. A path that ends with a slash is listed as Apache does."""

  def __init__(self, port: int):
    self.url = f"http://127.0.0.1:{port}"
    self.files: dict[str, Served] = {}
    self.requests: list[Request] = []
    self.closing = threading.Event()
    self.stalled = threading.Event()

  def add(self, path: str, content: bytes | str, *faults: Callable, **options) -> Served:
    content = content.encode() if isinstance(content, str) else content
    self.files[path] = Served(content, list(faults), **options)
    return self.files[path]

  def add_folder(self, folder: pathlib.Path, prefix: str) -> None:
    for file in folder.rglob("*"):
      if file.is_file():
        self.add(f"{prefix}/{file.relative_to(folder)}", file.read_bytes())

  def asked(self, method: str, path: str) -> list[Request]:
    return [request for request in self.requests if (request.method, request.path) == (method, path)]

  def listing(self, folder: str) -> str | None:
    """A folder's page: real names, sizes rounded, the links that Apache adds."""
    names: dict[str, int | None] = {}
    for path, served in self.files.items():
      if path.startswith(folder) and path != folder:
        name, slash, _ = path.removeprefix(folder).partition("/")
        names[name + slash] = None if slash else len(served.content)
    if not names:
      return None
    lines = [f'<a href="{n}">{n}</a>{"":20}2024-01-01 10:00  {"-" if s is None else rounded(s):>5}'
             for n, s in sorted(names.items())]
    return ('<html><title>Index</title><pre>Name <a href="?C=M;O=A">Last modified</a> Size<hr>'
            '<a href="/genomes/">Parent Directory</a>      -\n' + "\n".join(lines) + "\n<hr></pre>"
            '<a href="https://www.example.org/help.html">Help</a></html>')


def rounded(size: int) -> str:
  return f"{size / 1024:.1f}K" if size >= 1024 else str(size)


class _HttpServer(http.server.ThreadingHTTPServer):
  daemon_threads = True

  def handle_error(self, request, client_address):
    if not isinstance(sys.exception(), ConnectionError):  # clients that hang up are part of the play
      super().handle_error(request, client_address)


@contextlib.contextmanager
def flaky_server() -> Iterator[Server]:
  httpd = _HttpServer(("127.0.0.1", 0), _Handler)
  httpd.flaky = Server(httpd.server_port)
  thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
  thread.start()
  try:
    yield httpd.flaky
  finally:
    httpd.flaky.closing.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"
  disable_nagle_algorithm = True  # or every body would wait 40 ms behind its headers

  def log_message(self, *arguments):
    pass

  def do_HEAD(self):
    self._answer()

  def do_GET(self):
    self._answer()

  def _answer(self):
    server: Server = self.server.flaky
    path = unquote(self.path)
    server.requests.append(Request(self.command, path, dict(self.headers)))
    served = server.files.get(path)
    if served is None and path.endswith("/") and (page := server.listing(path)):
      served = Served(page.encode(), validators=False)
    if served is None:
      return self.send(404, b"nothing here")
    if served.faults and served.faults.pop(0)(self, served):
      return None
    if served.redirect_to:
      return self.send(302, headers={"Location": served.redirect_to})
    return serve(self, served)

  def send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, length: int | None = None):
    """A whole answer; `length` is what it claims to have."""
    self.send_response(status)
    for name, value in (headers or {}).items():
      self.send_header(name, value)
    self.send_header("Content-Length", str(len(body) if length is None else length))
    self.end_headers()
    if self.command != "HEAD":
      self.wfile.write(body)
      self.wfile.flush()
    if length is not None:
      self.close_connection = True


def serve(handler: _Handler, served: Served, *, body_until: int | None = None) -> None:
  """As it should be; or only the first `body_until` bytes of the body, then the connection is closed."""
  content, headers, status = served.content, dict(served.headers), 200
  if served.validators:
    headers |= {"ETag": served.etag, "Last-Modified": DATE}
  asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
  condition = handler.headers.get("If-Range")
  if asked and served.ranges and condition in (None, served.etag, DATE):
    first = int(asked[1])
    if first >= len(content):
      return handler.send(416, headers={"Content-Range": f"bytes */{len(content)}"})
    headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
    content, status = content[first:], 206
  if body_until is None:
    return handler.send(status, content, headers)
  return handler.send(status, content[:body_until], headers, length=len(content))


# Faults: each takes the handler and the file, and returns whether it has answered.


def answer(status: int, body: bytes = b"", **headers: str) -> Callable:
  def fault(handler, served):
    handler.send(status, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return True
  return fault


def truncate(size: int) -> Callable:
  """Announces everything, sends so many bytes of it, closes."""
  def fault(handler, served):
    serve(handler, served, body_until=size)
    return True
  return fault


def stall(size: int) -> Callable:
  """Sends so many bytes, then nothing, and keeps the connection."""
  def fault(handler, served):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(served.content)))
    handler.send_header("ETag", served.etag)
    handler.end_headers()
    handler.wfile.write(served.content[:size])
    handler.wfile.flush()
    handler.server.flaky.stalled.set()
    handler.server.flaky.closing.wait(30)
    handler.close_connection = True
    return True
  return fault


def trickle(handler, served) -> bool:
  """Sends a byte now and then, and never ends."""
  handler.send_response(200)
  handler.send_header("Content-Length", str(len(served.content)))
  handler.end_headers()
  with contextlib.suppress(OSError):  # the client has had enough
    for byte in served.content:
      if handler.server.flaky.closing.wait(0.02):
        break
      handler.wfile.write(bytes([byte]))
  handler.close_connection = True
  return True


def hang_up(handler, served) -> bool:
  """Closes without a word."""
  handler.close_connection = True
  return True


def replace_with(content: bytes) -> Callable:
  """The file changes just before this request."""
  def fault(handler, served):
    served.content = content
    return False
  return fault


def replace_then_truncate(content: bytes, size: int) -> Callable:
  def fault(handler, served):
    served.content = content
    return truncate(size)(handler, served)
  return fault


def claim(length: int) -> Callable:
  """Sends everything and lies about its length."""
  def fault(handler, served):
    handler.send(200, served.content, {"ETag": served.etag}, length=length)
    return True
  return fault


def without_length(handler, served) -> bool:
  """As HTTP/1.0 did: the end of the connection is the end of the file."""
  handler.send_response(200)
  handler.send_header("Connection", "close")
  handler.end_headers()
  handler.wfile.write(served.content)
  handler.close_connection = True
  return True


def chunked(*, whole: bool) -> Callable:
  def fault(handler, served):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    half = len(served.content) // 2
    for piece in (served.content[:half], served.content[half:])[: 2 if whole else 1]:
      handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n" if whole else b"")
    handler.close_connection = not whole
    return True
  return fault


def continue_with(content: bytes, *, shift: int = 0, length: int | None = None, etag: bool = True) -> Callable:
  """Continues whatever the condition: `content`, from `shift` after the place asked for, `length` bytes of it."""
  def fault(handler, served):
    first = int(re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"])[1]) + shift
    end = len(content) if length is None else first + length
    headers = {"Content-Range": f"bytes {first}-{end - 1}/{len(content)}"}
    handler.send(206, content[first:end], headers | ({"ETag": Served(content).etag} if etag else {}))
    return True
  return fault


class FakeClock(Clock):
  """Waiting takes no time: it is written down, and `now` jumps."""

  def __init__(self):
    super().__init__()
    self.waits: list[float] = []
    self._now = 0.0

  def now(self) -> float:
    return self._now

  def wait(self, seconds: float) -> None:
    self.check()
    self.waits.append(seconds)
    self._now += seconds
