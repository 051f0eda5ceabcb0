"""Evaluation sets: which files they come to, and whether what came is what figures were published on."""

import gzip
import io
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

from bsm_jax.evaluation import suites
from configs import (
    finetune_central_dogma,
    finetune_ncrnafam,
    finetune_ncrpi,
    finetune_ppi,
    finetune_protloc,
    finetune_protstab,
)
from data_pipelines import download
from data_pipelines.downloads import evaluation_sets
from data_pipelines.downloads.catalogue import HOSTS, Catalogue, Options
from data_pipelines.downloads.client import Client, DownloadError, Patience
from data_pipelines.downloads.contents import Contents
from data_pipelines.downloads.files import Plan, RemoteFile
from data_pipelines.downloads.releases import RELEASES
from tests.data_pipelines.downloads import flaky_server as flaky
from tests.data_pipelines.downloads import public_layouts as layouts

ROOT = pathlib.Path(download.__file__).parents[1]
TASKS = (finetune_central_dogma, finetune_ncrnafam, finetune_ncrpi, finetune_ppi, finetune_protloc, finetune_protstab)


@pytest.fixture
def plan(server, tmp_path):
  client = Client(Patience(attempts=2), clock=flaky.FakeClock(), say=lambda line: None)
  catalogue = Catalogue(client, tmp_path, dict.fromkeys(HOSTS, server.url))
  return lambda name: RELEASES[name].plan(catalogue, Options())


def zipped(tables: dict[str, str]) -> bytes:
  found = io.BytesIO()
  with zipfile.ZipFile(found, "w") as archive:
    for name, text in tables.items():
      archive.writestr(name, text)
  return found.getvalue()


def tarred(tables: dict[str, str]) -> bytes:
  found = io.BytesIO()
  with tarfile.open(fileobj=found, mode="w:gz") as archive:
    for name, text in tables.items():
      member = tarfile.TarInfo(name)
      member.size = len(text)
      archive.addfile(member, io.BytesIO(text.encode()))
  return found.getvalue()


# Releases


def test_folders_of_the_fine_tuning_configs_are_those_of_the_download(server, plan):
  names = []
  for task in TASKS:
    folder = task.get_config().data.folder
    names += [f"dataset/{folder}/{part}/{part}.csv" for part in ("train", "dev", "test")]
    names.append(f"dataset/{folder}/label.txt")
  others = ("dataset/CentralDogmaV2/x/y/test/test.csv", "README.md")
  layouts.add_hub_files(server, evaluation_sets.LUCAONE, (*names, *others))
  found = plan("lucaone_tasks")
  assert sorted(file.path for file in found.files) == sorted(name.removeprefix("dataset/") for name in names)
  assert len(found.notes) == 1  # the commit; nothing is missing
  by_path = {file.path: file for file in found.files}
  assert by_path["PPI/protein/binary_class/train/train.csv"].contents.rows == 59_766
  assert by_path["PPI/protein/binary_class/train/train.csv"].checksum.startswith("sha256:")
  assert by_path["PPI/protein/binary_class/label.txt"].contents is None


def test_a_task_that_the_hub_lacks_is_named(server, plan):
  path = "PPI/protein/binary_class/dev/dev.csv"
  layouts.add_hub_files(server, evaluation_sets.LUCAONE, (path,))
  found = plan("lucaone_tasks")
  assert [file.path for file in found.files] == [path]
  assert "not found there: CentralDogma/gene_protein/binary_class/train/train.csv" in found.notes[1]
  layouts.add_hub_files(server, evaluation_sets.LUCAONE, ("all.zip",))
  with pytest.raises(DownloadError, match="holds no such files"):
    plan("lucaone_tasks")


@pytest.mark.parametrize("name", ["proteingym", "rnagym", "evo_dms", "npinter", "tape_stability", "deeploc_pro"])
def test_every_set_says_its_licence_and_where_it_is(plan, name):
  found = plan(name)
  for file in found.files:
    assert ":" in file.licence and file.url.startswith("http")
    if "github" in file.url:
      assert re.search("/[0-9a-f]{40}/", file.url)  # one commit, not whatever is newest
  assert found.notes or all(file.checksum or file.path == "NPInter_rna_seq.fa" for file in found.files)


def test_what_is_expected_is_printed_before_anything_is_fetched(plan, tmp_path):
  text = download.describe(plan("proteingym"), tmp_path, every_file=True)
  assert "expected in DMS_ProteinGym_substitutions.zip: 217 tables, 2,465,767 rows" in text
  assert "processed_dms_nt_guy_2014.tsv 25,491 rows" in download.describe(plan("evo_dms"), tmp_path, every_file=False)


def test_tasks_name_releases_that_there_are():
  named = {match for task in suites.TASKS.values() for match in re.findall(r"--release=(\w+)", task.published)}
  assert named == {"evo_dms", "proteingym", "rnagym"}
  assert named <= RELEASES.keys()


def test_the_evo_panel_is_that_of_the_suites(plan):
  rows = plan("evo_dms").files[0].contents.rows_of
  assert set(rows) == {f"processed_dms_nt_{study}.tsv" for study in suites.EVO_NCRNAS}


# Contents


TABLE = "mutant,score\nA1P,0.5\nD2N,1\n"


@pytest.mark.parametrize(("name", "content"), [
    ("x.csv", TABLE.encode()),
    ("x.csv.gz", gzip.compress(TABLE.encode())),
    ("x.zip", zipped({"assays/x.csv": TABLE, "__MACOSX/._x.csv": "no table", "README.md": "a\nb\n"})),
    ("x.tar.gz", tarred({"assays/x.csv": TABLE, "assays/._x.csv": "no table"})),
])
def test_rows_are_counted_in_tables_and_in_archives(tmp_path, name, content):
  path = tmp_path / name
  path.write_bytes(content)
  assert Contents("us", tables=1, rows=2, rows_of={"x.csv": 2}).differences(path) == []
  assert Contents("us", rows=3, header=False).differences(path) == []
  assert Contents("us", tables=2, rows=5, rows_of={"x.csv": 7, "y.csv": 1}).differences(path) == [
      "holds 1 tables, 2 expected", "holds 2 rows, 5 expected", "x.csv has 2 rows, 7 expected", "holds no y.csv",
  ]  # fmt: skip


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.csv.gz"])
def test_a_page_in_place_of_an_archive_is_told(tmp_path, name):
  (tmp_path / name).write_text("<html>Log in</html>")
  (said,) = Contents("us", rows=1).differences(tmp_path / name)
  assert said.startswith("cannot be read")


def test_files_that_came_are_held_against_what_is_known(tmp_path):
  (tmp_path / "x.csv").write_text(TABLE)

  def file(rows: int, name: str = "x.csv") -> RemoteFile:
    return RemoteFile("https://example.org/x", name, "MIT: x", contents=Contents("us", rows=rows))

  assert download.check_contents(Plan([file(2)]), tmp_path) == ["x.csv holds what is known of it: 2 rows (us)"]
  (said,) = download.check_contents(Plan([file(3), file(3, "absent.csv")]), tmp_path)
  assert said.startswith("warning: x.csv holds 2 rows, 3 expected (us): it is another version")


def test_the_command_fetches_a_set_and_says_how_it_differs(server, tmp_path):
  pairs = "/Pengeace/RPITER/a894a3d2b712a49ce6ffd7bc04f6c2356aed8bc0/data"
  for name in ("NPInter_pairs.txt", "sequence/NPInter_protein_seq.fa", "sequence/NPInter_rna_seq.fa"):
    server.add(f"{pairs}/{name}", "P1\tn1\t1\n")
  server.add("/proteingym/ProteinGym_v1.3/DMS_ProteinGym_substitutions.zip", zipped({"a/x.csv": TABLE}))
  command = lambda release, *more: subprocess.run(
      [sys.executable, "-m", "data_pipelines.download", f"--release={release}", f"--out={tmp_path / release}",
       *(f"--base_url={host}={server.url}" for host in HOSTS), *more],
      cwd=ROOT, capture_output=True, text=True, timeout=120,
  )  # fmt: skip
  damaged = command("npinter")
  assert damaged.returncode == 1 and "expected 347,332 bytes" in damaged.stderr  # not the file of that commit
  found = command("proteingym", "--max_files=1")
  assert found.returncode == 0, found.stderr
  assert "substitutions.zip holds 1 tables, 217 expected; holds 2 rows, 2,465,767 expected" in found.stdout
