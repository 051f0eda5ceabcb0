"""GFF3 with FASTA to coding genes: what the lines of a gene may look like."""

import random

import pytest

from data_pipelines.formats.gff3 import read_gff3
from data_pipelines.genes import reverse_complement

PROTEIN = "MKTAYIAKQR"
CODING = "ATGAAAACCGCGTATATTGCGAAACAGCGTTAA"
# A gene of two exons: 10 bases before it, UTRs of 5 bases, an intron of 13 inside the fifth codon.
DNA = "GGCAC" + CODING[:14] + "GTAAGTTTTTCAG" + CODING[14:] + "TTGGC"
PLUS = "CCCTCCCTCC" + DNA + "CCTCC"
MINUS = reverse_complement(PLUS)
EXONS = [(11, 29), (43, 66)]
CDS = [(16, 29), (43, 61)]


def line(kind, start, end, strand="+", phase=".", contig="chr1", **attributes):
  """A GFF3 line; coordinates as in the file (1-based, closed)."""
  text = ";".join(f"{key}={value}" for key, value in attributes.items()) or "."
  return "\t".join(map(str, (contig, "test", kind, start, end, ".", strand, phase, text)))


def mirrored(parts, contig=PLUS):
  """The same places, counted on the other strand."""
  return [(len(contig) + 1 - end, len(contig) + 1 - start) for start, end in parts]


def cds_lines(parts=CDS, strand="+", phases=(0, 1), **attributes):
  attributes = {"ID": "cds-P1", "Parent": "rna-T1", "protein_id": "P1"} | attributes
  attributes = {key: value for key, value in attributes.items() if value}
  return [line("CDS", *part, strand, phase, **attributes) for part, phase in zip(parts, phases)]


def transcript_lines(name="T1", exons=EXONS, strand="+"):
  span = min(start for start, _ in exons), max(end for _, end in exons)
  lines = [line("mRNA", *span, strand, ID=f"rna-{name}", Parent="gene-G1", transcript_id=name)]
  return lines + [line("exon", *exon, strand, Parent=f"rna-{name}") for exon in exons]


GENE = line("gene", 11, 66, ID="gene-G1", locus_tag="LT1")


SPLICED = [GENE, *transcript_lines(), *cds_lines()]


@pytest.fixture
def read(tmp_path):
  def write(name, records):
    (tmp_path / name).write_text("".join(f">{key} described\n{letters}\n" for key, letters in records.items()))
    return tmp_path / name

  def read(lines, genome=PLUS, **options):
    (tmp_path / "a.gff").write_text("\n".join(["##gff-version 3", *lines]) + "\n")
    genome = write("a.fna", genome if isinstance(genome, dict) else {"chr1": genome})
    options |= {name: write(f"{name}.fa", options[name]) for name in ("rna", "protein") if name in options}
    return list(read_gff3(tmp_path / "a.gff", genome, **options))

  return read


def single_gene(sequence=CODING, strand="+", phase=0, **attributes):
  """Lines of a CDS that is all of its contig, under a gene as in prokaryotes."""
  attributes = {"ID": "cds-P1", "Parent": "gene-G1", "protein_id": "P1"} | attributes
  return [
      line("gene", 1, len(sequence), strand, ID="gene-G1", locus_tag="LT1"),
      line("CDS", 1, len(sequence), strand, phase, **attributes),
  ]


def test_exons_and_introns_are_cut_from_the_genome(read):
  [gene] = read(SPLICED)
  assert gene.dna == DNA
  assert gene.cds_blocks == ((5, 19), (32, 51))
  assert gene.cds == CODING
  assert gene.rna == "GGCAC" + CODING + "TTGGC"
  assert gene.rna_cds == (5, 5 + len(CODING))
  assert (gene.rna_source, gene.protein, gene.protein_source) == ("exons", PROTEIN, "translated")
  assert (gene.gene_id, gene.transcript_id, gene.protein_id) == ("LT1", "T1", "P1")
  assert (gene.partial5, gene.partial3, gene.selected, gene.taxon) == (False, False, False, 0)


def test_minus_strand_gives_the_same_gene(read):
  minus = [*transcript_lines(exons=mirrored(EXONS), strand="-"), *cds_lines(mirrored(CDS), "-")]
  assert read([GENE, *minus], MINUS) == read(SPLICED)


def test_any_exon_structure_is_spliced_as_it_was_cut(read):
  rng = random.Random(0)
  for _ in range(20):
    cuts = sorted(rng.sample(range(1, len(CODING)), rng.randint(0, 5)))
    pieces = [CODING[a:b] for a, b in zip([0, *cuts], [*cuts, len(CODING)])]
    contig, parts, phases, done = "C" * rng.randint(0, 5), [], [], 0
    for piece in pieces:
      parts.append((len(contig) + 1, len(contig) + len(piece)))
      contig += piece + "".join(rng.choices("ACGT", k=rng.randint(3, 20)))
      phases.append(-done % 3)
      done += len(piece)
    strand = rng.choice("+-")
    if strand == "-":
      parts, contig = mirrored(parts, contig), reverse_complement(contig)
    lines = [GENE, *transcript_lines(exons=parts, strand=strand), *cds_lines(parts, strand, phases)]
    [gene] = read(rng.sample(lines, len(lines)), contig)
    assert (gene.cds, gene.rna, gene.protein, len(gene.cds_blocks)) == (CODING, CODING, PROTEIN, len(parts))


def test_a_cds_line_with_several_parents_is_one_item_for_each_transcript(read):
  longer = transcript_lines("T2", [(6, 29), (43, 66)])
  shared = cds_lines(Parent="rna-T1,rna-T2")
  first, second = read([GENE, *transcript_lines(), *longer, *shared])
  assert (first.transcript_id, second.transcript_id) == ("T1", "T2")
  assert second.rna == PLUS[5:10] + first.rna
  assert first.protein == second.protein == PROTEIN


@pytest.mark.parametrize("ids", [("cds.1", "cds.2"), ("", "")], ids=["own", "none"])
@pytest.mark.parametrize("protein_id", ["P1", ""])
def test_lines_of_one_transcript_without_a_common_id_are_one_cds(read, ids, protein_id):
  lines = [
      text
      for name, part, phase in zip(ids, CDS, (0, 1))
      for text in cds_lines([part], phases=[phase], ID=name, protein_id=protein_id)
  ]
  [gene] = read([GENE, *transcript_lines(), *lines])
  assert gene.cds == CODING


def test_two_proteins_of_one_transcript_are_two_items(read):
  genome = CODING + "CCCC" + CODING
  lines = [
      *transcript_lines(exons=[(1, 70)]),
      *cds_lines([(1, 33)], ID="cds-P1"),
      *cds_lines([(38, 70)], ID="cds-P2", protein_id="P2"),
  ]
  first, second = read(lines, genome)
  assert (first.protein_id, first.rna_cds) == ("P1", (0, 33))
  assert (second.protein_id, second.rna_cds) == ("P2", (37, 70))


def test_overlapping_lines_without_protein_id_are_different_proteins(read):
  lines = [line("CDS", start, 33, "+", 0, ID=f"cds-{start}", Parent="rna-T1") for start in (1, 4)]
  first, second = read([*transcript_lines(exons=[(1, 33)]), *lines], CODING)
  assert (first.protein, second.protein) == (PROTEIN, PROTEIN[1:])


def test_two_proteins_of_one_gene_without_ids_are_two_items(read):
  genome = CODING + "CCCC" + CODING
  peptides = [
      line("CDS", *part, "+", 0, Parent="gene-G1", Name=name) for name, part in {"A": (1, 33), "B": (38, 70)}.items()
  ]
  first, second = read([line("gene", 1, 70, ID="gene-G1"), *peptides], genome)
  assert (first.protein_id, second.protein_id) == ("A", "B")
  assert first.gene_id == second.gene_id == "gene-G1"


def test_a_gene_without_transcript_has_the_cds_for_rna(read):
  [gene] = read(single_gene(), CODING)
  assert (gene.dna, gene.rna, gene.rna_source, gene.transcript_id) == (CODING, CODING, "cds", "")


def test_exons_count_also_where_their_transcript_has_no_line(read):
  [gene] = read([*transcript_lines()[1:], *cds_lines()])
  assert (gene.transcript_id, gene.dna) == ("rna-T1", DNA)


def test_a_transcript_without_exon_lines_is_the_cds(read):
  [gene] = read([GENE, transcript_lines()[0], *cds_lines()])
  assert (gene.transcript_id, gene.dna, gene.rna, gene.rna_source) == ("T1", DNA[5:-5], CODING, "cds")


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("parts", [[(91, 123)], [(91, 100), (1, 23)], [(1, 23), (91, 100)]])
def test_a_cds_over_the_origin_of_a_circular_contig(read, strand, parts):
  around = CODING[10:] + "C" * 67 + CODING[:10]
  region = line("region", 1, 100, ID="chr1:1..100", Is_circular="true", Dbxref="taxon:562")
  if strand == "-":
    around = reverse_complement(around)
    parts = [(78, 110)] if len(parts) == 1 else mirrored(parts, around)
  lines = cds_lines(parts, strand, (0, 0), Parent="")
  [gene] = read([region, *lines], around)
  assert (gene.cds, gene.protein, gene.taxon) == (CODING, PROTEIN, 562)
  [reject] = read(lines, around)
  assert reject.code in ("bad_location", "length_mismatch", "internal_stop")


def test_exons_written_beyond_the_length_of_a_circular_contig_are_wrapped(read):
  # One exon before the origin, an intron over it, the other exon counted on from the length.
  contig = CODING[14:] + "CCC" + "C" * 50 + CODING[:14] + "GTAA"
  length = len(contig)
  parts = [(length - 17, length - 4), (length + 1, length + 19)]
  region = line("region", 1, length, ID="r", Is_circular="true")
  [gene] = read([region, GENE, *transcript_lines(exons=parts), *cds_lines(parts)], contig)
  assert (gene.cds, gene.dna) == (CODING, CODING[:14] + "GTAA" + CODING[14:])


@pytest.mark.parametrize("phase", [0, 1, 2])
@pytest.mark.parametrize("strand", ["+", "-"])
def test_phase_of_the_first_part_is_where_the_frame_begins(read, phase, strand):
  genome = "GC"[:phase] + CODING[3:]
  [gene] = read(single_gene(genome, strand, phase), genome if strand == "+" else reverse_complement(genome))
  assert (gene.cds, gene.protein, gene.partial5) == (CODING[3:], PROTEIN[1:], True)


def test_transl_table_comes_from_the_line_or_the_caller(read):
  coding = "ATGTGATAA"  # TGA: tryptophan in code 4, else a stop.
  assert read(single_gene(coding, transl_table=4), coding)[0].protein == "MW"
  assert read(single_gene(coding), coding, transl_table=4)[0].protein == "MW"
  assert read(single_gene(coding), coding)[0].code == "internal_stop"
  assert read(single_gene(coding, transl_table=7), coding)[0].code == "unknown_transl_table"
  assert read(single_gene(coding, transl_table="x"), coding)[0].code == "unknown_transl_table"


@pytest.mark.parametrize("strand", ["+", "-"])
def test_transl_except_names_codons_by_genomic_position(read, strand):
  # M U K U stop; the second TGA is cut by an intron after its first base.
  contig = "CC" + "ATGTGAAAAT" + "GTAAG" + "GATAA"
  parts, codons = [(3, 12), (18, 22)], ["6..8", "join(12..12%2C18..19)"]
  if strand == "-":
    contig, parts = reverse_complement(contig), mirrored(parts, contig)
    codons = ["complement(15..17)", "complement(join(4..5%2C11..11))"]
  value = ",".join(f"(pos:{codon}%2Caa:Sec)" for codon in codons)
  lines = [GENE, *transcript_lines(exons=parts, strand=strand), *cds_lines(parts, strand, (0, 2), transl_except=value)]
  [gene] = read(lines, contig, protein={"P1": "MUKU"})
  assert (gene.protein, gene.protein_source) == ("MUKU", "record")


def test_transl_except_where_the_ribosome_slips_and_over_the_origin(read):
  # The sixth base is read twice: it ends AAT and begins TGA.
  lines = cds_lines([(1, 6), (6, 14)], phases=(0, 0), Parent="", transl_except="(pos:6..8%2Caa:Sec)")
  assert read(lines, "ATGAATGAAAATAA")[0].protein == "MNUK"
  coding = "ATGAAATGATAA"
  lines = [line("region", 1, 32, ID="r", Is_circular="true")]
  lines += cds_lines([(28, 39)], phases=[0], Parent="", transl_except="(pos:2..4%2Caa:Sec)")
  assert read(lines, coding[5:] + "C" * 20 + coding[:5])[0].protein == "MKU"


def test_transl_except_completes_a_stop(read):
  coding = "ATGAAAT"
  [gene] = read(single_gene(coding, transl_except="(pos:7%2Caa:TERM)"), coding)
  assert (gene.protein, gene.partial3) == ("MK", False)


@pytest.mark.parametrize("value", ["(pos:70..72%2Caa:Sec)", "(pos:4..6%2Caa:Foo)", "(position 4%2Caa:Sec)"])
def test_transl_except_that_cannot_be_used_is_a_reject(read, value):
  [reject] = read(single_gene(transl_except=value), CODING)
  assert reject.code == "bad_transl_except" and "aa:" in reject.detail


def test_a_slip_of_the_ribosome_that_the_parts_show_is_kept(read):
  genome = CODING[:5] + CODING[6:]  # The fifth base, an A, is read twice.
  lines = cds_lines([(1, 5), (5, 32)], phases=(0, 0), Parent="", exception="ribosomal slippage")
  [gene] = read(lines, genome, protein={"P1": PROTEIN})
  assert (gene.cds, gene.cds_blocks, gene.rna) == (CODING, ((0, 5), (4, 32)), genome)
  own_ids = [text.replace("cds-P1", f"cds-P1.{i}") + ";Parent=rna-T1" for i, text in enumerate(lines)]
  assert read(own_ids, genome)[0].cds == CODING


def test_a_cds_that_does_not_give_its_protein_is_a_reject_with_the_annotated_reason(read):
  protein = {"P1": "MKTAYIAKQW"}
  assert read(single_gene(), CODING, protein=protein)[0].code == "translation_mismatch"
  assert read(single_gene(exception="RNA editing"), CODING, protein=protein)[0].code == "rna_editing"


def test_without_proteins_an_exception_that_may_change_the_protein_is_a_reject(read):
  assert read(single_gene(exception="nonconsensus splice site,RNA editing"), CODING)[0].code == "rna_editing"
  assert read(single_gene(exception="nonconsensus splice site"), CODING)[0].protein == PROTEIN


def test_a_start_codon_other_than_atg_is_methionine(read):
  coding = "GTG" + CODING[3:]
  [gene] = read(single_gene(coding, transl_table=11), coding)
  assert (gene.protein, gene.partial5) == (PROTEIN, False)
  [gene] = read(single_gene(coding), coding, protein={"P1": "V" + PROTEIN[1:]})
  assert gene.partial5
  for reason in ({"exception": "alternative start codon"}, {"transl_except": "(pos:1..3%2Caa:Met)"}):
    [gene] = read(single_gene(coding, **reason), coding, protein={"P1": PROTEIN})
    assert not gene.partial5


@pytest.mark.parametrize(
    "strand, attributes, partial",
    [
        ("+", {"start_range": ".,1"}, (True, False)),
        ("+", {"end_range": "33,."}, (False, True)),
        ("-", {"start_range": ".,1"}, (False, True)),
        ("-", {"end_range": "33,."}, (True, False)),
        ("-", {"start_range": ".,1", "end_range": "33,."}, (True, True)),
        ("+", {"partial": "true"}, (False, False)),
    ],
)
def test_ranges_of_the_cds_line_mark_its_ends(read, strand, attributes, partial):
  [gene] = read(single_gene(strand=strand, **attributes), CODING if strand == "+" else reverse_complement(CODING))
  assert (gene.partial5, gene.partial3) == partial


def test_a_transcript_with_unknown_utrs_has_a_complete_cds(read):
  partial = {"partial": "true", "start_range": ".,11", "end_range": "66,."}
  mrna = line("mRNA", 11, 66, ID="rna-T1", Parent="gene-G1", transcript_id="T1", **partial)
  [gene] = read([line("gene", 11, 66, ID="gene-G1", **partial), mrna, *transcript_lines()[1:], *cds_lines()])
  assert (gene.partial5, gene.partial3) == (False, False)


@pytest.mark.parametrize("cut, partial", [((3, 33), (True, False)), ((0, 30), (False, True)), ((3, 30), (True, True))])
def test_an_end_without_start_or_stop_codon_is_partial(read, cut, partial):
  coding = CODING[slice(*cut)]
  [gene] = read(single_gene(coding), coding)
  assert (gene.partial5, gene.partial3) == partial


def test_a_codon_cut_by_the_end_of_the_contig_is_partial_and_inside_it_a_reject(read):
  coding = CODING[:-5]
  [gene] = read(single_gene(coding), coding)
  assert (gene.partial3, gene.protein) == (True, PROTEIN[:-1])
  for contig, strand, part in [
      ("CC" + coding + "CC", "+", (3, 30)),
      (coding + "CC", "+", (1, 28)),
      ("CC" + reverse_complement(coding), "-", (3, 30)),
  ]:
    [reject] = read(cds_lines([part], strand, Parent=""), contig)
    assert reject.code == "length_mismatch"


def test_the_first_codon_of_a_mature_peptide_starts_nothing(read):
  coding = "CTGAAAACC"
  [gene] = read(single_gene(coding, gbkey="Prot"), coding)
  assert (gene.protein, gene.partial5, gene.partial3) == ("LKT", True, True)
  assert read(single_gene(coding), coding)[0].protein == "MKT"


@pytest.mark.parametrize(
    "gene, cds",
    [
        (line("gene", 11, 66, ID="gene-G1"), {"pseudo": "true"}),
        (line("gene", 11, 66, ID="gene-G1", pseudo="true"), {}),
        (line("gene", 11, 66, ID="gene-G1", pseudogene="unprocessed"), {}),
        (line("pseudogene", 11, 66, ID="gene-G1"), {}),
    ],
)
def test_pseudogenes_are_rejects_with_and_without_transcript(read, gene, cds):
  for lines in (cds_lines(Parent="gene-G1", **cds), [*transcript_lines(), *cds_lines(**cds)]):
    [reject] = read([gene, *lines])
    assert (reject.code, reject.record) == ("pseudogene", "P1")


@pytest.mark.parametrize(
    "gene, cds, expected",
    [
        ({}, {"Dbxref": "SGD:S1,GeneID:851229"}, "GeneID:851229"),
        ({"Dbxref": "GeneID:7", "locus_tag": "LT1"}, {}, "GeneID:7"),
        ({"locus_tag": "LT1"}, {}, "LT1"),
        ({}, {"locus_tag": "LT2"}, "LT2"),
        ({}, {}, "gene-G1"),
    ],
)
def test_gene_id_is_geneid_else_locus_tag_else_id(read, gene, cds, expected):
  gene = line("gene", 11, 66, ID="gene-G1", **gene)
  assert read([gene, *transcript_lines(), *cds_lines(**cds)])[0].gene_id == expected


@pytest.mark.parametrize("tag", ["MANE Select", "RefSeq Select", "Ensembl_canonical,MANE_Select"])
def test_the_transcript_of_choice_is_selected(read, tag):
  chosen = line("mRNA", 11, 66, ID="rna-T2", Parent="gene-G1", tag=tag, transcript_id="T2")
  exons = [text.replace("rna-T1", "rna-T2") for text in transcript_lines()[1:]]
  items = read([GENE, *transcript_lines(), chosen, *exons, *cds_lines(Parent="rna-T1,rna-T2")])
  assert {gene.transcript_id: gene.selected for gene in items} == {"T1": False, "T2": True}


def test_attributes_may_stand_on_any_line_and_end_like_others(read):
  first, second = cds_lines(orig_ID="x", Dbxref="SGD:S1")
  first = first.replace("ID=cds", "xParent=y;Note=no Parent=z; ID=cds")
  second += ";exon=2;tag=RefSeq Select"
  [gene] = read([GENE, *transcript_lines(), first, second])
  assert (gene.gene_id, gene.selected, gene.protein) == ("LT1", True, PROTEIN)


def test_percent_encoding_is_undone(read):
  lines = single_gene(ID="cds%3BP%2C1", Parent="gene%3DG", protein_id="P%201")
  lines[0] = lines[0].replace("ID=gene-G1", "ID=gene%3DG")
  [gene] = read([text.replace("chr1", "chr%7C1", 1) for text in lines], {"chr|1": CODING})
  assert (gene.protein_id, gene.gene_id) == ("P 1", "LT1")


def test_taxon_is_the_regions_else_the_species_else_the_callers(read):
  region = line("region", 1, 33, ID="r", Dbxref="taxon:562")
  species = "##species https://www.ncbi.nlm.nih.gov/Taxonomy/Browser/wwwtax.cgi?id=4932"
  assert read([species, region, *single_gene()], CODING)[0].taxon == 562
  assert read([species, *single_gene()], CODING)[0].taxon == 4932
  assert read([species, region, *single_gene()], CODING, taxon=9606)[0].taxon == 9606


@pytest.mark.parametrize("name", ["T1", "rna-T1"])
def test_the_transcript_record_is_found_by_accession_or_id(read, name):
  record = "GGCAC" + CODING + "TTGGCAAAA"
  [gene] = read(SPLICED, rna={name: record})
  assert (gene.rna, gene.rna_source, gene.rna_cds) == (record, "record", (5, 38))


def test_parts_that_are_no_stretch_of_a_strand_are_rejects(read):
  both = [*cds_lines([(16, 29)], "+"), *cds_lines([(43, 61)], "-")]
  assert read([GENE, *transcript_lines(), *both])[0].code == "trans_splicing"
  assert read(cds_lines([(16, 29), (43, 61)], ".", Parent=""))[0].code == "bad_location"
  assert read(cds_lines([(16, 80)], Parent=""))[0].code == "bad_location"
  assert read([GENE, *transcript_lines(exons=[(11, 29)]), *cds_lines()])[0].code == "cds_outside_exons"
