"""The parts of the held-out search agree with slow and plain versions of themselves."""

import random

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import genetic_code, kmers, nucleotide_search, translated_search
from data_pipelines.kmers import KMER, KmerTable
from data_pipelines.nucleotide_search import Marks
from data_pipelines.translated_search import ProteinIndex


def letters_of(codes):
  """The search's letters as text; what is no residue is a star."""
  return "".join(tokenizer.AMINO_ACIDS[c] if c < 20 else "*" for c in codes)


class TestKmers:

  @hypothesis.given(st.text("ACGTN", max_size=60), st.integers(1, 20))
  def test_canonical_kmers_agree_with_those_of_strings(self, letters, k):
    ids = tokenizer.encode(letters, Modality.DNA)
    found, valid = kmers.canonical_kmers(ids, k)
    other = tokenizer.decode(tokenizer.reverse_complement(ids))
    text = tokenizer.decode(ids)
    assert len(found) == max(len(letters) - k + 1, 0)
    for i, (kmer, ok) in enumerate(zip(found.tolist(), valid)):
      expected = min(text[i : i + k], other[len(text) - i - k : len(text) - i])
      assert ok == ("n" not in text[i : i + k])
      if ok:
        assert kmer == int("".join(str("acgt".index(c)) for c in expected), 4)

  @hypothesis.given(st.text("ACGT", max_size=60))
  def test_triplets_agree_with_those_of_strings(self, letters):
    found = kmers.distinct_triplets(tokenizer.encode(letters, Modality.DNA))
    windows = [letters[i : i + KMER] for i in range(len(letters) - KMER + 1)]
    assert found.tolist() == [len({w[i : i + 3] for i in range(KMER - 2)}) for w in windows]

  @pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
  @hypothesis.given(st.lists(st.integers(0, 50), max_size=200), st.lists(st.integers(0, 60), max_size=100))
  def test_a_table_finds_every_pair_and_nothing_else(self, dtype, keys, queries):
    table, order = KmerTable.build(np.array(keys, dtype))
    which, entry = table.find(np.array(queries, dtype))
    found = list(zip(which.tolist(), order[entry].tolist()))
    assert found == [(q, k) for q, query in enumerate(queries) for k, key in enumerate(keys) if key == query]

  def test_a_table_of_large_keys_finds_them(self):
    keys = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64)
    table, order = KmerTable.build(keys)
    which, entry = table.find(np.concatenate([keys, keys + np.uint64(1)]))
    assert which.tolist() == list(range(20_000)) and order[entry].tolist() == which.tolist()

  @hypothesis.given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=10))
  def test_ranges_are_expanded_in_order(self, ranges):
    first = np.array([a for a, _ in ranges], np.int64)
    which, member = kmers.expand(first, first + np.array([n for _, n in ranges], np.int64))
    expected = [(i, m) for i, (a, n) in enumerate(ranges) for m in range(a, a + n)]
    assert list(zip(which.tolist(), member.tolist())) == expected


class TestSixFrames:

  @hypothesis.given(st.text("ACGTN", max_size=40), st.sampled_from([1, 2, 4, 6, 11]))
  def test_every_frame_is_a_translation(self, letters, table):
    ids = tokenizer.encode(letters, Modality.DNA)
    frames = translated_search.six_frames(ids, table)
    other = tokenizer.decode(tokenizer.reverse_complement(ids)).upper()
    for frame in range(3):
      codons = max((len(letters) - frame) // 3, 0)
      begin = len(letters) - frame - 3 * codons if codons else 0
      for row, text in ((frame, letters[frame:]), (3 + frame, other[begin:])):
        expected = genetic_code.translate(text[: 3 * codons], table)
        found = letters_of(frames[row][:codons])
        tga = ["W" if text[3 * i : 3 * i + 3] == "TGA" and r == "*" else r for i, r in enumerate(expected)]
        assert found == "".join(r if r in tokenizer.AMINO_ACIDS else "*" for r in tga)
        assert letters_of(frames[row][codons:]) == "*" * (len(frames[row]) - codons) and codons < len(frames[row])

  @hypothesis.given(st.integers(3, 60), st.integers(0, 2**32))
  def test_stretches_of_the_frames_are_placed_on_the_letters_they_were_read_from(self, length, seed):
    rng = random.Random(seed)
    letters = "".join(rng.choices("ACGT", k=length))
    frames = translated_search.six_frames(tokenizer.encode(letters, Modality.DNA), 1)
    width = frames.shape[1]
    for frame in range(6):
      codons = (length - frame % 3) // 3
      if not codons:
        continue
      a = rng.randrange(codons)
      b = rng.randint(a + 1, codons)
      at = np.array([frame * width + a]), np.array([frame * width + b])
      (start,), (end,) = translated_search.nucleotide_coordinates(*at, length)
      ids = tokenizer.encode(letters[start:end], Modality.DNA)
      text = tokenizer.decode(ids if frame < 3 else tokenizer.reverse_complement(ids)).upper()
      expected = genetic_code.translate(text).replace("*", "?")
      found = letters_of(frames[frame][a:b])
      assert len(text) == 3 * (b - a)
      assert all(f == e or e == "?" for f, e in zip(found, expected))


class TestScores:

  def test_chance_asks_for_more_of_a_larger_index(self):
    scores = [translated_search.chance_score(10**n, 1e-6) for n in range(3, 10)]
    assert scores == sorted(scores)
    assert scores[0] == 12 and scores[-1] == 18
    marks = [nucleotide_search.chance_marks(10**n, 1e-6) for n in range(3, 10)]
    assert marks == sorted(marks) and (marks[0], marks[-1]) == (1, 13)

  def test_an_empty_index_asks_for_nothing(self):
    assert translated_search.chance_score(0, 1e-6) == 0
    assert nucleotide_search.chance_marks(0, 1e-6) == 1

  @hypothesis.given(st.integers(0, 2**32), st.floats(0.6, 1.0))
  def test_a_seed_is_extended_to_the_best_stretch(self, seed, identity):
    rng = random.Random(seed)
    blocks = ["".join(rng.sample(tokenizer.AMINO_ACIDS, 20)) for _ in range(3)]
    protein = "".join(blocks)[:45]  # shorter than the reach of a seed, so that the whole diagonal is seen
    query = "".join(c if rng.random() < identity else rng.choice(tokenizer.AMINO_ACIDS) for c in protein)
    index, _ = ProteinIndex.build(
        [tokenizer.encode(protein, Modality.PROTEIN)], np.zeros(1), min_score=1, share=0.01, copies=8, per_kilobase=1.0
    )
    codes, _ = translated_search.join([translated_search.residue_codes(tokenizer.encode(query, Modality.PROTEIN))])
    hits = index.hits(codes)
    sign = np.array([1 if a == b else -1 for a, b in zip(protein, query)])
    best = max(sign[a:b].sum() for a in range(45) for b in range(a + 1, 46))
    for start, end, score, matched in zip(hits.start, hits.end, hits.score, hits.matched):
      on_diagonal = sign[start:end]
      assert (score, matched) == (on_diagonal.sum(), (on_diagonal > 0).sum())
      # What lies beside it makes it no better.
      assert all(sign[a:start].sum() <= 0 for a in range(start))
      assert all(sign[end:b].sum() <= 0 for b in range(end + 1, 46))
    if best >= 30:
      assert max(hits.score) == best


class TestRuns:

  def runs(self, positions, needs, max_gap=10, min_density=0.0):
    marks = Marks(np.array(positions), np.ones(len(positions), np.uint8), np.array(needs, np.uint16))
    found = nucleotide_search.runs(marks, 0, max_gap, min_density)
    return list(zip(found.start.tolist(), found.end.tolist(), found.marks.tolist()))

  def test_marks_beyond_the_gap_are_of_another_run(self):
    assert self.runs([0, 1, 35], [1, 1, 1]) == [(0, 59, 3)]
    assert self.runs([0, 1, 36], [1, 1, 1]) == [(0, 25, 2), (36, 60, 1)]

  def test_a_run_has_as_many_marks_as_some_of_them_ask_for(self):
    assert self.runs(range(5), [6, 6, 6, 6, 6]) == []
    assert self.runs(range(6), [6, 6, 6, 6, 6, 6]) == [(0, 29, 6)]
    assert self.runs(range(5), [3, 3, 9, 9, 9]) == []
    assert self.runs(range(5), [3, 9, 3, 9, 3]) == [(0, 28, 5)]

  def test_a_run_is_as_dense_as_asked_for(self):
    assert self.runs([0, 10, 19], [1, 1, 1], min_density=0.15) == [(0, 43, 3)]
    assert self.runs([0, 10, 19], [1, 1, 1], min_density=0.16) == []

  def test_marks_of_other_labels_do_not_count(self):
    marks = Marks(np.arange(4), np.array([1, 2, 3, 2], np.uint8), np.full(4, 3, np.uint16))
    assert len(nucleotide_search.runs(marks, 0, 10, 0.0).start) == 0
    assert nucleotide_search.runs(marks, 1, 10, 0.0).marks.tolist() == [3]
