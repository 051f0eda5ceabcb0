"""All tasks, the suites that they are in, and the figures of the paper that they are put beside.

A new task is a file in `tasks/` and an entry here.
"""

import functools

from bsm_jax.evaluation import dms
from bsm_jax.evaluation.results import PaperFigure
from bsm_jax.evaluation.tasks import few_shot, fitness, perplexity
from bsm_jax.evaluation.tasks.task import Task
from bsm_jax.tokenizer import Modality

# Names of releases are those of `data_pipelines.download`.
_DOWNLOAD = "python -m data_pipelines.download --release={}: "
_EVO = _DOWNLOAD.format("evo_dms") + (
    "arvind_dms.tar.gz of Evo's authors, its address in https://github.com/ArcInstitute/evo2/issues/118 (no licence"
    " stated); unpack it into --data"
)
_PROTEINGYM = _DOWNLOAD.format("proteingym") + (
    "ProteinGym v1.3, https://marks.hms.harvard.edu/proteingym/ProteinGym_v1.3/DMS_ProteinGym_substitutions.zip (MIT)"
    " and reference_files/DMS_substitutions.csv of https://github.com/OATML-Markslab/ProteinGym"
)
_RNAGYM = _DOWNLOAD.format("rnagym") + (
    "RNAGym v0.1.1, https://marks.hms.harvard.edu/rnagym/fitness_prediction/fitness_processed_assays.zip and"
    " fitness/reference_sheet_final.csv of https://github.com/MarksLab-DasLab/RNAGym"
)
_TWISTER = (
    "supporting data of Kobori and Yokobayashi, Angew. Chem. Int. Ed. 55, 10354 (2016), doi 10.1002/anie.201605470, its"
    " matrix of 10,296 mutants written as a table: mutant, sequence, relative_activity"
)
_CENTRAL_DOGMA = (
    "LucaOne's Central Dogma set (https://github.com/LucaOne/LucaOneTasks), written as a table: id, dna, protein,"
    " label, species, and split where known"
)

# As the paper names them; the tar's names of ncRNA studies were seen, those of protein studies were not (unverified).
PAPER_PROTEINS = (
    "BLAT_ECOLX_Jacquier_2013", "BLAT_ECOLX_Firnberg_2014", "CCDB_ECOLI_Adkar_2012", "ECOLI_THERM_Tsuboyama_2023",
    "IF1_ECOLI_Kelsic_2016",
)  # fmt: skip
EVO_PROTEINS = (
    *PAPER_PROTEINS, "RNC_ECOLI_Weeks_2023", "MTH3_HAEAE_RockahShmuel_2015", "A4GRB6_PSEAI_Chen_2020",
    "KKA2_KLEPN_Melnikov_2014",
)  # fmt: skip
# Kobori 2015 in the paper; the panel's file is of Kobori and Yokobayashi 2016.
PAPER_NCRNAS = ("kobori_2016", "andreasson_2020", "domingo_2018", "guy_2014")
EVO_NCRNAS = (*PAPER_NCRNAS, "hayden_2011", "pitt_2010", "zhang_2009")


def _evo(studies: tuple[str, ...], modality: Modality) -> tuple[fitness.Listed, ...]:
  return tuple(
      fitness.Listed(
          study, f"arvind_dms/processed_dms_nt_{study}.tsv",
          functools.partial(lambda path, rules, name: dms.read_evo(path, name, modality, rules), name=study),
      )
      for study in studies
  )  # fmt: skip


def _panel(name: str, studies: tuple[str, ...], modality: Modality, inputs: str, *notes: str) -> fitness.Panel:
  version = "Evo 1 (mean log-likelihood, mean of Spearman over studies)"
  return fitness.Panel(name, version, _EVO, inputs, notes, assays=_evo(studies, modality))


_BOTH = "Gene and protein are shown together as in the paper, which does not say which letters it counts: here {}."
_GENE = _BOTH.format("those of the protein, given its gene")
_WHOLE = _BOTH.format("those of both")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _panel("fitness_protein", PAPER_PROTEINS, Modality.DNA, "protein"),
        _panel("fitness_gene", PAPER_PROTEINS, Modality.DNA, "gene"),
        _panel("fitness_protein_given_gene", PAPER_PROTEINS, Modality.DNA, "protein_given_gene", _GENE),
        _panel("fitness_gene_and_protein", PAPER_PROTEINS, Modality.DNA, "gene_and_protein", _WHOLE),
        _panel("fitness_ncrna", PAPER_NCRNAS, Modality.RNA, "rna"),
        _panel("evo_protein", EVO_PROTEINS, Modality.DNA, "protein"),
        _panel("evo_gene", EVO_PROTEINS, Modality.DNA, "gene"),
        _panel("evo_ncrna", EVO_NCRNAS, Modality.RNA, "rna"),
        fitness.ProteinGym("proteingym", "ProteinGym v1.3", _PROTEINGYM, "protein"),
        fitness.RnaGym("rnagym", "RNAGym v0.1.1", _RNAGYM, "rna"),
        fitness.Panel(
            "twister", "Kobori and Yokobayashi 2016, Spearman", _TWISTER, "rna",
            ("A single assay, from its authors' matrix: Evo's file of it may hold other variants.",),
            assays=(fitness.Listed("kobori_2016", "kobori2016_twister_long.tsv", lambda path, rules: dms.read_rnagym(
                path, "kobori_2016", rules=rules, score_column="relative_activity")),),
        ),
        few_shot.FewShot(
            "central_dogma_few_shot", "derived_central_dogma.tsv", "central_dogma_v1", _CENTRAL_DOGMA,
            {"group": "species"},
            ("The paper gives neither its prompt nor k: the layout is ours.",
             "Genes stand there with their introns: where one falls into the shown codons, the label is wrong."),
        ),
        few_shot.FewShot(
            "two_codes_few_shot", "central_dogma.tsv", "whole_cds_v1",
            "python -m data_pipelines.miniature --world=two_codes: give the release as --data",
            notes=("Simulated: a wrong protein is the gene read by another organism's genetic code.",),
        ),
        *(perplexity.FastaPerplexity(f"perplexity_{m.name.lower()}", f"{m.name.lower()}.fasta", m) for m in Modality),
        *(perplexity.RowsPerplexity(f"rows_{m.name.lower()}", f"single_{m.name.lower()}", m) for m in Modality),
    )
}  # fmt: skip

SUITES: dict[str, tuple[str, ...]] = {
    "paper": ("fitness_protein", "fitness_gene", "fitness_protein_given_gene", "fitness_gene_and_protein",
              "fitness_ncrna", "central_dogma_few_shot", "perplexity_protein", "rows_protein"),
    "fitness": tuple(name for name, task in TASKS.items() if task.kind == "fitness"),
    "perplexity": tuple(name for name, task in TASKS.items() if task.kind == "perplexity"),
    "few_shot": tuple(name for name, task in TASKS.items() if task.kind == "few_shot"),
    "all": tuple(TASKS),
}  # fmt: skip

_EVO_AND_ESM = "Evo-7B 0.452, ESM2-650M 0.512"
_TOGETHER = PaperFigure("spearman", 0.423, 0.441, _EVO_AND_ESM)
_PERPLEXITY = PaperFigure("perplexity", None, 9.47, "ProGen2-2.7B 8.92, ProtGPT2 9.75")
# Fine-tuning tasks too, by the names in configs/finetune_*.py: their results may lie in the same folder.
PAPER: dict[str, PaperFigure] = {
    "fitness_protein": PaperFigure("spearman", 0.407, None, _EVO_AND_ESM),
    "fitness_protein_given_gene": _TOGETHER,
    "fitness_gene_and_protein": _TOGETHER,
    "fitness_ncrna": PaperFigure("spearman", 0.256, "above 0.256", "Evo-7B 0.243"),
    "central_dogma_few_shot": PaperFigure("accuracy", "approaches fine-tuning as k grows", None, "none can"),
    "perplexity_protein": _PERPLEXITY,
    "rows_protein": _PERPLEXITY,
    "ncRPI": PaperFigure("accuracy", 0.9494, None, "LucaOne 0.938, ESM2-3B + DNABERT2 0.9332"),
    "CentralDogma": PaperFigure("accuracy", None, "close to LucaOne", "LucaOne 0.85 (its authors' figure)"),
    "PPI": PaperFigure("accuracy", 0.975, 0.9788, "LucaOne 0.9748"),
    "ProtLoc": PaperFigure("accuracy", 0.9685, 0.9713, "ESM2-3B 0.9496"),
    "ProtStab": PaperFigure("spearman", 0.7653, 0.7681, "ESM2-3B 0.7556"),
    "ncRNAFam": PaperFigure("accuracy", None, 0.975, "LucaOne a little above"),
}
