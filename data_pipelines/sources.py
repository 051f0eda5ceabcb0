"""The public files that a build reads: `config.sources` to readers of genes and sequences.

A source is a dictionary with a `kind` and its files:

  {"kind": "genbank", "path": ...}                         annotated flat files (a glob may name several)
  {"kind": "gff3", "gff": ..., "fasta": ..., "rna": ..., "protein": ...}            the last two may be left out
  {"kind": "feature_table", "table": ..., "fasta": ..., "protein": ..., "rna": ..., "cds": ...}     likewise
  {"kind": "assembly", "path": ...}                        an NCBI assembly folder; its files are found by their suffix
  {"kind": "fasta", "path": ..., "modality": "dna"}        sequences without annotation (a glob may name several)
  {"kind": "mmseqs", "path": ...}                          a prebuilt MMseqs2 database of proteins, as ColabFoldDB's
  {"kind": "colabfold_tsv", "path": ...}                   the older form of ColabFoldDB: its `*_seq.tsv`
  {"kind": "fineweb", "path": ...}                         web documents: FineWeb-Edu's parquet, or JSONL (a glob)
  {"kind": "gene_related", "tables": ..., "records": ..., "collab": ..., "proteins": ..., "nucleotides": ...}
                                                           NCBI Gene's tables and the records that they name; the last
                                                           three may be left out, and all but `collab` may be globs

and optionally `name`, `taxon` (NCBI taxonomy id), `transl_table`, `missing_contig` (`gff3`, `assembly`), and for
`gene_related` `options`, the arguments of `gene_related.GeneRelatedConfig`. Paths may hold `{release}` or any other
text key of the config.
"""

import dataclasses
import glob
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bsm_jax.tokenizer import Modality
from data_pipelines import gene_units
from data_pipelines.errors import InputError
from data_pipelines.formats import fasta, feature_table, fineweb, genbank, gff3, headers, mmseqs, ranges
from data_pipelines.gene_related import GeneRelatedConfig
from data_pipelines.genes import CodingGene, GenomeSequence, Reject
from data_pipelines.tasks import Task, Workers, result

WITHOUT_GENES = ("fasta", "mmseqs", "colabfold_tsv", "fineweb")
# How the files of a kind are cut into parts of so many bytes: `start` and `stop` of its reader.
_CUTS = {"fasta": ranges.cuts, "mmseqs": mmseqs.cuts, "colabfold_tsv": mmseqs.cuts, "fineweb": fineweb.units}
_COMMON = ("kind", "name", "taxon")
_KEYS = {
    "genbank": (("path",), ()),
    "gff3": (("gff", "fasta"), ("rna", "protein", "transl_table", "missing_contig")),
    "feature_table": (("table", "fasta", "protein"), ("rna", "cds", "transl_table")),
    "assembly": (("path",), ("transl_table", "missing_contig")),
    "fasta": (("path", "modality"), ()),
    "mmseqs": (("path",), ()),
    "colabfold_tsv": (("path",), ()),
    "fineweb": (("path",), ()),
    "gene_related": (("tables", "records"), ("collab", "proteins", "nucleotides", "options")),
}
_FILE_KEYS = (
    "path", "gff", "fasta", "table", "rna", "protein", "cds", "tables", "records", "collab", "proteins", "nucleotides"
)
# The files of an NCBI assembly folder, by role; the first suffix that fits counts, for some end like the genome's.
_ASSEMBLY_SUFFIXES = {
    "_cds_from_genomic.fna": "cds", "_rna_from_genomic.fna": None, "_genomic.gff": "gff", "_genomic.fna": "fasta",
    "_rna.fna": "rna", "_protein.faa": "protein", "_feature_table.txt": "table", "_genomic.gbff": "flat",
}


class SourceError(ValueError):
  """An entry of `config.sources` that names no usable source."""


@dataclasses.dataclass(frozen=True)
class Source:
  """One annotated genome, or a file of sequences.

  Attributes:
    name: for reports and document ids.
    kind: one of the kinds above but `assembly`, which becomes what its folder holds.
    files: role (`path`, `gff`, `fasta`, `table`, `rna`, `protein`, `cds`) to path; of `gene_related`, which has
      several files of a role, `tables/0`, `tables/1`, ….
    modality: of a `fasta` source.
    taxon, transl_table: None for what the files say.
    missing_contig: `error` or `reject`, see `gff3.read_gff3`.
    options: of `gene_related`.
  """

  name: str
  kind: str
  files: Mapping[str, str]
  modality: Modality | None = None
  taxon: int | None = None
  transl_table: int | None = None
  missing_contig: str = "error"
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def as_dict(self) -> dict:
    """For JSON."""
    modality = self.modality and self.modality.name.lower()
    return dataclasses.asdict(self) | {"files": dict(self.files), "modality": modality}

  @classmethod
  def from_dict(cls, fields: Mapping) -> "Source":
    """From `as_dict`."""
    modality = fields["modality"] and Modality.parse(fields["modality"])
    return cls(**dict(fields) | {"modality": modality})

  @property
  def has_proteins(self) -> bool:
    """Whether proteins come as records of their own, beside the genes."""
    return "protein" in self.files or self.modality == Modality.PROTEIN

  @property
  def gene_corpus(self) -> str:
    """The corpus that this source's genes belong to."""
    return "gene_related" if self.kind == "gene_related" else "refseq_pairs"

  def parts(self, unit_bytes: int, workers: Workers) -> list[dict]:
    """How the source is divided among tasks: what `genes`, `sequences` and `documents` take as `part`.

    Args:
      unit_bytes: the size of a part, where files can be divided.
      workers: run the tasks that have to come first: joining NCBI Gene's tables.
    """
    if self.kind == "gene_related":
      roles = {role.partition("/")[0] for role in self.files}
      files = {role: [p for key, p in self.files.items() if key.partition("/")[0] == role] for role in roles}
      return gene_units.parts(files, self._gene_related, unit_bytes, workers)
    if self.kind not in _CUTS:
      return [{}]
    return [{"start": start, "stop": stop} for start, stop in _CUTS[self.kind](self.files["path"], unit_bytes)]

  @property
  def _gene_related(self) -> GeneRelatedConfig:
    return GeneRelatedConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in self.options.items()})

  def genes(self, part: Mapping) -> Iterator[CodingGene | Reject]:
    """One item for each coding transcript that is annotated."""
    f = self.files
    if self.kind == "gene_related":
      yield from gene_units.read_part(part)
    elif self.kind == "genbank":
      yield from genbank.read_genbank(f["path"], taxon=self.taxon)
    elif self.kind == "gff3":
      yield from gff3.read_gff3(
          f["gff"], f["fasta"], rna=f.get("rna"), protein=f.get("protein"), taxon=self.taxon,
          transl_table=self.transl_table, missing_contig=self.missing_contig,
      )
    elif self.kind == "feature_table":
      yield from feature_table.read_feature_table(
          f["table"], genome=f["fasta"], rna=f.get("rna"), protein=f["protein"], cds=f.get("cds"),
          transl_table=self.transl_table or 1, taxon=self.taxon or 0,
      )

  def sequences(self, part: Mapping) -> Iterator[tuple[str, Modality, GenomeSequence]]:
    """(file, modality, sequence) of every genomic, transcript and protein record; the taxon is 0 where unknown."""
    if self.kind == "genbank":
      for sequence in genbank.read_genbank_sequences(self.files["path"]):
        yield self.files["path"], Modality.RNA if sequence.moltype == "rna" else Modality.DNA, sequence
    elif self.kind in WITHOUT_GENES:
      path = self.files["path"]
      read = {"fasta": fasta.read_fasta, "mmseqs": mmseqs.read_mmseqs_db, "colabfold_tsv": mmseqs.read_colabfold_tsv}
      modality = mmseqs.modality(path) if self.kind == "mmseqs" else self.modality or Modality.PROTEIN
      for record in read[self.kind](path, **part):
        taxon = self.taxon or headers.taxon(record.description)
        yield path, modality, GenomeSequence(record.name, taxon, record.sequence)
    elif self.kind != "gene_related":
      for role, modality in {"fasta": Modality.DNA, "rna": Modality.RNA, "protein": Modality.PROTEIN}.items():
        if role in self.files:
          for record in fasta.read_fasta(self.files[role]):
            yield self.files[role], modality, GenomeSequence(record.name, self.taxon or 0, record.sequence)

  def documents(self, part: Mapping) -> Iterator[fineweb.WebDocument | Reject]:
    """The documents of a `fineweb` source, and a reject for every record that is none."""
    yield from fineweb.read_documents(self.files["path"], **part)


def sha256(path: str | os.PathLike) -> str:
  """The file's sha256, in hexadecimal."""
  with open(path, "rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()


def describe(sources: Sequence[Source], workers: Workers) -> list[dict]:
  """What identifies the files that are read: `{source, role, name, sha256, bytes}` of each, without its folder."""
  files = [
      (source.name, part, file)
      for source in sources for role, path in source.files.items() for part, file in _files_of(source.kind, role, path)
  ]
  tasks = []
  for _, _, path in files:
    status = os.stat(path)
    arguments = {"path": os.path.abspath(path), "size": status.st_size, "changed": status.st_mtime_ns}
    tasks.append(Task(identify, arguments, os.path.basename(path)))
  made = workers.run("identify files", tasks)
  return [
      {"source": source, "role": role, "name": os.path.basename(path), "sha256": result(folder)["sha256"],
       "bytes": task.arguments["size"]}
      for (source, role, path), task, folder in zip(files, tasks, made)
  ]


def identify(folder: os.PathLike, *, path: str, size: int, changed: int) -> dict:
  """The task that takes the sha256 of a file; with another size or time of change it is another task."""
  del folder, size, changed
  return {"sha256": sha256(path)}


def _files_of(kind: str, role: str, path: str) -> list[tuple[str, str]]:
  """(role, file) of what lies under a path: all that belongs to a database, else the file itself."""
  if kind == "mmseqs":
    found = sorted(glob.glob(glob.escape(path) + "*"))
    return [(os.path.basename(file), file) for file in found]
  return [(role, path)]


def parse_sources(entries: Sequence[Mapping], variables: Mapping[str, str | None]) -> list[Source]:
  """The entries of `config.sources` to sources, one for each file of a glob.

  Args:
    entries: see the module's docstring.
    variables: text that `{name}` in a path stands for, None where it is not set.

  Raises:
    SourceError: an entry lacks a key, has one too many, or uses a variable that is not set.
    InputError: a path matches no file, an assembly folder lacks the files or has several of one role.
  """
  sources: list[Source] = []
  for entry in entries:
    sources.extend(_parse(dict(entry), variables))
  names = [s.name for s in sources]
  if repeated := sorted({n for n in names if names.count(n) > 1}):
    raise SourceError(f"two sources have the name {', '.join(repeated)}: give each its own `name`")
  return sources


def _parse(entry: dict, variables: Mapping[str, str | None]) -> list[Source]:
  kind = entry.get("kind")
  if kind not in _KEYS:
    raise SourceError(f"source {entry}: kind must be one of {', '.join(_KEYS)}")
  required, optional = _KEYS[kind]
  if missing := [k for k in required if not entry.get(k)]:
    raise SourceError(f"source {entry}: lacks {', '.join(missing)}")
  if unknown := sorted(set(entry) - {*_COMMON, *required, *optional}):
    raise SourceError(f"source {entry}: no such key: {', '.join(unknown)}; {kind} may have {', '.join(optional)}")
  options = {k: entry[k] for k in ("taxon", "transl_table", "missing_contig") if k in entry}
  if kind == "gene_related":
    options["options"] = _gene_options(entry)
  if "modality" in entry:
    options["modality"] = Modality.parse(entry["modality"])
  paths = {
      k: [path for pattern in ([entry[k]] if isinstance(entry[k], str) else entry[k])
          for path in _expand(pattern, variables, entry)]
      for k in _FILE_KEYS if entry.get(k)
  }
  if kind == "assembly":
    for path in paths["path"]:
      if not os.path.isdir(path):
        raise InputError(path, "is no folder", "An assembly source is a folder of NCBI's files.")
    return [_assembly(path, entry, options) for path in paths["path"]]
  if kind == "gene_related":
    files = {f"{role}/{i}": path for role in paths for i, path in enumerate(paths[role])}
    return [Source(entry.get("name", kind), kind, files, **options)]
  if kind == "genbank" or kind in WITHOUT_GENES:
    stems = [_stem(path) for path in paths["path"]]
    single = len(stems) == 1
    return [
        Source(entry.get("name", stem) if single else f"{entry['name']}/{stem}" if "name" in entry else stem,
               kind, {"path": path}, **options)
        for stem, path in zip(stems, paths["path"])
    ]
  if several := [k for k, found in paths.items() if len(found) > 1]:
    raise SourceError(f"source {entry}: {several[0]} matches {len(paths[several[0]])} files where one is expected")
  files = {k: found[0] for k, found in paths.items()}
  return [Source(entry.get("name", _stem(next(iter(files.values())))), kind, files, **options)]


def _gene_options(entry: Mapping) -> dict:
  options = {k: list(v) if isinstance(v, (list, tuple)) else v for k, v in dict(entry.get("options", {})).items()}
  known = [field.name for field in dataclasses.fields(GeneRelatedConfig)]
  if unknown := sorted(set(options) - set(known)):
    raise SourceError(f"source {entry}: no such option: {', '.join(unknown)}; there are {', '.join(known)}")
  return options


def _expand(pattern: str, variables: Mapping[str, str | None], entry: Mapping) -> list[str]:
  try:
    text = pattern.format_map({k: v for k, v in variables.items() if v is not None})
  except KeyError as error:
    key = error.args[0]
    raise SourceError(f"source {entry}: needs the folder `{key}`: pass --config.{key}=DIR") from None
  found = sorted(glob.glob(os.path.expanduser(text))) if glob.has_magic(text) else [os.path.expanduser(text)]
  # A database is named without its suffix, and may have data files NAME.0, NAME.1, … only.
  if not found or not (os.path.exists(found[0]) or os.path.exists(f"{found[0]}.index")):
    raise InputError(text, "no such file", "Check the folder that was passed and the source's entry in the config.")
  return found


def _stem(path: str) -> str:
  """A file's name without `.gz` and its last suffix."""
  return os.path.splitext(os.path.basename(path).removesuffix(".gz"))[0]


def _assembly(folder: str, entry: Mapping, options: Mapping) -> Source:
  files: dict[str, str] = {}
  for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*"))):
    name = os.path.basename(path).removesuffix(".gz")
    role = next((role for suffix, role in _ASSEMBLY_SUFFIXES.items() if name.endswith(suffix)), None)
    if role is None:
      continue
    if role in files:
      problem = f"holds two files of one role, {os.path.basename(files[role])} and {os.path.basename(path)}"
      raise InputError(folder, problem, "Leave one of them, or name the files in a gff3 or genbank source.")
    files[role] = path
  name = entry.get("name", os.path.basename(os.path.normpath(folder)))
  flat, table, cds = (files.pop(role, None) for role in ("flat", "table", "cds"))
  if {"gff", "fasta"} <= set(files):
    return Source(name, "gff3", files, **options)
  files.pop("gff", None)
  if table and {"fasta", "protein"} <= set(files):
    options = {k: v for k, v in options.items() if k != "missing_contig"}
    files |= {"table": table} | ({"cds": cds} if cds else {})
    return Source(name, "feature_table", files, **options)
  if flat:
    return Source(name, "genbank", {"path": flat}, **options)
  raise InputError(
      folder, "lacks the files of an annotated assembly",
      "It must hold *_genomic.gff and *_genomic.fna, or *_feature_table.txt with *_genomic.fna and *_protein.faa, or"
      " *_genomic.gbff (each plain or .gz).",
  )
