"""The miniature world of two organisms whose genetic codes alone differ, and its labelled pairs."""

import csv

import numpy as np
import pytest

from data_pipelines import genetic_code, miniature
from data_pipelines.errors import InputError
from data_pipelines.simulation import sequences, two_codes
from data_pipelines.simulation.assembly import extract, reverse_complement

GENES = 40
AMBIGUOUS = {"AAA", "ATA", "AGA", "AGG"}


@pytest.fixture(scope="module")
def simulated():
  return two_codes.simulate(3, GENES)


def codons_of(cds: str) -> list[str]:
  return [cds[i : i + 3].upper() for i in range(0, len(cds) - 3, 3)]


def test_each_gene_is_read_by_its_organisms_code(simulated):
  assemblies, _ = simulated
  assert [assembly.transl_table for assembly in assemblies] == [4, 21]
  for assembly in assemblies:
    (contig,) = assembly.contigs
    assert len(contig.genes) == GENES
    for gene in contig.genes:
      (transcript,) = gene.transcripts
      cds = extract(contig, transcript.cds)
      assert genetic_code.translate(cds, assembly.transl_table) == transcript.protein + "*"
      assert genetic_code.is_start(cds[:3], assembly.transl_table)


def test_a_wrong_protein_differs_from_the_right_one_where_the_codes_do(simulated):
  _, pairs = simulated
  for right, wrong in zip(pairs[::2], pairs[1::2]):
    assert (right.id, right.dna, right.label, wrong.label) == (wrong.id, wrong.dna, 1, 0)
    differs = [one != other for one, other in zip(right.protein, wrong.protein, strict=True)]
    assert differs == [codon in AMBIGUOUS for codon in codons_of(right.dna)]
    assert any(differs)


def test_genes_of_the_labelled_pairs_stand_in_no_genome(simulated):
  assemblies, pairs = simulated
  genomes = [contig.sequence.upper() for assembly in assemblies for contig in assembly.contigs]
  both_strands = " ".join([*genomes, *map(reverse_complement, genomes)])
  assert not [pair.id for pair in pairs if pair.dna[30:90].upper() in both_strands]


def test_every_organism_has_labelled_genes_in_both_splits(simulated):
  _, pairs = simulated
  found = {(pair.group, pair.split) for pair in pairs}
  assert found == {(species.name, split) for species in two_codes.SPECIES for split in ("dev", "test")}
  assert len({pair.id for pair in pairs}) == len(pairs) / 2 == 2 * sum(two_codes.LABELLED.values())


def test_codons_that_are_read_differently_are_as_frequent_in_both_organisms():
  frequencies = {table: two_codes.codon_frequencies(table) for table in (4, 21)}
  codons = np.array(sequences.CODONS)
  for codon in AMBIGUOUS:
    assert len({f[codons == codon].item() for f in frequencies.values()}) == 1
  for table, of_codons in frequencies.items():
    assert of_codons.sum() == pytest.approx(1)
    assert not of_codons[[genetic_code.is_stop(codon, table) for codon in codons]].any()


def test_a_release_holds_both_genomes_and_the_pairs_and_is_the_same_for_a_seed(tmp_path):
  first, second = (miniature.write_release(tmp_path / n, genes=30, world="two_codes") for n in ("a", "b"))
  assert first.world == "two_codes" and [a["transl_table"] for a in first.assemblies] == [4, 21]
  with (first.path / miniature.LABELLED).open() as file:
    rows = list(csv.DictReader(file, delimiter="\t"))
  assert len(rows) == 4 * sum(two_codes.LABELLED.values()) and {row["label"] for row in rows} == {"0", "1"}
  files = [p.relative_to(first.path) for p in sorted(first.path.rglob("*")) if p.is_file()]
  assert all((first.path / name).read_bytes() == (second.path / name).read_bytes() for name in files)


def test_a_release_of_another_world_is_refused(tmp_path):
  miniature.write_release(tmp_path / "a", genes=30, world="two_codes")
  with pytest.raises(InputError, match="holds another release.*two_codes"):
    miniature.write_release(tmp_path / "a", genes=30)
  miniature.write_release(tmp_path / "b", genes=30)
  with pytest.raises(InputError, match="holds another release"):
    miniature.write_release(tmp_path / "b", genes=30, world="two_codes")
