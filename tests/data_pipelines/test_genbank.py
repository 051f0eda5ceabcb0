"""GenBank files, against Biopython's reading of them."""

import collections
import gzip
import io
import random
import re
import warnings

import pytest
from Bio import SeqFeature, SeqIO

from data_pipelines import genes
from data_pipelines.errors import InputError
from data_pipelines.formats import genbank

LENGTH = 1000
GENOME = "".join(random.Random(1).choices("acgt", k=LENGTH))
COMPLEMENT = str.maketrans("acgt", "tgca")


def _plant(location, cds, topology="linear", genome=GENOME):
  """The genome with the coding sequence written where the location says, base by base."""
  where = SeqFeature.Location.fromstring(location, LENGTH, circular=topology == "circular")
  bases = list(genome)
  strands = [part.strand for part in where.parts for _ in range(len(part))]
  assert len(strands) == len(cds)
  for position, strand, base in zip(where, strands, cds.lower()):
    bases[position] = base if strand > 0 else base.translate(COMPLEMENT)
  return "".join(bases)


def _feature(key, location, *qualifiers):
  lines = [f"     {key:<16}{location}"] + [f"{' ' * 21}/{qualifier}" for qualifier in qualifiers]
  return "\n".join(lines) + "\n"


def _record(
    features, genome=GENOME, *, name="NC_000001", topology="linear", moltype="DNA", keywords=".", taxon=562
):
  origin = "".join(
      f"{start + 1:>9} {' '.join(genome[i : i + 10] for i in range(start, min(start + 60, len(genome)), 10))}\n"
      for start in range(0, len(genome), 60)
  )
  return (
      f"LOCUS       {name:<16} {len(genome) or LENGTH:>11} bp    {moltype:<6}  {topology:<8} BCT 01-JAN-2000\n"
      f"DEFINITION  A sequence.\nACCESSION   {name}\nVERSION     {name}.2\nKEYWORDS    {keywords}\n"
      f"SOURCE      Escherichia coli\nFEATURES             Location/Qualifiers\n"
      + _feature("source", f"1..{len(genome) or LENGTH}", 'organism="Escherichia coli"', f'db_xref="taxon:{taxon}"')
      + features
      + (f"ORIGIN      \n{origin}" if genome else f"CONTIG      join(X1.1:1..{LENGTH})\n")
      + "//\n"
  )


def _write(tmp_path, text, name="x.gb"):
  path = tmp_path / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def _items(tmp_path, text, **options):
  return list(genbank.read_genbank(_write(tmp_path, text), **options))


def _code(item):
  return item.code if isinstance(item, genes.Reject) else "kept"


def _assert_same_as_biopython(item, feature, sequence):
  start = int(feature.qualifiers.get("codon_start", ["1"])[0]) - 1
  assert item.cds == str(feature.extract(sequence)).upper()[start:]
  if "translation" in feature.qualifiers:
    assert item.protein == feature.qualifiers["translation"][0]


MIDDLE = "gctaaaggtcgtgaactg"  # A K G R E L
A21 = "ATG" + "AAA" * 19 + "TAA"  # 63 bases: a slip inside the A's reads the same base twice.
PLAIN = "ATG" + MIDDLE + "TAA"
TRANSLATION = 'translation="MAKGREL"'


@pytest.mark.parametrize("location, cds, topology, qualifiers", [
    ("101..124", PLAIN, "linear", [TRANSLATION]),
    ("complement(101..124)", PLAIN, "linear", [TRANSLATION]),
    ("join(101..110,151..164)", PLAIN, "linear", [TRANSLATION]),
    ("complement(join(101..110,151..164))", PLAIN, "linear", [TRANSLATION]),
    ("join(complement(151..164),complement(101..110))", PLAIN, "linear", [TRANSLATION]),
    ("join(991..1000,1..14)", PLAIN, "circular", [TRANSLATION]),
    ("complement(join(991..1000,1..14))", PLAIN, "circular", [TRANSLATION]),
    ("join(complement(1..14),complement(991..1000))", PLAIN, "circular", [TRANSLATION]),
    ("991..14", PLAIN, "circular", [TRANSLATION]),
    ("complement(991..14)", PLAIN, "circular", [TRANSLATION]),
    ("join(101..130,130..162)", A21, "linear", ["ribosomal_slippage", 'translation="M' + "K" * 19 + '"']),
    ("complement(join(101..130,130..162))", A21, "linear", ["ribosomal_slippage", 'translation="M' + "K" * 19 + '"']),
    ("join(101..110,112..125)", PLAIN, "linear", ["ribosomal_slippage", TRANSLATION]),
    ("101..124", "GTG" + MIDDLE + "TAA", "linear", ["transl_table=11", TRANSLATION]),
    ("101..124", "ATG" + MIDDLE[:15] + "TGATAA", "linear", ["transl_table=4", 'translation="MAKGREW"']),
    ("<1..>200", "C" + "GCT" * 66 + "G", "linear", ["codon_start=2", f'translation="{"A" * 66}"']),
    ("complement(<1..>200)", "CC" + "TTG" * 66, "linear", ["codon_start=3", "transl_table=11",
                                                           f'translation="{"L" * 66}"']),
    ("101..124", "ATG" + "GCTTGA" + MIDDLE[6:18] + "TAA", "linear",
     ["transl_except=(pos:107..109,aa:Sec)", 'translation="MAUGREL"']),
    ("complement(101..124)", "ATG" + "GCTTGA" + MIDDLE[6:18] + "TAA", "linear",
     ["transl_except=(pos:complement(116..118),\n                     aa:Sec)", 'translation="MAUGREL"']),
    ("complement(101..124)", "ATG" + "GCTTGA" + MIDDLE[6:18] + "TAA", "linear",
     ["transl_except=(pos:116..118,aa:Sec)", 'translation="MAUGREL"']),
    ("join(101..108,151..166)", "ATG" + "GCTTGA" + MIDDLE[6:18] + "TAA", "linear",
     ["transl_except=(pos:join(107..108,151),aa:Pyl)", 'translation="MAOGREL"']),
    ("101..122", "ATG" + MIDDLE + "T", "linear", ["transl_except=(pos:122,aa:TERM)", TRANSLATION]),
    ("complement(101..123)", "ATG" + MIDDLE + "TA", "linear", ["transl_except=(pos:complement(101..102),aa:TERM)",
                                                               TRANSLATION]),
    ("101..124", "ATG" + "GCTTAG" + MIDDLE[6:18] + "TAA", "linear",
     ["transl_except=(pos:107..109,aa:OTHER)", 'translation="MAXGREL"']),
])
@pytest.mark.filterwarnings("ignore:Attempting to fix invalid location")  # 991..14 on a circle is none.
def test_kept_genes_are_cut_out_as_biopython_does(tmp_path, location, cds, topology, qualifiers):
  text = _record(_feature("CDS", location, *qualifiers), _plant(location, cds, topology), topology=topology)
  (item,) = _items(tmp_path, text)
  assert isinstance(item, genes.CodingGene), item
  record = SeqIO.read(io.StringIO(text), "genbank")
  _assert_same_as_biopython(item, record.features[1], record.seq)
  assert item.cds == cds.upper()[len(cds) - len(item.cds) :]
  assert (item.taxon, item.transcript_id, item.protein_source, item.genomic) == (562, "", "qualifier", True)


@pytest.mark.parametrize("location, cds, qualifiers, code", [
    ("101..124", PLAIN, ["pseudo", TRANSLATION], "pseudogene"),
    ("101..124", PLAIN, ['pseudogene="unprocessed"', TRANSLATION], "pseudogene"),
    ("order(101..110,151..164)", PLAIN, [TRANSLATION], "bad_location"),
    ("one-of(101..124,104..124)", None, [TRANSLATION], "bad_location"),
    ("join(101..110,one-of(151,152)..164)", None, [TRANSLATION], "bad_location"),
    ("(101.103)..124", None, [TRANSLATION], "bad_location"),
    ("101^102", None, [TRANSLATION], "bad_location"),
    ("join(101..110,gap(40),151..164)", None, [TRANSLATION], "bad_location"),
    ("join(101..>110,151..164)", PLAIN, [TRANSLATION], "bad_location"),
    ("991..1014", None, [TRANSLATION], "bad_location"),
    ("991..14", None, [TRANSLATION], "bad_location"),
    ("0..23", None, [TRANSLATION], "bad_location"),
    ("rubbish", None, [TRANSLATION], "bad_location"),
    ("complement(" * 2000 + "1..9" + ")" * 2000, None, [TRANSLATION], "bad_location"),
    ("101..124", PLAIN, ["codon_start=4", TRANSLATION], "bad_location"),
    ("101..124", PLAIN, ["codon_start=" + "9" * 5000, TRANSLATION], "bad_location"),
    ("J00194.1:100..202", None, [TRANSLATION], "remote_location"),
    ("join(101..110,complement(J00194.1:100..113))", None, [TRANSLATION], "remote_location"),
    ("join(complement(101..110),151..164)", PLAIN, ["trans_splicing", TRANSLATION], "trans_splicing"),
    ("join(complement(101..110),151..164)", PLAIN, [TRANSLATION], "trans_splicing"),
    ("join(151..164,101..110)", PLAIN, [TRANSLATION], "trans_splicing"),
    ("join(101..110,151..164)", PLAIN, ["trans_splicing", TRANSLATION], "trans_splicing"),
    ("101..124", PLAIN, ['translation="MAKGREV"'], "translation_mismatch"),
    ("101..124", PLAIN, ['translation="MAKGRELL"'], "length_mismatch"),
    ("101..124", PLAIN, ['translation="MAKGREL'], "length_mismatch"),
    ("101..124", "GTG" + MIDDLE + "TAA", [TRANSLATION], "translation_mismatch"),
    ("101..124", "ATGTGA" + MIDDLE[3:18] + "TAA", [], "internal_stop"),
    ("101..124", PLAIN, ["transl_table=7", TRANSLATION], "unknown_transl_table"),
    ("101..124", PLAIN, ["transl_table=new", TRANSLATION], "unknown_transl_table"),
    ("101..124", PLAIN, ["transl_except=(pos:201..203,aa:Sec)", TRANSLATION], "bad_transl_except"),
    ("101..124", PLAIN, ["transl_except=(pos:108..110,aa:Sec)", TRANSLATION], "bad_transl_except"),
    ("101..124", PLAIN, ["transl_except=(pos:107..109,aa:Foo)", TRANSLATION], "bad_transl_except"),
    ("101..102", "AT", [], "empty_cds"),
    ("101..124", PLAIN, ['exception="RNA editing"', 'translation="MAKGREV"'], "rna_editing"),
    ("101..124", PLAIN, ["ribosomal_slippage", 'translation="MAKGREV"'], "ribosomal_slippage"),
    ("101..124", PLAIN, ['exception="RNA editing"'], "rna_editing"),
    ("101..124", PLAIN, ['artificial_location="low-quality sequence region"'], "other_exception"),
    ("101..124", PLAIN, ['exception="RNA editing"', "trans_splicing", TRANSLATION], "trans_splicing"),
])
def test_what_cannot_be_kept_is_rejected_with_its_reason(tmp_path, location, cds, qualifiers, code):
  genome = GENOME if cds is None else _plant(location, cds)
  (item,) = _items(tmp_path, _record(_feature("CDS", location, 'protein_id="NP_1.1"', *qualifiers), genome))
  assert (_code(item), item.record) == (code, "NP_1.1")
  assert code in genes.REASONS
  assert location[:40] in item.detail


def test_genes_are_named_by_the_best_name_that_they_have(tmp_path):
  names = [
      ['db_xref="UniProtKB:P1"', 'db_xref="GeneID:7"', 'locus_tag="b1"', 'gene="abc"', 'protein_id="NP_1.1"'],
      ['locus_tag="b1"', 'gene="abc"', 'protein_id="NP_1.1"'],
      ['gene="abc"', 'protein_id="NP_1.1"'],
      ['protein_id="NP_1.1"'],
      [],
  ]
  features = "".join(_feature("CDS", "101..124", *qualifiers) for qualifiers in names)
  items = _items(tmp_path, _record(features, _plant("101..124", PLAIN)))
  assert [item.gene_id for item in items] == ["GeneID:7", "b1", "abc", "NP_1.1", "NC_000001.2:101..124"]
  assert [item.protein_id for item in items] == ["NP_1.1"] * 4 + [""]


def test_the_taxon_given_comes_before_the_files(tmp_path):
  text = _record(_feature("CDS", "101..124"), _plant("101..124", PLAIN))
  assert [_items(tmp_path, text)[0].taxon, _items(tmp_path, text, taxon=9)[0].taxon] == [562, 9]


@pytest.mark.parametrize("location, partial5, partial3", [
    ("101..124", False, False),
    ("<101..124", True, False),
    ("101..>124", False, True),
    ("complement(<101..124)", False, True),
    ("complement(101..>124)", True, False),
    ("join(complement(112..>124),complement(101..111))", True, False),
])
def test_the_partial_ends_are_those_of_the_coding_strand(tmp_path, location, partial5, partial3):
  (gene,) = _items(tmp_path, _record(_feature("CDS", location, TRANSLATION), _plant(location, PLAIN)))
  assert (gene.partial5, gene.partial3) == (partial5, partial3)


def test_a_missing_translation_is_made(tmp_path):
  (gene,) = _items(tmp_path, _record(_feature("CDS", "101..124"), _plant("101..124", PLAIN)))
  assert (gene.protein, gene.protein_source) == ("MAKGREL", "translated")


def test_qualifiers_are_read_across_lines_and_quotes(tmp_path):
  features = _feature(
      "CDS", "join(101..110,\n                     151..164)",
      'note="a ""quoted"" word,\n                     /pseudo and more"',
      'translation="MAKG\n                     REL"',
  )
  (gene,) = _items(tmp_path, _record(features, _plant("join(101..110,151..164)", PLAIN)))
  assert gene.protein == "MAKGREL"


def test_each_coding_sequence_gets_the_transcript_that_is_spliced_like_it(tmp_path):
  two_exons, one_exon = "join(101..110,151..164)", "101..124"
  genome = _plant(one_exon, PLAIN, genome=_plant(two_exons, PLAIN))
  gene = 'locus_tag="Y1"'
  features = (
      _feature("mRNA", "91..200", gene, 'transcript_id="NM_1.1"')
      + _feature("mRNA", "join(<91..110,151..>170)", gene, 'transcript_id="NM_2.1"')
      + _feature("mRNA", "join(50..60,81..110,151..164)", gene, 'transcript_id="NM_3.1"')
      + _feature("mRNA", "join(91..110,151..164)", 'locus_tag="Y2"', 'transcript_id="NM_4.1"')
      + _feature("CDS", two_exons, gene, 'protein_id="NP_2.1"')
      + _feature("CDS", two_exons, gene, 'protein_id="NP_3.1"')
      + _feature("CDS", one_exon, gene, 'protein_id="NP_1.1"')
      + _feature("CDS", "complement(101..124)", gene, 'protein_id="NP_4.1"', "pseudo")
      + _feature("CDS", one_exon, 'locus_tag="Y2"', 'protein_id="NP_5.1"')
  )
  items = [item for item in _items(tmp_path, _record(features, genome)) if isinstance(item, genes.CodingGene)]
  assert {item.protein_id: (item.transcript_id, item.rna_source) for item in items} == {
      "NP_2.1": ("NM_2.1", "exons"), "NP_3.1": ("NM_3.1", "exons"), "NP_1.1": ("NM_1.1", "exons"),
      "NP_5.1": ("", "cds"),
  }
  second = next(item for item in items if item.protein_id == "NP_2.1")
  assert second.rna == (genome[90:110] + genome[150:170]).upper()
  assert second.dna == genome[90:170].upper()
  assert second.rna[slice(*second.rna_cds)] == second.cds == PLAIN.upper()


@pytest.mark.parametrize(
    "transcript",
    ["104..200", "91..120", "complement(91..200)", "complement(801..910)", "join(91..110,115..200)"],
)
def test_a_transcript_that_does_not_hold_the_coding_sequence_is_not_its(tmp_path, transcript):
  features = _feature("mRNA", transcript, 'gene="a"') + _feature("CDS", "101..124", 'gene="a"', TRANSLATION)
  (gene,) = _items(tmp_path, _record(features, _plant("101..124", PLAIN)))
  assert (gene.transcript_id, gene.rna_source, gene.dna) == ("", "cds", PLAIN.upper())


def test_a_transcript_that_begins_before_the_origin_holds_a_coding_sequence_behind_it(tmp_path):
  features = _feature("mRNA", "join(991..1000,1..140)", 'gene="a"') + _feature("CDS", "101..124", 'gene="a"')
  (gene,) = _items(tmp_path, _record(features, _plant("101..124", PLAIN), topology="circular"))
  assert (gene.rna_source, gene.cds_blocks, len(gene.rna)) == ("exons", ((110, 134),), 150)


def test_a_slip_does_not_keep_a_coding_sequence_from_its_transcript(tmp_path):
  location = "join(101..110,112..125)"
  features = _feature("mRNA", "91..140", 'gene="a"') + _feature("CDS", location, 'gene="a"', "ribosomal_slippage")
  (gene,) = _items(tmp_path, _record(features, _plant(location, PLAIN)))
  assert (gene.rna_source, len(gene.rna), gene.rna_cds) == ("exons", 50, None)


def test_an_mrna_record_is_its_own_transcript_and_no_genomic_dna(tmp_path):
  text = _record(
      _feature("CDS", "101..124", TRANSLATION), _plant("101..124", PLAIN), name="NM_000001", moltype="mRNA",
      keywords="RefSeq; MANE\n            Select.",
  )
  (gene,) = _items(tmp_path, text)
  assert (gene.transcript_id, gene.rna_source, gene.rna_cds) == ("NM_000001.2", "record", (100, 124))
  assert (len(gene.rna), gene.genomic, gene.selected) == (LENGTH, False, True)


def test_all_records_of_a_file_are_read_and_prefaces_skipped(tmp_path):
  genome = _plant("101..124", PLAIN)
  feature = _feature("CDS", "101..124", TRANSLATION)
  text = "GBBCT1.SEQ   Genetic Sequence Data Bank\n\n" + "".join(
      _record(feature, genome, name=f"NC_{i}", taxon=i) for i in range(1, 4)
  )
  assert [gene.taxon for gene in _items(tmp_path, text)] == [1, 2, 3]
  path = _write(tmp_path, gzip.compress(text.replace("\n", "\r\n").encode()))
  assert [gene.gene_id for gene in genbank.read_genbank(path)] == [f"NC_{i}.2:101..124" for i in range(1, 4)]


def test_records_are_whole_wherever_the_blocks_end(tmp_path, monkeypatch):
  text = _record(
      _feature("CDS", "101..124", TRANSLATION), _plant("101..124", PLAIN), keywords="RefSeq; MANE\n            Select."
  )
  expected = _items(tmp_path, text * 3)
  assert [gene.selected for gene in expected] == [True] * 3
  inside_the_keywords = len(text) + text.index("MANE")
  for size in (1, 7, 79, 80, 81, len(text) - 1, len(text), len(text) + 1, inside_the_keywords):
    monkeypatch.setattr(genbank, "_BLOCK", size)
    assert _items(tmp_path, text * 3) == expected


def test_a_record_without_its_sequence_rejects_each_coding_feature(tmp_path):
  text = _record(_feature("CDS", "1..9", TRANSLATION) + _feature("CDS", "11..19", TRANSLATION), genome="")
  assert [_code(item) for item in _items(tmp_path, text)] == ["missing_contig"] * 2
  with pytest.raises(InputError, match="NC_000001.2: the record holds no sequence.*genomic.gbff"):
    list(genbank.read_genbank_sequences(tmp_path / "x.gb"))


@pytest.mark.parametrize("moltype, expected", [
    ("DNA", "dna"), ("ds-DNA", "dna"), ("mRNA", "rna"), ("ss-RNA", "rna"), ("cRNA", "rna"),
])
def test_sequences_carry_name_taxon_shape_and_molecule(tmp_path, moltype, expected):
  path = _write(tmp_path, _record("", GENOME.replace("t", "u"), name="RNA_1", topology="circular", moltype=moltype))
  assert list(genbank.read_genbank_sequences(path)) == [
      genes.GenomeSequence("RNA_1.2", 562, GENOME.upper(), True, expected)
  ]


def test_a_latin_1_letter_costs_nothing(tmp_path):
  text = _record(_feature("CDS", "101..124", 'note="José"', TRANSLATION), _plant("101..124", PLAIN))
  (gene,) = _items(tmp_path, text.encode("latin-1"))
  assert gene.protein == "MAKGREL"


GOOD = _record(_feature("CDS", "101..124", TRANSLATION), _plant("101..124", PLAIN))
BAD = _record(_feature("CDS", "101..124", TRANSLATION), _plant("101..124", PLAIN), name="NC_BAD")


@pytest.mark.parametrize("text, problem", [
    ("", "the file is empty"),
    (">a\nACGT\n", "no line begins with LOCUS"),
    (bytes(range(256)), "no line begins with LOCUS"),
    (GOOD + BAD[:-700], "NC_BAD: the record has no end"),
    (GOOD + BAD[:-3], "NC_BAD: the record has no end"),
    (GOOD + "LOCUS", "LOCUS: the record has no end"),
    (BAD[:-3] + GOOD, "NC_BAD: the record has no end"),
    (GOOD + BAD.replace("1000 bp", "1001 bp"), "NC_BAD: LOCUS promises 1001 bases, the record holds 1000"),
    (GOOD + BAD.replace("ORIGIN      \n", "ORIGIN      \n!"), "NC_BAD: b'!' in the sequence is no nucleotide"),
    (GOOD + BAD.replace("1000 bp  ", "1000 aa  "), "NC_BAD: a protein record"),
])
def test_a_broken_record_is_named_with_its_file_and_a_remedy(tmp_path, text, problem):
  with pytest.raises(InputError) as error:
    _items(tmp_path, text)
  assert str(error.value).startswith(f"{tmp_path / 'x.gb'}: {problem}")
  assert str(error.value).endswith((".", ")."))


def test_a_truncated_gzip_file_is_named(tmp_path):
  rng = random.Random(0)
  genome = "".join(rng.choices("acgt", k=20_000))
  data = gzip.compress(_record("", genome).encode())
  path = _write(tmp_path, data[: len(data) // 2], "x.gbff.gz")
  with pytest.raises(InputError, match="x.gbff.gz: the gzip data end too early"):
    list(genbank.read_genbank(path))


def test_damage_gives_items_or_an_error_that_names_the_file(tmp_path):
  rng = random.Random(0)
  features = (
      _feature("mRNA", "join(<91..110,151..>170)", 'gene="a"')
      + _feature("CDS", "join(101..110,151..164)", 'gene="a"', "transl_except=(pos:107..109,aa:Sec)", TRANSLATION)
      + _feature("CDS", "complement(201..224)", "codon_start=1", "transl_table=11", "pseudo")
  )
  good = _record(features, _plant("join(101..110,151..164)", PLAIN), topology="circular").encode()
  outcomes = collections.Counter()
  for _ in range(100):
    data = bytearray(good)
    for _ in range(rng.choice([1, 3, 30])):
      at = rng.randrange(1600)
      piece = rng.choices(b"<>.,()/\"=:\n 0189ajLO\xe9\0", k=rng.choice([0, 1, 2]))
      data[at : at + rng.choice([0, 1, 1, 20])] = piece
    path = _write(tmp_path, bytes(data))
    for reader in (genbank.read_genbank, genbank.read_genbank_sequences):
      try:
        outcomes.update(type(item) for item in reader(path))
      except InputError as error:
        outcomes[InputError] += 1
        assert str(path) in str(error)
  assert outcomes.keys() == {genes.CodingGene, genes.Reject, genes.GenomeSequence, InputError}


def _biopython(path):
  with gzip.open(path, "rt", encoding="latin-1") as stream, warnings.catch_warnings():
    warnings.simplefilter("ignore")
    return list(SeqIO.parse(stream, "genbank"))


@pytest.mark.parametrize("name, counts", [
    ("ecoli_mg1655/GCF_000005845.2_ASM584v2_genomic.gbff.gz", {"kept": 4298, "pseudogene": 17}),
    ("ecoli_o157_sakai/NC_002695.gbk.gz", {"kept": 5202}),
    ("mmycoides/GCF_000023685.1.gbff.gz", {"kept": 857, "pseudogene": 4}),
    ("human_records/gbpri1_part.seq.gz", {"kept": 120, "pseudogene": 66, "remote_location": 1}),
])
def test_real_genomes_give_what_biopython_cuts_out(shared_data, name, counts):
  path = shared_data / "genomes" / name
  items = list(genbank.read_genbank(path))
  assert collections.Counter(map(_code, items)) == counts
  features = [(f, r.seq) for r in _biopython(path) for f in r.features if f.type == "CDS"]
  assert len(features) == len(items)
  for item, (feature, sequence) in zip(items, features):
    if isinstance(item, genes.CodingGene):
      _assert_same_as_biopython(item, feature, sequence)


@pytest.mark.parametrize("folder, files", [("phages", 15), ("small", 6), ("biopython_genbank", 21)])
def test_every_odd_file_gives_one_item_a_coding_feature_or_names_itself(shared_data, folder, files):
  names = re.compile(r".*\.(gb|gbk|gp|seq|gbwithparts)\.gz")
  paths = [p for p in (shared_data / "genomes" / folder).iterdir() if names.fullmatch(p.name)]
  assert len(paths) == files
  for path in paths:
    try:
      items = list(genbank.read_genbank(path))
    except InputError as error:
      assert str(path) in str(error)
      continue
    if path.name != "puc19.gbk.gz":  # Biopython cannot read its LOCUS line.
      assert len(items) == sum(f.type == "CDS" for r in _biopython(path) for f in r.features), path
