"""All four corpora on a laptop: real genomes, NCBI Gene's tables, proteins and web documents; rows of 256 tokens.

  python -m data_pipelines.build --config=configs/data/small.py --config.data=DIR --out=DIR

`data` is a folder with the public files that `config.sources` names. The genomes and their row sets are those of
`configs/data/model_organisms.py`.
"""

import ml_collections

from configs.data import model_organisms


def get_config() -> ml_collections.ConfigDict:
  config = model_organisms.get_config()
  config.trained_by = "configs/model_organisms.py"
  config.data = ml_collections.config_dict.placeholder(str)
  genomes = [_below(source, "{genomes}", "{data}/genomes") for source in config.sources]
  del config.genomes
  config.sources = (
      *genomes,
      {"kind": "gene_related", "name": "gene_related", "tables": "{data}/ncbi_gene/selected_gene2accession.gz",
       "records": "{data}/genomes/human_records/*.seq.gz", "options": {"headerless": True}},
      {"kind": "fasta", "name": "viral_proteins", "path": "{data}/proteins/prokka_viruses_sprot.faa.gz",
       "modality": "protein"},
      {"kind": "fasta", "name": "archaeal_proteins", "path": "{data}/proteins/prokka_archaea_sprot.faa.gz",
       "modality": "protein"},
      {"kind": "fineweb", "name": "web", "path": "{data}/documents/positives.jsonl.gz"},
  )
  config.documents.evaluation_sets = (
      {"name": "tem1", "path": "{data}/tasks/DMS_protein/BLAT_ECOLX_Jacquier_2013.csv.gz", "format": "csv",
       "columns": {"mutated_sequence": "protein"}},
      {"name": "twister", "path": "{data}/tasks/DMS_rna_dna/kobori2016_twister_long.tsv.gz", "format": "tsv",
       "columns": {"sequence": "rna"}},
      {"name": "stability", "path": "{data}/tasks/ProtStab/stability.valid.csv.gz", "format": "csv",
       "columns": {"seq": "protein"}},
      {"name": "localization", "path": "{data}/tasks/ProtLoc/deeploc_val_set.fasta.gz", "format": "fasta",
       "columns": {"sequence": "protein"}},
  )
  config.row_sets.update({
      "gene_related_w10_30": {"corpus": "gene_related", "codons": (10, 30)},
      "web_interleaved": {"corpus": "web_interleaved"},
  })
  # For `configs/ablation.py`: a step of 10-30 codons; either order; whole genes cut into pieces as long as the context,
  # whatever the pieces hold.
  dna_protein = {"corpus": "refseq_pairs", "modalities": ("dna", "protein")}
  config.row_sets["refseq_pairs_dna_protein_w10_30"] = dna_protein | {"codons": (10, 30)}
  for windows in ("w3_8", "w5_15", "w10_30", "w3_62"):
    in_order = config.row_sets[f"refseq_pairs_dna_protein_{windows}"].to_dict()
    config.row_sets[f"refseq_pairs_either_{windows}"] = in_order | {"order": "random"}
  config.row_sets["refseq_pairs_dna_protein_concatenated"] = dna_protein | {"long": "concatenate"}
  return config


def _below(source: dict, before: str, after: str) -> dict:
  return {key: value.replace(before, after) if isinstance(value, str) else value for key, value in source.items()}
