"""The paper's four corpora, from the public files, as rows of 1024 tokens: what `configs/bsm_110m.py` trains on.

  python -m data_pipelines.build --config=configs/data/bsm.py --config.downloads=DIR --out=CORPORA

or some of the corpora only, for instance `--config=configs/data/bsm.py:single_modal,refseq_pairs`. `downloads` is the
folder that `data_pipelines.download` filled, one folder a release (the sizes are printed by its --dry_run):

  for r in bsm_species refseq_release uniref50 gene_tables genbank_related swissprot fineweb_edu; do
    python -m data_pipelines.download --release=$r --out=DIR/$r; done
  python -m data_pipelines.download --release=colabfold_envdb --out=DIR/colabfold; tar -xzf … -C DIR/colabfold

All of it is terabytes: run the build on a Beam runner (see `data_pipelines/build.py`), on a file system that its
workers share. `gunzip` UniRef, or `bgzip` it (and name the file here): a file that gzip wrote is one task. Evaluation
sets that are to be kept out are named in `config.documents.evaluation_sets`.
"""

import ml_collections

CORPORA = ("single_modal", "refseq_pairs", "gene_related", "web_interleaved")


def get_config(corpora: str = ",".join(CORPORA)) -> ml_collections.ConfigDict:
  chosen = tuple(filter(None, corpora.split(",")))
  if not chosen or (unknown := sorted(set(chosen) - set(CORPORA))):
    raise ValueError(f"no such corpus: {', '.join(unknown) if chosen else corpora!r}; there are {', '.join(CORPORA)}")
  config = ml_collections.ConfigDict()
  config.downloads = ml_collections.config_dict.placeholder(str)
  config.context = 1024
  config.seed = 0

  assemblies = {"kind": "assembly", "path": "{downloads}/bsm_species/GC[AF]_*", "missing_contig": "reject"}
  sources = {
      # Assemblies are genomes, transcripts and proteins, too.
      "single_modal": (
          {"kind": "fasta", "name": "refseq_genomic", "path": "{downloads}/refseq_release/*.genomic.fna.gz",
           "modality": "dna"},
          {"kind": "fasta", "name": "refseq_rna", "path": "{downloads}/refseq_release/*.rna.fna.gz", "modality": "rna"},
          {"kind": "fasta", "name": "uniref50", "path": "{downloads}/uniref50/uniref50.fasta.gz",
           "modality": "protein"},
          {"kind": "mmseqs", "name": "colabfold", "path": "{downloads}/colabfold/colabfold_envdb_202108_db_seq"},
      ),
      "refseq_pairs": (assemblies,),
      "gene_related": (
          {"kind": "gene_related", "name": "gene_related", "tables": "{downloads}/gene_tables/gene2*.gz",
           "collab": "{downloads}/gene_tables/gene_refseq_uniprotkb_collab.gz",
           "records": "{downloads}/genbank_related/*.seq.gz",
           "proteins": "{downloads}/swissprot/uniprot_sprot.fasta.gz"},
      ),
      "web_interleaved": (
          {"kind": "fineweb", "name": "fineweb_edu", "path": "{downloads}/fineweb_edu/*/*.parquet"},
      ),
  }
  config.sources = tuple(source for corpus in CORPORA if corpus in chosen for source in sources[corpus])
  config.documents = {
      "transcripts": "one",
      "strict": False,  # one odd letter among terabytes is counted, and is no reason to stop
      "min_letters": 20,
      "splits": {"valid": 0.01, "test": 0.01, "seed": 0, "max_clustered": 2_000_000},
      # For instance {"name": "tape_stability", "path": ..., "format": "csv", "columns": {"primary": "protein"}}.
      "evaluation_sets": (),
  }

  # Short windows teach the relation between the modalities, longer ones and whole genes carry it to every length: three
  # modalities of k codons cost 7k + 13 tokens, so that 1024 hold 144 codons.
  windows = {
      "w10_30": {"codons": (10, 30), "dna": "spliced"},
      "w30_140": {"codons": (30, 140), "dna": "spliced", "length_distribution": "log_uniform"},
      "whole": {"views": 2, "dna": "spliced", "long": "window"},
  }
  row_sets = {
      "single_modal": {
          f"single_{modality}": {"corpus": "single_modal", "modalities": (modality,)}
          for modality in ("dna", "rna", "protein")
      },
      "web_interleaved": {"web_interleaved": {"corpus": "web_interleaved"}},
  }
  for corpus in ("refseq_pairs", "gene_related"):
    row_sets[corpus] = {f"{corpus}_{name}": {"corpus": corpus} | spec for name, spec in windows.items()}
  config.row_sets = {k: v for corpus in CORPORA if corpus in chosen for k, v in row_sets[corpus].items()}
  return config
