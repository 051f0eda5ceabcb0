"""k-mers of whole sequences at once, and a table that finds the few that are known among the many that are not."""

import math
from collections.abc import Mapping

import numpy as np

from bsm_jax import tokenizer

KMER = 24  # of nucleotides that are compared letter for letter
_TRIPLETS_OF_A_KMER = KMER - 2
_MULTIPLIERS = {4: np.uint32(0x9E3779B1), 8: np.uint64(0x9E3779B97F4A7C15)}  # by bytes a key; Knuth's golden ratio
# Places of the filter a key: one look-up in eight that should find nothing is passed on.
_FILTER_PLACES = 8


def pack_kmers(letters: np.ndarray, k: int, bits: int) -> np.ndarray:
  """Every k letters as one integer, the first in the highest bits: uint64 [n] to [n - k + 1]; `k * bits` <= 64."""
  if k == 1:
    return letters
  half = pack_kmers(letters, k // 2, bits)
  packed = half[: len(half) - k // 2] << np.uint64(bits * (k // 2)) | half[k // 2 :]
  return packed[:-1] << np.uint64(bits) | letters[k - 1 :] if k % 2 else packed


def is_repeat(kmers: np.ndarray, k: int, bits: int) -> np.ndarray:
  """Whether a k-mer is one, two or three letters said over and over (`aaaa`, `atat`, `gcagca`)."""
  found = np.zeros(kmers.shape, bool)
  for period in (1, 2, 3):
    mask = np.uint64((1 << bits * (k - period)) - 1)
    found |= (kmers >> np.uint64(bits * period) ^ kmers) & mask == 0
  return found


def mix(x: np.ndarray) -> np.ndarray:
  """Scrambles 64-bit integers (the finalizer of SplitMix64), so that their order has nothing to do with the letters."""
  x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
  return x ^ x >> np.uint64(31)


def unique(values: np.ndarray) -> np.ndarray:
  """Sorted distinct values. `np.unique` hashes integers first, which takes several times as long on millions."""
  values = np.sort(values)
  return values[np.r_[True, values[1:] != values[:-1]]] if len(values) else values


def canonical_kmers(ids: np.ndarray, k: int = KMER) -> tuple[np.ndarray, np.ndarray]:
  """The k-mers of encoded nucleotides, the same for both strands.

  Args:
    ids: uint8 [n] token ids.
    k: at most 32.

  Returns:
    (k-mers uint64 [n - k + 1], valid bool [n - k + 1]): not valid where a letter is no base.
  """
  if len(ids) < k:
    return np.zeros(0, np.uint64), np.zeros(0, bool)
  letters = ids - np.uint8(tokenizer.FIRST_NUCLEOTIDE)  # a c g t are 0 to 3; whatever is no base wraps to 4 or more
  is_base = letters < 4
  letters = np.where(is_base, letters, 0).astype(np.uint64)
  kmers = np.minimum(pack_kmers(letters, k, 2), pack_kmers(np.uint64(3) - letters[::-1], k, 2)[::-1])
  if is_base.all():
    return kmers, np.ones(len(kmers), bool)
  bad = np.r_[0, np.cumsum(~is_base)]
  return kmers, bad[k:] == bad[:-k]


def distinct_triplets(ids: np.ndarray) -> np.ndarray:
  """How many different triplets each 24-mer of encoded nucleotides holds, uint8 [n - 23], 22 at most.

  The same on both strands. Repeats of up to p letters have p, random letters 18.8 on average (1.3 % under 15); what is
  no base counts as `a`.
  """
  if len(ids) < KMER:
    return np.zeros(0, np.uint8)
  letters = ids - np.uint8(tokenizer.FIRST_NUCLEOTIDE)
  letters = np.where(letters < 4, letters, 0).astype(np.uint64)
  found = np.uint64(1) << pack_kmers(letters, 3, 2)
  width = 1
  while width < _TRIPLETS_OF_A_KMER:  # a union may count letters twice, so windows may overlap
    step = min(width, _TRIPLETS_OF_A_KMER - width)
    found = found[:-step] | found[step:]
    width += step
  return np.bitwise_count(found)


class KmerTable:
  """Keys, several of which may be equal, looked up a million at a time.

  A filter of one bit a place answers for nearly all of those that are not there; it is small, so that it stays in a
  processor's cache. The keys themselves lie in buckets, ordered by their hash, of one key on average.

  Attributes:
    keys: uint32 or uint64 [n], in the order of their buckets; equal keys in the order in which they were given.
    starts: uint32 or uint64 [buckets + 1], where each bucket begins.
    filter: uint8 [places / 8].
  """

  def __init__(self, keys: np.ndarray, starts: np.ndarray, filter: np.ndarray):
    self.keys, self.starts, self.filter = keys, starts, filter
    width = 8 * keys.itemsize
    self._multiplier = _MULTIPLIERS[keys.itemsize]
    self._filter_shift = keys.dtype.type(width - _log2(8 * len(filter)))
    self._bucket_shift = keys.dtype.type(width - _log2(len(starts) - 1))

  @classmethod
  def build(cls, keys: np.ndarray) -> tuple["KmerTable", np.ndarray]:
    """Args: keys: uint32 or uint64 [n].

    Returns:
      (the table, int64 [n]: which of the keys given each entry is, to order by it what belongs to them).
    """
    width = 8 * keys.itemsize
    hashes = keys * _MULTIPLIERS[keys.itemsize]
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    bucket_bits = min(width - 1, max(1, _log2(max(1, len(keys)))))
    counts = np.bincount((hashes >> keys.dtype.type(width - bucket_bits)).astype(np.int64), minlength=1 << bucket_bits)
    starts = np.r_[0, np.cumsum(counts)].astype(np.uint32 if len(keys) < 1 << 32 else np.uint64)
    filter_bits = min(width - 1, max(3, bucket_bits + 1 + _log2(_FILTER_PLACES)))
    bits = np.zeros(1 << filter_bits, bool)
    bits[hashes >> keys.dtype.type(width - filter_bits)] = True
    return cls(keys[order], starts, np.packbits(bits, bitorder="little")), order

  def arrays(self) -> dict[str, np.ndarray]:
    """What `KmerTable` is made from, to be stored."""
    return {"keys": self.keys, "starts": self.starts, "filter": self.filter}

  @classmethod
  def of(cls, arrays: Mapping[str, np.ndarray]) -> "KmerTable":
    return cls(arrays["keys"], arrays["starts"], arrays["filter"])

  def __len__(self) -> int:
    return len(self.keys)

  def find(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of a query and an entry of the same key.

    Args:
      queries: [n], of the keys' dtype.

    Returns:
      (which query, which entry), int64 [pairs] each, in the order of the queries.
    """
    hashes = queries * self._multiplier
    places = hashes >> self._filter_shift
    maybe = np.flatnonzero(self.filter[places >> places.dtype.type(3)] >> (places.astype(np.uint8) & 7) & 1)
    buckets = hashes[maybe] >> self._bucket_shift
    first = self.starts[buckets].astype(np.int64)
    which, entry = expand(first, self.starts[buckets + buckets.dtype.type(1)].astype(np.int64))
    which = maybe[which]
    same = self.keys[entry] == queries[which]
    return which[same], entry[same]


def expand(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The members of many ranges [first, last): (which range, member), int64 each."""
  sizes = last - first
  which = np.repeat(np.arange(len(sizes)), sizes)
  return which, np.arange(len(which)) + (last - np.cumsum(sizes))[which]


def _log2(n: int) -> int:
  """The whole part of the logarithm: exact where n is a power of two."""
  return math.frexp(n)[1] - 1
