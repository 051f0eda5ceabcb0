"""Sources: the entries of a config to the files they name."""

import hashlib

import pytest

from bsm_jax.tokenizer import Modality
from data_pipelines.errors import InputError
from data_pipelines.sources import SourceError, describe, parse_sources
from data_pipelines.tasks import Workers

PREFIX = "GCF_1_"


@pytest.fixture
def folder(tmp_path):
  """A function that makes empty files in a folder."""

  def make(*names):
    for name in names:
      (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / name).write_text(">a\nACGT\n")
    return str(tmp_path)

  return make


def parse(*entries, **variables):
  return parse_sources(entries, variables)


class TestEntries:

  def test_a_glob_gives_a_source_for_each_file(self, folder):
    root = folder("x/b.gbk.gz", "x/a.gbk", "x/c.fa")
    found = parse({"kind": "genbank", "path": "{root}/x/*.gbk*", "name": "phages"}, root=root)
    assert [s.name for s in found] == ["phages/a", "phages/b"]
    assert [s.files["path"] for s in found] == [f"{root}/x/a.gbk", f"{root}/x/b.gbk.gz"]

  def test_a_fasta_source_has_its_modality_and_taxon(self, folder):
    (found,) = parse({"kind": "fasta", "path": folder("p.fa") + "/p.fa", "modality": "protein", "taxon": 9606})
    assert (found.name, found.modality, found.taxon, found.has_proteins) == ("p", Modality.PROTEIN, 9606, True)

  def test_a_path_that_matches_nothing_is_named(self, tmp_path):
    for path in (tmp_path / "absent.gbk", tmp_path / "*.gbk"):
      with pytest.raises(InputError, match="no such file") as error:
        parse({"kind": "genbank", "path": str(path)})
      assert str(path) in str(error.value)

  @pytest.mark.parametrize(("entry", "message"), [
      ({"kind": "vcf"}, "kind must be one of genbank, gff3, feature_table, assembly, fasta"),
      ({"kind": "gff3", "gff": "x"}, "lacks fasta"),
      ({"kind": "fasta", "path": "x"}, "lacks modality"),
      ({"kind": "genbank", "path": "x", "rna": "y"}, "no such key: rna"),
      ({"kind": "genbank", "path": "{genomes}/x"}, "pass --config.genomes=DIR"),
  ])
  def test_an_entry_that_cannot_be_is_explained(self, entry, message):
    with pytest.raises(SourceError) as error:
      parse(entry, genomes=None)
    assert message in str(error.value)

  def test_two_sources_of_one_name_are_refused(self, folder):
    path = folder("a.gbk") + "/a.gbk"
    with pytest.raises(SourceError, match="two sources have the name a: give each its own `name`"):
      parse({"kind": "genbank", "path": path}, {"kind": "genbank", "path": path})

  def test_an_annotation_is_one_file(self, folder):
    root = folder("a.gff", "b.gff", "a.fna")
    with pytest.raises(SourceError, match="gff matches 2 files where one is expected"):
      parse({"kind": "gff3", "gff": f"{root}/*.gff", "fasta": f"{root}/a.fna"})

  def test_files_are_described_by_name_size_and_sha256_and_not_by_folder(self, folder, tmp_path):
    found = parse({"kind": "fasta", "path": folder("p.fa") + "/p.fa", "modality": "dna", "name": "mine"})
    digest = hashlib.sha256(b">a\nACGT\n").hexdigest()
    expected = {"source": "mine", "role": "path", "name": "p.fa", "sha256": digest, "bytes": 8}
    assert describe(found, Workers(tmp_path / "work")) == [expected]


class TestAssemblies:

  def roles(self, root):
    (found,) = parse({"kind": "assembly", "path": root})
    return found.kind, {role: path.rpartition(PREFIX)[2] for role, path in found.files.items()}

  def test_gff_is_preferred_and_the_parts_cut_from_the_genome_are_no_genome(self, folder):
    root = folder(*(PREFIX + n for n in (
        "genomic.gff.gz", "genomic.fna.gz", "genomic.gbff.gz", "rna.fna.gz", "protein.faa.gz", "feature_table.txt.gz",
        "cds_from_genomic.fna.gz", "rna_from_genomic.fna.gz",
    )))
    assert self.roles(root) == ("gff3", {
        "fasta": "genomic.fna.gz", "gff": "genomic.gff.gz", "protein": "protein.faa.gz", "rna": "rna.fna.gz"
    })

  def test_without_gff_the_feature_table_is_read(self, folder):
    root = folder(*(PREFIX + n for n in (
        "genomic.fna", "protein.faa", "feature_table.txt", "genomic.gbff", "cds_from_genomic.fna",
    )))
    assert self.roles(root) == ("feature_table", {
        "table": "feature_table.txt", "fasta": "genomic.fna", "protein": "protein.faa", "cds": "cds_from_genomic.fna"
    })

  def test_else_the_flat_file(self, folder):
    assert self.roles(folder(PREFIX + "genomic.gbff.gz")) == ("genbank", {"path": "genomic.gbff.gz"})

  def test_a_folder_without_annotation_is_refused(self, folder):
    with pytest.raises(InputError, match="lacks the files of an annotated assembly"):
      self.roles(folder(PREFIX + "genomic.fna.gz"))

  def test_a_folder_with_two_assemblies_is_refused(self, folder):
    with pytest.raises(InputError, match="holds two files of one role, GCA_1_genomic.gff and GCF_1_genomic.gff"):
      self.roles(folder("GCF_1_genomic.gff", "GCA_1_genomic.gff", "GCF_1_genomic.fna"))

  def test_a_file_is_no_assembly_folder(self, folder):
    with pytest.raises(InputError, match="is no folder"):
      self.roles(folder("a.gbff") + "/a.gbff")
