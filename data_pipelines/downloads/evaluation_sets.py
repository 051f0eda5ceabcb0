"""Labelled sets on which models are evaluated, from where their owners publish them, and what is known of them.

Nothing of them is part of this repository. Files of a git repository are of one commit, and their sha256 was computed
from that commit. Counts are of whoever `Contents.source` names; a set that has others is another version of it.
"""

import re

from data_pipelines.downloads import hugging_face
from data_pipelines.downloads.catalogue import Catalogue, Options
from data_pipelines.downloads.contents import Contents
from data_pipelines.downloads.files import Plan, RemoteFile

LUCAONE = "LucaGroup/LucaOne-Downstream-Task-Datasets"
_LUCAONE_LICENCE = "Apache-2.0: LucaOne's authors"
# By folder, rows of train, dev and test as the paper's and LucaOne's tables give them; None where only rounded.
LUCAONE_TASKS: dict[str, tuple[int, int, int] | None] = {
    "CentralDogma/gene_protein/binary_class": (3_200, 2_400, 20_000),
    "ncRPI/gene_protein/binary_class": None,
    "PPI/protein/binary_class": (59_766, 7_430, 7_425),
    "ProtLoc/protein/multi_class": (9_915, 1_991, 1_131),
    "ProtStab/protein/regression": (53_614, 2_512, 12_851),
    "ncRNAFam/gene/multi_class": (105_864, 17_324, 25_342),
}
_LUCAONE_FILE = re.compile(
    rf"(?:.*/)?((?:{'|'.join(LUCAONE_TASKS)})/(?:(train|dev|test)/\2\.csv|label\.txt))"
)

_PROTEINGYM = "OATML-Markslab/ProteinGym/1f8de974dead8ff7501eff087b725d14a965e9f9"  # Tag PG_v1.3.
_PROTEINGYM_LICENCE = "MIT: ProteinGym"
# The sheet with the assays of v0.1.1 (31 ncRNA, 37 coding, 2 splicing).
_RNAGYM = "MarksLab-DasLab/RNAGym/0d7ae7fd354bcc92e413c7993301f03ad111a55e"
_RNAGYM_LICENCE = "MIT: RNAGym"
# ArcInstitute/evo2, issue 118, by a maintainer; there with dl=0, which is a page and not the file.
_EVO = "scl/fi/bi3z1ov4hepak42z3vizc/arvind_dms.tar.gz?rlkey=m1v7vmsrghwju3ti3a3dvk4p1&dl=1"
_EVO_ROWS = {
    "andreasson_2020": 4_497, "domingo_2018": 4_175, "guy_2014": 25_491, "hayden_2011": 208, "kobori_2016": 10_296,
    "pitt_2010": 135, "zhang_2009": 24,
}  # fmt: skip
_RPITER = "Pengeace/RPITER/a894a3d2b712a49ce6ffd7bc04f6c2356aed8bc0"
_RPITER_LICENCE = "MIT: RPITER; NPInter's own terms apply as well"


def plan_lucaone(catalogue: Catalogue, options: Options) -> Plan:
  """LucaOne's six tasks that the paper reports on, laid out as `--config.data.root` wants them."""
  del options

  def place(path: str) -> str | None:
    found = _LUCAONE_FILE.fullmatch(path)
    return found and found[1]

  def known(path: str) -> Contents | None:
    task, part = path.rsplit("/", 2)[0], path.rsplit("/", 1)[-1].removesuffix(".csv")
    rows = LUCAONE_TASKS.get(task)
    if rows is None or not path.endswith(".csv"):
      return None
    return Contents("LucaOne's and the paper's tables, not seen in the files by us",
                    rows=rows[("train", "dev", "test").index(part)])  # fmt: skip

  plan = hugging_face.plan_files(catalogue, LUCAONE, "", _LUCAONE_LICENCE, place, known)
  there = {file.path for file in plan.files}
  wanted = [f"{task}/{part}/{part}.csv" for task in LUCAONE_TASKS for part in ("train", "dev", "test")]
  missing = [path for path in wanted if path not in there]
  return Plan(plan.files, plan.notes + [f"not found there: {', '.join(missing)}"] * bool(missing))


def plan_proteingym(catalogue: Catalogue, options: Options) -> Plan:
  """ProteinGym v1.3: substitution assays and their reference file."""
  del options
  archive = "DMS_ProteinGym_substitutions.zip"
  assays = RemoteFile(
      catalogue.url("marks", f"proteingym/ProteinGym_v1.3/{archive}"), archive, _PROTEINGYM_LICENCE,
      contents=Contents("its reference file, of that commit", tables=217, rows=2_465_767),
  )
  reference = RemoteFile(
      catalogue.url("github", f"{_PROTEINGYM}/reference_files/DMS_substitutions.csv"), "DMS_substitutions.csv",
      _PROTEINGYM_LICENCE, size=208_734,
      checksum="sha256:a8f498011532a74aa9fe556a50555a75e928c5837d19c06a87592ae04049b308",
      contents=Contents("ProteinGym", rows=217),
  )
  return Plan([assays, reference], [f"no checksum is published for {archive}: its size is checked"])


def plan_rnagym(catalogue: Catalogue, options: Options) -> Plan:
  """RNAGym v0.1.1: fitness assays and their reference sheet."""
  del options
  archive = "fitness_processed_assays.zip"
  assays = RemoteFile(
      catalogue.url("marks", f"rnagym/fitness_prediction/{archive}"), archive, _RNAGYM_LICENCE,
      contents=Contents("RNAGym's README", tables=70),
  )
  sheet = RemoteFile(
      catalogue.url("github", f"{_RNAGYM}/fitness/reference_sheet_final.csv"), "reference_sheet_final.csv",
      _RNAGYM_LICENCE, contents=Contents("RNAGym's README", rows=70),
  )
  note = f"no checksums are published: sizes are checked; {archive} has no version in its name and may be a newer one"
  return Plan([assays, sheet], [note])


def plan_evo(catalogue: Catalogue, options: Options) -> Plan:
  """The deep mutational scans of Evo's authors."""
  del options
  rows = {f"processed_dms_nt_{study}.tsv": number for study, number in _EVO_ROWS.items()}
  file = RemoteFile(
      catalogue.url("dropbox", _EVO), "arvind_dms.tar.gz", "none stated: https://github.com/ArcInstitute/evo2/issues/118",
      contents=Contents("counts of the ncRNA panel as others read it", rows_of=rows),
  )
  return Plan([file], ["no checksum is published, and a shared link may end: then ask in that issue"])


def plan_npinter(catalogue: Catalogue, options: Options) -> Plan:
  """NPInter2.0 as RPITER's authors prepared it: pairs without a header (protein, RNA, label), and both FASTA files."""
  del options
  url = lambda path: catalogue.url("github", f"{_RPITER}/data/{path}")
  return Plan([
      RemoteFile(
          url("NPInter_pairs.txt"), "NPInter_pairs.txt", _RPITER_LICENCE, size=347_332,
          checksum="sha256:179fb882a2bbf6e1c9f6022862d50a68efca91e5c6da38caa0c25986e5e6da28",
          contents=Contents("10,412 pairs of NPInter2.0 and as many random ones", rows=20_824, header=False),
      ),
      RemoteFile(
          url("sequence/NPInter_protein_seq.fa"), "NPInter_protein_seq.fa", _RPITER_LICENCE, size=248_683,
          checksum="sha256:6de72e0dc5b13fdf2f810ad153919801e59131f8d271977eb1e7ce8c84c39db5",
      ),
      RemoteFile(url("sequence/NPInter_rna_seq.fa"), "NPInter_rna_seq.fa", _RPITER_LICENCE),
  ])  # fmt: skip
