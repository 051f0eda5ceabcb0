"""The command, against local servers laid out as the public ones are."""

import errno
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from data_pipelines import download, sources
from data_pipelines.downloads.catalogue import HOSTS, Catalogue, Options
from data_pipelines.downloads.client import Client, Patience, Stopped
from data_pipelines.downloads.files import MANIFEST, Plan, RemoteFile, locked
from data_pipelines.errors import InputError
from data_pipelines.genes import CodingGene, Reject
from data_pipelines.tasks import Workers
from tests.data_pipelines.downloads import flaky_server as flaky
from tests.data_pipelines.downloads import public_layouts as layouts

ROOT = pathlib.Path(download.__file__).parents[1]
SWISSPROT = "current_release/knowledgebase/complete/uniprot_sprot.fasta.gz"


def command(server, name: str, out: pathlib.Path, *arguments: str) -> list[str]:
  mirrors = [f"--base_url={host}={server.url}" for host in HOSTS]
  return [sys.executable, "-m", "data_pipelines.download", f"--release={name}", f"--out={out}", *mirrors, *arguments]


def run(*arguments) -> subprocess.CompletedProcess:
  return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=60)


def start(*arguments) -> subprocess.Popen:
  """Starts the command so that Ctrl-C reaches it: where the tests run in the background, it would be ignored."""
  heeding = (
      "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
      "runpy.run_module('data_pipelines.download', run_name='__main__', alter_sys=True)"
  )
  python, _, _, *rest = command(*arguments)
  return subprocess.Popen(
      [python, "-c", heeding, *rest], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )


def client() -> Client:
  return Client(Patience(attempts=2), clock=flaky.FakeClock(), say=lambda line: None)


def plain_plan(server, *names: str) -> Plan:
  """Files that hold their names."""
  files = []
  for name in names:
    server.add(f"/{name}", name)
    digest = hashlib.md5(name.encode()).hexdigest()
    files.append(RemoteFile(f"{server.url}/{name}", name, "CC0", checksum=f"md5:{digest}"))
  return Plan(files)


# The way from a server to a build


def read_assembly(folder: pathlib.Path, work: pathlib.Path) -> list[CodingGene | Reject]:
  """What the build's `assembly` source reads from a folder."""
  (source,) = sources.parse_sources([{"kind": "assembly", "path": str(folder)}], {})
  return [gene for part in source.parts(1 << 30, Workers(work)) for gene in source.genes(part)]


def test_downloaded_assemblies_are_read_by_the_build(server, release, tmp_path):
  layouts.add_release(server, release.path)
  out = tmp_path / "out"
  done = run(server, "assembly", out, "--assembly=GCF_900000001.1,GCF_900000005.1")
  assert done.returncode == 0, done.stderr
  for folder in ("GCF_900000001.1_MiniBact1", "GCF_900000005.1_MiniYeast1"):
    genes = read_assembly(out / folder, tmp_path)
    assert genes == read_assembly(release.path / folder, tmp_path)
    assert sum(isinstance(gene, CodingGene) for gene in genes) >= 30
  files = json.loads((out / MANIFEST).read_text())["files"]
  assert len(files) == 7 and {entry["verified"] for entry in files.values()} == {"md5"}
  assert not list(out.rglob("*.part*"))
  assert "7 files fetched" in done.stdout and "Next:" in done.stdout


def test_taxon_is_found_in_the_summary_and_downloaded(server, release, tmp_path):
  layouts.add_release(server, release.path)
  done = run(server, "taxon", tmp_path, "--taxon=Miniabacter primus", "--files=faa")
  assert done.returncode == 0, done.stderr
  name = "GCF_900000001.1_MiniBact1/GCF_900000001.1_MiniBact1_protein.faa.gz"
  assert (tmp_path / name).read_bytes() == (release.path / name).read_bytes()


def test_second_run_transfers_nothing(server, release, tmp_path):
  layouts.add_release(server, release.path)
  arguments = (server, "assembly", tmp_path, "--assembly=GCF_900000001.1")
  first = run(*arguments)
  server.requests.clear()
  second = run(*arguments)
  assert (first.returncode, second.returncode) == (0, 0)
  assert "0 files fetched, 3 were there" in second.stdout
  assert not [r for r in server.requests if r.method == "GET" and r.path.endswith(".gz")]


def test_dry_run_prints_what_would_come_and_makes_nothing(server, release, tmp_path):
  layouts.add_release(server, release.path)
  out = tmp_path / "out"
  done = run(server, "assembly", out, "--assembly=GCF_900000001.1", "--dry_run")
  assert done.returncode == 0, done.stderr
  assert not out.exists()
  total = 0
  for suffix in ("genomic.gff.gz", "genomic.fna.gz", "protein.faa.gz"):
    name = f"GCF_900000001.1_MiniBact1/GCF_900000001.1_MiniBact1_{suffix}"
    size = (release.path / name).stat().st_size
    total += size
    assert re.search(rf"{name} +{re.escape(download.format_bytes(size))} +md5 +NCBI\n", done.stdout)
  assert f"3 files, {download.format_bytes(total)}; to fetch {download.format_bytes(total)}" in done.stdout
  assert "licence of 3 files: NCBI: " in done.stdout
  assert not [r for r in server.requests if r.method == "GET" and r.path.endswith(".gz")]


def test_documents_come_over_redirects_and_are_checked_by_sha256(server, tmp_path):
  layouts.add_parquet(server, "sample/10BT", ("000_00000.parquet", "001_00000.parquet", "002_00000.parquet"))
  done = run(server, "fineweb_edu_sample", tmp_path, "--max_files=2")
  assert done.returncode == 0, done.stderr
  assert "only the first 2 of 3 files" in done.stdout
  assert sorted(p.name for p in tmp_path.rglob("*.parquet")) == ["000_00000.parquet", "001_00000.parquet"]
  files = json.loads((tmp_path / MANIFEST).read_text())["files"]
  assert {entry["verified"] for entry in files.values()} == {"sha256"}


def test_note_on_what_was_not_found_stands_at_the_end(server, tmp_path):
  assembly = {"directory": "GCF_000000001.1_A", "organism_name": "Homo sapiens"}
  for section, listed in (("refseq", [assembly]), ("genbank", [])):
    server.add(layouts.SUMMARIES.format(section), layouts.summary(*listed))
  layouts.add_assembly(server, "GCF_000000001.1_A", ("assembly_report.txt", "genomic.gff.gz"))
  done = run(server, "bsm_species", tmp_path, "--files=report")
  assert done.returncode == 0, done.stderr
  assert "note: Xylariales: NOT FOUND" in done.stdout.split(" fetched, ")[1]


# Interruptions


def test_interrupted_run_keeps_what_came_and_the_next_one_goes_on_from_there(server, tmp_path):
  content = b"\x1f\x8b" + os.urandom(500_000)
  layouts.add_uniprot(server, SWISSPROT, content)
  server.files[f"/{SWISSPROT}"].faults = [flaky.stall(300_000)]
  process = start(server, "swissprot", tmp_path)
  part = tmp_path / "uniprot_sprot.fasta.gz.part"
  wait_for(lambda: part.exists() and part.stat().st_size > 0)
  process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=30)
  assert process.returncode == 130
  assert "run the same command again to go on" in errors and "Traceback" not in errors
  held = part.stat().st_size
  assert part.read_bytes() == content[:held]
  assert run(server, "swissprot", tmp_path).returncode == 0
  assert (tmp_path / "uniprot_sprot.fasta.gz").read_bytes() == content
  assert server.requests[-1].headers["Range"] == f"bytes={held}-"


def test_killed_run_is_continued_by_the_next_one(server, tmp_path):
  content = b"\x1f\x8b" + os.urandom(500_000)
  layouts.add_uniprot(server, SWISSPROT, content)
  server.files[f"/{SWISSPROT}"].faults = [flaky.stall(400_000)]
  process = start(server, "swissprot", tmp_path)
  part = tmp_path / "uniprot_sprot.fasta.gz.part"
  wait_for(lambda: part.exists() and part.stat().st_size > 131_072)
  process.kill()
  process.communicate()
  assert run(server, "swissprot", tmp_path).returncode == 0
  assert (tmp_path / "uniprot_sprot.fasta.gz").read_bytes() == content
  assert "Range" in server.requests[-1].headers


def wait_for(condition, seconds: float = 30) -> None:
  """Another process is at work: its effect is waited for, not its speed measured."""
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline, "nothing came"
    time.sleep(0.01)


# What goes wrong


def test_file_that_cannot_be_had_does_not_keep_others_back(server, release, tmp_path):
  layouts.add_release(server, release.path)
  folder = layouts.folder_of("GCF_900000001.1_MiniBact1")
  bad = f"{folder}/GCF_900000001.1_MiniBact1_genomic.gff.gz"
  server.files[bad].content += b"damage"
  done = run(server, "assembly", tmp_path, "--assembly=GCF_900000001.1")
  assert done.returncode == 1
  assert re.search(rf"error: {server.url}{bad}: .*expected md5:\w+, got md5:\w+", done.stderr)
  assert "2 files fetched, 0 were there, 1 failed" in done.stdout
  assert "Next: the same command again" in done.stderr


def test_file_that_is_listed_and_not_there_is_named_in_the_plan(server, release, tmp_path):
  layouts.add_release(server, release.path)
  gone = f"{layouts.folder_of('GCF_900000001.1_MiniBact1')}/GCF_900000001.1_MiniBact1_protein.faa.gz"
  del server.files[gone]
  done = run(server, "assembly", tmp_path, "--assembly=GCF_900000001.1", "--dry_run")
  assert re.search(rf"note: .*{gone}: the server answers HTTP 404", done.stdout)
  assert "and 1 of unknown size" in done.stdout


def test_disk_without_room_is_refused_before_anything_is_fetched(server, tmp_path):
  layouts.add_uniprot(server, SWISSPROT, b"content")
  metalink = server.files["/" + SWISSPROT.rsplit("/", 1)[0] + "/RELEASE.metalink"]
  metalink.content = metalink.content.replace(b"<size>7<", b"<size>90000000000000000<")
  done = run(server, "swissprot", tmp_path / "out")
  assert done.returncode == 1
  assert "the disk lacks room: 90000.0 TB to fetch" in done.stderr
  assert not (tmp_path / "out").exists()
  done = run(server, "swissprot", tmp_path / "out", "--ignore_disk_space")
  assert "expected 90,000,000,000,000,000 bytes, the server sends 7" in done.stderr


def test_release_that_cannot_be_found_out_is_one_line(server, tmp_path):
  done = run(server, "assembly", tmp_path, "--assembly=GCF_900000001.1")
  assert done.returncode == 1
  assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
  assert "GCF/900/000/001/: the server answers HTTP 404" in done.stderr


@pytest.mark.parametrize(("arguments", "problem"), [
    (["--release=nonsense"], "fineweb_edu_sample "),
    (["--release=taxon", "--base_url=ncbi=ftp://x"], "expected HOST=URL"),
    (["--release=taxon", "--base_url=example=http://x"], "one of ncbi, uniprot"),
    (["--release=taxon", "--files=gff,gtf"], "no such kind: gtf; there are gff, fna"),
    (["--release=taxon", "--max_connections=50"], "not an integer in the range"),
    (["--release=taxon"], "--taxon: is empty"),
    (["--release=assembly"], "--assembly: is empty"),
])
def test_wrong_flags_are_told_what_there_is(tmp_path, arguments, problem):
  arguments = [sys.executable, "-m", "data_pipelines.download", f"--out={tmp_path / 'out'}", *arguments]
  done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 1
  assert problem in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_two_downloads_into_one_folder_are_refused(server, tmp_path):
  with locked(tmp_path), pytest.raises(InputError, match="another download is writing here"):
    download.fetch_all(plain_plan(server, "a"), tmp_path, client())


def test_full_disk_says_which_file_and_what_to_do(server, tmp_path, monkeypatch):
  def full(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(os, "fsync", full)
  asked_with = client()
  with pytest.raises(InputError, match=r"/a: cannot be written \(No space left on device\). Run the same command"):
    download.fetch_all(plain_plan(server, "a"), tmp_path, asked_with)
  with pytest.raises(Stopped):  # other transfers end as well
    asked_with.clock.check()


def test_mistake_in_the_program_is_not_taken_for_a_failed_download(server, tmp_path, monkeypatch):
  monkeypatch.setattr(download.Fetcher, "fetch", lambda *arguments: 1 // 0)
  with pytest.raises(ZeroDivisionError):
    download.fetch_all(plain_plan(server, "a", "b"), tmp_path, client())


# Connections, sizes, progress


@pytest.mark.parametrize("connections", [1, 2])
def test_no_more_connections_than_allowed(server, tmp_path, connections):
  lock, active, most = threading.Lock(), [0], [0]

  def count(handler, served):
    with lock:
      active[0] += 1
      most[0] = max(most[0], active[0])
    time.sleep(0.02)
    with lock:
      active[0] -= 1
    return False

  plan = plain_plan(server, *(f"f{i}" for i in range(8)))
  for served in server.files.values():
    served.faults = [count]
  outcome = download.fetch_all(plan, tmp_path, client(), connections=connections)
  assert sorted(outcome.fetched) == [f"f{i}" for i in range(8)]
  assert most[0] == connections


def test_sizes_are_asked_only_where_listings_have_none(server, tmp_path):
  layouts.add_uniprot(server, SWISSPROT, b"content")
  server.add("/gene/DATA/gene2accession.gz", b"x" * 5)
  server.add("/gene/DATA/gene2refseq.gz", b"x" * 6)
  server.add("/gene/DATA/gene_refseq_uniprotkb_collab.gz", b"x" * 7)
  catalogue = Catalogue(client(), tmp_path, dict.fromkeys(HOSTS, server.url))
  assert [f.size for f in download.make_plan("gene_tables", catalogue, Options()).files] == [5, 6, 7]
  asked = len(server.requests)
  download.make_plan("swissprot", catalogue, Options())
  assert [r.method for r in server.requests[asked:]] == ["GET"]


def test_what_is_there_or_partly_there_is_not_counted_as_missing(tmp_path):
  plan = Plan([RemoteFile("http://x/", name, "", size=size) for name, size in (("a", 10), ("b", 100), ("c", 1000))])
  (tmp_path / "a").write_bytes(b"x" * 10)
  (tmp_path / "b").write_bytes(b"x" * 10)  # another file: it is fetched anew
  (tmp_path / "c.part").write_bytes(b"x" * 10)
  assert download.missing_bytes(plan, tmp_path) == 100 + 990


@pytest.mark.parametrize(("size", "text"), [
    (None, "?"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_951, "1.0 MB"),
    (2_300_000_000, "2.3 GB"), (10**15, "1000.0 TB"),
])
def test_sizes_are_readable(size, text):
  assert download.format_bytes(size) == text


def test_rounded_sizes_of_listings_are_marked(tmp_path):
  sizes = {"a": 2048, "b": None}
  plan = Plan([RemoteFile("http://x/", n, "CC0: free", approximate_size=size) for n, size in sizes.items()])
  text = download.describe(plan, tmp_path, every_file=True)
  assert re.search(r"a +~2.0 kB +size only +CC0\nb +\? +size only +CC0\n", text)
  assert "2 files, 2.0 kB and 1 of unknown size" in text


def test_progress_is_drawn_for_all_and_for_each_file_on_a_terminal_only(server, tmp_path, capsys):
  plan = plain_plan(server, "a", "b")
  download.fetch_all(plan, tmp_path / "terminal", client(), show_progress=True)
  drawn = capsys.readouterr().err
  assert "all files" in drawn and "\ra:" in drawn and "\rb:" in drawn
  download.fetch_all(plan, tmp_path / "file", client(), show_progress=False)
  assert sorted(capsys.readouterr().err.splitlines()) == ["a: fetched, verified", "b: fetched, verified"]
