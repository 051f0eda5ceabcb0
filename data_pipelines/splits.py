"""Which split a protein belongs to, by clusters of proteins.

One assignment serves every corpus. Proteins are clustered by the k-mers that they share and whole clusters are sent to
`train`, `valid` or `test`. All other sequences follow the proteins: `decontaminate.HeldOut` finds in them what is held
out.

The clustering follows Linclust (Steinegger and Söding 2018, doi:10.1038/s41467-018-04964-5) in its outline: a few
k-mers a protein, chosen by a hash, bring candidates together in linear time, and each candidate pair is then verified.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse

from bsm_jax import tokenizer
from data_pipelines.kmers import is_repeat, mix, pack_kmers, unique

SPLITS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True)
class SplitConfig:
  """How sequences are assigned to splits.

  Attributes:
    valid, test: expected share of the clusters.
    seed: changes which clusters are held out.
    protein_kmer: length of the k-mers that bring candidate pairs together.
    sketch: k-mers chosen in each protein.
    verify_kmer: length of the k-mers by which a candidate pair is verified.
    min_shared: least share of the shorter protein's distinct k-mers that a linked pair has in common; 0.1 of all
      5-mers is an identity of some 63 %. Measured on two E. coli strains and yeast (14,147 proteins, every pair
      compared): no held-out protein shares more than 0.25 with one of train, 0.8 % of them more than 0.2.
    max_cluster_share: a cluster with more than this share of all proteins is always train, so that no split is one
      family (clusters of up to 20 proteins are never too large).
    min_protein: a cluster whose longest member is shorter than this is always train: its gene has too few k-mers to be
      found in other sequences.
    max_clustered: at most so many proteins are clustered, chosen by a hash; the clustering is done in memory, about
      8 KB a protein. All others go where `decontaminate.HeldOut` finds them.
  """

  valid: float = 0.05
  test: float = 0.05
  seed: int = 0
  protein_kmer: int = 6
  sketch: int = 60
  verify_kmer: int = 5
  min_shared: float = 0.1
  max_cluster_share: float = 0.01
  min_protein: int = 30
  max_clustered: int = 200_000

  def __post_init__(self):
    if not (0 <= self.valid and 0 <= self.test and self.valid + self.test <= 1):
      raise ValueError(f"valid={self.valid} and test={self.test} are no shares")


def digest(ids: np.ndarray | bytes) -> int:
  """64 bits that identify an encoded sequence."""
  return int.from_bytes(hashlib.blake2b(bytes(ids), digest_size=8).digest(), "little")


# --- proteins ---


def _protein_kmers(proteins: Sequence[bytes], k: int) -> tuple[np.ndarray, np.ndarray]:
  """(protein index int64 [n], k-mer uint64 [n]) of every k-mer that lies in one protein and is no repeat."""
  lengths = np.array([len(p) for p in proteins], np.int64)
  letters = np.frombuffer(b"".join(proteins), np.uint8).astype(np.uint64) - np.uint64(tokenizer.FIRST_AMINO_ACID)
  owner = np.repeat(np.arange(len(proteins)), lengths)
  if len(letters) < k:
    return owner[:0], letters[:0]
  kmers = pack_kmers(letters & np.uint64(31), k, 5)
  keep = (owner[: len(kmers)] == owner[k - 1 :]) & ~is_repeat(kmers, k, 5)
  return owner[: len(kmers)][keep], kmers[keep]


def _candidate_pairs(proteins: Sequence[bytes], config: SplitConfig) -> np.ndarray:
  """Index pairs, int64 [n, 2], of proteins that have a chosen k-mer in common: each with the longest and with its
  neighbour by length, so that one unrelated long protein does not hide the others from each other."""
  owner, kmers = _protein_kmers(proteins, config.protein_kmer)
  hashes = mix(kmers)
  order = np.lexsort((hashes, owner))
  owner, hashes = owner[order], hashes[order]
  first = np.searchsorted(owner, np.arange(len(proteins)))
  chosen = np.arange(len(owner)) - first[owner] < config.sketch
  owner, hashes = owner[chosen], hashes[chosen]
  lengths = np.array([len(p) for p in proteins], np.int64)
  order = np.lexsort((owner, -lengths[owner], hashes))
  owner, hashes = owner[order], hashes[order]
  opens = np.r_[True, hashes[1:] != hashes[:-1]][: len(hashes)]
  longest = owner[np.maximum.accumulate(np.where(opens, np.arange(len(owner)), 0))]
  pairs = np.concatenate([
      np.stack([longest, owner], 1)[~opens], np.stack([owner[:-1], owner[1:]], 1)[~opens[1:]],
  ])
  return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def _shared(proteins: Sequence[bytes], pairs: np.ndarray, k: int) -> np.ndarray:
  """Share of the shorter protein's distinct k-mers that the other one has too, float64 [len(pairs)]."""
  owner, kmers = _protein_kmers(proteins, k)
  keys = unique(owner.astype(np.uint64) << np.uint64(5 * k) | kmers)
  owner = (keys >> np.uint64(5 * k)).astype(np.int64)
  first = np.searchsorted(owner, np.arange(len(proteins) + 1))
  sizes = np.diff(first)
  swap = sizes[pairs[:, 0]] < sizes[pairs[:, 1]]
  large, small = np.where(swap, pairs[:, 1], pairs[:, 0]), np.where(swap, pairs[:, 0], pairs[:, 1])
  shares = np.zeros(len(pairs))
  mask = np.uint64((1 << 5 * k) - 1)
  for begin in range(0, len(pairs), 4096):  # bounds the memory of the look-ups
    block = slice(begin, begin + 4096)
    n = sizes[small[block]]
    pair = np.repeat(np.arange(len(n)), n)
    at = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + first[small[block]][pair]
    wanted = large[block][pair].astype(np.uint64) << np.uint64(5 * k) | keys[at] & mask
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = np.bincount(pair, keys[place] == wanted, minlength=len(n))
    shares[block] = found / np.maximum(n, 1)
  return shares


def cluster_proteins(proteins: Sequence[bytes], config: SplitConfig) -> np.ndarray:
  """Clusters encoded proteins by the k-mers that they share.

  Args:
    proteins: distinct encoded proteins (token ids).
    config: see `SplitConfig`.

  Returns:
    The cluster of each protein, int32 [len(proteins)], numbered from 0.
  """
  pairs = _candidate_pairs(proteins, config)
  linked = pairs[_shared(proteins, pairs, config.verify_kmer) >= config.min_shared]
  graph = sparse.coo_matrix((np.ones(len(linked), bool), linked.T), shape=(len(proteins),) * 2)
  return sparse.csgraph.connected_components(graph, directed=False)[1]


class ProteinSplits:
  """The split of every protein that was clustered.

  Attributes:
    digests: uint64 [n], sorted; see `digest`.
    splits: uint8 [n], index into `SPLITS`.
    clusters: int32 [n].
  """

  def __init__(self, digests: np.ndarray, splits: np.ndarray, clusters: np.ndarray):
    self.digests, self.splits, self.clusters = digests, splits, clusters

  @classmethod
  def assign(cls, proteins: Iterable[bytes], config: SplitConfig, pinned: Iterable[int] = ()) -> "ProteinSplits":
    """Clusters proteins and sends each cluster to a split by a hash of its representative (the longest member).

    Args:
      proteins: encoded proteins; repeats are taken once.
      config: see `SplitConfig`.
      pinned: digests of proteins whose clusters must be train, because their nucleotides are in train whatever is
        decided here.
    """
    unique = {digest(p): p for p in proteins}
    digests = np.array(sorted(unique), np.uint64)
    ordered = [unique[d] for d in digests.tolist()]
    clusters = cluster_proteins(ordered, config)
    is_pinned = np.zeros(clusters.max(initial=-1) + 1, bool)
    is_pinned[clusters[np.isin(digests, np.fromiter(pinned, np.uint64))]] = True
    too_large = max(20, config.max_cluster_share * len(ordered))
    split_of_cluster = np.zeros(len(is_pinned), np.uint8)
    members = np.split(np.argsort(clusters, kind="stable"), np.cumsum(np.bincount(clusters))[:-1]) if ordered else []
    for cluster, indices in enumerate(members):
      representative = max((ordered[i] for i in indices), key=lambda p: (len(p), p))
      if is_pinned[cluster] or len(indices) > too_large or len(representative) < config.min_protein:
        continue
      u = digest(b"%d/" % config.seed + representative) / 2**64
      split_of_cluster[cluster] = 1 if u < config.valid else 2 if u < config.valid + config.test else 0
    return cls(digests, split_of_cluster[clusters], clusters)

  def split(self, protein: np.ndarray | bytes) -> str | None:
    """The split of an encoded protein; None where it was not among those clustered."""
    at = self._find(protein)
    return None if at is None else SPLITS[self.splits[at]]

  def cluster(self, protein: np.ndarray | bytes) -> int | None:
    """The cluster of an encoded protein, likewise."""
    at = self._find(protein)
    return None if at is None else int(self.clusters[at])

  def _find(self, protein: np.ndarray | bytes) -> int | None:
    key = np.uint64(digest(protein))
    at = int(np.searchsorted(self.digests, key))
    return at if at < len(self.digests) and self.digests[at] == key else None

  def save(self, path: str | os.PathLike) -> None:
    np.savez(path, digests=self.digests, splits=self.splits, clusters=self.clusters)

  @classmethod
  def load(cls, path: str | os.PathLike) -> "ProteinSplits":
    with np.load(path) as arrays:
      return cls(arrays["digests"], arrays["splits"], arrays["clusters"])
