"""What is counted in sequences and rows: by hand, and against the tokenizer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsm_jax import tokenizer
from bsm_jax.tokenizer import BOS, EOS, PAD, UNK, Modality
from data_pipelines import pack
from data_pipelines.inspection import statistics
from data_pipelines.inspection.statistics import Sequences
from tests.data_pipelines.inspection.sample_build import CONTEXT, DNA, PROTEIN, RNA, ids, pair, row


def sequences(*typed, document=None, taxon=None):
  return Sequences(
      letters=np.concatenate([ids(s, m) for m, s in typed]), ends=np.cumsum([len(s) for _, s in typed]),
      modality=np.array([m for m, _ in typed], np.uint8),
      document=np.arange(len(typed)) if document is None else np.array(document),
      taxon=np.array(taxon or [0] * len(typed), np.int32),
  )


class TestSequenceStatistics:

  def test_lengths_gc_and_letters_are_those_counted_by_hand(self):
    found = statistics.measure_sequences(sequences((DNA, "ACGTN"), (RNA, "GGGA"), (PROTEIN, "MKM"), (DNA, "NN")))
    assert found.length.tolist() == [5, 4, 3, 2]
    np.testing.assert_array_equal(found.gc, np.float32([0.5, 0.75, np.nan, np.nan]))
    assert found.letters_by_modality() == {"dna": 7, "rna": 4, "protein": 3}
    assert found.sequences_by_modality() == {"dna": 2, "rna": 1, "protein": 1}
    n, m = tokenizer.VOCABULARY.index("n"), tokenizer.VOCABULARY.index("M")
    assert found.letter_counts[0, n] == 3 and found.letter_counts[2, m] == 2

  def test_orders_are_those_of_the_sequences_of_each_document(self):
    found = statistics.measure_sequences(
        sequences((DNA, "A"), (PROTEIN, "M"), (PROTEIN, "M"), (DNA, "C"), (PROTEIN, "K"), document=[0, 0, 1, 2, 2])
    )
    assert found.orders == {(DNA, PROTEIN): 2, (PROTEIN,): 1}

  def test_letters_by_taxon_come_largest_first(self):
    found = statistics.measure_sequences(
        sequences((DNA, "AC"), (PROTEIN, "MKV"), (DNA, "ACGT"), (RNA, "A"), taxon=[5, 9, 9, 5])
    )
    by_taxon = {taxon: letters.tolist() for taxon, letters in found.letters_by_taxon().items()}
    assert list(by_taxon.items()) == [(9, [4, 0, 3]), (5, [2, 1, 0])]

  def test_a_sample_counts_for_what_it_stands_for(self):
    part = statistics.measure_sequences(sequences((DNA, "ACGT"), (PROTEIN, "MK")))
    found = statistics.combine_sequences([part.scaled(10), part])
    assert found.letters_by_modality() == {"dna": 44, "rna": 0, "protein": 22}
    assert found.sequences_by_modality()["dna"] == 11
    assert found.orders == {(DNA,): 11, (PROTEIN,): 11}
    assert found.letters_by_taxon()[0].tolist() == [44, 0, 22]

  def test_one_modality_can_be_taken_out(self):
    found = statistics.measure_sequences(sequences((DNA, "ACGT"), (PROTEIN, "MK"), (DNA, "A"))).only(DNA)
    assert found.length.tolist() == [4, 1] and found.letters_by_modality() == {"dna": 5, "rna": 0, "protein": 0}

  def test_unresolved_letters_are_n_x_and_unk(self):
    letters = np.array([UNK, *ids("NACGTACG")], np.uint8)
    parts = [Sequences(letters, np.array([9]), np.array([DNA], np.uint8), np.array([0]), np.array([0])),
             sequences((PROTEIN, "MX"))]
    found = statistics.combine_sequences([statistics.measure_sequences(p) for p in parts])
    assert statistics.unresolved_share(found) == {
        "dna": {"n": pytest.approx(1 / 9), "<unk>": pytest.approx(1 / 9)}, "protein": {"X": 0.5, "<unk>": 0},
    }


class TestRowStatistics:

  def test_fill_documents_orders_and_lengths_are_those_counted_by_hand(self):
    two = row(pair("ACGT", "MK"), tokenizer.join_document([(RNA, ids("GG", RNA))]))  # 11 and 5 tokens
    one = row(pair("AC", "M"))  # 8 tokens
    found = statistics.measure_rows(np.stack([two, one]))
    assert found.fill.tolist() == [16 / CONTEXT, 8 / CONTEXT]
    assert found.documents.tolist() == [2, 1]
    assert found.sequences.orders == {(DNA, PROTEIN): 2, (RNA,): 1}
    assert found.sequences.length.tolist() == [4, 2, 2, 2, 1]
    assert found.sequences.modality.tolist() == [DNA, PROTEIN, RNA, DNA, PROTEIN]
    assert found.sequences.letters_by_modality() == {"dna": 6, "rna": 2, "protein": 3}
    assert found.untyped_letters == 0

  def test_a_window_without_bos_is_a_document(self):
    found = statistics.measure_rows(np.stack([row(DNA, ids("ACGT")), row(DNA, ids("AC"), EOS)]))
    assert found.documents.tolist() == [1, 1] and found.sequences.orders == {(DNA,): 2}

  def test_a_row_that_begins_inside_a_sequence_has_letters_without_a_modality(self):
    tokens = row(ids("CGT"), tokenizer.SEP, PROTEIN, ids("MK", PROTEIN), EOS, pair("A", "M"))
    found = statistics.measure_rows(tokens[None])
    assert found.untyped_letters == 3 and found.documents.tolist() == [2]
    assert found.sequences.letters_by_modality() == {"dna": 1, "rna": 0, "protein": 3}
    assert found.sequences.orders == {(statistics.CONTINUED, PROTEIN): 1, (DNA, PROTEIN): 1}

  @pytest.mark.parametrize(("bad", "message"), [
      ([PAD], "nothing but padding"),
      ([BOS, DNA, 60, EOS], "token id 60"),
      ([BOS, DNA, *ids("MK", PROTEIN)], "holds M in dna"),
      ([BOS, PROTEIN, *ids("AC")], "holds a in protein"),
  ])
  def test_a_row_that_no_build_writes_is_named(self, bad, message):
    with pytest.raises(statistics.RowContentError, match=message) as error:
      statistics.measure_rows(np.stack([row(pair()), row(pair()), row(bad)]))
    assert error.value.row == 2

  @given(st.lists(st.lists(st.tuples(st.sampled_from(list(Modality)), st.integers(1, 5)), min_size=1, max_size=3),
                  min_size=1, max_size=12))
  def test_packed_rows_hold_what_the_tokenizer_reads_in_them(self, documents):
    letters = {DNA: "acgtn", RNA: "ggcan", PROTEIN: "MKVLX"}
    tokens = [tokenizer.join_document([(m, ids(letters[m][:n], m)) for m, n in d]) for d in documents]
    rows = np.stack([np.frombuffer(r, np.uint8) for r in pack.pack(tokens, CONTEXT)])
    found = statistics.measure_rows(rows)
    assert found.documents.sum() == len(documents)
    assert found.sequences.letters_by_modality() == tokenizer.count_by_modality(rows)
    lengths = sorted((int(m), n) for d in documents for m, n in d)
    assert sorted(zip(found.sequences.modality.tolist(), found.sequences.length.tolist())) == lengths
    assert sum(found.sequences.orders.values()) == len(documents)
    assert set(found.sequences.orders) == {tuple(int(m) for m, _ in d) for d in documents}


class TestSummaries:

  def test_quantiles_count_weights(self):
    values, weights = np.array([30, 10, 20]), np.array([1.0, 1.0, 2.0])
    assert statistics.quantiles(values, weights, (0, 0.25, 0.26, 0.75, 0.76, 1)) == [10, 10, 20, 20, 30, 30]
    for n in range(1, 100):  # a tenth is no binary number: sums of it are off by a little
      found = statistics.quantiles(np.arange(1, n + 1), np.full(n, 0.1), [k / n for k in range(1, n + 1)])
      assert found == list(range(1, n + 1))
    assert np.isnan(statistics.quantiles(np.array([]), np.array([]), (0.5,))[0])

  @given(st.integers(1, 5000), st.integers(0, 5000), st.sampled_from([1, 3]))
  def test_log_bins_hold_every_length_and_none_is_empty(self, least, more, width):
    most = least + more
    edges = statistics.log_bins(least, most, width=width)
    assert edges[0] > 0 and edges[0] <= least and edges[-1] >= most
    assert (np.diff(edges) > 0).all()
    multiples = np.arange(0, edges[-1] + width, width)
    assert (np.histogram(multiples, edges)[0] > 0).all()

  def test_a_sample_has_one_index_of_each_stretch(self):
    rng = np.random.default_rng(0)
    assert statistics.sample_indices(3, 5, rng).tolist() == [0, 1, 2]
    found = statistics.sample_indices(1000, 10, rng)
    assert (found // 100).tolist() == list(range(10))
    assert statistics.sample_indices(1000, 10, rng).tolist() != found.tolist()
    assert statistics.sample_indices(10, 0, rng).tolist() == []
