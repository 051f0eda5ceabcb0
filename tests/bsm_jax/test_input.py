import collections
import json

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsm_jax import sharding, tokenizer
from bsm_jax.input import loader, mixture, rows, segments
from tests.bsm_jax.sample_rows import CONTEXT, write_row_set

B, E, S, P = tokenizer.BOS, tokenizer.EOS, tokenizer.SEP, tokenizer.PAD
DNA, PROTEIN = int(tokenizer.Modality.DNA), int(tokenizer.Modality.PROTEIN)
a, M = tokenizer.FIRST_NUCLEOTIDE, tokenizer.FIRST_AMINO_ACID

# A continuation without <bos>, then two documents, then padding.
ROW = np.array([DNA, a, a, E, B, DNA, a, S, PROTEIN, M, E, B, PROTEIN, M, M, E, P, P], np.uint8)


def test_segments_count_documents_and_padding_is_zero():
  assert segments.segment_ids(ROW).tolist() == [1] * 4 + [2] * 7 + [3] * 5 + [0, 0]


def test_positions_restart_at_each_document():
  assert segments.positions(ROW).tolist()[:16] == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]


def test_nothing_predicts_the_next_documents_start_or_padding():
  targets, counts = segments.next_tokens(ROW)
  assert targets.tolist()[:-1] == ROW.tolist()[1:]
  assert np.flatnonzero(~np.asarray(counts)).tolist() == [3, 10, 15, 16, 17]


def test_each_letter_has_the_modality_of_its_sequence():
  found = segments.modalities(ROW).tolist()
  assert found == [0, DNA, DNA, 0, 0, 0, DNA, 0, 0, PROTEIN, 0, 0, 0, PROTEIN, PROTEIN, 0, 0, 0]


def test_letters_whose_tag_stands_in_another_row_have_no_modality():
  inside = np.array([a, a + 1, M, tokenizer.UNK, E, B, DNA, a, P], np.uint8)
  assert segments.modalities(inside).tolist() == [0, 0, 0, 0, 0, 0, 0, DNA, 0]
  assert segments.modalities(inside[:4]).tolist() == [0] * 4


# --- the mixture


rounds_of_run = st.lists(
    st.tuples(
        st.integers(1, 400), st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 20), min_size=1, max_size=6)
    ),
    min_size=1,
    max_size=4,
)


@given(rounds_of_run)
def test_every_row_set_is_drawn_in_order_without_a_gap(rounds):
  mix = mixture.RoundMixture([mixture.RoundRows(n, w) for n, w in rounds])
  seen = collections.Counter()
  for index in range(len(mix)):
    assert mix.drawn(index) == {name: seen[i] for i, name in enumerate(mix.row_sets)}
    part, at = mix[index]
    assert at == seen[part]
    seen[part] += 1
  assert mix.drawn(len(mix)) == {name: seen[i] for i, name in enumerate(mix.row_sets)}


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 20), min_size=1), st.integers(1, 3000))
def test_every_prefix_of_a_round_keeps_the_weights(weights, n):
  drawn = mixture.RoundMixture([mixture.RoundRows(3000, weights)]).drawn(n)
  for name, weight in weights.items():
    assert abs(drawn[name] - n * weight / sum(weights.values())) <= len(weights)


def test_weight_zero_is_refused():
  with pytest.raises(ValueError, match="leave a row set out"):
    mixture.RoundMixture([mixture.RoundRows(10, {"a": 1.0, "b": 0.0})])


def test_a_row_beyond_the_run_is_an_index_error():
  with pytest.raises(IndexError):
    mixture.RoundMixture([mixture.RoundRows(10, {"a": 1.0})])[10]


def _input(rows_root, seed=0):
  return mixture.MixtureInput(
      str(rows_root),
      [mixture.RoundRows(96, {"single": 1.0}), mixture.RoundRows(96, {"single": 1.0, "pairs": 2.0})],
      seed=seed,
      context=CONTEXT,
  )


def test_row_ids_name_the_rows_that_are_read(rows_root):
  stream = _input(rows_root)
  for index in (0, 5, 95, 96, 150, 191):
    name, rest = stream.row_id(index).split(":")
    source = rows.open_row_set(str(rows_root), name, "train").source()
    np.testing.assert_array_equal(stream.dataset[index]["tokens"], source[int(rest.split("@")[0])])
    assert stream.mixture.row_sets[stream.dataset[index]["row_set"]] == name


def test_an_epoch_holds_every_row_once_and_the_next_has_another_order(rows_root):
  stream = _input(rows_root)
  ids = [stream.row_id(i) for i in range(192) if stream.row_id(i).startswith("single")]
  n = rows.open_row_set(str(rows_root), "single", "train").rows
  order = [[i.split(":")[1].split("@")[0] for i in ids if i.endswith(f"@{epoch}")] for epoch in (0, 1)]
  assert sorted(order[0], key=int) == [str(i) for i in range(n)]
  assert order[0][: len(order[1])] != order[1]


def test_another_seed_gives_another_order(rows_root):
  assert [_input(rows_root, 0).row_id(i) for i in range(20)] != [_input(rows_root, 1).row_id(i) for i in range(20)]


def test_batches_continue_at_any_row(rows_root):
  sharded = sharding.batch_sharding(sharding.make_mesh((-1, 1, 1)))
  straight = loader.TrainBatches(_input(rows_root), 8, sharded)
  expected = [np.asarray(b["tokens"]) for b in straight]
  assert len(expected) == 24
  resumed = loader.TrainBatches(_input(rows_root), 8, sharded)
  resumed.seek(40)
  for want in expected[5:]:
    np.testing.assert_array_equal(next(resumed)["tokens"], want)
  assert resumed.next_row == straight.next_row == 192
  for _ in range(2):
    with pytest.raises(StopIteration):
      next(resumed)


@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2), (1, 1, 8)])
def test_a_batch_holds_the_runs_rows_in_their_order_on_any_mesh(rows_root, shape):
  stream = _input(rows_root)
  batches = loader.TrainBatches(stream, 8, sharding.batch_sharding(sharding.make_mesh(shape)))
  batches.seek(16)
  batch = next(batches)
  assert batch["row"].tolist() == list(range(16, 24))
  for name in ("tokens", "row_set"):
    np.testing.assert_array_equal(batch[name], [stream.dataset[row][name] for row in range(16, 24)])


def test_a_batch_that_does_not_divide_over_the_devices_is_refused(rows_root):
  with pytest.raises(ValueError, match="a batch of 12 rows does not divide over the devices"):
    loader.TrainBatches(_input(rows_root), 12, sharding.batch_sharding(sharding.make_mesh((8, 1, 1))))


def test_validation_pads_its_last_batch_and_reads_each_row_once(rows_root):
  row_set = rows.open_row_set(str(rows_root), "pairs", "valid")
  sharded = sharding.batch_sharding(sharding.make_mesh((-1, 1, 1)))
  got = np.concatenate([np.asarray(b["tokens"]) for b in loader.validation_batches(row_set, 8, 11, sharded)])
  assert got.shape == (16, CONTEXT)
  np.testing.assert_array_equal(got[:11], [row_set.source()[i] for i in range(11)])
  assert (got[11:] == tokenizer.PAD).all()


# --- rows that cannot be used


def test_rows_of_another_vocabulary_are_refused(tmp_path):
  write_row_set(tmp_path, "old", vocabulary_hash="0" * 64)
  with pytest.raises(rows.RowsError, match="another vocabulary.*Build the rows"):
    rows.open_row_set(str(tmp_path), "old", "train")


def test_rows_of_another_context_are_refused(rows_root):
  with pytest.raises(rows.RowsError, match="rows of 64 tokens, but the run's context is 128"):
    rows.open_row_set(str(rows_root), "pairs", "train", context=128)


def test_an_absent_row_set_lists_what_is_there(rows_root):
  with pytest.raises(rows.RowsError, match="no row set 'pears'.*pairs, single"):
    rows.open_row_set(str(rows_root), "pears", "train")


def test_an_absent_split_is_named(rows_root):
  with pytest.raises(rows.RowsError, match="no test rows"):
    rows.open_row_set(str(rows_root), "pairs", "test")


def test_a_missing_shard_is_named(tmp_path):
  write_row_set(tmp_path, "lost")
  shard = tmp_path / "lost/train/rows-00000-of-00001.array_record"
  shard.rename(shard.with_name("rows-00000-of-00002.array_record"))
  with pytest.raises(rows.RowsError, match="shards found, some are missing"):
    rows.open_row_set(str(tmp_path), "lost", "train")


def test_fewer_rows_than_promised_are_noticed(tmp_path):
  write_row_set(tmp_path, "short")
  path = tmp_path / "short/corpus.json"
  info = json.loads(path.read_text())
  info["splits"]["train"]["rows"] += 1
  path.write_text(json.dumps(info))
  with pytest.raises(rows.RowsError, match="the shards beside it hold"):
    rows.open_row_set(str(tmp_path), "short", "train").source()


def test_a_corpus_json_cut_short_is_named(tmp_path):
  write_row_set(tmp_path, "cut")
  path = tmp_path / "cut/corpus.json"
  path.write_text(path.read_text()[:50])
  with pytest.raises(rows.RowsError, match="is not JSON"):
    rows.open_row_set(str(tmp_path), "cut", "train")


def test_batches_lie_on_every_device(rows_root):
  sharded = sharding.batch_sharding(sharding.make_mesh((4, 2, 1)))
  batch = next(loader.TrainBatches(_input(rows_root), 8, sharded))
  assert len(batch["tokens"].addressable_shards) == jax.device_count() == 8
  assert batch["tokens"].addressable_shards[0].data.shape == (1, CONTEXT)
