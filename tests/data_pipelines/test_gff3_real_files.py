"""GFF3 of real genomes: what is kept, and why the rest is not."""

import collections
import dataclasses

import pytest

from data_pipelines.errors import InputError
from data_pipelines.formats.genbank import read_genbank
from data_pipelines.formats.gff3 import read_gff3
from data_pipelines.genes import REASONS, CodingGene, Reject


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
  assert outcomes == {"kept": 147, "no feature of type CDS": 28, "are not in": 5, "neither ID": 1, "holds 349": 1}
