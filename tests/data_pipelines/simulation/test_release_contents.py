"""What a simulated release holds: its files agree, by independent parsers and by our own readers."""

import collections
import dataclasses
import gzip
import hashlib
import re

import numpy as np
import pytest
from Bio import SeqIO
from Bio.Data import CodonTable

from data_pipelines import miniature
from data_pipelines.formats.feature_table import read_feature_table
from data_pipelines.formats.genbank import read_genbank
from data_pipelines.formats.gff3 import read_gff3
from data_pipelines.genes import REASONS, CodingGene, Reject
from data_pipelines.simulation import sequences

GENES = 60
TRAPS_OF_A_YEAST = ["other_exception", "rna_editing", "trans_splicing"]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
  return miniature.write_release(tmp_path_factory.mktemp("miniature") / "release", seed=3, genes=GENES)


def path_of(release, assembly, content):
  return release.path / assembly["directory"] / f"{assembly['directory']}_{content}.gz"


def text_of(release, assembly, content):
  return gzip.decompress(path_of(release, assembly, content).read_bytes()).decode()


def fasta_of(release, assembly, content):
  """Name to (description, sequence as written)."""
  with gzip.open(path_of(release, assembly, content), "rt") as lines:
    records = [(record.id, record.description, str(record.seq)) for record in SeqIO.parse(lines, "fasta")]
  assert len({name for name, _, _ in records}) == len(records)
  return {name: (description, sequence) for name, description, sequence in records}


def genbank_of(release, assembly):
  with gzip.open(path_of(release, assembly, "genomic.gbff"), "rt") as lines:
    return list(SeqIO.parse(lines, "genbank"))


def fields(description):
  return dict(re.findall(r"\[(\w+)=([^\]]*)\]", description))


def translated(cds, table, *, codon_start=1, complete5=True, selenocysteine=()):
  """An independent translation: Biopython's codon tables, a start codon read as M, the stop removed."""
  codes = CodonTable.unambiguous_dna_by_id[table]
  cds = cds[codon_start - 1 :]
  codons = [cds[i : i + 3] for i in range(0, len(cds) // 3 * 3, 3)]
  residues = ["U" if i in selenocysteine else codes.forward_table.get(codon, "*") for i, codon in enumerate(codons)]
  if complete5 and codons[0] in codes.start_codons:
    residues[0] = "M"
  return "".join(residues).removesuffix("*")


def gff_rows(release, assembly):
  for line in text_of(release, assembly, "genomic.gff").splitlines():
    if not line.startswith("#"):
      contig, _, kind, start, end, _, strand, phase, attributes = line.split("\t")
      named = dict(item.split("=", 1) for item in attributes.split(";"))
      yield contig, kind, int(start), int(end), strand, phase, named


def complement(dna):
  return dna.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def names_of_traps(release, records):
  """What the readers call the rejected features, to locus tags."""
  proteins = {}
  for assembly in release.assemblies:
    for description, _ in fasta_of(release, assembly, "cds_from_genomic.fna").values():
      if "protein_id" in fields(description):
        proteins[fields(description)["protein_id"]] = fields(description)["locus_tag"]
  return {proteins.get(item.record, item.record.removeprefix("cds-")): item.code for item in records}


def test_release_has_ncbis_layout_and_right_checksums(release):
  summary = (release.path / "assembly_summary_refseq.txt").read_text().splitlines()
  assert summary[0].startswith("##") and summary[1].startswith("#assembly_accession\t")
  rows = [dict(zip(summary[1].lstrip("#").split("\t"), line.split("\t"))) for line in summary[2:]]
  assert [f"{row['assembly_accession']}_{row['asm_name']}" for row in rows] == [
      assembly["directory"] for assembly in release.assemblies
  ]
  for row, assembly in zip(rows, release.assemblies):
    assert row["version_status"] == "latest" and int(row["taxid"]) == assembly["taxid"]
    folder = release.path / assembly["directory"]
    listed = dict(line.split("  ./")[::-1] for line in (folder / "md5checksums.txt").read_text().splitlines())
    contents = {"genomic.fna", "genomic.gff", "genomic.gbff", "protein.faa", "cds_from_genomic.fna"}
    contents |= {"feature_table.txt", *(["rna.fna"] if assembly["eukaryote"] else [])}
    assert set(listed) == {f"{assembly['directory']}_{content}.gz" for content in contents}
    assert set(listed) | {"md5checksums.txt"} == {path.name for path in folder.iterdir()}
    for name, digest in listed.items():
      assert hashlib.md5((folder / name).read_bytes()).hexdigest() == digest


def test_every_coding_feature_but_the_traps_translates_to_its_qualifier_and_its_protein_record(release):
  for assembly in release.assemblies:
    proteins = fasta_of(release, assembly, "protein.faa")
    count = 0
    for record in genbank_of(release, assembly):
      linear = assembly["eukaryote"] or record.id.startswith("NZ_MINI")
      assert record.annotations["topology"] == ("linear" if linear else "circular")
      for feature in record.features:
        if feature.type != "CDS":
          continue
        qualifiers = feature.qualifiers
        tag = qualifiers["locus_tag"][0]
        cds = str(feature.extract(record.seq))
        assert int(qualifiers.get("transl_table", ["1"])[0]) == assembly["transl_table"]
        start, end = feature.location.parts[0].start, feature.location.parts[-1].end
        selenocysteine = []
        for text in qualifiers.get("transl_except", []):
          assert text.endswith(",aa:Sec)")
          at = int(re.search(r"(\d+)\.\.", text)[1]) - 1
          offset = at - start if feature.location.strand > 0 else end - at - 3
          assert cds[offset : offset + 3] == "TGA"
          selenocysteine.append(offset // 3)
        partial5 = "<" in str(start)
        protein = translated(
            cds, assembly["transl_table"], codon_start=int(qualifiers["codon_start"][0]), complete5=not partial5,
            selenocysteine=selenocysteine,
        )
        if "pseudo" in qualifiers:
          assert release.traps[tag] == "pseudogene" and "translation" not in qualifiers and "*" in protein
          continue
        annotated = qualifiers["translation"][0]
        assert proteins[qualifiers["protein_id"][0]][1] == annotated
        if release.traps.get(tag) in ("rna_editing", "other_exception"):
          assert len(protein) == len(annotated) and protein != annotated and "exception" in qualifiers
        else:
          assert protein == annotated
          count += tag not in release.traps
    alternatives = GENES // 6 if assembly["eukaryote"] else 0
    assert count == GENES + alternatives


def test_gff3_splices_to_the_proteins_and_to_the_cut_out_coding_sequences(release):
  for assembly in release.assemblies:
    genome = {name: sequence.upper() for name, (_, sequence) in fasta_of(release, assembly, "genomic.fna").items()}
    proteins = {name: sequence for name, (_, sequence) in fasta_of(release, assembly, "protein.faa").items()}
    cut = collections.defaultdict(list)
    for description, sequence in fasta_of(release, assembly, "cds_from_genomic.fna").values():
      cut[fields(description)["locus_tag"]].append(sequence)
    spliced = {}
    for contig, kind, start, end, strand, phase, attributes in gff_rows(release, assembly):
      if kind == "CDS":
        # Over the origin the end runs on beyond the length.
        piece = (genome[contig] * 2)[start - 1 : end]
        done, _, first = spliced.setdefault(attributes["ID"], ("", attributes, phase))
        assert (len(done) + int(phase) - int(first)) % 3 == 0
        spliced[attributes["ID"]] = (done + (piece if strand == "+" else complement(piece)), attributes, first)
    assert len(spliced) == assembly["coding_transcripts"] == sum(map(len, cut.values()))
    for cds, attributes, phase in spliced.values():
      tag = attributes["locus_tag"]
      assert cds in cut[tag]
      if tag not in release.traps and "transl_except" not in attributes:
        complete5 = "start_range" not in attributes
        protein = translated(cds, assembly["transl_table"], codon_start=int(phase) + 1, complete5=complete5)
        assert protein == proteins[attributes["protein_id"]]


def test_genbank_and_fasta_hold_the_same_genome_and_only_eukaryotic_fasta_is_soft_masked(release):
  for assembly in release.assemblies:
    written = {name: sequence for name, (_, sequence) in fasta_of(release, assembly, "genomic.fna").items()}
    assert {record.id: str(record.seq) for record in genbank_of(release, assembly)} == {
        name: sequence.upper() for name, sequence in written.items()
    }
    bases = "".join(written.values())
    assert set(bases.upper()) == set("ACGT") and len(bases) == assembly["bases"]
    masked = sum(map(str.islower, bases)) / len(bases)
    assert 0.03 < masked < 0.3 if assembly["eukaryote"] else masked == 0


def test_transcript_records_are_the_spliced_exons_and_hold_the_coding_sequence(release):
  for assembly in release.assemblies[-2:]:
    records = fasta_of(release, assembly, "rna.fna")
    seen = set()
    for record in genbank_of(release, assembly):
      for feature in record.features:
        if "transcript_id" in feature.qualifiers:
          name = feature.qualifiers["transcript_id"][0]
          seen.add(name)
          spliced, own = str(feature.extract(record.seq)), records[name][1]
          edited = release.traps.get(feature.qualifiers["locus_tag"][0]) == "rna_editing"
          assert sum(a != b for a, b in zip(spliced, own, strict=True)) == edited
          assert name.startswith("NM_" if feature.type == "mRNA" else "NR_")
    assert seen == set(records)
    transcript_of = {
        attributes["protein_id"]: attributes["Parent"].removeprefix("rna-")
        for _, kind, *_, attributes in gff_rows(release, assembly)
        if kind == "CDS" and attributes["Parent"].startswith("rna-")
    }
    for description, cds in fasta_of(release, assembly, "cds_from_genomic.fna").values():
      if fields(description).get("exception", "") == "":
        rna = records[transcript_of[fields(description)["protein_id"]]][1]
        before, found, after = rna.partition(cds)
        assert found and len(before) >= 20 and len(after) >= 60


def test_introns_begin_and_end_as_yeasts_do_and_exons_are_not_tiny(release):
  for assembly in release.assemblies[-2:]:
    introns = 0
    for record in genbank_of(release, assembly):
      for feature in record.features:
        if feature.type == "mRNA":
          parts = feature.location.parts
          assert min(map(len, parts)) >= 20
          for left, right in zip(parts, parts[1:]):
            low, high = sorted([left, right], key=lambda part: part.start)
            intron = str(record.seq[low.end : high.start])
            intron = complement(intron) if feature.location.strand < 0 else intron
            assert intron[:2] == "GT" and intron[-2:] == "AG" and "TACTAAC" in intron and len(intron) >= 60
            introns += 1
    assert introns > GENES / 2


def test_feature_table_agrees_with_gff3_row_by_row(release):
  for assembly in release.assemblies:
    header, *lines = text_of(release, assembly, "feature_table.txt").splitlines()
    columns = header.removeprefix("# ").split("\t")
    assert len(columns) == 20
    rows = [dict(zip(columns, line.split("\t"), strict=True)) for line in lines]
    proteins = fasta_of(release, assembly, "protein.faa")
    lengths = collections.Counter()
    parents = {}
    for _, kind, start, end, _, _, attributes in gff_rows(release, assembly):
      if kind in ("CDS", "exon"):
        lengths[attributes["Parent"], kind] += end - start + 1
      if kind == "CDS":
        parents[attributes["ID"]] = attributes["Parent"]
    coding = [row for row in rows if row["feature"] == "CDS"]
    assert len(coding) == len(parents)
    for row in coding:
      parent = f"rna-{row['related_accession']}" if row["related_accession"] else f"gene-{row['locus_tag']}"
      assert int(row["feature_interval_length"]) == lengths[parent, "CDS"]
      if row["class"] == "with_protein":
        assert int(row["product_length"]) == len(proteins[row["product_accession"]][1])
      else:
        assert release.traps[row["locus_tag"]] == "pseudogene" and row["product_accession"] == ""
      pair = (row["product_accession"], row["related_accession"])
      if row["related_accession"]:
        [mrna] = [other for other in rows if other["product_accession"] == row["related_accession"]]
        assert mrna["feature"] == "mRNA" and pair == (mrna["related_accession"], mrna["product_accession"])
        assert int(mrna["feature_interval_length"]) == lengths[parent, "exon"] == int(mrna["product_length"])


@pytest.mark.parametrize("reader", ["gff3", "genbank", "feature_table"])
def test_our_readers_keep_every_real_gene_and_reject_exactly_the_traps(release, reader):
  rejects, kept = [], 0
  for assembly in release.assemblies:
    rna = path_of(release, assembly, "rna.fna") if assembly["eukaryote"] else None
    genome, protein = path_of(release, assembly, "genomic.fna"), path_of(release, assembly, "protein.faa")
    if reader == "gff3":
      items = read_gff3(path_of(release, assembly, "genomic.gff"), genome, rna=rna, protein=protein)
    elif reader == "genbank":
      items = read_genbank(path_of(release, assembly, "genomic.gbff"))
    else:
      items = read_feature_table(
          path_of(release, assembly, "feature_table.txt"), genome=genome, rna=rna, protein=protein,
          cds=path_of(release, assembly, "cds_from_genomic.fna"), transl_table=assembly["transl_table"],
          taxon=assembly["taxid"],
      )
    items = list(items)
    assert len(items) == assembly["coding_transcripts"]
    rejects += [item for item in items if isinstance(item, Reject)]
    kept += len(items) - len(rejects)
    assert all(item.taxon == assembly["taxid"] for item in items if isinstance(item, CodingGene))
  expected = dict(release.traps)
  if reader == "feature_table":
    # The table does not carry `exception=`.
    unnamed = {"rna_editing": "translation_mismatch", "other_exception": "translation_mismatch"}
    expected = {tag: unnamed.get(code, code) for tag, code in expected.items()}
  assert names_of_traps(release, rejects) == expected
  assert set(expected.values()) <= set(REASONS)


def test_gff3_and_genbank_give_the_same_genes(release):
  def by_name(items):
    genes = [item for item in items if isinstance(item, CodingGene)]
    return {(gene.gene_id, gene.transcript_id, gene.protein_id): gene for gene in genes}

  for assembly in release.assemblies:
    contents = ("genomic.gff", "genomic.fna", "protein.faa")
    annotation, genome, protein = (path_of(release, assembly, content) for content in contents)
    gff3 = by_name(read_gff3(annotation, genome, protein=protein))
    genbank = by_name(read_genbank(path_of(release, assembly, "genomic.gbff")))
    assert gff3.keys() == genbank.keys()
    for name, item in gff3.items():
      # GenBank writes the selected transcripts only in the records of their own.
      assert item == dataclasses.replace(genbank[name], protein_source="record", selected=item.selected)


def test_each_genome_has_its_traps_and_oddities(release):
  def of(number, tags):
    return [tag for tag in tags if tag.startswith(f"MINI{number}_")]

  for number in (1, 2, 3):
    for kind in ("ribosomal_slippage", "selenocysteine", "over_origin"):
      assert len(of(number, release.oddities[kind])) == 1, (number, kind)
  assert len(of(3, release.oddities["incomplete"])) == len(release.oddities["incomplete"]) == 2
  for number in (1, 2, 3, 4):
    assert [release.traps[tag] for tag in of(number, release.traps)] == ["pseudogene"]
  for number in (2, 3, 4):
    assert of(number, release.oddities["shared_protein"])
  for number in (5, 6):
    assert sorted(release.traps[tag] for tag in of(number, release.traps)) == TRAPS_OF_A_YEAST
    assert len(of(number, release.oddities["alternative_transcripts"])) == GENES // 6
  starts = {fields(d)["locus_tag"]: s[:3] for a in release.assemblies
            for d, s in fasta_of(release, a, "cds_from_genomic.fna").values()}
  assert {starts[tag] for tag in release.oddities["other_start"]} == {"GTG", "TTG"}


def test_incomplete_genes_are_marked_in_every_format(release):
  assembly = release.assemblies[2]
  first, last = sorted(release.oddities["incomplete"])
  locations = {f.qualifiers["locus_tag"][0]: str(f.location) for r in genbank_of(release, assembly) for f in r.features
               if f.type == "CDS"}
  assert locations[first].startswith("[<0:") and "[" in locations[last] and ":>" in locations[last]
  attributes = {row[-1]["locus_tag"]: row[-1] for row in gff_rows(release, assembly) if row[1] == "CDS"}
  assert attributes[first]["start_range"] == ".,1" and attributes[last]["end_range"].endswith(",.")
  rows = [line.split("\t") for line in text_of(release, assembly, "feature_table.txt").splitlines()]
  assert {row[16] for row in rows if row[19] == "partial"} == {first, last}
  partial = {fields(d)["locus_tag"]: fields(d).get("partial")
             for d, _ in fasta_of(release, assembly, "cds_from_genomic.fna").values()}
  assert {tag: end for tag, end in partial.items() if end} == {first: "5'", last: "3'"}


def test_mycoplasma_reads_tga_as_tryptophan(release):
  mycoplasma = release.assemblies[3]
  assert mycoplasma["transl_table"] == 4
  sequences_of = [s for _, s in fasta_of(release, mycoplasma, "cds_from_genomic.fna").values()]
  codons = collections.Counter(s[i : i + 3] for s in sequences_of for i in range(0, len(s) - 3, 3))
  assert codons["TGA"] > 5 * codons["TGG"] > 0


def test_one_of_two_transcripts_is_selected_and_it_is_not_always_the_longer(release):
  tags, shorter = set(), 0
  for assembly in release.assemblies[-2:]:
    lengths = {name: len(sequence) for name, (_, sequence) in fasta_of(release, assembly, "rna.fna").items()}
    genes = collections.defaultdict(dict)
    for _, kind, *_, attributes in gff_rows(release, assembly):
      if kind == "mRNA":
        genes[attributes["Parent"]][attributes["transcript_id"]] = attributes.get("tag")
        tags.add(attributes.get("tag"))
    for transcripts in genes.values():
      selected = [name for name, tag in transcripts.items() if tag]
      assert len(selected) == (len(transcripts) == 2)
      shorter += any(lengths[name] < max(lengths[n] for n in transcripts) for name in selected)
  assert tags == {None, "MANE Select", "RefSeq Select"} and shorter > 0


def test_orthologues_are_related_and_strangers_are_not(release):
  proteomes = []
  for assembly in release.assemblies:
    proteins = fasta_of(release, assembly, "protein.faa")
    proteomes.append({
        fields(d)["gene"]: proteins[fields(d)["protein_id"]][1]
        for d, _ in fasta_of(release, assembly, "cds_from_genomic.fna").values()
        if fields(d)["locus_tag"] not in release.traps and fields(d)["gene"].lower().startswith("mnf")
    })  # fmt: skip

  def identity(a, b):
    return np.mean([x == y for x, y in zip(a, b)])

  def orthologues(one, other):
    shared = [s for s in one.keys() & other.keys() if len(one[s]) == len(other[s])]
    assert len(shared) > GENES / 4
    return np.mean([identity(one[s], other[s]) for s in shared])

  near, far = orthologues(proteomes[0], proteomes[1]), orthologues(proteomes[0], proteomes[5])
  assert 0.75 < near < 0.92 and 0.5 < far < 0.8 and far < orthologues(proteomes[0], proteomes[3]) < near
  paralogues = [
      identity(p[s], p[s + "L"]) for p in proteomes for s in p if s + "L" in p and len(p[s]) == len(p[s + "L"])
  ]
  assert len(paralogues) > 10 and min(paralogues) > 0.75
  unrelated = sorted(set(proteomes[0]) - {s for s in proteomes[0] if s.endswith(("B", "L"))})
  strangers = [identity(proteomes[0][a], proteomes[0][b]) for a, b in zip(unrelated, unrelated[1:])]
  assert np.mean(strangers) < 0.12


@pytest.mark.parametrize(
    ("genome", "usage", "table"),
    [(0, "Escherichia coli K-12", 11), (3, "Mycoplasma mycoides", 4), (4, "Saccharomyces cerevisiae", 1)],
)
def test_codon_usage_is_the_organisms_own(release, genome, usage, table):
  counts = np.zeros(64)
  for _, cds in fasta_of(release, release.assemblies[genome], "cds_from_genomic.fna").values():
    for i in range(3, len(cds) - 2, 3):
      counts[sequences.CODONS.index(cds[i : i + 3])] += 1

  def distance(reference):
    """Share of codons that would have to be others of the same amino acid."""
    probabilities = sequences.codon_probabilities(reference, table)
    residues = (probabilities > 0) @ counts
    return np.abs(counts - residues @ probabilities).sum() / 2 / counts.sum()

  assert distance(usage) < 0.05
  assert all(distance(other) > 0.1 for other in sequences.CODON_USAGE if other != usage)


def test_gc_content_varies_between_the_genomes(release):
  shares = []
  for assembly in release.assemblies:
    bases = "".join(s for _, s in fasta_of(release, assembly, "genomic.fna").values()).upper()
    shares.append((bases.count("G") + bases.count("C")) / len(bases))
  assert shares[1] > 0.56 and 0.48 < shares[0] < 0.55 and shares[2] < 0.47 and shares[3] < 0.33
