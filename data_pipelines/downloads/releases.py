"""The releases that `data_pipelines.download` knows by name. A new one is an entry in `RELEASES`."""

import dataclasses
from collections.abc import Callable

from data_pipelines.downloads import evaluation_sets, hugging_face, ncbi_assemblies, ncbi_releases, uniprot
from data_pipelines.downloads.catalogue import Catalogue, Options
from data_pipelines.downloads.files import Plan, RemoteFile
from data_pipelines.errors import InputError

# The paper's species as it names them (Mucor saturninus twice); some are a genus or an order: the best assembly whose
# organism's name begins so is taken.
BSM_SPECIES = (
    "Bubalus bubalis", "Camelus dromedarius", "Homo sapiens", "Macaca assamensis", "Macaca nigra",
    "Peromyscus californicus", "Fusarium annulatum", "Melampsora", "Metschnikowia", "Mucor saturninus",
    "Penicillium chermesinum", "Sporopachydermia quercuum", "Tranzscheliella williamsii", "Xylariales",
)
# E. coli MG1655 and S. cerevisiae R64 were read; the other accessions are from memory (unverified).
MODEL_ORGANISMS = (
    "GCF_000005845.2",  # Escherichia coli MG1655
    "GCF_000146045.2",  # Saccharomyces cerevisiae R64
    "GCF_000009045.1",  # Bacillus subtilis 168
    "GCF_000002945",  # Schizosaccharomyces pombe
    "GCF_000002985.6",  # Caenorhabditis elegans WBcel235
    "GCF_000001215.4",  # Drosophila melanogaster, Release 6 plus ISO1 MT
    "GCF_000001735.4",  # Arabidopsis thaliana TAIR10.1
)
COLABFOLD_LICENCE = "CC BY 4.0: ColabFold (unverified: see https://colabfold.mmseqs.com)"


def _next(source: str, first: str = "") -> str:
  return f"{first}build from it: {source} in the sources of a config (see configs/data and data_pipelines/sources.py)"


_ASSEMBLY_NEXT = _next('{"kind": "assembly", "path": "DIR/GC[AF]_*"}')
_FASTA_NEXT = _next('{"kind": "fasta", "path": …, "modality": …}')
_FINEWEB_NEXT = _next('{"kind": "fineweb", "path": "DIR/*/*.parquet"}')
_FINETUNE = "python -m bsm_jax.evaluation.finetune.run --config=configs/finetune_{}"
_ZERO_SHOT = "{}, then python -m bsm_jax.evaluation.run --tasks={} --data=DIR …"
_UNPACK = "unpack it (tar -xzf: nothing is unpacked here), then "


@dataclasses.dataclass(frozen=True)
class Release:
  """A name for a set of public files.

  Attributes:
    summary: one line.
    plan: finds out which files it comes to.
    then: what to do with them.
  """

  summary: str
  plan: Callable[[Catalogue, Options], Plan]
  then: str


def _species(catalogue: Catalogue, options: Options) -> Plan:
  return ncbi_assemblies.plan_species(catalogue, BSM_SPECIES, options.files)


def _model_organisms(catalogue: Catalogue, options: Options) -> Plan:
  return ncbi_assemblies.plan_accessions(catalogue, MODEL_ORGANISMS, options.files)


def _assembly(catalogue: Catalogue, options: Options) -> Plan:
  if not options.assemblies:
    raise InputError("--assembly", "is empty", "Name accessions: --assembly=GCF_000005845.2,GCF_000146045.2")
  return ncbi_assemblies.plan_accessions(catalogue, options.assemblies, options.files)


def _taxon(catalogue: Catalogue, options: Options) -> Plan:
  if not options.taxon:
    raise InputError("--taxon", "is empty", "Name one: --taxon=4932, --taxon='Saccharomyces cerevisiae'")
  return ncbi_assemblies.plan_taxon(catalogue, options)


def _uniprot(path: str) -> Callable[[Catalogue, Options], Plan]:
  return lambda catalogue, options: uniprot.plan_file(catalogue, path)


def _fixed(host: str, path: str, licence: str) -> Callable[[Catalogue, Options], Plan]:
  """One file that never changes, for which nothing is published but the file."""
  name = path.rsplit("/", 1)[-1]
  note = f"no checksum is published for {name}: its size is checked"
  return lambda catalogue, options: Plan([RemoteFile(catalogue.url(host, path), name, licence)], [note])


def _fineweb(folder: str) -> Callable[[Catalogue, Options], Plan]:
  return lambda catalogue, options: hugging_face.plan_parquet(
      catalogue, hugging_face.FINEWEB_EDU, options.subset or folder, hugging_face.FINEWEB_LICENCE
  )


RELEASES: dict[str, Release] = {
    "bsm_species": Release("the paper's 14 species, the best assembly of each", _species, _ASSEMBLY_NEXT),
    "model_organisms": Release("seven reference genomes from E. coli to Arabidopsis", _model_organisms, _ASSEMBLY_NEXT),
    "assembly": Release("assemblies by accession: --assembly=GCF_…,GCA_…", _assembly, _ASSEMBLY_NEXT),
    "taxon": Release("the assemblies of a species: --taxon=9606 or --taxon='Homo sapiens'", _taxon, _ASSEMBLY_NEXT),
    "gene_tables": Release(
        "NCBI Gene: gene2accession, gene2refseq, gene_refseq_uniprotkb_collab", ncbi_releases.plan_gene_tables,
        _next('{"kind": "gene_related", "tables": "DIR/gene2*.gz", "records": …}'),
    ),
    "refseq_release": Release(
        "all nucleotides of RefSeq: release/complete/*.{genomic,rna}.fna.gz", ncbi_releases.plan_refseq_release,
        _FASTA_NEXT,
    ),
    "genbank_related": Release(
        "GenBank's flat files of --divisions, for the Gene Related Sequences", ncbi_releases.plan_genbank,
        _next('{"kind": "gene_related", "tables": …, "records": "DIR/*.seq.gz"}'),
    ),
    "swissprot": Release("UniProtKB/Swiss-Prot, FASTA", _uniprot(uniprot.SWISSPROT), _FASTA_NEXT),
    "trembl": Release("UniProtKB/TrEMBL, FASTA", _uniprot(uniprot.TREMBL), _FASTA_NEXT),
    **{
        f"uniref{n}": Release(f"UniRef{n}, FASTA", _uniprot(uniprot.UNIREF.format(n)), _FASTA_NEXT)
        for n in (50, 90, 100)
    },
    "colabfold_envdb": Release(
        "ColabFoldDB as an MMseqs2 database (more than 100 GB)",
        _fixed("mmseqs", "colabfold/colabfold_envdb_202108.db.tar.gz", COLABFOLD_LICENCE),
        _next('{"kind": "mmseqs", "path": …}', _UNPACK),
    ),
    "colabfold_envdb_tsv": Release(
        "ColabFoldDB as tables (the older form, more than 100 GB)",
        _fixed("mmseqs", "colabfold/colabfold_envdb_202108.tar.gz", COLABFOLD_LICENCE),
        _next('{"kind": "colabfold_tsv", "path": …}', _UNPACK),
    ),
    "fineweb_edu": Release(
        "FineWeb-Edu, all of it or --subset=data/CC-MAIN-2024-10", _fineweb("data"), _FINEWEB_NEXT
    ),
    "fineweb_edu_sample": Release(
        "FineWeb-Edu's sample of 10B tokens", _fineweb("sample/10BT"), _FINEWEB_NEXT
    ),
    "lucaone_tasks": Release(
        "evaluation: LucaOne's ncRPI, CentralDogma, PPI, ProtLoc, ProtStab, ncRNAFam", evaluation_sets.plan_lucaone,
        _FINETUNE.format("ncrpi.py … --config.data.root=DIR"),
    ),
    "npinter": Release(
        "evaluation: NPInter2.0's pairs of RNA and protein, as RPITER has them", evaluation_sets.plan_npinter,
        "join the pairs with both FASTA files into a CSV, then "
        + _FINETUNE.format("ncrpi.py … --config.data.layout=csv"),
    ),
    "tape_stability": Release(
        "evaluation: TAPE's stability task as JSON, of which LucaOne's ProtStab is made",
        _fixed("tape", "proteindata/data_raw_pytorch/stability.tar.gz", "none stated: cite TAPE, Rocklin et al. 2017"),
        "write `primary` and `stability_score` into CSVs, then "
        + _FINETUNE.format("protstab.py … --config.data.layout=csv"),
    ),
    "deeploc_pro": Release(
        "evaluation: DeepLocPro's proteins with their places, of which LucaOne's ProtLoc is made",
        _fixed("dtu", "services/DeepLocPro-1.0/data/graphpart_set.fasta", "none stated: cite DeepLocPro"),
        "write its headers (>NAME|PLACE|TYPE|PARTITION) and proteins into CSVs, then "
        + _FINETUNE.format("protloc.py … --config.data.layout=csv"),
    ),
    "proteingym": Release(
        "evaluation: ProteinGym v1.3, 217 substitution assays (1 GB)", evaluation_sets.plan_proteingym,
        _ZERO_SHOT.format("unzip -j -d DIR/DMS_ProteinGym_substitutions DIR/*.zip", "proteingym"),
    ),
    "rnagym": Release(
        "evaluation: RNAGym v0.1.1, fitness assays", evaluation_sets.plan_rnagym,
        _ZERO_SHOT.format("unzip -j -d DIR/assays DIR/*.zip", "rnagym"),
    ),
    "evo_dms": Release(
        "evaluation: deep mutational scans of Evo's authors, proteins and ncRNA", evaluation_sets.plan_evo,
        _ZERO_SHOT.format("tar -C DIR -xzf DIR/arvind_dms.tar.gz", "evo_protein,evo_gene,evo_ncrna"),
    ),
}
