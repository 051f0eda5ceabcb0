"""Downloads public releases by name: resumable, verified, polite.

  python -m data_pipelines.download --release=model_organisms --out=DIR --dry_run
  python -m data_pipelines.download --release=assembly --assembly=GCF_000005845.2 --out=DIR
  python -m data_pipelines.download --release=taxon --taxon='Saccharomyces cerevisiae' --out=DIR

Without --release it lists the releases. A run that was stopped goes on when the same command is run again; a file that
is there and verified is not fetched again, one that is damaged or was renewed on the server is. `downloads.json` in DIR
says what each file is, where it is from and how it was verified. Archives are not unpacked. A dry run fetches listings
only (NCBI's large summaries are kept in `DIR/.listings` for the run itself).
"""

import dataclasses
import pathlib
import queue
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import app, flags

from data_pipelines.downloads.catalogue import HOSTS, Catalogue, Options
from data_pipelines.downloads.client import Client, DownloadError
from data_pipelines.downloads.fetch import Fetcher
from data_pipelines.downloads.files import PART, Plan, RemoteFile, locked
from data_pipelines.downloads.ncbi_assemblies import FILES
from data_pipelines.downloads.progress import Progress
from data_pipelines.downloads.releases import RELEASES
from data_pipelines.errors import InputError
from data_pipelines.report import table

_SECONDS_TO_STOP = 2


@dataclasses.dataclass
class Outcome:
  """What became of a plan: paths fetched, paths that were there, and an error for each file that could not be had."""

  fetched: list[str] = dataclasses.field(default_factory=list)
  there: list[str] = dataclasses.field(default_factory=list)
  failed: list[DownloadError] = dataclasses.field(default_factory=list)


def make_plan(
    release: str, catalogue: Catalogue, options: Options, *, connections: int = 3, max_files: int | None = None,
) -> Plan:
  """The files of a release, with the sizes that listings do not give asked for one by one.

  Args:
    release: a key of `RELEASES`.
    catalogue, options: for the release's plan.
    connections: at a time.
    max_files: only the first so many, None for all.

  Raises:
    InputError, DownloadError: the release cannot be found out.
  """
  plan = RELEASES[release].plan(catalogue, options)
  files, notes = plan.files[:max_files], list(plan.notes)
  if len(files) < len(plan.files):
    notes.append(f"only the first {len(files):,} of {len(plan.files):,} files")
  unknown = [i for i, file in enumerate(files) if file.expected_bytes is None]

  def ask(i: int) -> int | None:
    return catalogue.client.head(files[i].url)[0]

  def answer(i: int, size: int | None | Exception) -> None:
    if isinstance(size, DownloadError):
      notes.append(f"{files[i].path}: {size}")
    elif isinstance(size, Exception):
      raise size
    else:
      files[i] = dataclasses.replace(files[i], size=size)

  _in_parallel(unknown, ask, answer, connections, catalogue.client)
  return Plan(files, notes)


def fetch_all(
    plan: Plan, out: pathlib.Path, client: Client, *, connections: int = 3, recheck: bool = True,
    show_progress: bool | None = None,
) -> Outcome:
  """Fetches what a plan holds and is not there yet. Files that cannot be had do not keep others from being fetched.

  Args:
    plan: what to fetch.
    out: the folder.
    client: to ask with.
    connections: at a time.
    recheck: compute the checksums of files that are there, rather than trust their size and record.
    show_progress: None for "on a terminal".

  Raises:
    InputError: the folder cannot be used.
  """
  outcome = Outcome()
  sizes = [file.expected_bytes for file in plan.files]
  with locked(out):
    fetcher = Fetcher(client, out, recheck=recheck)
    progress = Progress(None if None in sizes else sum(sizes), show_progress)
    client.say = progress.say

    def work(file: RemoteFile) -> bool:
      with progress.file(file.path, file.expected_bytes) as bar:
        return fetcher.fetch(file, bar)

    def done(file: RemoteFile, result: bool | Exception) -> None:
      if isinstance(result, DownloadError):
        outcome.failed.append(result)
        progress.say(f"error: {result}")
      elif isinstance(result, OSError):
        remedy = "Run the same command again when it can: what is there is kept."
        raise InputError(out / file.path, f"cannot be written ({result.strerror})", remedy) from result
      elif isinstance(result, Exception):
        raise result
      else:
        (outcome.fetched if result else outcome.there).append(file.path)
        if not progress.shown:
          progress.say(f"{file.path}: {'fetched' if result else 'was there'}, verified")

    try:
      _in_parallel(plan.files, work, done, connections, client)
    finally:
      progress.close()
      fetcher.manifest.save()
  return outcome


def _in_parallel(
    items: Sequence[Any], work: Callable[[Any], Any], done: Callable[[Any, Any], None], threads: int, client: Client,
) -> None:
  """`done(item, work(item))` for each item: `work` in threads, `done` here; an exception of `work` is its result.

  Where this thread is interrupted the others are stopped. They are daemons: one that waits for a silent server would
  otherwise keep the process for as long as the server is silent.
  """
  jobs, results = queue.SimpleQueue(), queue.SimpleQueue()
  for item in items:
    jobs.put(item)

  def run() -> None:
    while True:
      try:
        item = jobs.get_nowait()
      except queue.Empty:
        return
      try:
        results.put((item, work(item)))
      except Exception as error:
        results.put((item, error))

  workers = [threading.Thread(target=run, daemon=True) for _ in range(min(threads, len(items)))]
  for worker in workers:
    worker.start()
  try:
    for _ in items:
      done(*results.get())
  except BaseException:
    client.clock.stop()
    deadline = time.monotonic() + _SECONDS_TO_STOP
    for worker in workers:
      worker.join(max(0.0, deadline - time.monotonic()))
    raise


def format_bytes(size: int | None) -> str:
  """Such as `1.2 GB` (decimal), `?` where unknown."""
  if size is None:
    return "?"
  if size < 1000:
    return f"{size} B"
  for unit in ("kB", "MB", "GB"):
    size /= 1000
    if size < 999.95:
      return f"{size:.1f} {unit}"
  return f"{size / 1000:.1f} TB"


def _files(count: int) -> str:
  return f"{count:,} file" + "s" * (count != 1)


def missing_bytes(plan: Plan, out: pathlib.Path) -> int:
  """Bytes still to come, as far as sizes are known; files are not verified for this."""
  missing = 0
  for file in plan.files:
    target = out / file.path
    part = target.with_name(target.name + PART)
    size = file.expected_bytes or 0
    if not target.exists() or file.size not in (None, target.stat().st_size):
      missing += max(0, size - (part.stat().st_size if part.exists() else 0))
  return missing


def free_bytes(out: pathlib.Path) -> int:
  """Free space of the disk on which `out` is or would be made."""
  place = out.absolute()
  while not place.exists():
    place = place.parent
  return shutil.disk_usage(place).free


def describe(plan: Plan, out: pathlib.Path, *, every_file: bool) -> str:
  """What a plan comes to: files (all, or their number), sizes, licences, room on the disk, notes."""
  lines = []
  if every_file:
    rows = [
        [file.path, ("~" if file.size is None and file.approximate_size else "") + format_bytes(file.expected_bytes),
         file.checksum.split(":")[0] if file.checksum else "size only", file.licence.split(":")[0]]
        for file in plan.files
    ]
    lines += [table(["file", "size", "checksum", "licence"], rows), ""]
  total = sum(file.expected_bytes or 0 for file in plan.files)
  unknown = sum(file.expected_bytes is None for file in plan.files)
  lines.append(
      f"{_files(len(plan.files))}, {format_bytes(total)}" + (f" and {unknown:,} of unknown size" if unknown else "")
      + f"; to fetch {format_bytes(missing_bytes(plan, out))}, free on the disk {format_bytes(free_bytes(out))}"
  )
  lines += [f"licence of {_files(n)}: {licence}" for licence, n in Counter(f.licence for f in plan.files).items()]
  lines += [f"expected in {file.path}: {file.contents}" for file in plan.files if file.contents]
  return "\n".join(lines + [f"note: {note}" for note in plan.notes])


def check_contents(plan: Plan, out: pathlib.Path) -> list[str]:
  """In sentences, whether the files that are there hold what is known of them. Reads them whole."""
  lines = []
  for file in plan.files:
    if file.contents and (out / file.path).exists():
      found = file.contents.differences(out / file.path)
      lines.append(
          f"warning: {file.path} {'; '.join(found)} ({file.contents.source}): it is another version, or damaged"
          if found else f"{file.path} holds what is known of it: {file.contents}"
      )  # fmt: skip
  return lines


def parse_base_urls(values: Sequence[str]) -> dict[str, str]:
  """`HOST=URL` each, for hosts of `catalogue.HOSTS`. Raises ValueError."""
  urls = {}
  for value in values:
    host, _, url = value.partition("=")
    if host not in HOSTS or not url.startswith(("http://", "https://")):
      raise ValueError(f"{value!r}: expected HOST=URL with one of {', '.join(HOSTS)}")
    urls[host] = url
  return urls


def _run(values: flags.FlagValues, options: Options, base_urls: Mapping[str, str]) -> int:
  """The command; returns its exit status."""
  started, out = time.monotonic(), pathlib.Path(values.out)
  client = Client(say=lambda line: print(line, file=sys.stderr))
  catalogue = Catalogue(client, out, base_urls)
  plan = make_plan(
      values.release, catalogue, options, connections=values.max_connections, max_files=values.max_files
  )
  print(describe(plan, out, every_file=values.dry_run), flush=True)
  if values.dry_run:
    print("\nNothing was fetched. Next: the same command without --dry_run.")
    return 0
  missing, free = missing_bytes(plan, out), free_bytes(out)
  if missing > free and not values.ignore_disk_space:
    raise InputError(
        out, f"the disk lacks room: {format_bytes(missing)} to fetch, {format_bytes(free)} free",
        "Choose another --out, fewer files, or pass --ignore_disk_space.",
    )
  outcome = fetch_all(plan, out, client, connections=values.max_connections, recheck=values.recheck)
  seconds = time.monotonic() - started
  print(f"\n{_files(len(outcome.fetched))} fetched, {len(outcome.there):,} were there, {len(outcome.failed):,} failed"
        f" in {seconds:.0f} s: {out}")
  for line in [*check_contents(plan, out), *(f"note: {note}" for note in plan.notes)]:
    print(line)
  if outcome.failed:
    for error in outcome.failed:
      print(f"error: {error}", file=sys.stderr)
    print("Next: the same command again, for what failed.", file=sys.stderr)
    return 1
  print(f"Next: {RELEASES[values.release].then}")
  return 0


def main(argv: list[str]) -> None:
  values = flags.FLAGS
  if len(argv) > 1:
    raise app.UsageError(f"unexpected argument: {argv[1]}")
  if values.release not in RELEASES or not values.out:
    listed = "\n".join(f"  {name:20} {release.summary}" for name, release in RELEASES.items())
    raise app.UsageError(f"--release=NAME and --out=DIR are needed. Releases:\n{listed}")
  if unknown := sorted(set(values.files) - set(FILES)):
    raise app.UsageError(f"--files: no such kind: {', '.join(unknown)}; there are {', '.join(FILES)}")
  options = Options(
      taxon=values.taxon, assemblies=tuple(values.assembly), files=tuple(values.files),
      reference_only=values.reference_only, divisions=tuple(values.divisions), subset=values.subset,
  )
  try:
    base_urls = parse_base_urls(values.base_url)
  except ValueError as error:
    raise app.UsageError(f"--base_url: {error}") from None
  try:
    sys.exit(_run(values, options, base_urls))
  except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
  except KeyboardInterrupt:
    print("\nStopped. What came is kept: run the same command again to go on.", file=sys.stderr)
    sys.exit(130)


if __name__ == "__main__":
  defaults = Options()
  flags.DEFINE_string("release", None, "Name of a release; without it they are listed.")
  flags.DEFINE_string("out", None, "Where files go; made where it does not exist.")
  flags.DEFINE_bool("dry_run", False, "Print what would be fetched, its size and licence, and fetch listings only.")
  flags.DEFINE_string("taxon", defaults.taxon, "For `taxon`: taxonomy id of a species, or an organism's name.")
  flags.DEFINE_list("assembly", list(defaults.assemblies), "For `assembly`: accessions, with or without version.")
  flags.DEFINE_list("files", list(defaults.files), f"Of each assembly: {', '.join(FILES)}.")
  flags.DEFINE_bool("reference_only", defaults.reference_only, "For `taxon`: only what NCBI calls reference genomes.")
  flags.DEFINE_list("divisions", list(defaults.divisions), "For `genbank_related`: GenBank's divisions.")
  flags.DEFINE_string("subset", defaults.subset, "For `fineweb_edu`: a folder of its repository.")
  flags.DEFINE_integer("max_files", None, "Only the first so many files.", lower_bound=1)
  flags.DEFINE_integer("max_connections", 3, "To a server at a time.", lower_bound=1, upper_bound=8)
  flags.DEFINE_bool("recheck", True, "Compute the checksums of files that are there; else trust size and record.")
  flags.DEFINE_bool("ignore_disk_space", False, "Start although the disk seems to lack room.")
  flags.DEFINE_multi_string("base_url", [], f"HOST=URL: a mirror in place of a server; hosts: {', '.join(HOSTS)}.")
  app.run(main)
