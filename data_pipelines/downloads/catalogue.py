"""The servers, and their listings: what a release asks to find out which files it comes to."""

import contextlib
import dataclasses
import html
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from data_pipelines.downloads.client import Client, DownloadError
from data_pipelines.downloads.fetch import Fetcher
from data_pipelines.downloads.files import RemoteFile, locked
from data_pipelines.downloads.progress import Progress

# Any of them may be replaced by a mirror of the same layout: --base_url=ncbi=https://…
HOSTS = {
    "ncbi": "https://ftp.ncbi.nlm.nih.gov",
    "uniprot": "https://ftp.uniprot.org/pub/databases/uniprot",
    "huggingface": "https://huggingface.co",
    "mmseqs": "https://opendata.mmseqs.org",
    "marks": "https://marks.hms.harvard.edu",
    "github": "https://raw.githubusercontent.com",
    "dropbox": "https://www.dropbox.com",
    "tape": "https://s3.amazonaws.com/songlabdata",
    "dtu": "https://services.healthtech.dtu.dk",
}
LISTINGS = ".listings"
_LINK = re.compile(r'<a\s[^<>]*?href="([^"<>]*)"[^<>]*>[^<]*</a>([^<\n]*)', re.IGNORECASE)
_NO_NAME = re.compile(r"[/\\:?#\x00-\x1f]")
_SIZE = re.compile(r"\s(\d{1,15}(?:\.\d{1,3})?)([KMGT]?)\s*$")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclasses.dataclass(frozen=True)
class Options:
  """What narrows a release down.

  Attributes:
    taxon: NCBI taxonomy id of a species or strain, or the beginning of an organism's name.
    assemblies: accessions, with or without version.
    files: of each assembly, see `ncbi_assemblies.FILES`.
    reference_only: of a taxon, only the assemblies that NCBI calls reference genomes.
    divisions: of GenBank, such as `pri`.
    subset: folder of the FineWeb-Edu repository; empty for the release's own.
  """

  taxon: str = ""
  assemblies: tuple[str, ...] = ()
  files: tuple[str, ...] = ("gff", "fna", "rna", "faa")
  reference_only: bool = True
  divisions: tuple[str, ...] = ("pri", "rod", "mam", "pln")
  subset: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
  """A line of a folder's listing. `approximate_size` in bytes, as the listing rounds it; None where it has none."""

  name: str
  is_folder: bool
  approximate_size: int | None


def parse_folder_listing(page: str) -> list[Entry]:
  """The entries of a folder as web servers list them (a link each, then date and size on its line, as Apache does).

  Links that lead elsewhere (parent, sorting, other hosts) are left out.
  """
  entries = []
  for link, after in _LINK.findall(page):
    name = unquote(html.unescape(link).removesuffix("/"))
    if not name or name.startswith((".", "?")) or _NO_NAME.search(name):
      continue
    size = _SIZE.search(after)
    approximate = int(float(size[1]) * _UNITS[size[2]]) if size and not link.endswith("/") else None
    entries.append(Entry(name, link.endswith("/"), approximate))
  return entries


class Catalogue:
  """Listings of the servers.

  Args:
    client: to ask with.
    out: the download's folder; listings of hundreds of megabytes are kept in `.listings` under it, for the next run.
    base_urls: in place of those in `HOSTS`.
  """

  def __init__(self, client: Client, out: pathlib.Path, base_urls: Mapping[str, str] | None = None):
    self.client = client
    self._folder = out / LISTINGS
    self._hosts = HOSTS | dict(base_urls or {})

  def url(self, host: str, path: str) -> str:
    """The address of a path on a host of `HOSTS`; a query may follow the path."""
    path, mark, query = path.partition("?")
    return f"{self._hosts[host].rstrip('/')}/{quote(path, safe='/%')}{mark}{query}"

  def text(self, host: str, path: str) -> str:
    return self.client.text(self.url(host, path))

  def folder(self, host: str, path: str) -> list[Entry]:
    return parse_folder_listing(self.text(host, path.rstrip("/") + "/"))

  def json_pages(self, host: str, path: str) -> list[Any]:
    """Every page of a JSON answer that comes in pages. All are asked of `host`, whatever the links between them say.

    Raises:
      DownloadError: a page is no JSON, or there are more than ten thousand.
    """
    prefix = urlsplit(self._hosts[host]).path.rstrip("/")
    pages, follows = [], path
    while follows:
      url = self.url(host, follows)
      text, follows = self.client.page(url)
      follows = follows and follows.removeprefix(prefix).lstrip("/")
      try:
        pages.append(json.loads(text))
      except (ValueError, RecursionError):
        raise DownloadError(url, "is no JSON", "The server's interface may have changed; check --base_url.") from None
      if len(pages) > 10_000:
        raise DownloadError(url, "has no last page", "The server's interface may have changed; check --base_url.")
    return pages

  def stored(self, host: str, path: str) -> pathlib.Path:
    """A listing as a file, fetched where the one of an earlier run is not the server's any more."""
    with locked(self._folder):
      fetcher = Fetcher(self.client, self._folder)
      name = path.split("/")[-1]
      remote = RemoteFile(self.url(host, path), name, licence="")
      self.client.say(f"{remote.url}: reading this listing, which is large")
      with contextlib.closing(Progress(None)) as progress, progress.file(name, None) as bar:
        fetcher.fetch(remote, bar)
      fetcher.manifest.save()
    return self._folder / name
