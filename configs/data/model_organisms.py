"""Rows from public genomes: E. coli, yeast, M. mycoides (genetic code 4), phages, and a hundredth of C. elegans.

  python -m data_pipelines.build --config=configs/data/model_organisms.py --config.genomes=DIR --out=DIR

`genomes` is a folder with the public files that `config.sources` names. Expect, in about a minute on one core: 13,700
genes (some 5 % each held out for validation and test), 19 M letters of DNA, 8 M of RNA, 5 M of protein, and 19 to 28 M
tokens in each pair row set. `translate_*` hold validation rows only, E. coli and yeast apart: DNA followed by its
protein, and in `translate_wrong_*` the same windows of the same proteins with the DNA of another gene.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.genomes = ml_collections.config_dict.placeholder(str)
  config.context = 256
  config.seed = 0
  ecoli = "{genomes}/ecoli_mg1655/GCF_000005845.2_ASM584v2_"
  yeast = "{genomes}/scerevisiae_r64/"
  config.sources = (
      {"name": "ecoli_mg1655", "kind": "gff3", "gff": ecoli + "genomic.gff.gz", "fasta": ecoli + "genomic.fna.gz",
       "protein": ecoli + "protein.faa.gz"},
      # The FASTA holds the 16 chromosomes, the annotation also the mitochondrion.
      {"name": "scerevisiae_r64", "kind": "gff3", "gff": yeast + "GCF_000146045.2_R64_genomic.gff.gz",
       "fasta": yeast + "derived_GCF_000146045.2_R64_genomic.fna.gz",
       "rna": yeast + "derived_GCF_000146045.2_R64_rna.fna.gz",
       "protein": yeast + "derived_GCF_000146045.2_R64_protein.faa.gz", "missing_contig": "reject"},
      {"name": "mmycoides", "kind": "genbank", "path": "{genomes}/mmycoides/GCF_000023685.1.gbff.gz"},
      {"name": "phages", "kind": "genbank", "path": "{genomes}/phages/*.gbk.gz"},
      {"name": "celegans_1pct", "kind": "gff3", "gff": "{genomes}/celegans_1pct/C.elegans.gff.gz",
       "fasta": "{genomes}/celegans_1pct/C.elegans.fa.gz", "taxon": 6239},
  )
  config.documents = {
      "transcripts": "one",
      "strict": True,
      "min_letters": 20,
      "splits": {"valid": 0.05, "test": 0.05, "seed": 0},
  }
  pairs = {"corpus": "refseq_pairs"}
  dna_protein = pairs | {"modalities": ("dna", "protein")}
  config.row_sets = {
      "single_dna": {"corpus": "single_modal", "modalities": ("dna",), "strand": "random"},
      "single_rna": {"corpus": "single_modal", "modalities": ("rna",)},
      "single_protein": {"corpus": "single_modal", "modalities": ("protein",)},
      # Any two or three modalities in any order; three modalities of k codons cost 7k + 13 tokens: 256 hold 34.
      "refseq_pairs_w10_30": pairs | {"codons": (10, 30)},
      "refseq_pairs_w10_60": pairs | {"codons": (10, 60)},
      # Always DNA before protein, short windows to begin with: what teaches the genetic code fastest. 62 codons fit.
      "refseq_pairs_dna_protein_w3_8": dna_protein | {"codons": (3, 8)},
      "refseq_pairs_dna_protein_w5_15": dna_protein | {"codons": (5, 15)},
      # Every length that fits, short ones as often as long ones.
      "refseq_pairs_dna_protein_w3_62": dna_protein | {"codons": (3, 62), "length_distribution": "log_uniform"},
  }
  for name, taxon in (("ecoli", 511145), ("yeast", 559292)):
    for low, high in ((10, 30), (10, 60)):
      translate = dna_protein | {"splits": ("valid",), "taxa": (taxon,), "codons": (low, high)}
      right = f"translate_{name}_w{low}_{high}"
      config.row_sets[right] = translate
      config.row_sets[f"translate_wrong_{name}_w{low}_{high}"] = translate | {"wrong_partner": True, "like": right}
  return config
