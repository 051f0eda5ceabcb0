"""NCBI genome assemblies: by accession, by taxon, by the names of species.

Layout (https://ftp.ncbi.nlm.nih.gov/genomes/all/README.txt): an assembly's folder is
`genomes/all/GCF/000/005/845/GCF_000005845.2_ASM584v2`, its files begin with the folder's name, and `md5checksums.txt`
in it lists all that it has. `genomes/ASSEMBLY_REPORTS/assembly_summary_{refseq,genbank}.txt` list all assemblies;
columns are read by the names in their header line (README_assembly_summary.txt). From memory (unverified): that both
summaries have hundreds of megabytes or more, and that folders are listed as a page of links.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from data_pipelines.downloads.catalogue import Catalogue, Options
from data_pipelines.downloads.client import DownloadError
from data_pipelines.downloads.files import Plan, RemoteFile
from data_pipelines.errors import InputError

LICENCE = "NCBI: NCBI restricts nothing, submitters may claim rights (https://www.ncbi.nlm.nih.gov/home/about/policies)"
FILES = {
    "gff": "genomic.gff.gz", "fna": "genomic.fna.gz", "rna": "rna.fna.gz", "faa": "protein.faa.gz",
    "gbff": "genomic.gbff.gz", "feature_table": "feature_table.txt.gz", "cds": "cds_from_genomic.fna.gz",
    "report": "assembly_report.txt",
}
# Apart from the others, for the build reads folders of assemblies as genes.
UNANNOTATED = "unannotated"
_SUMMARIES = "genomes/ASSEMBLY_REPORTS/assembly_summary_{}.txt"
_ACCESSION = re.compile(r"(GC[AF])_(\d{3})(\d{3})(\d{3})(\.\d+)?")
_FOLDER = re.compile(r"genomes/all/(GC[AF])/(\d{3})/(\d{3})/(\d{3})/(\1_\2\3\4\.\d+_[^/]+)")
_COLUMNS = {
    "assembly_accession", "organism_name", "taxid", "species_taxid", "refseq_category", "assembly_level",
    "seq_rel_date", "version_status", "ftp_path",
}
_SUMMARY_REMEDY = "See what the server holds now; a good one takes its place in the next run."
_LEVELS = ("Complete Genome", "Chromosome", "Scaffold", "Contig")


@dataclasses.dataclass(frozen=True)
class Assembly:
  """A line of an assembly summary. `annotated` is None where the summary has no such column (before 2023)."""

  accession: str
  organism: str
  taxids: tuple[str, str]
  is_reference: bool
  level: str
  released: str
  folder: str
  annotated: bool | None

  @property
  def rank(self) -> tuple:
    """Sorts first what suits best: reference genomes, annotated, finished, recent."""
    level = _LEVELS.index(self.level) if self.level in _LEVELS else len(_LEVELS)
    newest_first = tuple(-ord(c) for c in self.released)
    return (not self.is_reference, self.annotated is False, level, newest_first, self.accession)


def read_summary(path: pathlib.Path) -> Iterator[Assembly]:
  """The latest assemblies of a summary that have a folder.

  Raises:
    InputError: the file has no header line, or a line has another number of columns.
  """
  columns: dict[str, int] = {}
  with open(path, encoding="utf-8", errors="replace", newline="\n") as lines:
    for number, line in enumerate(lines, 1):
      if line.startswith("#"):
        names = line.lstrip("# ").rstrip("\n").split("\t")
        if names[0] == "assembly_accession":
          columns = {name: i for i, name in enumerate(names)}
          if missing := _COLUMNS - set(names):
            problem = f"is no assembly summary: it has no column {', '.join(sorted(missing))}"
            raise InputError(path, problem, _SUMMARY_REMEDY)
        continue
      fields = line.rstrip("\n").split("\t")
      if len(fields) < len(columns) or not columns:
        raise InputError(path, "is no assembly summary", _SUMMARY_REMEDY, record=f"line {number}")
      value = {name: fields[i] for name, i in columns.items()}
      folder = _FOLDER.fullmatch(urlsplit(value["ftp_path"]).path.strip("/"))
      if value["version_status"] != "latest" or folder is None:
        continue
      provider = value.get("annotation_provider")
      yield Assembly(
          value["assembly_accession"], value["organism_name"], (value["taxid"], value["species_taxid"]),
          value["refseq_category"] in ("reference genome", "representative genome"), value["assembly_level"],
          value["seq_rel_date"], folder[0], None if provider is None else provider not in ("", "na"),
      )
  if not columns:
    raise InputError(path, "is no assembly summary: it has no line with the columns' names", _SUMMARY_REMEDY)


def matcher(taxon: str) -> Callable[[Assembly], bool]:
  """Whether an assembly is of a taxon: a taxonomy id of a species or strain, or the first words of organism names."""
  if taxon.isdigit():
    return lambda assembly: taxon in assembly.taxids
  words = taxon.casefold().split()
  return lambda assembly: assembly.organism.casefold().split()[: len(words)] == words


def plan_accessions(catalogue: Catalogue, accessions: Sequence[str], files: Sequence[str]) -> Plan:
  """Assemblies by accession (`GCF_000005845.2`; without a version the newest one is taken).

  One listing and one list of checksums are read for each, not the summary of all assemblies.
  """
  plans = []
  for accession in accessions:
    match = _ACCESSION.fullmatch(accession)
    if match is None:
      raise InputError("--assembly", f"{accession!r} is no accession of an assembly", "They look like GCF_000005845.2.")
    parent = "genomes/all/" + "/".join(match.group(1, 2, 3, 4))
    wanted = re.compile(re.escape(accession) + (r"_.+" if match[5] else r"\.\d+_.+"))
    names = [e.name for e in catalogue.folder("ncbi", parent) if wanted.fullmatch(e.name)]
    if not names:
      raise DownloadError(catalogue.url("ncbi", parent + "/"), f"holds no {accession}", "Check the accession.")
    newest = max(names, key=lambda name: int(name.split(".")[1].split("_")[0]))
    plans.append(_plan_folder(catalogue, f"{parent}/{newest}", files, label=newest))
  return _join(plans)


def plan_species(catalogue: Catalogue, names: Sequence[str], files: Sequence[str]) -> Plan:
  """The best assembly of each name: RefSeq's, and GenBank's where RefSeq has none."""
  found = _search(catalogue, "refseq", names)
  missing = [name for name in names if not found[name]]
  if missing:
    found |= _search(catalogue, "genbank", missing)
  plans = []
  for name in names:
    if not found[name]:
      plans.append(Plan([], [f"{name}: NOT FOUND in RefSeq or GenBank"]))
      continue
    best = min(found[name], key=lambda a: a.rank)
    plans.append(_plan_assembly(catalogue, best, files, name))
  return _join(plans)


def plan_taxon(catalogue: Catalogue, options: Options) -> Plan:
  """The assemblies of a taxon in RefSeq, or in GenBank where RefSeq has none.

  Raises:
    InputError: there is none.
  """
  for section in ("refseq", "genbank"):
    found = _search(catalogue, section, [options.taxon])[options.taxon]
    chosen = sorted((a for a in found if a.is_reference or not options.reference_only), key=lambda a: a.rank)
    if chosen:
      return _join([_plan_assembly(catalogue, a, options.files, options.taxon) for a in chosen])
    if found:
      raise InputError(
          "--taxon", f"none of the {len(found):,} assemblies of {options.taxon!r} is a reference genome",
          "Pass --noreference_only for all of them.",
      )
  raise InputError(
      "--taxon", f"no assembly of {options.taxon!r}",
      "Give the taxonomy id of a species or strain, or the first words of an organism's name; ids of genera and higher"
      " taxa are not in NCBI's summaries.",
  )


def _search(catalogue: Catalogue, section: str, names: Sequence[str]) -> dict[str, list[Assembly]]:
  matches = {name: matcher(name) for name in names}
  found: dict[str, list[Assembly]] = {name: [] for name in names}
  for assembly in read_summary(catalogue.stored("ncbi", _SUMMARIES.format(section))):
    for name, match in matches.items():
      if match(assembly):
        found[name].append(assembly)
  return found


def _plan_assembly(catalogue: Catalogue, assembly: Assembly, files: Sequence[str], asked: str) -> Plan:
  section = "RefSeq" if assembly.accession.startswith("GCF") else "GenBank, for RefSeq has none"
  kind = "reference genome, " if assembly.is_reference else ""
  label = f"{asked}: {assembly.accession}, {assembly.organism} ({kind}{assembly.level}; {section})"
  plan = _plan_folder(catalogue, assembly.folder, files, label)
  return Plan(plan.files, plan.notes or [label])


def _plan_folder(catalogue: Catalogue, folder: str, files: Sequence[str], label: str) -> Plan:
  """The files of one assembly, as its list of checksums has them; notes where something asked for is not there."""
  name = folder.split("/")[-1]
  listing = f"{folder}/md5checksums.txt"
  checksums = {}
  for line in catalogue.text("ncbi", listing).splitlines():
    digest, _, path = line.partition(" ")
    checksums[path.strip().removeprefix("./")] = digest
  there = {kind: f"{name}_{FILES[kind]}" for kind in files if f"{name}_{FILES[kind]}" in checksums}
  if not there:
    raise DownloadError(
        catalogue.url("ncbi", listing), f"lists none of the files asked for ({', '.join(files)})",
        "The assembly may be suppressed: see assembly_status.txt beside it.",
    )
  notes, place = [], name
  if not {f"{name}_{FILES[kind]}" for kind in ("gff", "feature_table")} & set(checksums):
    place = f"{UNANNOTATED}/{name}"
    notes.append(f"{label}: NOT ANNOTATED: goes to {place}; it has no genes for pairs, only sequence")
  elif lacking := [kind for kind in files if kind not in there and kind != "rna"]:
    notes.append(f"{label}: has no {', '.join(lacking)}")  # no rna is what prokaryotes have
  return Plan([
      RemoteFile(
          catalogue.url("ncbi", f"{folder}/{file}"), f"{place}/{file}", LICENCE, checksum=f"md5:{checksums[file]}"
      ) for file in there.values()
  ], notes)


def _join(plans: Sequence[Plan]) -> Plan:
  """One plan; an assembly that two names lead to is in it once."""
  files = {file.path: file for plan in plans for file in plan.files}
  return Plan(list(files.values()), [note for plan in plans for note in plan.notes])
