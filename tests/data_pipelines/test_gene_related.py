"""Gene Related Sequences: every chosen row of the tables becomes part of a document, or has a reason why not."""

import collections
import dataclasses
import gzip
import itertools
import pathlib

import hypothesis
import pytest
from hypothesis import strategies as st

from data_pipelines import gene_records, gene_related, gene_rows, genetic_code
from data_pipelines.errors import InputError
from data_pipelines.genes import CodingGene, Reject, reverse_complement

COLUMNS = (
    "tax_id", "GeneID", "status", "RNA_nucleotide_accession.version", "RNA_nucleotide_gi", "protein_accession.version",
    "protein_gi", "genomic_nucleotide_accession.version", "genomic_nucleotide_gi",
    "start_position_on_the_genomic_accession", "end_position_on_the_genomic_accession", "orientation", "assembly",
    "mature_peptide_accession.version", "mature_peptide_gi", "Symbol",
)  # fmt: skip
CODONS = {}
for _codon in map("".join, itertools.product("TCAG", repeat=3)):
  CODONS.setdefault(genetic_code.translate(_codon), []).append(_codon)

# --- Small files ---


def row(rna="-", protein="-", genomic="-", start="-", end="-", strand="?", *, gene=1, taxon=9606, status="-"):
  """A line of gene2accession; coordinates are 0-based and inclusive, as there."""
  cells = (taxon, gene, status, rna, "-", protein, "-", genomic, "-", start, end, strand, "-", "-", "-", "ABC")
  return "\t".join(map(str, cells))


def coding(protein, synonym=0):
  """A coding sequence with its stop codon; another `synonym`, other codons."""
  return "".join(CODONS[residue][synonym % len(CODONS[residue])] for residue in protein + "*")


def feature(location, protein_id, protein=None, *more):
  qualifiers = [f'protein_id="{protein_id}"', *more] + ([f'translation="{protein}"'] if protein else [])
  return f"     CDS             {location}\n" + "".join(f"{' ' * 21}/{qualifier}\n" for qualifier in qualifiers)


def genbank(name, sequence, *features, moltype="DNA", topology="linear"):
  origin = "".join(f"{i + 1:>9} {sequence[i : i + 60].lower()}\n" for i in range(0, len(sequence), 60))
  return (
      f"LOCUS       {name.split('.')[0]:<16} {len(sequence):>11} bp    {moltype:<6}  {topology:<8} PRI 01-JAN-2000\n"
      f"ACCESSION   {name.split('.')[0]}\nVERSION     {name}\nKEYWORDS    .\n"
      f"FEATURES             Location/Qualifiers\n     source          1..{len(sequence)}\n"
      f'{" " * 21}/db_xref="taxon:9606"\n{"".join(features)}ORIGIN      \n{origin}//\n'
  )


def write(path: pathlib.Path, text: str) -> str:
  path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
  return str(path)


def table(path: pathlib.Path, rows) -> str:
  return write(path, "\n".join(["#" + "\t".join(COLUMNS), *rows]) + "\n")


@dataclasses.dataclass
class Result:
  documents: list[CodingGene]
  rejects: list[Reject]
  counts: dict[str, int]
  stats: dict

  @property
  def codes(self) -> dict[str, int]:
    return dict(collections.Counter(reject.code for reject in self.rejects))


@pytest.fixture
def build(tmp_path):
  """Builds from rows (of one table) and from the text of record files, each a list of records of one kind."""
  numbers = itertools.count()

  def run(rows, *, genbank=(), nucleotide=(), protein=(), tables=(), collab=None, **config) -> Result:
    (work := tmp_path / f"work{next(numbers)}").mkdir()
    (files := work / "files").mkdir()
    paths = [table(files / "gene2accession.gz", rows)] if rows else []
    paths += [table(files / f"more{i}", more) for i, more in enumerate(tables)]
    records = [
        (kind, write(files / f"{kind}.txt", "".join(texts)))
        for kind, texts in (("genbank", genbank), ("nucleotide", nucleotide), ("protein", protein)) if texts
    ]
    collab = write(files / "collab.gz", "\n".join(collab) + "\n") if collab else None
    counts, stats = {}, {}
    items = list(gene_related.read_gene_related(
        work, tables=paths, records=records, collab=collab, config=gene_related.GeneRelatedConfig(**config),
        counts=counts, stats=stats,
    ))
    documents = [item for item in items if isinstance(item, CodingGene)]
    rejects = [item for item in items if isinstance(item, Reject)]
    assert all(reject.code in gene_related.REASONS for reject in rejects)
    assert counts.get("rows", 0) == stats["rows"] == counts.get("rows_used", 0) + len(rejects)
    assert counts.get("documents", 0) == len(documents)
    assert not (work / "spill").exists()
    return Result(documents, rejects, counts, stats)

  return run


PROTEIN = "MAKGRELWCQHTSPDN"
OTHER = "MSTNPKPQRKTKRNTN"
CDS = coding(PROTEIN)
BAC = "ACGTTGCA" * 20 + CDS[:10] + "GTAAGTTTTTTAG" + CDS[10:] + "TTGACCAT" * 30
BAC_AT = 160
LOCATION = f"join({BAC_AT + 1}..{BAC_AT + 10},{BAC_AT + 24}..{BAC_AT + 13 + len(CDS)})"
BAC_END = BAC_AT + 13 + len(CDS)
MRNA = "GGCACGAG" + CDS + "TTTAAATAAAAA"
MRNA_RECORD = genbank("AK1.1", MRNA, feature(f"9..{8 + len(CDS)}", "BAA1.1", PROTEIN), moltype="mRNA")
BAC_RECORD = genbank("AC1.3", BAC, feature(LOCATION, "AAA1.1", PROTEIN))
MRNA_ROW = row("AK1.1", "BAA1.1")
BAC_ROW = row(protein="AAA1.1", genomic="AC1.3")


# --- Documents ---


def test_bac_is_cut_to_the_coding_sequence_of_the_rows_protein(build):
  elsewhere = feature("1..30", "AAA9.1", "TLHVARCTLQ", "codon_start=1")
  [gene] = build([BAC_ROW], genbank=[genbank("AC1.3", BAC, elsewhere, feature(LOCATION, "AAA1.1", PROTEIN))]).documents
  assert gene.dna == BAC[BAC_AT:BAC_END]
  assert gene.cds == CDS and gene.protein == PROTEIN
  assert gene.cds_blocks == ((0, 10), (23, 13 + len(CDS)))
  assert (gene.gene_id, gene.protein_id, gene.transcript_id, gene.taxon) == ("GeneID:1", "AAA1.1", "AC1.3", 9606)
  assert gene.genomic and gene.rna_source == "cds" and gene.protein_source == "qualifier"


def test_minus_strand_is_read_on_the_coding_strand(build):
  n = len(BAC)
  location = f"complement(join({n - BAC_END + 1}..{n - BAC_AT - 23},{n - BAC_AT - 9}..{n - BAC_AT}))"
  record = genbank("AC1.3", reverse_complement(BAC), feature(location, "AAA1.1", PROTEIN))
  for coordinates in (("-", "-", "?"), (n - BAC_END, n - BAC_AT - 1, "-")):
    result = build([row("-", "AAA1.1", "AC1.3", *coordinates)], genbank=[record])
    assert [gene.dna for gene in result.documents] == [BAC[BAC_AT:BAC_END]]


def test_mrna_record_gives_a_document_of_rna_and_protein(build):
  [gene] = build([MRNA_ROW], genbank=[MRNA_RECORD]).documents
  assert not gene.genomic and gene.rna_source == "record" and gene.transcript_id == "AK1.1"
  assert gene.rna == MRNA and gene.rna_cds == (8, 8 + len(CDS)) and gene.protein == PROTEIN


def test_transcript_that_its_record_calls_dna_is_a_transcript(build):
  [gene] = build([MRNA_ROW], genbank=[MRNA_RECORD.replace("mRNA  ", "DNA   ")]).documents
  assert not gene.genomic and gene.rna == MRNA


def test_genomic_and_mrna_rows_with_one_protein_become_one_document(build):
  result = build([MRNA_ROW, BAC_ROW], genbank=[MRNA_RECORD, BAC_RECORD])
  [gene] = result.documents
  assert gene.dna == BAC[BAC_AT:BAC_END] and gene.genomic
  assert gene.rna == MRNA and gene.rna_source == "record" and gene.rna[slice(*gene.rna_cds)] == CDS
  assert (gene.transcript_id, gene.protein_id) == ("AK1.1", "BAA1.1")
  assert result.counts == {
      "rows": 2, "rows_used": 2, "rows_rejected": 0, "documents": 1, "documents_dna_rna_protein": 1
  }


def test_alleles_with_synonymous_codons_are_joined_codon_by_codon(build):
  allele = coding(PROTEIN, 1)
  record = genbank("AK1.1", "GG" + allele, feature(f"3..{2 + len(allele)}", "BAA1.1", PROTEIN), moltype="mRNA")
  [gene] = build([MRNA_ROW, BAC_ROW], genbank=[record, BAC_RECORD]).documents
  assert gene.cds == CDS != allele == gene.rna[slice(*gene.rna_cds)]


def test_genomic_and_mrna_of_other_lengths_stay_apart(build):
  partial = genbank("AK1.1", CDS[:-3], feature(f"1..>{len(CDS) - 3}", "BAA1.1", PROTEIN), moltype="mRNA")
  result = build([MRNA_ROW, BAC_ROW], genbank=[partial, BAC_RECORD])
  assert sorted(gene.genomic for gene in result.documents) == [False, True]


def test_surplus_sequences_become_documents_of_two_modalities(build):
  more = [
      genbank(f"AK{i}.1", "G" * i + MRNA, feature(f"{9 + i}..{8 + i + len(CDS)}", f"BAA{i}.1", PROTEIN), moltype="mRNA")
      for i in (2, 3)
  ]
  rows = [MRNA_ROW, BAC_ROW, row("AK2.1", "BAA2.1"), row("AK3.1", "BAA3.1")]
  result = build(rows, genbank=[MRNA_RECORD, BAC_RECORD, *more])
  assert result.counts["documents_dna_rna_protein"] == 1 and result.counts["documents_rna_protein"] == 2
  assert {gene.rna for gene in result.documents} == {MRNA, "GG" + MRNA, "GGG" + MRNA}
  assert len({(gene.transcript_id, gene.protein_id) for gene in result.documents}) == 3


def test_rna_of_the_same_letters_joins_the_dna_before_another_allele(build):
  allele = coding(PROTEIN, 1)
  other = genbank("AA1.1", allele, feature(f"1..{len(allele)}", "BAA0.1", PROTEIN), moltype="mRNA")
  result = build([row("AA1.1", "BAA0.1"), MRNA_ROW, BAC_ROW], genbank=[other, MRNA_RECORD, BAC_RECORD])
  assert [gene.transcript_id for gene in result.documents if gene.genomic] == ["AK1.1"]


def test_rna_and_dna_of_one_row_belong_together_before_all_others(build):
  allele = coding(PROTEIN, 1)
  refseq = genbank("NM_1.1", allele, feature(f"1..{len(allele)}", "NP_1.1", PROTEIN), moltype="mRNA")
  genomic = genbank("NC_1.1", BAC, feature(LOCATION, "NP_1.1", PROTEIN))
  rows = [row("NM_1.1", "NP_1.1", "NC_1.1", BAC_AT, BAC_END - 1, "+", status="REVIEWED"), MRNA_ROW]
  result = build(rows, genbank=[refseq, genomic, MRNA_RECORD], statuses=("-", "REVIEWED"))
  assert [gene.transcript_id for gene in result.documents if gene.genomic] == ["NM_1.1"]


def test_identical_records_become_one_document_that_uses_both_rows(build):
  copy = MRNA_RECORD.replace("AK1", "AK7").replace("BAA1", "BAA7")
  result = build([MRNA_ROW, row("AK7.1", "BAA7.1")], genbank=[MRNA_RECORD, copy])
  assert len(result.documents) == 1 and result.counts["rows_used"] == 2


def test_genes_are_not_mixed(build):
  result = build([MRNA_ROW, row(protein="AAA1.1", genomic="AC1.3", gene=2)], genbank=[MRNA_RECORD, BAC_RECORD])
  assert {(gene.gene_id, gene.genomic) for gene in result.documents} == {("GeneID:1", False), ("GeneID:2", True)}


def test_gene_over_the_origin_of_a_circular_molecule_is_cut_out(build):
  plasmid = CDS[20:] + "ACGT" * 30 + CDS[:20]
  n = len(plasmid)
  record = genbank(
      "CP1.1", plasmid, feature(f"join({n - 19}..{n},1..{len(CDS) - 20})", "AAA1.1", PROTEIN), topology="circular"
  )
  for coordinates in (("-", "-", "?"), (n - 20, len(CDS) - 21, "+")):
    [gene] = build([row("-", "AAA1.1", "CP1.1", *coordinates)], genbank=[record]).documents
    assert gene.cds == CDS


def test_copies_of_a_gene_with_one_protein_are_told_apart_by_coordinates(build):
  allele = coding(PROTEIN, 1)
  genome = "ACGT" * 5 + CDS + "ACGT" * 5 + reverse_complement(allele) + "ACGT"
  second = 40 + len(CDS)
  record = genbank(
      "NC_1.1", genome, feature(f"21..{20 + len(CDS)}", "WP_1.1", PROTEIN),
      feature(f"complement({second + 1}..{second + len(CDS)})", "WP_1.1", PROTEIN),
  )
  rows = [
      row("-", "WP_1.1", "NC_1.1", 20, 19 + len(CDS), "+", gene=1),
      row("-", "WP_1.1", "NC_1.1", second, second + len(CDS) - 1, "-", gene=2),
  ]
  result = build(rows, genbank=[record])
  assert {(gene.gene_id, gene.dna) for gene in result.documents} == {("GeneID:1", CDS), ("GeneID:2", allele)}


# --- FASTA ---


def test_proteins_own_record_is_taken_where_it_is_there(build):
  [gene] = build([MRNA_ROW], genbank=[MRNA_RECORD], protein=[f">BAA1.1 protein\n{PROTEIN}\n"]).documents
  assert (gene.protein, gene.protein_source) == (PROTEIN, "record")


def test_transcript_of_fasta_is_kept_where_a_frame_translates_to_the_protein(build):
  for lead in ("", "G", "GG", "ACTGATAA"):
    result = build([MRNA_ROW], nucleotide=[f">AK1.1 mRNA\n{lead + CDS}\nAATAAA\n"], protein=[f">BAA1.1\n{PROTEIN}\n"])
    [gene] = result.documents
    assert gene.rna == lead + CDS + "AATAAA" and gene.rna_cds == (len(lead), len(lead + CDS))
    assert not gene.genomic and not gene.partial5 and not gene.partial3


def test_rna_letters_of_fasta_are_read(build):
  letters = MRNA.replace("T", "u")
  [gene] = build([MRNA_ROW], nucleotide=[f">AK1.1\n{letters}\n"], protein=[f">BAA1.1\n{PROTEIN}\n"]).documents
  assert gene.rna == MRNA


def test_genomic_fasta_is_cut_to_the_rows_coordinates(build):
  genome = "ACGT" * 10 + CDS + "ACGT"
  for sequence, start, strand in ((genome, 40, "+"), (reverse_complement(genome), 4, "-")):
    # The row's stretch may be longer than the coding sequence: a gene has untranslated ends.
    line = row("-", "AAA1.1", "NC_1.1", start - 3, start + len(CDS) + 2, strand)
    result = build([line], nucleotide=[f">NC_1.1\n{sequence}\n"], protein=[f">AAA1.1\n{PROTEIN}\n"])
    [gene] = result.documents
    assert gene.dna == gene.cds == CDS and gene.genomic and gene.rna_source == "cds"


def test_genetic_codes_are_tried_in_the_order_given(build):
  cds = "ATGTGATGGAAATAA"
  lines = {"nucleotide": [f">AK1.1\n{cds}\n"], "protein": [">BAA1.1\nMWWK\n"]}
  assert build([MRNA_ROW], **lines).codes == {"no_orf": 1}
  [gene] = build([MRNA_ROW], **lines, transl_tables=(1, 4)).documents
  assert (gene.protein, gene.transl_table) == ("MWWK", 4)


def test_alternative_start_codon_is_methionine(build):
  cds = "GTG" + CDS[3:]
  lines = {"nucleotide": [f">AK1.1\nCC{cds}\n"], "protein": [f">BAA1.1\n{PROTEIN}\n"]}
  assert build([MRNA_ROW], **lines).codes == {"no_orf": 1}
  [gene] = build([MRNA_ROW], **lines, transl_tables=(11,)).documents
  assert gene.cds == cds and gene.protein == PROTEIN


@pytest.mark.parametrize("letters, protein, partial", [
    (CDS[:-3], PROTEIN, (False, True)), (CDS[3:], PROTEIN[1:], (True, False)), (CDS[4:-4], PROTEIN[2:-1], (True, True)),
])
def test_frame_may_be_cut_by_the_ends_of_the_record(build, letters, protein, partial):
  [gene] = build([MRNA_ROW], nucleotide=[f">AK1.1\n{letters}\n"], protein=[f">BAA1.1\n{protein}\n"]).documents
  assert (gene.protein, gene.partial5, gene.partial3) == (protein, *partial)


@pytest.mark.parametrize("protein", [PROTEIN[1:], PROTEIN[:-1], PROTEIN[:5] + "X" + PROTEIN[6:], OTHER, "M", "K*K"])
def test_frame_of_another_protein_or_a_part_of_it_is_no_frame(build, protein):
  result = build([MRNA_ROW], nucleotide=[f">AK1.1\nG{CDS}AAG\n"], protein=[f">BAA1.1\n{protein}\n"])
  assert result.codes == {"no_orf": 1}


def test_later_frame_is_found_behind_a_shorter_one_of_the_same_protein(build):
  [gene] = build(
      [MRNA_ROW], nucleotide=[f">AK1.1\n{CDS[:-3]}AAA{CDS}\n"], protein=[f">BAA1.1\n{PROTEIN}\n"]
  ).documents
  assert gene.rna_cds == (len(CDS), 2 * len(CDS))


def test_nucleotides_that_are_none_are_an_error_that_names_file_and_record(build):
  with pytest.raises(InputError, match="nucleotide.txt: AK1.1: 'E' in the sequence is no nucleotide"):
    build([MRNA_ROW], nucleotide=[f">AK1.1\n{PROTEIN}\n"], protein=[f">BAA1.1\n{PROTEIN}\n"])


def test_annotated_record_is_taken_before_bare_letters_of_the_same_accession(build):
  result = build([BAC_ROW], genbank=[BAC_RECORD], nucleotide=[f">AC1.3\n{BAC}\n"])
  assert [gene.cds for gene in result.documents] == [CDS]


# --- Proteins alone ---

VARIANT = PROTEIN[:7] + "V" + PROTEIN[8:]  # 15 of 16 residues


@pytest.mark.parametrize("header", ["sp|P1A234|ABC_HUMAN A protein OS=Homo sapiens OX=9606 SV=2", "P1A234.2 protein"])
def test_equal_protein_alone_is_joined_to_the_document(build, header):
  result = build([MRNA_ROW, row(protein="P1A234.2")], genbank=[MRNA_RECORD], protein=[f">{header}\n{PROTEIN}\n"])
  assert len(result.documents) == 1 and result.counts["rows_used"] == 2


def test_natural_variant_stands_beside_the_nucleotides_of_its_gene(build):
  fasta = [f">sp|P1A234|ABC_HUMAN x SV=2\n{VARIANT}\n", f">tr|A0A0A0|ABC_HUMAN x SV=1\n{VARIANT}\n"]
  rows = [MRNA_ROW, BAC_ROW, row(protein="P1A234.2"), row(protein="A0A0A0.1")]
  result = build(rows, genbank=[MRNA_RECORD, BAC_RECORD], protein=fasta)
  assert [gene.protein for gene in result.documents] == [PROTEIN, VARIANT] or [
      gene.protein for gene in result.documents
  ] == [VARIANT, PROTEIN]
  variant = next(gene for gene in result.documents if gene.protein == VARIANT)
  assert variant.cds == CDS and variant.rna == MRNA and variant.genomic
  assert variant.protein_id in ("P1A234.2", "A0A0A0.1") and variant.protein_source == "record"
  assert result.counts["rows_used"] == 4


def test_variant_joins_the_most_similar_translation(build):
  near = PROTEIN[:-1] + "K"
  second = genbank("AK2.1", coding(near), feature(f"1..{3 * len(near) + 3}", "BAA2.1", near), moltype="mRNA")
  rows = [MRNA_ROW, row("AK2.1", "BAA2.1"), row(protein="P1A234.2")]
  fasta = [f">P1A234.2\n{near[:7]}V{near[8:]}\n"]
  result = build(rows, genbank=[MRNA_RECORD, second], protein=fasta)
  assert next(gene for gene in result.documents if gene.protein_id == "P1A234.2").cds == coding(near)


@pytest.mark.parametrize("protein, min_identity", [
    (OTHER, 0.9), (VARIANT, 0.95), (PROTEIN[1:], 0.9), (PROTEIN + "K", 0.9), ("X" * len(PROTEIN), 0.9)
])
def test_protein_that_nothing_translates_to_is_rejected(build, protein, min_identity):
  rows = [MRNA_ROW, row(protein="P1A234.2")]
  result = build(rows, genbank=[MRNA_RECORD], protein=[f">P1A234.2\n{protein}\n"], min_identity=min_identity)
  assert result.codes == {"unmatched_protein": 1}
  assert result.rejects[0].record == "GeneID:1 P1A234.2"


def test_protein_of_a_gene_without_usable_nucleotides_is_rejected(build):
  rows = [row(protein="P1A234.2"), row("AK9.1", "BAA9.1")]
  assert build(rows, protein=[f">P1A234.2\n{PROTEIN}\n"]).codes == {"no_nucleotides": 1, "missing_accession": 1}


def test_protein_alone_is_found_as_a_translation_in_a_genbank_record(build):
  elsewhere = genbank("X1.1", CDS, feature(f"1..{len(CDS)}", "CAA1.1", PROTEIN), moltype="mRNA")
  untranslated = genbank("X2.1", CDS, feature(f"1..{len(CDS)}", "CAA2.1"), moltype="mRNA")
  rows = [MRNA_ROW, row(protein="CAA1.1"), row(protein="CAA2.1")]
  result = build(rows, genbank=[MRNA_RECORD, elsewhere, untranslated])
  assert len(result.documents) == 1 and result.counts["rows_used"] == 3


def test_isoform_of_a_uniprot_entry_is_joined_to_its_own_transcript(build):
  short = PROTEIN[:10]
  transcript = genbank("AK2.1", coding(short), feature("1..33", "BAA2.1", short), moltype="mRNA")
  fasta = [f">sp|P1A234|ABC_HUMAN x SV=2\n{OTHER}\n", f">sp|P1A234-2|ABC_HUMAN Isoform 2 of x\n{short}\n"]
  rows = [row("AK2.1", "BAA2.1"), row(protein="P1A234.2")]
  assert build(rows, genbank=[transcript], protein=fasta).counts["rows_used"] == 2
  assert build(rows, genbank=[transcript], protein=fasta[:1]).codes == {"unmatched_protein": 1}


# --- Reasons ---


def test_row_without_a_protein_is_rejected(build):
  rows = [row("AK1.1"), row(genomic="AC1.3", start=5, end=90, strand="+")]
  assert build(rows, genbank=[MRNA_RECORD, BAC_RECORD]).codes == {"no_protein": 2}


def test_accession_that_no_file_holds_is_missing(build):
  rows = [row("AK9.1", "BAA1.1"), row(protein="AAA1.1", genomic="AC9.3"), row(protein="P1A234.2")]
  result = build(rows, genbank=[MRNA_RECORD])
  assert result.codes == {"missing_accession": 3}
  assert {reject.detail for reject in result.rejects} == {"AK9.1", "AC9.3", "P1A234.2"}


def test_protein_of_unannotated_nucleotides_may_be_missing_or_of_another_version(build):
  fasta = {"nucleotide": [f">AK1.1\n{MRNA}\n"]}
  assert build([MRNA_ROW], **fasta).codes == {"missing_accession": 1}
  assert build([MRNA_ROW], **fasta, protein=[f">BAA1.2\n{PROTEIN}\n"]).codes == {"other_version": 1}


@pytest.mark.parametrize("wanted, found", [
    (row("AK1.2", "BAA1.1"), "AK1.1 is there, AK1.2 is not"),
    (row("AK1.1", "BAA1.2"), "AK1.1 annotates BAA1.1"),
    (row(protein="AAA1.1", genomic="AC1.2"), "AC1.3 is there, AC1.2 is not"),
    (row(protein="P1A234.3"), "P1A234.2 is there, P1A234.3 is not"),
])
def test_another_version_is_not_taken_and_both_are_named(build, wanted, found):
  fasta = [f">sp|P1A234|ABC_HUMAN x SV=2\n{PROTEIN}\n"]
  result = build([wanted], genbank=[MRNA_RECORD, BAC_RECORD], protein=fasta)
  assert result.codes == {"other_version": 1}
  assert result.rejects[0].detail == found


def test_version_of_the_row_is_taken_where_several_are_there(build):
  newer = MRNA_RECORD.replace("VERSION     AK1.1", "VERSION     AK1.2").replace("ggcacgag", "aaaaaaaa")
  [gene] = build([MRNA_ROW], genbank=[newer, MRNA_RECORD]).documents
  assert gene.rna == MRNA


def test_genomic_record_that_does_not_annotate_the_protein_is_not_guessed(build):
  result = build([row(protein="AAA2.1", genomic="AC1.3")], genbank=[BAC_RECORD])
  assert result.codes == {"no_feature": 1}


@pytest.mark.parametrize("start, end, strand", [
    (0, BAC_AT - 1, "+"), (BAC_AT, BAC_END - 1, "-"), (BAC_END, BAC_END + 50, "+"), (10**6, 10**6 + 100, "+")
])
def test_feature_outside_the_rows_coordinates_is_not_taken(build, start, end, strand):
  result = build([row("-", "AAA1.1", "AC1.3", start, end, strand)], genbank=[BAC_RECORD])
  assert result.codes == {"coordinates_off": 1}


@pytest.mark.parametrize("start, end", [(10**6, 10**6 + 10), (90, 10), (5, 10**6)])
def test_coordinates_outside_an_unannotated_record_are_rejected(build, start, end):
  fasta = {"nucleotide": [f">NC_1.1\n{BAC}\n"], "protein": [f">AAA1.1\n{PROTEIN}\n"]}
  assert build([row("-", "AAA1.1", "NC_1.1", start, end, "+")], **fasta).codes == {"coordinates_off": 1}


def test_coordinates_without_a_strand_cut_nothing(build):
  fasta = {"nucleotide": [f">NC_1.1\n{BAC}\n"], "protein": [f">AAA1.1\n{PROTEIN}\n"]}
  assert build([row("-", "AAA1.1", "NC_1.1", 10, 90, "?")], **fasta).codes == {"no_feature": 1}


def test_protein_record_that_differs_from_the_translation_is_rejected(build):
  fasta = [f">BAA1.1\n{VARIANT}\n"]
  assert build([MRNA_ROW], genbank=[MRNA_RECORD], protein=fasta).codes == {"protein_differs": 1}
  open_residue = [f">BAA1.1\n{PROTEIN[:7]}X{PROTEIN[8:]}\n"]
  [gene] = build([MRNA_ROW], genbank=[MRNA_RECORD], protein=open_residue).documents
  assert (gene.protein, gene.protein_source) == (PROTEIN, "qualifier")


@pytest.mark.parametrize("record, code", [
    (genbank("AC1.3", BAC, feature(LOCATION, "AAA1.1", OTHER)), "translation_mismatch"),
    (genbank("AC1.3", BAC, feature(LOCATION, "AAA1.1", PROTEIN, "pseudo")), "pseudogene"),
    (genbank("AC1.3", BAC, feature("order(1..9,20..30)", "AAA1.1", PROTEIN)), "bad_location"),
    (genbank("AC1.3", BAC, feature("join(Z1.1:1..9,20..30)", "AAA1.1", PROTEIN)), "remote_location"),
    (genbank("AC1.3", "", feature(LOCATION, "AAA1.1", PROTEIN)).replace("ORIGIN", "CONTIG"), "missing_contig"),
    (genbank("AC1.3", "").replace("ORIGIN", "CONTIG"), "missing_contig"),
])
@pytest.mark.parametrize("coordinates", [("-", "-", "?"), (BAC_AT, BAC_END - 1, "+")])
def test_coding_sequence_that_is_none_has_the_readers_reason(build, record, code, coordinates):
  assert build([row("-", "AAA1.1", "AC1.3", *coordinates)], genbank=[record]).codes == {code: 1}


def test_row_is_used_though_one_of_its_nucleotides_is_not(build):
  rows = [row("AK1.1", "BAA1.1", "NC_9.1", 5, 90, "+")]
  result = build(rows, genbank=[MRNA_RECORD])
  assert len(result.documents) == 1
  assert result.counts["incomplete_genomic_missing_accession"] == 1


# --- Which rows ---


def test_statuses_taxa_and_withdrawn_rows_are_counted(build):
  rows = [
      MRNA_ROW, row("NM_1.1", "NP_1.1", status="REVIEWED"), row("NM_2.1", "NP_2.1", status="Validated"),
      row("NM_3.1", "NP_3.1", status="SUPPRESSED"), row("AK5.1", "BAA5.1", taxon=10090),
      row("NM_5.1", "NP_5.1", taxon=10090, status="SUPPRESSED"),
  ]
  stats = build(rows, genbank=[MRNA_RECORD], taxa=(9606, 7955)).stats
  assert (stats["lines"], stats["selected"], stats["duplicates"]) == (6, 1, 0)
  assert stats["not_selected"] == {"REVIEWED": 1, "VALIDATED": 1, "taxon": 2, "withdrawn": 1}
  assert set(gene_related.NOT_SELECTED) == {"taxon", "withdrawn", "no_gene"}
  stats = build(rows, genbank=[MRNA_RECORD], statuses=("REVIEWED", "VALIDATED")).stats
  assert stats["selected"] == 2 and stats["not_selected"] == {"-": 2, "withdrawn": 2}


def test_withdrawn_records_cannot_be_chosen(build):
  with pytest.raises(ValueError, match="SUPPRESSED"):
    build([MRNA_ROW], statuses=("-", "SUPPRESSED"))


def test_row_of_several_tables_is_taken_once(build):
  renamed = MRNA_ROW.rpartition("\t")[0] + "\tSYNONYM"
  result = build([MRNA_ROW, MRNA_ROW, BAC_ROW], tables=[[renamed], [BAC_ROW]], genbank=[MRNA_RECORD])
  assert (result.stats["lines"], result.stats["duplicates"], result.stats["rows"]) == (5, 3, 2)


def test_nothing_chosen_gives_nothing(build):
  result = build([MRNA_ROW], genbank=[MRNA_RECORD], taxa=(1,))
  assert not result.documents and not result.rejects and result.stats["not_selected"] == {"taxon": 1}


def test_without_record_files_every_row_is_rejected(build):
  assert build([MRNA_ROW, BAC_ROW]).codes == {"missing_accession": 2}


COLLAB = "#NCBI_protein_accession\tUniProtKB_protein_accession\tNCBI_tax_id\tUniProtKB_tax_id\tmethod"


@pytest.mark.parametrize("columns", [5, 2])
def test_uniprot_entries_of_a_genes_refseq_proteins_are_joined(build, columns):
  lines = ["NP_1\tP1A234\t9606\t9606\tuniprot", "NP_1\tP5B678\t9606\t9606\tuniprot", "NP_7\tP9C999\t9606\t9606\tidmap"]
  lines += ["NP_8\tP8D888\t10090\t10090\tuniprot"]
  rows = [
      MRNA_ROW, row("NM_1.1", "NP_1.3", status="REVIEWED"), row("NM_9.1", "NP_9.3", status="SUPPRESSED"),
      row("NM_8.1", "NP_8.3", taxon=10090, gene=8, status="REVIEWED"), row(protein="P5B678.4"),
  ]
  # Versions: the collaboration table has none, so any is taken; the gene table names the second entry by itself.
  fasta = [f">sp|P1A234|A x SV=9\n{VARIANT}\n", f">sp|P5B678|B x SV=4\n{PROTEIN}\n"]
  collab = ["\t".join(line.split("\t")[:columns]) for line in (COLLAB, *lines)]
  result = build(rows, genbank=[MRNA_RECORD], protein=fasta, collab=collab, taxa=(9606,))
  assert {gene.protein for gene in result.documents} == {PROTEIN, VARIANT}
  stats = result.stats
  assert (stats["collab_lines"], stats["collab_matched"], stats["collab_rows"]) == (4, 2, 1)
  assert stats["collab_not_selected"] == ({"taxon": 1, "no_gene": 1} if columns == 5 else {"no_gene": 2})
  assert (stats["selected"], stats["rows"]) == (2, 3)


# --- Determinism, parts, damage ---

MANY_ROWS = [
    MRNA_ROW, BAC_ROW, row(protein="P1A234.2"), row("AK1.2", "BAA1.1"), row("AK9.1", "BAA9.1"),
    *(row("AK1.1", "BAA1.1", gene=gene) for gene in range(2, 30)),
]
MANY_RECORDS = [
    ("genbank", MRNA_RECORD), ("genbank", BAC_RECORD), ("protein", f">P1A234.2\n{VARIANT}\n"),
    ("nucleotide", f">AK1.1\n{MRNA}A\n"), ("protein", f">BAA1.1\n{PROTEIN}\n"),
]


def _steps(work, tables, records, buckets=1, order=1):
  """Runs the steps as separate tasks and returns the items of each bucket."""
  config = gene_related.GeneRelatedConfig()
  (rows := work / "rows").mkdir(parents=True)
  gene_rows.select_rows(rows, tables=tables)
  folders = []
  for i, (kind, path) in enumerate(records):
    (folder := work / f"{i}").mkdir()
    gene_records.extract(folder, path=path, kind=kind, rows=str(rows))
    folders.append(str(folder))
  return [
      list(gene_related.merge(
          rows, folders[::order], config=config, bucket=bucket, buckets=buckets
      ))
      for bucket in range(buckets)
  ]


def _files(folder):
  return [(kind, write(folder / f"{i}.txt", text)) for i, (kind, text) in enumerate(MANY_RECORDS)]


def test_order_of_rows_tables_and_record_files_changes_nothing(tmp_path):
  files = _files(tmp_path)
  one = table(tmp_path / "one", MANY_ROWS)
  two = [table(tmp_path / "two", MANY_ROWS[::-2]), table(tmp_path / "three", MANY_ROWS[::-1])]
  [expected] = _steps(tmp_path / "a", [one], files)
  assert _steps(tmp_path / "b", two, files[::-1], order=-1) == [expected]
  assert [(tmp_path / "a/rows" / name).read_bytes() for name in ("rows.parquet", "keys.parquet")] == [
      (tmp_path / "b/rows" / name).read_bytes() for name in ("rows.parquet", "keys.parquet")
  ]


def test_buckets_hold_every_gene_once(tmp_path):
  files = _files(tmp_path)
  tables = [table(tmp_path / "one", MANY_ROWS)]
  [whole] = _steps(tmp_path / "a", tables, files)
  parts = _steps(tmp_path / "b", tables, files, buckets=7)
  assert sum(map(bool, parts)) > 4
  assert [item for part in parts for item in part] == whole


def test_steps_leave_nothing_behind_but_what_the_next_one_reads(tmp_path):
  _steps(tmp_path / "a", [table(tmp_path / "one", MANY_ROWS)], _files(tmp_path))
  assert {path.name for path in (tmp_path / "a" / "rows").iterdir()} == {"rows.parquet", "keys.parquet"}
  assert {path.name for path in (tmp_path / "a" / "0").iterdir()} == {"items.pickle", "offsets.npy", "rows.npy"}


def test_more_record_files_than_may_be_open_are_read(tmp_path, monkeypatch):
  monkeypatch.setattr(gene_records, "_OPEN_SPOOLS", 2)
  files, tables = _files(tmp_path), [table(tmp_path / "one", MANY_ROWS)]
  limited = _steps(tmp_path / "a", tables, files)
  monkeypatch.undo()
  assert limited == _steps(tmp_path / "b", tables, files)


def test_parts_of_a_fasta_file_hold_each_record_once(tmp_path):
  tables = [table(tmp_path / "t", [row("AK1.1", "BAA1.1"), row("AK2.1", "BAA2.1")])]
  path = write(tmp_path / "x.fasta", f">BAA1.1\n{PROTEIN}\n>BAA2.1\n{OTHER}\n>BAA3.1\n{OTHER}\n")
  (tmp_path / "rows").mkdir()
  gene_rows.select_rows(tmp_path / "rows", tables=tables)
  found = []
  for i, (start, stop) in enumerate([(0, 10), (10, 40), (40, None)]):
    (folder := tmp_path / str(i)).mkdir()
    found.append(gene_records.extract(
        folder, path=path, kind="protein", rows=str(tmp_path / "rows"), start=start, stop=stop
    ))
  assert sum(part["records"] for part in found) == 3
  assert sum(part["fragments"].get("letters", 0) for part in found) == 2


@pytest.mark.parametrize("text, problem", [
    (MRNA_RECORD.removesuffix("//\n"), "AK1: the record has no end"),
    (MRNA_RECORD.replace("//\n", "") + BAC_RECORD, "AK1: the record has no end"),
    (f">AK1.1\n{MRNA}\n", "no line begins with LOCUS"),
    (MRNA_RECORD.replace("ggcacgag", "ggc"), "AK1: LOCUS promises"),
])
def test_damaged_flat_file_is_an_error_that_names_it(build, text, problem):
  with pytest.raises(InputError, match=f"genbank.txt: {problem}"):
    build([MRNA_ROW], genbank=[text])


def test_flat_file_with_dos_line_ends_and_a_preamble_is_read(build):
  text = "GBPRI1.SEQ   Genetic Sequence Data Bank\n\n" + MRNA_RECORD
  assert len(build([MRNA_ROW], genbank=[text.replace("\n", "\r\n")]).documents) == 1


def test_unknown_kind_of_record_file_is_refused(tmp_path):
  with pytest.raises(ValueError, match="kind must be one of genbank, nucleotide, protein"):
    gene_records.extract(tmp_path, path="x", kind="embl", rows=str(tmp_path))


def test_identity_out_of_range_is_refused():
  with pytest.raises(ValueError, match="min_identity"):
    gene_related.GeneRelatedConfig(min_identity=90)


def test_every_reason_has_a_meaning():
  assert all(gene_related.REASONS.values()) and all(gene_related.NOT_SELECTED.values())


ACCESSIONS = {
    "rna": ["-", "AK1.1", "AK1.2", "AK2.1", "AC1.3"], "protein": ["-", "BAA1.1", "BAA1.2", "AAA1.1", "P1A234.2", "Q"],
    "genomic": ["-", "AC1.3", "AC1.9", "NC_1.1", "AK1.1"],
}


@hypothesis.settings(max_examples=25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.lists(st.builds(
    row, *(st.sampled_from(ACCESSIONS[role]) for role in ("rna", "protein", "genomic")),
    st.sampled_from(["-", 0, BAC_AT, 10**7]), st.sampled_from(["-", 5, BAC_END - 1, 10**7]), st.sampled_from("+-?"),
    gene=st.integers(1, 3), taxon=st.sampled_from([9606, 10090]), status=st.sampled_from(["-", "NA", "SUPPRESSED"]),
), min_size=1, max_size=25))
def test_every_line_of_a_table_is_used_rejected_a_duplicate_or_not_selected(build, lines):
  fasta = [f">NC_1.1\n{BAC}\n", f">AK2.1\n{MRNA}\n"]
  result = build(
      lines, genbank=[MRNA_RECORD, BAC_RECORD], nucleotide=fasta, protein=MANY_RECORDS[2][1:], taxa=(9606,)
  )
  stats = result.stats
  assert len(lines) == stats["lines"] == stats["selected"] + stats["duplicates"] + sum(stats["not_selected"].values())
  # `build` asserts that the rows are used or rejected.
  assert {reject.record for reject in result.rejects}.isdisjoint(gene.gene_id for gene in result.documents)
  for gene in result.documents:
    assert len(gene.cds) // 3 >= len(gene.protein)


# --- Real files ---

REFSEQ = ("REVIEWED", "VALIDATED", "PROVISIONAL", "PREDICTED", "MODEL", "INFERRED", "NA")


def _real(tmp_path, tables, records, **config):
  counts, stats = {}, {}
  items = list(gene_related.read_gene_related(
      tmp_path, tables=tables, records=records, counts=counts, stats=stats,
      config=gene_related.GeneRelatedConfig(**config),
  ))
  rejects = collections.Counter(item.code for item in items if isinstance(item, Reject))
  assert stats["lines"] == stats["selected"] + stats["duplicates"] + sum(stats["not_selected"].values())
  assert counts["rows"] == stats["rows"] == counts["rows_used"] + rejects.total()
  return [item for item in items if isinstance(item, CodingGene)], rejects


def test_real_human_rows_become_documents(shared_data, tmp_path):
  records = shared_data / "genomes" / "human_records"
  documents, rejects = _real(
      tmp_path, [shared_data / "ncbi_gene" / "selected_gene2accession.gz"],
      [("genbank", str(records / name)) for name in ("gbpri1_part.seq.gz", "pten_test.gbk.gz")], headerless=True,
  )
  assert {(gene.gene_id, gene.protein_id, gene.genomic, gene.rna_source) for gene in documents} == {
      ("GeneID:23", "BAB63325.1", True, "cds"), ("GeneID:7919", "BAB63306.1", True, "cds"),
      ("GeneID:221547", "BAB63329.1", True, "cds"), ("GeneID:1938", "CAA35829.1", False, "record"),
      ("GeneID:2197", "CAA46716.1", True, "record"),  # FAU: its gene and its mRNA
  }
  assert set(rejects) == {"missing_accession", "no_protein"}


def test_all_real_genes_of_e_coli_become_documents(shared_data, tmp_path):
  genome = str(shared_data / "genomes" / "ecoli_mg1655" / "GCF_000005845.2_ASM584v2_genomic.gbff.gz")
  documents, rejects = _real(
      tmp_path, [shared_data / "ncbi_gene" / "derived_gene2refseq_ecoli511145.tsv.gz"], [("genbank", genome)],
      statuses=REFSEQ,
  )
  assert (len(documents), rejects.total()) == (4298, 0)


def test_real_genes_of_yeast_become_documents_from_fasta_alone(shared_data, tmp_path):
  yeast = str(shared_data / "genomes" / "scerevisiae_r64" / "derived_GCF_000146045.2_R64_")
  documents, rejects = _real(
      tmp_path, [shared_data / "ncbi_gene" / "derived_gene2refseq_yeast559292.tsv.gz"],
      [("nucleotide", yeast + "genomic.fna.gz"), ("nucleotide", yeast + "rna.fna.gz"),
       ("protein", yeast + "protein.faa.gz")], statuses=REFSEQ,
  )
  # The others are proteins of transposons that slip by one base.
  assert (len(documents), dict(rejects)) == (5948, {"no_orf": 47})
  # Of genes with introns there is no genomic DNA without an annotation of the genome.
  assert sum(gene.genomic for gene in documents) == 5677
