"""NCBI's feature table with FASTA files to coding genes."""

import collections
import gzip
import re

import pytest

from data_pipelines.errors import InputError
from data_pipelines.formats.feature_table import read_feature_table
from data_pipelines.formats.gff3 import read_gff3
from data_pipelines.genes import CodingGene, Reject, reverse_complement

HEADER = (
    "feature class assembly assembly_unit seq_type chromosome genomic_accession start end strand product_accession "
    "non-redundant_refseq related_accession name symbol GeneID locus_tag feature_interval_length product_length "
    "attributes"
).split()
PROTEIN = "MKTAYIAKQR"
CODING = "ATGAAAACCGCGTATATTGCGAAACAGCGTTAA"
# The exons of the spliced gene and its CDS in PLUS, counted from 1; the intron lies inside the fifth codon.
DNA = "GGCAC" + CODING[:14] + "GTAAGTTTTTCAG" + CODING[14:] + "TTGGC"
PLUS = "CCCTCCCTCC" + DNA + "CCTCC"
TRANSCRIPT = "GGCAC" + CODING + "TTGGC"
LOCATION = "join(16..29,43..61)"


def row(feature="CDS", start=16, end=61, bases=33, **columns):
  """A row; `feature_class` and `gene_id` stand for the columns `class` and `GeneID`."""
  columns = {
      "feature": feature, "class": columns.pop("feature_class", "with_protein" if feature == "CDS" else ""),
      "genomic_accession": "NC_1.1", "start": start, "end": end, "strand": "+", "GeneID": "77", "locus_tag": "LT1",
      "product_accession": "NP_1.1" if feature == "CDS" else "NM_1.1", "feature_interval_length": bases,
      "related_accession": "NM_1.1" if feature == "CDS" else "NP_1.1",
  } | columns  # fmt: skip
  return "\t".join(str(columns.get(name, "")) for name in HEADER)


SPLICED = [row("gene", 11, 66, 56), row("mRNA", 11, 66, 43), row()]


def bacterial(sequence=CODING, **columns):
  """The row of a CDS that is all of its contig, without a transcript."""
  return row(start=1, end=len(sequence), bases=len(sequence), **{"related_accession": ""} | columns)


@pytest.fixture
def read(tmp_path):
  def write(name, records):
    if records is None:
      return None
    (tmp_path / name).write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records.items()))
    return tmp_path / name

  def read(rows, genome=PLUS, protein=PROTEIN, rna=None, cds=None, header=HEADER, **options):
    table = tmp_path / "a_feature_table.txt"
    table.write_text("\n".join(["# " + "\t".join(header), *rows]) + "\n")
    return list(
        read_feature_table(
            table,
            genome=write("a.fna", genome if isinstance(genome, dict) else {"NC_1.1 chromosome": genome}),
            protein=write("p.faa", protein if isinstance(protein, dict) else {"NP_1.1 product": protein}),
            rna=write("r.fna", rna),
            cds=write("c.fna", cds),
            **options,
        )
    )

  return read


def cds_header(location, protein="NP_1.1", contig="NC_1.1"):
  return f"lcl|{contig}_cds_{protein}_1 [gene=x] [protein_id={protein}] [location={location}] [gbkey=CDS]"


# With transcripts.


def test_a_cds_with_introns_is_the_frame_of_its_transcript_that_gives_the_protein(read):
  [gene] = read(SPLICED, rna={"NM_1.1": TRANSCRIPT}, taxon=9606)
  assert (gene.rna, gene.rna_cds, gene.rna_source) == (TRANSCRIPT, (5, 38), "record")
  assert (gene.dna, gene.cds_blocks, gene.genomic) == (CODING, ((0, 33),), False)
  assert (gene.protein, gene.protein_source) == (PROTEIN, "record")
  assert (gene.gene_id, gene.transcript_id, gene.protein_id, gene.taxon) == ("GeneID:77", "NM_1.1", "NP_1.1", 9606)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_cds_from_genomic_gives_the_introns(read, strand):
  genome, location, rows = PLUS, LOCATION, SPLICED
  if strand == "-":
    length = len(PLUS)
    genome = reverse_complement(PLUS)
    location = f"complement(join({length - 60}..{length - 42},{length - 28}..{length - 15}))"
    rows = [
        row("mRNA", length - 65, length - 10, 43, strand="-"),
        row("CDS", length - 60, length - 15, 33, strand="-"),
    ]
  [gene] = read(rows, genome, rna={"NM_1.1": TRANSCRIPT}, cds={cds_header(location): CODING})
  assert (gene.dna, gene.cds_blocks, gene.genomic) == (DNA, ((5, 19), (32, 51)), True)
  assert (gene.rna, gene.rna_cds) == (TRANSCRIPT, (5, 38))


def test_the_letters_of_an_edited_transcript_are_not_called_genomic(read):
  edited, protein = TRANSCRIPT.replace("GCGTATATT", "GCGTGTATT"), "MKTACIAKQR"
  [gene] = read(SPLICED, protein=protein, rna={"NM_1.1": edited})
  assert (gene.dna, gene.genomic) == (edited[5:38], False)
  [reject] = read(SPLICED, protein=protein, rna={"NM_1.1": edited}, cds={cds_header(LOCATION): CODING})
  assert reject.code == "translation_mismatch"


def test_introns_at_unknown_places_are_a_reject(read):
  [reject] = read(SPLICED)
  assert reject.code == "bad_location" and "give rna, or cds" in reject.detail


def test_the_dna_of_a_gene_without_introns_is_its_transcript_in_the_genome(read):
  genome = "CCC" + TRANSCRIPT + "CC"
  rows = [row("mRNA", 4, 46, 43), row("CDS", 9, 41, 33)]
  [gene] = read(rows, genome)
  assert (gene.dna, gene.cds_blocks, gene.rna, gene.rna_source) == (TRANSCRIPT, ((5, 38),), TRANSCRIPT, "exons")
  [gene] = read(rows, genome, rna={"NM_1.1": TRANSCRIPT + "AAAA"})
  assert (gene.dna, gene.rna, gene.rna_cds, gene.genomic) == (TRANSCRIPT, TRANSCRIPT + "AAAA", (5, 38), True)


def test_introns_of_the_utr_stay_in_the_dna(read):
  genome = "GGC" + "GTAAG" + "AC" + CODING + "TTGGC"
  [gene] = read([row("mRNA", 1, 48, 43), row("CDS", 11, 43, 33)], genome, rna={"NM_1.1": TRANSCRIPT})
  assert (gene.dna, gene.cds_blocks, gene.rna_cds) == (genome, ((10, 43),), (5, 38))
  [gene] = read([row("mRNA", 1, 48, 43), row("CDS", 11, 43, 33)], genome)
  assert (gene.rna, gene.rna_source) == (CODING, "cds")


@pytest.mark.parametrize("utr", ["", "G", "GG", "ATGAAATAAGG"])
def test_the_frame_of_a_transcript_is_found(read, utr):
  [gene] = read(SPLICED, rna={"NM_1.1": utr + CODING + "CC"})
  assert gene.rna_cds == (len(utr), len(utr) + 33)


def test_a_frame_that_starts_with_another_codon_is_found(read):
  coding = "CTG" + CODING[3:]
  [gene] = read(SPLICED, rna={"NM_1.1": "GG" + coding})
  assert (gene.dna, gene.protein, gene.partial5) == (coding, PROTEIN, False)


def test_a_frame_without_start_and_stop_is_partial(read):
  [gene] = read(SPLICED, protein=PROTEIN[1:], rna={"NM_1.1": "GG" + CODING[3:30] + "AA"})
  assert (gene.dna, gene.partial5, gene.partial3) == (CODING[3:30], True, True)


@pytest.mark.parametrize("residue, codon", [("U", "TGA"), ("O", "TAG")])
def test_a_stop_codon_that_the_protein_reads_through_is_kept(read, residue, codon):
  coding = CODING[:12] + codon + CODING[15:]
  protein = PROTEIN[:4] + residue + PROTEIN[5:]
  [gene] = read(SPLICED, protein=protein, rna={"NM_1.1": "GG" + coding})
  assert (gene.protein, gene.dna) == (protein, coding)
  [gene] = read([bacterial(coding)], coding, protein)
  assert gene.protein == protein


def test_selenocysteine_stands_only_at_its_codon(read):
  protein = PROTEIN[:4] + "U" + PROTEIN[5:]
  assert read([bacterial()], CODING, protein)[0].code == "translation_mismatch"


@pytest.mark.parametrize(
    "attributes, code", [("", "translation_mismatch"), ("ribosomal_slippage", "ribosomal_slippage")]
)
def test_a_transcript_that_does_not_give_the_protein_is_a_reject(read, attributes, code):
  rows = [row("mRNA", 11, 66, 43), row(attributes=attributes)]
  [reject] = read(rows, rna={"NM_1.1": "GG" + CODING[:15] + CODING[16:]})
  assert (reject.code, reject.record) == (code, "NP_1.1")


def test_a_transcript_that_does_not_span_the_cds_is_a_reject(read):
  [reject] = read([row("mRNA", 20, 66, 47), row("CDS", 9, 41, 33)], "C" * 8 + CODING + "C" * 30)
  assert reject.code == "cds_outside_exons"


# Without transcripts.


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_bacterial_gene_is_its_cds(read, strand):
  genome = "CCC" + (CODING if strand == "+" else reverse_complement(CODING)) + "CC"
  [gene] = read([row(start=4, end=36, strand=strand, related_accession="", GeneID="")], genome)
  assert (gene.dna, gene.rna, gene.rna_source, gene.genomic) == (CODING, CODING, "cds", True)
  assert (gene.gene_id, gene.transcript_id) == ("LT1", "")


def test_one_protein_record_serves_several_genes(read):
  rows = [
      row(start=1, end=33, product_accession="WP_1.1", related_accession="", locus_tag="LT1", GeneID=""),
      row(start=36, end=68, product_accession="WP_1.1", related_accession="", locus_tag="LT2", GeneID=""),
  ]
  genome = CODING + "CC" + CODING.replace("GCGTAT", "GCCTAT")
  genes = read(rows, genome, {"WP_1.1": PROTEIN})
  assert [(gene.gene_id, gene.dna) for gene in genes] == [("LT1", CODING), ("LT2", genome[35:])]
  locations = {cds_header(text, "WP_1.1") + f" {text}": "ATG" for text in ("1..33", "36..68")}
  locations = {name.replace("_1 [", f"_{i} [", 1): sequence for i, (name, sequence) in enumerate(locations.items())}
  assert read(rows, genome, {"WP_1.1": PROTEIN}, cds=locations) == genes


@pytest.mark.parametrize(
    "ends, location", [((91, 23), None), ((91, 23), "join(91..100,1..23)"), ((1, 100), "join(91..100,1..23)")]
)
def test_a_cds_over_the_origin_is_joined(read, ends, location):
  around = CODING[10:] + "C" * 67 + CODING[:10]
  cds = {cds_header(location): CODING} if location else None
  [gene] = read([row(start=ends[0], end=ends[1], related_accession="")], around, cds=cds)
  assert (gene.dna, gene.protein) == (CODING, PROTEIN)


def test_a_slip_of_the_ribosome_needs_its_location(read):
  genome = CODING[:5] + CODING[6:]  # The fifth base, an A, is read twice.
  rows = [row(start=1, end=32, attributes="ribosomal_slippage", related_accession="")]
  assert read(rows, genome)[0].code == "bad_location"
  [gene] = read(rows, genome, cds={cds_header("join(1..5,5..32)"): CODING})
  assert (gene.cds, gene.rna) == (CODING, genome)


def test_a_location_of_another_place_is_a_reject(read):
  [reject] = read([bacterial()], CODING, cds={cds_header("4..33"): CODING})
  assert reject.code == "bad_location" and "4..33" in reject.detail
  [reject] = read(SPLICED, cds={cds_header("join(16..29,44..61)"): CODING})
  assert reject.code == "bad_location"
  [reject] = read([bacterial()], CODING, cds={cds_header("1..33", "NP_2.1"): CODING})
  assert reject.code == "bad_location" and "none of its protein" in reject.detail


def test_pseudogenes_have_no_protein(read):
  rows = [
      bacterial(feature_class="without_protein", product_accession=""),
      bacterial(attributes="partial;pseudo"),
      bacterial(),
  ]
  assert [getattr(item, "code", "kept") for item in read(rows, CODING)] == ["pseudogene", "pseudogene", "kept"]


@pytest.mark.parametrize("skipped", [0, 1, 2])
def test_the_frame_of_an_incomplete_cds_is_the_one_that_gives_the_protein(read, skipped):
  coding = "GC"[:skipped] + "AAATGAAAATAA"
  [gene] = read([bacterial(coding, attributes="partial")], coding, "KUK")
  assert (gene.cds, gene.partial5, gene.partial3) == ("AAATGAAAATAA", True, False)


def test_an_incomplete_location_marks_the_ends(read):
  [gene] = read([bacterial(attributes="partial")], CODING, cds={cds_header("<1..>33"): CODING})
  assert (gene.partial5, gene.partial3) == (True, True)


def test_other_genetic_codes(read):
  assert read([bacterial("ATGTGATAA")], "ATGTGATAA", "MW", transl_table=4)[0].protein == "MW"
  assert read([bacterial("ATGTGATAA")], "ATGTGATAA", "MW")[0].code == "internal_stop"
  assert read([bacterial("ATGTGATAA")], "ATGTGATAA", "MW", transl_table=7)[0].code == "unknown_transl_table"


def test_trans_spliced_and_strandless_rows_are_rejects(read):
  assert read([bacterial(attributes="trans_splicing")], CODING)[0].code == "trans_splicing"
  assert read([bacterial(strand="?")], CODING)[0].code == "bad_location"
  assert read([bacterial()], CODING[:30])[0].code == "bad_location"


# Files that do not belong together.


def test_a_missing_protein_or_transcript_is_a_reject(read):
  rows = [*SPLICED, row(product_accession="NP_2.1", related_accession="NM_2.1")]
  kept, reject = read(rows, rna={"NM_1.1": TRANSCRIPT})
  assert isinstance(kept, CodingGene) and reject == Reject("missing_protein", "NP_2.1", "NP_2.1")
  kept, reject = read(rows, protein={"NP_1.1": PROTEIN, "NP_2.1": PROTEIN}, rna={"NM_1.1": TRANSCRIPT})
  assert isinstance(kept, CodingGene) and reject == Reject("missing_transcript", "NP_2.1", "NM_2.1")


@pytest.mark.parametrize(
    "files, message",
    [
        ({"genome": {"chr1": PLUS}}, "NC_1.1: .*a.fna, whose names are chr1"),
        ({"protein": {"NP_9.1": PROTEIN}}, "p.faa: holds NP_9.1"),
        ({"rna": {"NM_9.1": TRANSCRIPT}}, "r.fna: holds NM_9.1"),
        ({"cds": {"NP_1.1 some product": CODING}}, "c.fna: NP_1.1: .*cds_from_genomic"),
    ],
)
def test_files_of_another_assembly_are_refused(read, files, message):
  with pytest.raises(InputError, match=message):
    read(SPLICED, **files)


@pytest.mark.parametrize(
    "rows, header, message",
    [
        ([row()], HEADER[:-1], "line 1: the header lacks the columns attributes"),
        ([row()[: row().rindex("\t")]], HEADER, "line 2: 19 columns"),
        ([row("gene"), row(start="x")], HEADER, "line 3: start 'x'"),
        ([row(bases="")], HEADER, "line 2: .*feature_interval_length ''"),
        ([row("gene")], HEADER, "no CDS rows"),
        ([], HEADER, "no CDS rows"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_by_line(read, rows, header, message):
  with pytest.raises(InputError, match=message) as error:
    read(rows, header=header)
  assert "a_feature_table.txt" in str(error.value)


def test_columns_are_found_by_name(read):
  order = HEADER[::-1] + ["new_column"]
  values = dict(zip(HEADER, bacterial().split("\t")))
  assert read(["\t".join(values.get(name, "?") for name in order)], CODING, header=order) == read([bacterial()], CODING)


# Real sequences; the table is made from their GFF3, as none of theirs is at hand.


def test_table_and_gff3_give_the_same_genes_of_e_coli(shared_data, tmp_path):
  name = str(shared_data / "genomes" / "ecoli_mg1655" / "GCF_000005845.2_ASM584v2_")
  files = {"genome": name + "genomic.fna.gz", "protein": name + "protein.faa.gz"}
  lines = collections.defaultdict(list)
  with gzip.open(name + "genomic.gff.gz", "rt") as gff:
    for columns in (text.split("\t") for text in gff):
      if columns[2:3] == ["CDS"]:
        lines[columns[8]].append((int(columns[3]), int(columns[4]), columns[0], columns[6]))
  rows, slips = [], set()
  for text, parts in lines.items():
    attributes = dict(pair.split("=", 1) for pair in text.strip().split(";"))
    protein_id = attributes.get("protein_id", "")
    rows.append(row(
        start=min(part[0] for part in parts), end=max(part[1] for part in parts), genomic_accession=parts[0][2],
        strand=parts[0][3], bases=sum(end - start + 1 for start, end, *_ in parts), product_accession=protein_id,
        GeneID=re.search(r"GeneID:(\d+)", text)[1], locus_tag=attributes["locus_tag"], related_accession="",
        feature_class="with_protein" if protein_id else "without_protein",
    ))  # fmt: skip
    if len(parts) > 1 and protein_id:
      slips.add(protein_id)
  (tmp_path / "table.txt").write_text("\n".join(["# " + "\t".join(HEADER), *rows]) + "\n")
  items = list(read_feature_table(tmp_path / "table.txt", **files, transl_table=11, taxon=511145))
  expected = [gene for gene in read_gff3(name + "genomic.gff.gz", **files) if isinstance(gene, CodingGene)]
  assert len(slips) == 3 and len(items) == 4315
  assert [item for item in items if isinstance(item, CodingGene)] == [
      gene for gene in expected if gene.protein_id not in slips
  ]
  assert {item.record for item in items if isinstance(item, Reject) and item.code == "bad_location"} == slips
