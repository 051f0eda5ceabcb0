"""Making a release: the same bytes for a seed, never half a release, never over something else, a usable command."""

import json
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from data_pipelines import miniature
from data_pipelines.errors import InputError

ROOT = pathlib.Path(miniature.__file__).parents[1]
GENES = 40
TRAPS_OF_A_YEAST = ["other_exception", "rna_editing", "trans_splicing"]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
  return miniature.write_release(tmp_path_factory.mktemp("miniature") / "release", seed=3, genes=GENES)


def all_bytes(path):
  return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_same_seed_gives_the_same_bytes_and_another_seed_others(release, tmp_path):
  again = miniature.write_release(tmp_path / "elsewhere", seed=3, genes=GENES)
  assert all_bytes(again.path) == all_bytes(release.path)
  other = miniature.write_release(tmp_path / "other", seed=4, genes=GENES)
  same = [name for name, data in all_bytes(other.path).items() if data == all_bytes(release.path)[name]]
  assert same == ["assembly_summary_refseq.txt"]


def test_release_that_is_there_is_returned_untouched(release):
  before = {path: path.stat().st_mtime_ns for path in release.path.rglob("*")}
  again = miniature.write_release(release.path, seed=3, genes=GENES)
  assert again == release
  assert {path: path.stat().st_mtime_ns for path in release.path.rglob("*")} == before


def test_another_release_in_the_directory_is_refused(release):
  with pytest.raises(InputError, match=r"holds another release.*'seed': 3"):
    miniature.write_release(release.path, seed=5, genes=GENES)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_directory_with_something_else_is_refused_and_left_alone(tmp_path, content):
  (tmp_path / ("release.json" if content else "thesis.txt")).write_text(content)
  with pytest.raises(InputError, match=re.escape(str(tmp_path))):
    miniature.write_release(tmp_path, genes=30)
  assert len(list(tmp_path.iterdir())) == 1


def test_empty_directory_is_filled(tmp_path):
  out = tmp_path / "out"
  out.mkdir()
  assert miniature.write_release(out, genes=30).path == out
  assert json.loads((out / "release.json").read_text())["genes"] == 30
  assert [path.name for path in tmp_path.iterdir()] == ["out"]


_KILLED = """
import os, signal, sys
from data_pipelines import miniature
from data_pipelines.simulation import ncbi_writer
write = ncbi_writer.write_assembly
def write_or_die(assembly, parent):
  if assembly.name == "MiniBact3":
    os.kill(os.getpid(), signal.SIGKILL)
  return write(assembly, parent)
ncbi_writer.write_assembly = write_or_die
miniature.write_release(sys.argv[1], genes=30)
"""


def test_killed_run_leaves_nothing_under_the_name_and_the_next_run_succeeds(tmp_path):
  out = tmp_path / "out"
  killed = subprocess.run([sys.executable, "-c", _KILLED, str(out)], cwd=ROOT, check=False)
  assert killed.returncode == -signal.SIGKILL
  assert not out.exists()
  [leftover] = tmp_path.iterdir()
  assert leftover.name.startswith(".out.unfinished") and not (leftover / "release.json").exists()
  assert len(list(leftover.iterdir())) == 2
  assert len(miniature.write_release(out, genes=30).assemblies) == 6


def test_failed_run_cleans_up(tmp_path, monkeypatch):
  def fail(assemblies):
    raise OSError("disk full")

  monkeypatch.setattr(miniature.ncbi_writer, "assembly_summary", fail)
  with pytest.raises(OSError, match="disk full"):
    miniature.write_release(tmp_path / "out", genes=30)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_smallest_release_still_holds_every_kind_of_gene(tmp_path, seed):
  release = miniature.write_release(tmp_path / "out", seed=seed, genes=miniature.MIN_GENES)
  assert sorted(release.traps.values()) == sorted(4 * ["pseudogene"] + 2 * TRAPS_OF_A_YEAST)
  assert {kind: len(tags) for kind, tags in release.oddities.items() if kind != "other_start"} == {
      "ribosomal_slippage": 3, "selenocysteine": 3, "over_origin": 3, "incomplete": 2, "shared_protein": 3,
      "alternative_transcripts": 10,
  }  # fmt: skip


def test_too_few_genes_are_refused(tmp_path):
  with pytest.raises(ValueError, match="at least 30"):
    miniature.write_release(tmp_path / "out", genes=29)
  assert list(tmp_path.iterdir()) == []


def run_command(*arguments):
  return subprocess.run(
      [sys.executable, "-m", "data_pipelines.miniature", *arguments],
      cwd=ROOT, capture_output=True, text=True, check=False,
  )


def test_command_line_writes_reports_and_says_when_it_is_there_already(tmp_path):
  out = tmp_path / "out"
  first = run_command(f"--out={out}", "--genes=30", "--seed=7")
  assert first.returncode == 0 and f"{out}: written, seed 7" in first.stdout, first.stderr
  for said in ("GCF_900000004.1_MiniMyco", "genetic code 4", "Next, build rows"):
    assert said in first.stdout
  second = run_command(f"--out={out}", "--genes=30", "--seed=7")
  assert second.returncode == 0 and f"{out}: already there" in second.stdout


def test_command_line_explains_what_it_cannot_use(tmp_path):
  assert "at least 30" in run_command(f"--out={tmp_path / 'out'}", "--genes=3").stderr
  (tmp_path / "thesis.txt").write_text("chapter 1")
  refused = run_command(f"--out={tmp_path}", "--genes=30")
  assert refused.returncode != 0 and "holds no release" in refused.stderr and "Traceback" not in refused.stderr
