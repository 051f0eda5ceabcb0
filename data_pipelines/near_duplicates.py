"""Finding documents that are nearly the same: keys that they share, or clusters by MMseqs2.

A document's k-mers are sampled by one-permutation MinHash (Li, Owen and Zhang 2012, arXiv:1208.1259): hashes fall into
bins, and the least of each bin is kept; two documents agree in a bin with a probability of their Jaccard index J, the
share of k-mers that both have among those that either has. Empty bins of short documents take the value of another
bin, in an order that is the same for all documents (Shrivastava 2017, arXiv:1703.04664). `rows` bins make a key, and
`bands` keys are made: two documents have one in common with a probability of `1 - (1 - J ** rows) ** bands`, where J
follows from the share of letters that agree, a: `a ** k / (2 - a ** k)` (`probability`).
"""

import dataclasses
import functools
import os
import pathlib
import shutil
import subprocess

import numpy as np

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines.errors import InputError
from data_pipelines.formats import fasta, tabular
from data_pipelines.kmers import canonical_kmers, mix, pack_kmers

_EMPTY = ~np.uint64(0)
_MMSEQS = "Install MMseqs2 (https://github.com/soedinglab/MMseqs2) and name its program."


@dataclasses.dataclass(frozen=True)
class NearDuplicateConfig:
  """What makes two documents nearly the same. By the share of letters that agree, so many pairs are found:

      proteins       80 %: 2 %   85 %: 10 %   90 %: 39 %   92 %: 62 %   95 %: 94 %   98 %: 100 %
      nucleotides    90 %: 0 %   93 %: 4 %    95 %: 16 %   97 %: 60 %   98 %: 90 %   99 %: 100 %

  Shorter k-mers find less similar nucleotides, but also unrelated ones: of sequences of a million bases, the longest
  documents, one pair in 300 million has a key in common at 14 letters, and one in 4,000 at 12.

  Attributes:
    protein_kmer: letters of a protein's k-mers, up to 12.
    nucleotide_kmer: letters of those of DNA and RNA, up to 32; both strands are alike.
    bands: keys of a document.
    rows: bins a key.
  """

  protein_kmer: int = 5
  nucleotide_kmer: int = 14
  bands: int = 16
  rows: int = 4

  def __post_init__(self):
    for name, most in (("protein_kmer", 12), ("nucleotide_kmer", 32), ("bands", 1 << 10), ("rows", 1 << 5)):
      if not 1 <= getattr(self, name) <= most:
        raise ValueError(f"{name}={getattr(self, name)} must be between 1 and {most}")


def probability(identity: float, kmer: int, config: NearDuplicateConfig) -> float:
  """With which two sequences share a key of which `identity` of the letters agree, substitutions alone being between
  them."""
  jaccard = identity**kmer / (2 - identity**kmer)
  return 1 - (1 - jaccard**config.rows) ** config.bands


def keys(ids: np.ndarray, modality: Modality, config: NearDuplicateConfig) -> np.ndarray:
  """The keys of an encoded sequence: uint64 [bands], none where it has no k-mer.

  Sequences of different modalities have no key in common.
  """
  if modality == Modality.PROTEIN:
    kmers = _protein_kmers(ids, config.protein_kmer)
  else:
    kmers, valid = canonical_kmers(ids, config.nucleotide_kmer)
    kmers = kmers[valid]
  if not len(kmers):
    return np.zeros(0, np.uint64)
  bins = config.bands * config.rows
  hashes = mix(kmers + np.uint64(0x9E3779B97F4A7C15))  # `mix` leaves 0 as it is
  least = np.full(bins, _EMPTY)
  np.minimum.at(least, ((hashes >> np.uint64(32)) * np.uint64(bins) >> np.uint64(32)).astype(np.intp), hashes)
  order = _order_of_bins(bins)
  first = (least != _EMPTY)[order].argmax(axis=1)
  least = least[order[np.arange(bins), first]].reshape(config.bands, config.rows)
  made = mix(np.arange(config.bands, dtype=np.uint64) + np.uint64(modality * config.bands + 1))
  for row in range(config.rows):
    made = mix(made ^ least[:, row])
  return made


@functools.cache
def _order_of_bins(bins: int) -> np.ndarray:
  """For each bin, the bins in which its value is looked for: itself, then the others by chance; intp [bins, bins]."""
  order = np.argsort(mix(np.arange(1, bins * bins + 1, dtype=np.uint64).reshape(bins, bins)), axis=1)
  return np.stack([np.r_[i, row[row != i]] for i, row in enumerate(order)])


def _protein_kmers(ids: np.ndarray, k: int) -> np.ndarray:
  """The k-mers that hold standard residues only, uint64."""
  if len(ids) < k:
    return np.zeros(0, np.uint64)
  letters = ids - np.uint8(tokenizer.FIRST_AMINO_ACID)
  bad = np.r_[0, np.cumsum(letters >= len(tokenizer.AMINO_ACIDS))]
  return pack_kmers(letters.astype(np.uint64), k, 5)[bad[k:] == bad[:-k]]


# --- MMseqs2 ---


def mmseqs_clusters(
    fasta_path: str | os.PathLike, work: str | os.PathLike, min_seq_id: float, coverage: float, binary: str = "mmseqs"
) -> np.ndarray:
  """Clusters the sequences of a FASTA file by `mmseqs easy-linclust` (Steinegger and Söding 2018).

  Args:
    fasta_path: proteins or nucleotides.
    work: a folder for its files, which is made.
    min_seq_id: least share of letters that agree with the representative's.
    coverage: least share of the letters of both that are aligned.
    binary: the program, by name or path.

  Returns:
    int64 [n]: for each record of the file, in order, which record represents its cluster.

  Raises:
    InputError: the program is missing or fails, or does not answer for every record.
  """
  if shutil.which(binary) is None:
    raise InputError(binary, "no such program", _MMSEQS)
  work = pathlib.Path(work)
  work.mkdir(parents=True, exist_ok=True)
  count = 0
  # Numbers for names: MMseqs2 shortens those of some databases, and names need not be distinct.
  with open(work / "sequences.fasta", "w", encoding="ascii") as stream:
    for count, record in enumerate(fasta.read_fasta(fasta_path), 1):
      stream.write(f">{count - 1}\n{record.sequence}\n")
  command = [binary, "easy-linclust", work / "sequences.fasta", work / "clusters", work / "tmp",
             "--min-seq-id", f"{min_seq_id:g}", "-c", f"{coverage:g}"]
  done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace")
  if done.returncode:
    said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
    remedy = f"Run it by hand: {' '.join(map(str, command))}"
    raise InputError(binary, f"failed with exit code {done.returncode}, and said: {said}", remedy)
  representative = np.full(count, -1, np.int64)
  table = work / "clusters_cluster.tsv"
  for line, (first, member) in tabular.read_table(table, "tsv", ("1", "2"), header=False):
    try:
      representative[int(member)] = int(first)
    except (ValueError, IndexError):
      problem = f"{first!r} and {member!r} are no two of the {count} records"
      raise InputError(table, problem, "Check the version of MMseqs2.", record=f"line {line}") from None
  if len(missing := np.flatnonzero(representative < 0)):
    problem = f"names no cluster of {len(missing)} of {count} records"
    raise InputError(table, problem, "Check the version of MMseqs2, and the disk.", record=f"record {missing[0] + 1}")
  return representative
