"""Makes a small release of related genomes in NCBI's real file formats and directory layout.

The organisms, sequences and accessions are invented; the formats, the genetic codes, the codon usage and the oddities
(slippage, selenocysteine, other start codons, pseudogenes, genes over the origin, incomplete genes, alternative
transcripts, RNA editing, trans-splicing) are those of real releases. Three bacteria, a mycoplasma and two yeasts share
protein families: what is learned in one genome helps in the others.

  python -m data_pipelines.miniature --out=DIR [--seed=0] [--genes=250]
  python -m data_pipelines.miniature --world=two_codes --genes=1000 --out=DIR

The world `two_codes` has two organisms that differ in their genetic code only, and `central_dogma.tsv`: labelled pairs
of a gene and a protein for few-shot evaluation (`simulation/two_codes.py`).

The same seed and number of genes give the same bytes (with the same zlib). The release appears under its name only when
it is complete.
"""

import csv
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence

from absl import app, flags

from data_pipelines.errors import InputError
from data_pipelines.simulation import ncbi_writer, two_codes
from data_pipelines.simulation.assembly import Assembly, extract
from data_pipelines.simulation.species import MIN_GENES, simulate_assemblies

VERSION = 1  # of what a seed gives: count up when the bytes change
WORLDS = ("six_species", "two_codes")
LABELLED = "central_dogma.tsv"

# What a gene with this exception must be rejected as: the reason codes of the annotation readers.
_TRAP_CODES = {
    "trans-splicing": "trans_splicing",
    "RNA editing": "rna_editing",
    "unclassified translation discrepancy": "other_exception",
}


@dataclasses.dataclass(frozen=True)
class Release:
  """A release on disk.

  Attributes:
    path: its directory.
    world: of `WORLDS`.
    seed, genes: what it was made with; `genes` counts a genome's coding genes, traps not among them.
    assemblies: for each one its directory, organism, taxid, transl_table, eukaryote, bases, coding_transcripts.
    traps: what must not become a training example: locus tag to the reason code for rejecting it.
    oddities: kind to the locus tags of genes that look wrong and are right.
  """

  path: pathlib.Path
  world: str
  seed: int
  genes: int
  assemblies: Sequence[Mapping]
  traps: Mapping[str, str]
  oddities: Mapping[str, Sequence[str]]


def _find_special(assemblies: Sequence[Assembly]) -> tuple[dict[str, str], dict[str, list[str]]]:
  """Traps and oddities, as in `Release`."""
  traps, oddities = {}, {}
  for assembly in assemblies:
    seen = set()
    for contig in assembly.contigs:
      for gene in contig.genes:
        cds = [transcript for transcript in gene.transcripts if transcript.cds]
        if not cds:
          continue
        if gene.pseudo or gene.exception in _TRAP_CODES:
          traps[gene.locus_tag] = "pseudogene" if gene.pseudo else _TRAP_CODES[gene.exception]
          continue
        kinds = {
            "ribosomal_slippage": gene.exception == "ribosomal slippage",
            "selenocysteine": bool(gene.transl_except),
            "over_origin": gene.parts[0][1] > len(contig.sequence),
            "incomplete": gene.partial5 or gene.partial3,
            "alternative_transcripts": len(cds) > 1,
            "shared_protein": cds[0].protein_id in seen,
            "other_start": not gene.partial5 and extract(contig, cds[0].cds)[:3] != "ATG",
        }
        seen.update(transcript.protein_id for transcript in cds)
        for kind, there in kinds.items():
          if there:
            oddities.setdefault(kind, []).append(gene.locus_tag)
  return traps, oddities


def write_release(
    out: str | os.PathLike, *, seed: int = 0, genes: int = 250, world: str = WORLDS[0]
) -> Release:
  """Writes a release, unless the same one is there already.

  Args:
    out: directory to make; it may exist if it is empty or holds this very release.
    seed: for every random draw.
    genes: coding genes in each genome, traps not counted.
    world: of `WORLDS`.

  Raises:
    InputError: `out` holds something else.
    ValueError: too few genes.
  """
  out = pathlib.Path(out)
  parameters = {"version": VERSION, "seed": seed, "genes": genes} | ({} if world == WORLDS[0] else {"world": world})
  if out.is_dir() and any(out.iterdir()) or out.is_file():
    return _read_release(out, parameters)
  if world == "two_codes":
    assemblies, pairs = two_codes.simulate(seed, genes)
  else:
    assemblies, pairs = simulate_assemblies(seed, genes), []
  out.parent.mkdir(parents=True, exist_ok=True)
  # Made beside its place and renamed when complete: a run that is killed leaves nothing under the release's name.
  unfinished = out.parent / f".{out.name}.unfinished-{os.getpid()}"
  shutil.rmtree(unfinished, ignore_errors=True)
  unfinished.mkdir()
  try:
    for assembly in assemblies:
      ncbi_writer.write_assembly(assembly, unfinished)
    (unfinished / "assembly_summary_refseq.txt").write_text("".join(ncbi_writer.assembly_summary(assemblies)))
    if pairs:
      _write_pairs(pairs, unfinished / LABELLED)
    traps, oddities = _find_special(assemblies)
    described = {
        **parameters, "assemblies": list(map(_describe, assemblies)), "traps": traps, "oddities": oddities
    }
    (unfinished / "release.json").write_text(json.dumps(described, indent=1) + "\n")
    unfinished.rename(out)
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)
  return _read_release(out, parameters)


def _write_pairs(pairs: Sequence[two_codes.Pair], path: pathlib.Path) -> None:
  with path.open("w", encoding="utf-8", newline="") as file:
    table = csv.writer(file, delimiter="\t", lineterminator="\n")
    table.writerow(two_codes.Pair._fields)
    table.writerows(pairs)


def _describe(assembly: Assembly) -> dict:
  genes = [gene for contig in assembly.contigs for gene in contig.genes]
  return {
      "directory": assembly.directory, "organism": assembly.organism, "taxid": assembly.taxid,
      "transl_table": assembly.transl_table, "eukaryote": assembly.eukaryote,
      "bases": sum(len(contig.sequence) for contig in assembly.contigs),
      "coding_transcripts": sum(bool(transcript.cds) for gene in genes for transcript in gene.transcripts),
  }


def _read_release(out: pathlib.Path, parameters: Mapping[str, int | str]) -> Release:
  """The release in `out`, if it was made with these parameters."""
  remedy = "Give another --out, or remove this one"
  try:
    held = json.loads((out / "release.json").read_text())
  except (OSError, ValueError):
    raise InputError(out, "exists, is not empty and holds no release", remedy) from None
  # A release of the six species does not name its world.
  keys = parameters.keys() | ({"world"} & held.keys()) if isinstance(held, dict) else ()
  found = {key: held.get(key) for key in sorted(keys)} if isinstance(held, dict) else held
  if found != parameters:
    raise InputError(out, f"holds another release: {found}, not {dict(parameters)}", remedy)
  world = held.get("world", WORLDS[0])
  return Release(out, world, held["seed"], held["genes"], held["assemblies"], held["traps"], held["oddities"])


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
  values = flags.FLAGS
  if values.genes < MIN_GENES:
    raise app.UsageError(f"--genes={values.genes}: at least {MIN_GENES}")
  there = os.path.exists(os.path.join(values.out, "release.json"))
  try:
    release = write_release(values.out, seed=values.seed, genes=values.genes, world=values.world)
  except InputError as error:
    raise app.UsageError(str(error)) from None
  done = "already there" if there else "written"
  print(f"{release.path}: {done}, seed {release.seed}, {release.genes} genes a genome")
  for assembly in release.assemblies:
    print(f"  {assembly['directory']:27} {assembly['organism']:20} {assembly['bases']:>9,} bases "
          f"{assembly['coding_transcripts']:>5} coding transcripts, genetic code {assembly['transl_table']}")
  print(f"  {len(release.traps)} coding features to reject; oddities to keep: "
        + ", ".join(f"{len(tags)} {kind}" for kind, tags in release.oddities.items()))
  config = {"six_species": "miniature", "two_codes": "few_shot"}[release.world]
  print(f"Next, build rows from it:\n  python -m data_pipelines.build --config=configs/data/{config}.py"
        f" --config.release={release.path} --out=DIR")


if __name__ == "__main__":
  flags.DEFINE_string("out", None, "Directory to make.", required=True)
  flags.DEFINE_integer("seed", 0, "Seed of every random draw.")
  flags.DEFINE_integer("genes", 250, "Coding genes in each genome.")
  flags.DEFINE_enum("world", WORLDS[0], WORLDS, "What is simulated.")
  app.run(main)
