"""What the held-out index catches, what it removes without cause, and how fast it is, on real genomes and proteins.

  python tests/benchmarks/decontamination.py --data=DIR [--sections=caught,speed]

DIR is the folder of real public files that the tests use too. Prints tables; asserts nothing. All of it takes some ten
minutes of one core.
"""

import argparse
import functools
import pathlib
import random
import time
from collections.abc import Callable, Iterator

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import genetic_code, splits
from data_pipelines.decontaminate import DecontaminationConfig, HeldOut
from data_pipelines.errors import InputError
from data_pipelines.formats import fasta, genbank
from data_pipelines.genes import CodingGene
from data_pipelines.report import table

SCORES = (16, 20, 24, 30, 40)
MARKS = (15, 30, 60)
LABEL = "valid"
PLANTS = 300
_FILES = {
    "ecoli": "genomes/ecoli_mg1655/GCF_000005845.2_ASM584v2_genomic.fna.gz",
    "ecoli proteins": "genomes/ecoli_mg1655/GCF_000005845.2_ASM584v2_protein.faa.gz",
    "ecoli genes": "genomes/ecoli_mg1655/GCF_000005845.2_ASM584v2_genomic.gbff.gz",
    "yeast proteins": "genomes/scerevisiae_r64/derived_GCF_000146045.2_R64_protein.faa.gz",
    "pombe": "genomes/spombe/Schizosaccharomyces_pombe.ASM294v2.dna.toplevel.fa.gz",
    "archaeon": "genomes/archaea/mrum-genome.fa.gz",
    "fly": "genomes/dmelanogaster_1pct/1pct.fa.gz",
    "lambda": "genomes/small/lambda_virus.fa.gz",
    "human": "genomes/human_records/gbpri1_part.seq.gz",
    "swissprot": "proteins/uniprot_sprot_12k.fasta.gz",
    "viruses": "proteins/prokka_viruses_sprot.faa.gz",
    "rna families": "ncrna/dataset_Rfam_6320_13classes.fasta.gz",
}
_GENOMES = ("ecoli", "pombe", "archaeon", "fly", "lambda", "human")


class Data:
  """The files, each read once."""

  def __init__(self, root: pathlib.Path):
    self.root = root
    self._kept: dict = {}

  def _once(self, name: str, make: Callable[[], list]) -> list:
    if name not in self._kept:
      self._kept[name] = make()
    return self._kept[name]

  def records(self, name: str) -> list[tuple[str, str]]:
    """(name and description, letters); a damaged record ends a file."""
    return self._once(f"records of {name}", lambda: list(self._read(name)))

  def _read(self, name: str) -> Iterator[tuple[str, str]]:
    try:
      for record in fasta.read_fasta(self.root / _FILES[name]):
        yield f"{record.name} {record.description}", record.sequence
    except InputError as error:
      print(f"({error})")

  def proteins(self, name: str) -> list[np.ndarray]:
    return [tokenizer.encode(s, Modality.PROTEIN, strict=False) for _, s in self.records(name)]

  def genome(self, name: str) -> list[np.ndarray]:
    if name == "human":
      records = self._once(name, lambda: list(genbank.read_genbank_sequences(self.root / _FILES[name])))
      return [encode_dna(r.sequence) for r in records if r.moltype == "dna"]
    return [tokenizer.encode(s, Modality.DNA, strict=False) for _, s in self.records(name)]

  def genes(self) -> list[CodingGene]:
    """E. coli's, of sixty residues or more."""
    items = self._once("genes", lambda: list(genbank.read_genbank(self.root / _FILES["ecoli genes"])))
    return [i for i in items if isinstance(i, CodingGene) and len(i.protein) >= 60 and set(i.protein) <= set(_RESIDUES)]


_RESIDUES = tokenizer.AMINO_ACIDS


@functools.cache
def codons() -> dict[str, list[str]]:
  found: dict[str, list[str]] = {}
  for codon in (a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT"):
    found.setdefault(genetic_code.translate(codon, 11), []).append(codon)
  return found


def back_translate(rng: random.Random, protein: str) -> str:
  return "".join(rng.choice(codons()[residue]) for residue in protein)


def mutate(rng: random.Random, letters: str, identity: float, alphabet: str, indels: float = 0) -> str:
  """Substitutions by chance among the other letters; `indels` a letter, each of one to five."""
  out = []
  for letter in letters:
    out.append(letter if rng.random() < identity else rng.choice(alphabet.replace(letter, "")))
    if rng.random() < indels:
      size = rng.randint(1, 5)
      out = out[:-size] if rng.random() < 0.5 else out + rng.choices(alphabet, k=size)
  return "".join(out)


def part(rng: random.Random, letters: str, length: int) -> str:
  start = rng.randint(0, max(len(letters) - length, 0))
  return letters[start : start + length]


def with_introns(rng: random.Random, protein: str, host: str) -> str:
  """Exons of fifty residues, cut anywhere in a codon, and introns of 300 letters."""
  cds = back_translate(rng, protein)
  cuts = [0, *(c + rng.randint(-2, 2) for c in range(150, len(cds) - 75, 150)), len(cds)]
  exons = [cds[a:b] for a, b in zip(cuts, cuts[1:])]
  return "".join(exon + "GT" + part(rng, host, 296) + "AG" for exon in exons[:-1]) + exons[-1]


def percent(share: float) -> str:
  return f"{100 * share:.1f}%"


def build(nucleotides, proteins, **config) -> HeldOut:
  return HeldOut.build(((n, LABEL) for n in nucleotides), ((p, LABEL) for p in proteins), [LABEL],
                       DecontaminationConfig(**config))


def caught(data: Data) -> None:
  """Plants of 300 E. coli proteins in the genome of a yeast and of an archaeon."""
  rng = random.Random(0)
  genes = rng.sample(data.genes(), PLANTS)
  host = tokenizer.decode(np.concatenate([*data.genome("pombe")[:1], *data.genome("archaeon")])).upper()
  host = host.replace("N", "A")
  relative = lambda identity, indels=0.0: lambda g: back_translate(
      rng, mutate(rng, g.protein, identity, _RESIDUES, indels))
  piece = lambda length, identity=1.0: lambda g: back_translate(
      rng, mutate(rng, part(rng, g.protein, length), identity, _RESIDUES))
  plants = {
      "own DNA": lambda g: g.dna, "own codons, 95 % of its letters": lambda g: mutate(rng, g.dna, 0.95, "ACGT"),
      "random codons": relative(1.0), "random codons, introns": lambda g: with_introns(rng, g.protein, host),
      "relative at 95 %": relative(0.95), "relative at 90 %": relative(0.9), "relative at 80 %": relative(0.8),
      "relative at 70 %": relative(0.7), "relative at 60 %": relative(0.6),
      "relative at 80 %, an indel in 50": relative(0.8, 0.02),
      "60 residues": piece(60), "60 residues at 95 %": piece(60, 0.95), "60 residues at 80 %": piece(60, 0.8),
      "40 residues": piece(40), "30 residues": piece(30), "20 residues": piece(20),
  }
  dna, proteins = [encode_dna(g.dna) for g in genes], [encode_protein(g.protein) for g in genes]
  indices = [build(dna, proteins, min_score=score) for score in SCORES] + [build(dna, [])]
  rows = []
  for name, make in plants.items():
    queries = []
    for gene in genes:
      before, plant, after = part(rng, host, 1500), make(gene), part(rng, host, 1500)
      queries.append((encode_dna(before + plant + after), len(before), len(plant)))
    for strand in ("+", "-"):
      row = [f"{name} ({strand})"]
      for index in indices:
        found = [covered(index, ids, start, length, strand) for ids, start, length in queries]
        row.append(percent(np.mean([f > 0 for f in found])))
        if index is indices[SCORES.index(DecontaminationConfig().min_score)]:
          letters = percent(np.mean([f for f in found if f] or [0]))
      rows.append([*row, letters])
  print(f"\nPlanted into genomes as DNA (RNA is the same): share of {PLANTS} proteins caught, by min_score; by 24-mers"
        " alone; letters covered of those caught at the default, introns included\n")
  print(table(["plant (strand)", *map(str, SCORES), "24-mers", "letters"], rows))


def covered(index: HeldOut, ids: np.ndarray, start: int, length: int, strand: str) -> float:
  """Share of a plant's letters that are found."""
  if strand == "-":
    ids, start = tokenizer.reverse_complement(ids), len(ids) - start - length
  end = start + length
  return sum(max(0, min(b, end) - max(a, start)) for a, b, _ in index.nucleotide_intervals(ids)) / length


def encode_dna(letters: str) -> np.ndarray:
  return tokenizer.encode(letters, Modality.DNA)


def encode_protein(letters: str) -> np.ndarray:
  return tokenizer.encode(letters, Modality.PROTEIN)


def caught_proteins(data: Data) -> None:
  """The same as proteins, alone or inside an unrelated one."""
  rng = random.Random(1)
  proteins = [g.protein for g in rng.sample(data.genes(), PLANTS)]
  hosts = [s for _, s in data.records("viruses") if set(s) <= set(_RESIDUES)]
  inside = lambda plant: part(rng, rng.choice(hosts), 150) + plant + part(rng, rng.choice(hosts), 150)
  plants = {f"relative at {i:.0%}".replace("%", " %"): lambda p, i=i: mutate(rng, p, i, _RESIDUES)
            for i in (0.95, 0.9, 0.8, 0.7, 0.6)}
  plants["relative at 80 %, an indel in 50"] = lambda p: mutate(rng, p, 0.8, _RESIDUES, 0.02)
  for length in (60, 40, 30, 20):
    plants[f"{length} residues in another protein"] = lambda p, n=length: inside(part(rng, p, n))
  plants["60 residues at 95 % in another protein"] = lambda p: inside(mutate(rng, part(rng, p, 60), 0.95, _RESIDUES))
  indices = [build([], map(encode_protein, proteins), min_score=score) for score in SCORES]
  rows = []
  for name, make in plants.items():
    queries = [encode_protein(make(p)) for p in proteins]
    rows.append([name, *(percent((i.protein_masks(queries) > 0).mean()) for i in indices)])
  print(f"\nAs proteins: share of {PLANTS} caught, by min_score\n")
  print(table(["plant", *map(str, SCORES)], rows))


def short(data: Data) -> None:
  """Short nucleotides of evaluation sets, with an index of a real size around them."""
  rng = random.Random(2)
  filler = [encode_dna(g.dna) for g in data.genes()]
  families = [s.replace("U", "T") for _, s in data.records("rna families") if set(s) <= set("ACGTU")]
  host = tokenizer.decode(data.genome("pombe")[0]).upper().replace("N", "A")
  rows = []
  for length in (24, 28, 30, 36, 54, 80, 120):
    whole = [part(rng, s, length) for s in rng.sample([f for f in families if len(f) >= length], 150)]
    for identity in (1.0, 0.98, 0.95, 0.9):
      changed = [mutate(rng, w, identity, "ACGT") for w in whole]
      queries = [encode_dna(part(rng, host, 300) + c + part(rng, host, 300)) for c in changed]
      row = [f"{length} letters at {identity:.0%}".replace("%", " %")]
      for marks in MARKS:
        index = _with(filler, whole, marks)
        row.append(percent(np.mean([index.whole(q, Modality.RNA) > 0 for q in queries])))
      rows.append(row)
  print("\nNon-coding RNA of Rfam, cut to a length, planted in a genome: share of 150 caught, by min_marked\n")
  print(table(["plant", *map(str, MARKS)], rows))


def _with(filler: list[np.ndarray], short_ones: list[str], marks: int) -> HeldOut:
  labelled = [(ids, "genes") for ids in filler] + [(encode_dna(s), LABEL) for s in short_ones]
  return HeldOut.build(labelled, [], [LABEL, "genes"], DecontaminationConfig(min_marked=marks))


def unrelated(data: Data) -> None:
  """Chance: proteins and genes read backwards, which have the composition and the repeats of real ones."""
  names = ("yeast proteins", "ecoli proteins", "viruses", "swissprot")
  proteins = [p[::-1] for name in names for p in data.proteins(name)]
  letters = sum(map(len, proteins))
  genes = [encode_dna(g.dna)[::-1] for g in data.genes()]
  rows = []
  for score in (12, *SCORES):
    index = build([], proteins, min_score=score, score_share=1e-6, chance_per_kilobase=1.0)
    index._proteins.needs[:] = index._proteins._least = score
    rows.append([f"proteins backwards, min_score {score}", *(per_megabase(index, data.genome(g)) for g in _GENOMES)])
  for marks in (1, 5, *MARKS):
    index = build(genes, [], min_marked=marks, marked_share=1e-6, min_density=1e-6, chance_per_kilobase=1.0)
    index._nucleotides.needs[:] = marks
    rows.append([f"genes backwards, min_marked {marks}", *(per_megabase(index, data.genome(g)) for g in _GENOMES)])
  shuffled = _hundred_thousand(data)
  index = build([], shuffled)
  for score in (12, 16):
    index._proteins.needs[:] = index._proteins._least = score
    rows.append([f"100,000 shuffled, min_score {score}", *(per_megabase(index, data.genome(g)) for g in _GENOMES)])
  sizes = [f"{g} {sum(map(len, data.genome(g))) / 1e6:.1f} Mb" for g in _GENOMES]
  print(f"\nBy chance: stretches found in a million letters; index of {len(proteins):,} proteins, {letters / 1e6:.1f}"
        f" million residues, and {len(genes):,} genes, {sum(map(len, genes)) / 1e6:.1f} million letters\n")
  print(table(["held out", *sizes], rows))


def _hundred_thousand(data: Data) -> list[np.ndarray]:
  """Proteins of Swiss-Prot, each shuffled nine times."""
  rng = np.random.default_rng(0)
  return [rng.permutation(p) for p in data.proteins("swissprot") for _ in range(9)][:100_000]


def per_megabase(index: HeldOut, genome: list[np.ndarray]) -> str:
  found = sum(len(index.nucleotide_intervals(ids)) for ids in genome)
  return f"{found / sum(map(len, genome)) * 1e6:.2f}"


def related(data: Data) -> None:
  """What is removed for a cause: true relatives, and the repeats of the human genome."""
  yeast = data.proteins("yeast proteins")
  rows = []
  for score in SCORES:
    index = build([], yeast, min_score=score)
    row = [f"all yeast proteins, min_score {score}"]
    for name in ("ecoli", "archaeon", "pombe"):
      found = [e - s for ids in data.genome(name) for s, e, _ in index.nucleotide_intervals(ids)]
      row.append(f"{sum(found) / sum(map(len, data.genome(name))):.2%}")
    rows.append(row)
  print("\nTrue relatives: letters of whole genomes that are taken out for all proteins of yeast\n")
  print(table(["held out", "ecoli", "archaeon", "pombe"], rows))
  distinct = {ids.tobytes(): name for (name, _), ids in zip(data.records("yeast proteins"), yeast)}
  index = build([], [np.frombuffer(ids, np.uint8) for ids in distinct])
  _, hits = index._search(data.genome("ecoli")[0], 11)
  proteins, counts = np.unique(hits.protein, return_counts=True)
  best = [list(distinct.values())[i] for i in proteins[np.argsort(-counts)][:8]]
  print(f"\nE. coli resembles {len(proteins)} yeast proteins, most of all:\n  " + "\n  ".join(best))

  everything = {p.tobytes() for n in ("ecoli proteins", "yeast proteins", "swissprot") for p in data.proteins(n)}
  assigned = splits.ProteinSplits.assign(everything, splits.SplitConfig())
  by_split: dict[str, list[np.ndarray]] = {s: [] for s in splits.SPLITS}
  for protein in sorted(everything):
    by_split[assigned.split(protein)].append(np.frombuffer(protein, np.uint8))
  rows = []
  for score in SCORES:
    masks = build([], by_split["valid"], min_score=score).protein_masks(by_split["train"])
    rows.append([str(score), percent((masks > 0).mean())])
  print(f"\nProteins of train ({len(by_split['train']):,}) that resemble one of valid ({len(by_split['valid']):,}) in"
        " part, although they are of other clusters, by min_score\n")
  print(table(["min_score", "proteins"], rows))

  human = max(data.genome("human"), key=len)
  half, rows = len(human) // 2, []
  genes = [human[i : i + 20_000] for i in range(0, half - 20_000, 40_000)]
  no_groups, no_density = {"max_groups": 10**6}, {"min_density": 1e-6}
  for name, change in (("24-mers alone", no_groups | no_density), ("24-mers, dense", no_groups),
                       ("24-mers of few families", no_density), ("both (default)", {})):
    config = DecontaminationConfig(**change)
    index = HeldOut.build(((gene, LABEL, i) for i, gene in enumerate(genes)), [], [LABEL], config)
    found = index.nucleotide_intervals(human[half:])
    rows.append([name, f"{sum(e - s for s, e, _ in found) / (len(human) - half):.2%}"])
  print(f"\nRepeats: of {len(human):,} human letters, {len(genes)} stretches of 20,000 letters of one half are held"
        " out; so much of the other half is taken out\n")
  print(table(["by", "letters"], rows))


def speed(data: Data) -> None:
  """Million letters a second of one core's time, by question and size of the index."""
  proteins, many = data.proteins("swissprot"), _hundred_thousand(data)
  dna = [encode_dna(g.dna) for g in data.genes()]
  genome, transcripts = np.concatenate([*data.genome("ecoli"), *data.genome("archaeon")]), dna[:1500]
  few, others = proteins[:5000], proteins[5000:]
  rows = []
  for name, nucleotides, held in (
      ("5,000 proteins", [], few), ("5,000 proteins, 4,000 genes", dna, few), ("100,000 proteins", [], many),
  ):
    begin = time.process_time()
    index = build(nucleotides, held)
    row = [f"{name}, {sum(map(len, held)) / 1e6:.1f} M residues", f"{time.process_time() - begin:.1f}"]
    row.append(rate([genome], index.nucleotide_intervals))
    row.append(rate(transcripts, functools.partial(index.whole, modality=Modality.RNA)))
    row.append(rate([others], index.protein_masks))
    row.append(rate(others[:1500], index.protein_mask))
    rows.append(row)
  print("\nSpeed: million letters a second of one core's time\n")
  print(table(["index", "build, s", "genome", "RNA one by one", "proteins", "proteins one by one"], rows))


def rate(queries: list, ask: Callable) -> str:
  """Million letters a second."""
  letters = sum(sum(map(len, q)) if isinstance(q, list) else len(q) for q in queries)
  begin = time.process_time()
  for query in queries:
    ask(query)
  return f"{letters / (time.process_time() - begin) / 1e6:.1f}"


def main() -> None:
  sections = (caught, caught_proteins, short, unrelated, related, speed)
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--data", type=pathlib.Path, required=True)
  parser.add_argument("--sections", default=",".join(s.__name__ for s in sections))
  arguments = parser.parse_args()
  data = Data(arguments.data)
  for section in sections:
    if section.__name__ in arguments.sections.split(","):
      section(data)


if __name__ == "__main__":
  main()
