"""The command, and what it says of input and configs that cannot be used."""

import gzip
import pathlib
import shutil
import subprocess
import sys

import pytest

from data_pipelines import build, refseq_pairs, single_modal
from data_pipelines.errors import InputError
from data_pipelines.miniature import write_release

ROOT = pathlib.Path(__file__).parents[2]
SINGLE = {"single": {"corpus": "single_modal"}}
BOTH = SINGLE | {"pairs": {"corpus": "refseq_pairs", "codons": (10, 30)}}


@pytest.fixture(scope="module")
def release(tmp_path_factory):
  folder = tmp_path_factory.mktemp("miniature") / "release"
  write_release(folder, genes=40)
  return folder


def run(out, sources, row_sets=BOTH, **documents):
  config = {"context": 256, "sources": sources, "documents": documents, "row_sets": row_sets}
  build.build(build.BuildConfig.parse(config), out)


def fasta(path, **records):
  path.write_text("".join(f">{name}\n{letters}\n" for name, letters in records.items()))
  return str(path)


def copy_of(release, tmp_path, pattern, assembly="*1.1_*"):
  """A copy of one assembly, and the file in it that matches."""
  (assembly,) = release.glob(assembly)
  shutil.copytree(assembly, tmp_path / "copy")
  (path,) = (tmp_path / "copy").glob(pattern)
  return ({"kind": "assembly", "path": str(tmp_path / "copy")},), path


class TestBadInput:

  def test_a_truncated_file_is_named(self, release, tmp_path):
    sources, path = copy_of(release, tmp_path, "*_protein.faa.gz")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="truncated") as error:
      run(tmp_path / "out", sources)
    assert path.name in str(error.value)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".building", ".lock"}

  def test_an_empty_file_is_named(self, release, tmp_path):
    sources, path = copy_of(release, tmp_path, "*Bact1_genomic.gff.gz")
    path.write_bytes(b"")
    with pytest.raises(InputError, match=path.name):
      run(tmp_path / "out", sources)

  def test_an_absent_contig_is_an_error_or_counted(self, release, tmp_path):
    sources, path = copy_of(release, tmp_path, "*Yeast1_genomic.fna.gz", "*5.1_*")
    records = gzip.decompress(path.read_bytes()).split(b">")
    assert len(records) > 2
    lost = records[-1].split()[0].decode()
    path.write_bytes(gzip.compress(b">".join(records[:-1])))
    with pytest.raises(InputError, match=lost):
      run(tmp_path / "out", sources)
    run(tmp_path / "out", ({**sources[0], "missing_contig": "reject"},))
    metadata = refseq_pairs.RefseqPairs(data_dir=tmp_path / "out" / "documents").info.metadata
    assert metadata["rejects"]["missing_contig"]["count"] > 0

  def test_protein_given_as_dna_names_file_record_and_letter(self, tmp_path):
    path = fasta(tmp_path / "p.fa", good="ACGT" * 20, bad="MKLVEFP" * 10)
    sources = ({"kind": "fasta", "path": path, "modality": "dna"},)
    with pytest.raises(InputError) as error:
      run(tmp_path / "out", sources, SINGLE)
    message = str(error.value)
    assert message.startswith(f"{path}: bad: 'L' at position 3 of 70 is not a letter of a dna sequence")
    assert "--config.documents.strict=False" in message

  def test_lenient_mode_counts_what_it_replaced(self, tmp_path):
    path = fasta(tmp_path / "d.fa", one="ACGTRN" * 20 + "E", two="ACGT" * 20)
    sources = ({"kind": "fasta", "path": path, "modality": "dna"},)
    run(tmp_path / "out", sources, SINGLE, strict=False)
    metadata = single_modal.SingleModal(data_dir=tmp_path / "out" / "documents").info.metadata
    assert metadata["replaced_letters"] == {"ambiguous": 20, "unknown": 1}

  def test_dna_given_as_protein_is_refused(self, tmp_path):
    path = fasta(tmp_path / "d.fa", chr1="ACGT" * 40)
    sources = ({"kind": "fasta", "path": path, "modality": "protein"},)
    with pytest.raises(InputError, match="chr1: given as protein, but its letters are those of nucleotides only"):
      run(tmp_path / "out", sources, SINGLE)

  def test_sources_without_genes_give_no_pairs(self, tmp_path):
    path = fasta(tmp_path / "d.fa", chr1="ACGT" * 40)
    with pytest.raises(InputError, match="not one document for refseq_pairs"):
      run(tmp_path / "out", ({"kind": "fasta", "path": path, "modality": "dna"},))

  @pytest.mark.parametrize(("changes", "error"), [
      ({"row_sets": {}}, "config.row_sets is empty"),
      ({"documents": {"stric": True}}, "config.documents: no such key: stric; it may have transcripts, strict"),
      ({"documents": {"splits": {"validation": 0.1}}}, "config.documents.splits: no such key: validation"),
      ({"documents": {"splits": {"valid": 1.5}}}, "config.documents.splits: valid=1.5 and test=0.05 are no shares"),
      ({"documents": {"transcripts": "longest"}}, "config.documents: transcripts must be one or all, not 'longest'"),
      ({"row_sets": {"a": {"corpus": "single_modal", "like": "b"}}}, "row set a: like='b' is no row set; there are a"),
  ])
  def test_a_config_that_cannot_be_is_explained(self, changes, error):
    with pytest.raises(build.ConfigError) as raised:
      build.BuildConfig.parse({"context": 256, "sources": (), "row_sets": BOTH} | changes)
    assert error in str(raised.value)


class TestCommand:

  def call(self, *arguments):
    command = [sys.executable, "-m", "data_pipelines.build", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

  def test_it_prints_a_summary_and_what_to_run_next(self, release, tmp_path):
    done = self.call(
        "--config=configs/data/miniature.py", f"--config.release={release}", f"--out={tmp_path}",
        "--config.documents.splits.valid=0.2",
    )
    assert done.returncode == 0, done.stderr
    assert "refseq_pairs" in done.stdout and "translate_wrong_w10_30 valid" in done.stdout
    assert "python -m bsm_jax.train" in done.stdout and "Done in" in done.stdout

  def test_any_folder_of_assemblies_is_built_and_its_config_names_what_trains_on_it(self, release, tmp_path):
    done = self.call("--config=configs/data/assemblies.py", f"--config.assemblies={release}", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "bsm_jax.train --config=configs/miniature.py" in done.stdout

  @pytest.mark.parametrize(("arguments", "message"), [
      (["--config.rwo_sets.single_dna.seed=1"], "rwo_sets"),
      (["--config.row_sets.single_dna.sed=1"], "sed"),
      ([], "error: source {'kind': 'assembly', 'path': '{release}/GC[AF]_*'}: needs the folder `release`"),
      (["--config.release=absent"], "error: absent/GC[AF]_*: no such file"),
  ])
  def test_a_mistake_in_the_arguments_stops_it(self, tmp_path, arguments, message):
    done = self.call("--config=configs/data/miniature.py", f"--out={tmp_path}", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
