"""GFF3 and the files beside it: what does not fit together is refused or counted; real genomes are kept whole."""

import collections
import dataclasses
import gzip

import pytest

from data_pipelines.errors import InputError
from data_pipelines.formats.genbank import read_genbank
from data_pipelines.formats.gff3 import read_gff3
from data_pipelines.genes import REASONS, CodingGene, Reject

PROTEIN = "MKTAYIAKQR"
CODING = "ATGAAAACCGCGTATATTGCGAAACAGCGTTAA"


def line(kind, start, end, text, contig="chr1", phase="."):
  return "\t".join(map(str, (contig, "test", kind, start, end, ".", "+", phase, text)))


def gene_lines(name="1", contig="chr1"):
  """A gene that is all of its contig."""
  return [
      line("gene", 1, 33, f"ID=gene-{name}", contig),
      line("mRNA", 1, 33, f"ID=rna-{name};Parent=gene-{name};transcript_id=T{name}", contig),
      line("CDS", 1, 33, f"ID=cds-{name};Parent=rna-{name};protein_id=P{name}", contig, 0),
  ]


@pytest.fixture
def read(tmp_path):
  def write(name, records):
    (tmp_path / name).write_text("".join(f">{key} described\n{letters}\n" for key, letters in records.items()))
    return tmp_path / name

  def read(lines, names=("chr1",), **options):
    (tmp_path / "a.gff").write_text("\n".join(["##gff-version 3", *lines]) + "\n")
    genome = write("a.fna", dict.fromkeys(names, CODING))
    options |= {name: write(f"{name}.fa", options[name]) for name in ("rna", "protein") if name in options}
    return list(read_gff3(tmp_path / "a.gff", genome, **options))

  return read


def test_a_missing_transcript_or_protein_record_is_a_reject(read):
  lines = gene_lines("1") + gene_lines("2")
  kept, reject = read(lines, rna={"T1": "GG" + CODING})
  assert isinstance(kept, CodingGene) and reject == Reject("missing_transcript", "P2", "T2, rna-2")
  kept, reject = read(lines, protein={"P1": PROTEIN})
  assert isinstance(kept, CodingGene) and reject == Reject("missing_protein", "P2", "P2, cds-2")


@pytest.mark.parametrize("kind, name", [("rna", "T1"), ("protein", "P1")])
def test_records_of_another_annotation_are_refused(read, kind, name):
  with pytest.raises(InputError, match="X9.*same annotation") as error:
    read(gene_lines(), **{kind: {"X9": "ATG"}})
  assert name in str(error.value)


def test_a_missing_contig_is_an_error_that_names_both_files(read):
  with pytest.raises(InputError) as error:
    read(gene_lines("1") + gene_lines("2", "chrM"))
  for part in ("a.gff", "a.fna", "chrM", "chr1", "missing_contig='reject'"):
    assert part in str(error.value)


def test_coding_sequences_on_missing_contigs_can_be_rejected(read):
  kept, reject = read(gene_lines() + gene_lines(contig="chrM"), missing_contig="reject")
  assert isinstance(kept, CodingGene) and reject == Reject("missing_contig", "P1", "chrM")


@pytest.mark.parametrize("missing_contig", ["error", "reject"])
def test_files_without_a_common_contig_are_refused(read, missing_contig):
  with pytest.raises(InputError, match="same assembly") as error:
    read(gene_lines(), ["1", "2"], missing_contig=missing_contig)
  assert "chr1" in str(error.value) and "1, 2" in str(error.value) and "missing_contig=" not in str(error.value)


def test_an_unknown_policy_for_missing_contigs_is_refused(read):
  with pytest.raises(ValueError, match="missing_contig='skip'"):
    read(gene_lines(), missing_contig="skip")


def test_a_contig_of_another_length_is_refused(read):
  with pytest.raises(InputError, match="chr1: ##sequence-region gives 99 bases"):
    read(["##sequence-region chr1 1 99", *gene_lines()])
  assert len(read(["##sequence-region chr1 1 33", "##sequence-region chr1 5 9", *gene_lines()])) == 1


def test_sequences_and_comments_in_the_file_are_passed_over(read):
  expected = read(gene_lines())
  assert read([*gene_lines(), "###", "", "# comment", "##FASTA", ">chr1", "ACGT"]) == expected
  assert read([*gene_lines(), ">chr1", "ACGT"]) == expected


def test_gzip_and_windows_line_ends_are_read(tmp_path, read):
  expected = read(gene_lines())
  gff = tmp_path / "b.gff.gz"
  gff.write_bytes(gzip.compress("\r\n".join(["##gff-version 3", *gene_lines()]).encode()))
  assert list(read_gff3(gff, tmp_path / "a.fna")) == expected


@pytest.mark.parametrize(
    "lines, message",
    [
        (["chr1\ttest\tCDS\t1\t33"], "line 2: 5 columns"),
        (["chr1 test CDS 1 33 . + 0 ID=a"], "line 2: 1 columns"),
        ([*gene_lines(), line("CDS", "x", 33, "ID=a")], "line 5: start 'x'"),
        ([line("CDS", 0, 33, "ID=a")], "line 2: start '0'"),
        ([line("exon", 9, 3, "Parent=a")], "line 2: start '9' and end '3'"),
        ([line("CDS", 1, 33, "ID=a", phase=3)], "line 2: phase '3'"),
        ([line("CDS", 1, 33, "product=x")], "line 2: a CDS with neither ID"),
        ([line("transcript", 1, 33, 'gene_id "G1"; transcript_id "T1";')], "line 2: .*GTF"),
        (gene_lines()[:2], r"no feature of type CDS \(it holds 1 gene, 1 mRNA\)"),
        ([], "holds nothing"),
    ],
)
def test_text_that_is_no_usable_gff3_is_refused_by_line(read, lines, message):
  with pytest.raises(InputError, match=message) as error:
    read(lines)
  assert "a.gff" in str(error.value)


def _counts(items):
  counts = collections.Counter(item.code if isinstance(item, Reject) else "kept" for item in items)
  assert counts.keys() <= REASONS.keys() | {"kept"}
  return counts


def test_every_nuclear_protein_of_yeast_is_kept(shared_data):
  folder = shared_data / "genomes" / "scerevisiae_r64"
  gff, genome = folder / "GCF_000146045.2_R64_genomic.gff.gz", folder / "derived_GCF_000146045.2_R64_genomic.fna.gz"
  with pytest.raises(InputError, match="NC_001224.1"):
    next(read_gff3(gff, genome))
  items = list(
      read_gff3(
          gff,
          genome,
          rna=folder / "derived_GCF_000146045.2_R64_rna.fna.gz",
          protein=folder / "derived_GCF_000146045.2_R64_protein.faa.gz",
          missing_contig="reject",
      )
  )
  assert _counts(items) == {"kept": 5995, "pseudogene": 6, "missing_contig": 19}
  kept = [item for item in items if isinstance(item, CodingGene)]
  assert sum(len(gene.cds_blocks) > 1 for gene in kept) == 318
  assert not any(gene.partial5 or gene.partial3 for gene in kept)
  assert {gene.taxon for gene in kept} == {559292}


def test_gff3_and_genbank_give_the_same_genes_of_e_coli(shared_data):
  name = str(shared_data / "genomes" / "ecoli_mg1655" / "GCF_000005845.2_ASM584v2_")
  items = list(read_gff3(name + "genomic.gff.gz", name + "genomic.fna.gz", protein=name + "protein.faa.gz"))
  assert _counts(items) == {"kept": 4298, "pseudogene": 17}
  kept = [item for item in items if isinstance(item, CodingGene)]
  expected = [item for item in read_genbank(name + "genomic.gbff.gz") if isinstance(item, CodingGene)]
  kept = [dataclasses.replace(gene, protein_source="qualifier") for gene in kept]
  assert sorted(kept, key=repr) == sorted(expected, key=repr)
  assert sum("U" in gene.protein for gene in kept) == 3


@pytest.mark.parametrize(
    "gff, genome, expected",
    [
        # Transcripts that the excerpt cuts off have lost exons or the end of their CDS.
        ("celegans_1pct/C.elegans.gff.gz", "celegans_1pct/C.elegans.fa.gz", {"kept": 305, "cds_outside_exons": 2}),
        (
            "dmelanogaster_1pct/D.melanogaster.gff.gz",
            "dmelanogaster_1pct/D.melanogaster.fa.gz",
            {"kept": 242, "length_mismatch": 2},
        ),
    ],
)
def test_spliced_genes_of_worm_and_fly_are_kept(shared_data, gff, genome, expected):
  folder = shared_data / "genomes"
  assert _counts(read_gff3(folder / gff, folder / genome)) == expected


def test_viruses_are_read_or_refused_with_a_reason(shared_data):
  outcomes = collections.Counter()
  for gff in sorted((shared_data / "genomes" / "viruses").glob("*.gff3.gz")):
    try:
      outcomes += _counts(read_gff3(gff, str(gff).replace(".gff3.gz", ".reference.fasta.gz")))
    except InputError as error:
      reason = [key for key in ("no feature of type CDS", "are not in", "neither ID", "holds 349") if key in str(error)]
      outcomes[reason[0]] += 1
  # The edited genes are the glycoproteins of Ebola viruses.
  assert outcomes == {
      "kept": 142, "rna_editing": 5, "no feature of type CDS": 28, "are not in": 5, "neither ID": 1, "holds 349": 1,
  }  # fmt: skip
