"""Likelihoods and embeddings of sequences, whatever else is asked with them; and loading a model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsm_jax import inference, tokenizer
from bsm_jax import model as model_lib
from bsm_jax.inference import batches, documents
from bsm_jax.inference.documents import InputError
from bsm_jax.input import segments
from bsm_jax.training import step as step_lib
from tests.bsm_jax.sample_models import random_model, write_run

DNA, RNA, PROTEIN = tokenizer.Modality
LETTERS = {DNA: "acgt", RNA: "acgt", PROTEIN: tokenizer.AMINO_ACIDS}


def random_document(rng, length: int, modality=None) -> list:
  modality = modality or list(tokenizer.Modality)[rng.integers(3)]
  return [(modality, "".join(rng.choice(list(LETTERS[modality]), length)))]


def logits_of(model, tokens) -> np.ndarray:
  tokens = np.asarray(tokens)[None]
  apply = model_lib.make_apply(model.config)
  return np.asarray(apply(model.params, tokens, segments.segment_ids(tokens), segments.positions(tokens)))[0]


# --- likelihoods


def test_a_letters_likelihood_is_its_probability_given_all_before_it():
  model = random_model()
  document = [(DNA, "acgtta"), (PROTEIN, "MKV")]
  tokens = tokenizer.encode_document(document)
  logits = logits_of(model, tokens)
  expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  (found,) = inference.likelihoods(model, [document])
  dna, protein = found.parts
  np.testing.assert_allclose(dna, [expected[at - 1, tokens[at]] for at in range(2, 8)], rtol=1e-5)
  np.testing.assert_allclose(protein, [expected[at - 1, tokens[at]] for at in range(10, 13)], rtol=1e-5)
  assert found.total == pytest.approx(dna.sum() + protein.sum(), rel=1e-6)
  assert found.mean == pytest.approx(found.total / 9)


def test_likelihoods_are_the_losses_of_training():
  model = random_model()
  document = [(RNA, "acguuagc")]
  tokens = np.pad(tokenizer.encode_document(document), (0, 5))[None]
  losses, _ = step_lib.token_losses(model_lib.make_apply(model.config), model.params, tokens)
  (found,) = inference.likelihoods(model, [document])
  np.testing.assert_allclose(found.parts[0], -np.asarray(losses)[0, 1:9], rtol=1e-5)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 150), min_size=1, max_size=12))
def test_a_likelihood_depends_on_nothing_else_that_is_asked(seed, lengths):
  model, rng = random_model(), np.random.default_rng(seed)
  asked = [random_document(rng, length) for length in lengths]
  together = inference.likelihoods(model, asked, max_tokens_per_batch=256)
  order = rng.permutation(len(asked))
  shuffled = inference.likelihoods(model, [asked[i] for i in order], max_tokens_per_batch=256)
  for i, found in zip(order, shuffled):
    np.testing.assert_array_equal(found.parts[0], together[i].parts[0])
  (alone,) = inference.likelihoods(model, asked[:1], max_tokens_per_batch=256)
  np.testing.assert_array_equal(alone.parts[0], together[0].parts[0])


def test_a_likelihood_is_the_same_in_longer_rows_and_larger_batches():
  model = random_model()
  document = random_document(np.random.default_rng(1), 20)
  (found,) = inference.likelihoods(model, [document])
  score = logits_of(model, np.pad(tokenizer.encode_document(document), (0, 42)))
  tokens = tokenizer.encode_document(document)
  of_longer = [score[at - 1, tokens[at]] - np.log(np.exp(score[at - 1]).sum()) for at in range(2, 22)]
  np.testing.assert_allclose(found.parts[0], of_longer, rtol=1e-5)
  (larger,) = inference.likelihoods(model, [document], max_tokens_per_batch=4096)
  np.testing.assert_allclose(found.parts[0], larger.parts[0], rtol=1e-5)


def test_rows_spread_over_devices_have_the_same_likelihoods():
  rng = np.random.default_rng(2)
  asked = [random_document(rng, int(length)) for length in rng.integers(1, 100, 20)]
  one, eight = (inference.likelihoods(random_model(devices=n), asked) for n in (1, 8))
  for a, b in zip(one, eight):
    np.testing.assert_allclose(a.parts[0], b.parts[0], rtol=1e-5)


@pytest.mark.parametrize("length", [62, 63, 64, 95, 200])
def test_windows_speak_for_every_letter_once_with_half_a_context_before_it(length):
  encoded = documents.encode(random_document(np.random.default_rng(3), length, DNA))
  spoken = np.zeros(length, int)
  for window in documents.windows(encoded, 64):
    assert len(window.tokens) <= 64
    np.testing.assert_array_equal(window.tokens[window.at], encoded[0][1][window.letters])
    spoken[window.letters] += 1
    if window.first:
      assert window.tokens[0] == DNA and window.at[0] > 32
    else:
      assert window.tokens[:2].tolist() == [tokenizer.BOS, DNA]
  assert (spoken == 1).all()


def test_the_start_of_a_long_sequence_is_scored_as_if_nothing_followed():
  model = random_model()
  ((modality, letters),) = random_document(np.random.default_rng(4), 150)
  (long,), (short,) = (inference.likelihoods(model, [[(modality, x)]]) for x in (letters, letters[:62]))
  assert len(long.parts[0]) == 150 and np.isfinite(long.parts[0]).all()
  np.testing.assert_array_equal(long.parts[0][:62], short.parts[0])


def test_both_strands_are_averaged_letter_by_letter():
  model = random_model()
  letters = "acgttagcca"
  other = "tggctaacgt"
  forward, backward = inference.likelihoods(model, [[("dna", letters)], [("dna", other)]])
  (both,) = inference.likelihoods(model, [[("dna", letters)]], reverse_complement=True)
  np.testing.assert_allclose(both.parts[0], (forward.parts[0] + backward.parts[0][::-1]) / 2, rtol=1e-6)
  (same,) = inference.likelihoods(model, [[("dna", other)]], reverse_complement=True)
  assert same.mean == pytest.approx(both.mean)


def test_unknown_letters_are_refused_or_left_out():
  model = random_model()
  with pytest.raises(tokenizer.TokenizerError, match="gene 7: '!' at position 3"):
    inference.likelihoods(model, [[("dna", "ac!t")]], names=["gene 7"])
  (found,) = inference.likelihoods(model, [[("dna", "ac!t")]], lenient=True)
  assert np.isnan(found.parts[0]).tolist() == [False, False, True, False]
  assert found.mean == pytest.approx(found.total / 3)


@pytest.mark.parametrize(
    ("document", "options", "message"),
    [
        ([], {}, "x: no sequence"),
        ([("dna", "")], {}, "x: the dna sequence is empty"),
        ([("dna", "a" * 40), ("protein", "M" * 30)], {}, "x: 2 sequences of 70 letters in all exceed .* context of 64"),
        ([("dna", "a" * 70)], {"cut": False}, "x: one sequence of 70 letters in all exceed"),
        ([("rna", "acg")], {"reverse_complement": True}, "x: both strands are defined for a single DNA"),
        ([("peptide", "MK")], {}, "unknown modality 'peptide'"),
    ],
)
def test_what_cannot_be_scored_is_named(document, options, message):
  with pytest.raises(ValueError, match=message):
    inference.likelihoods(random_model(), [document], names=["x"], **options)


# --- batches


def test_batches_of_a_length_have_one_shape_and_hold_every_row_once():
  rng = np.random.default_rng(5)
  sequences = [np.full(n, 9, np.uint8) for n in rng.integers(1, 65, 100)]
  seen, shapes = [], {}
  for batch in batches.batches(sequences, batches.bucket_lengths(64), 256, places=4):
    seen += batch.rows.tolist()
    assert shapes.setdefault(batch.tokens.shape[1], batch.tokens.shape[0]) == batch.tokens.shape[0]
    assert batch.tokens.shape[0] % 4 == 0
    for row, number in enumerate(batch.rows):
      assert batch.tokens[row].sum() == 9 * len(sequences[number])
  assert sorted(seen) == list(range(100)) and len(shapes) > 1


@pytest.mark.parametrize("context", [20, 32, 64, 100, 1024])
def test_the_longest_bucket_is_the_context(context):
  for lengths in (batches.bucket_lengths(context), batches.doubling_lengths(context)):
    assert lengths == sorted(set(lengths)) and lengths[-1] == context


# --- embeddings


def test_pools_are_made_of_the_features_at_the_letters():
  model = random_model()
  asked = [[("dna", "acgtt"), ("protein", "MK")], random_document(np.random.default_rng(6), 150)]
  letters = inference.embeddings(model, asked, pool="residue")
  assert [x.shape for x in letters] == [(7, 48), (150, 48)]
  means, last = (inference.embeddings(model, asked, pool=pool) for pool in ("mean", "last"))
  np.testing.assert_allclose(means, [x.mean(0) for x in letters], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(last, [x[-1] for x in letters], rtol=1e-6)


def test_features_are_what_logits_are_read_from():
  model = random_model()
  document = [("protein", "MKVLA")]
  (letters,) = inference.embeddings(model, [document], pool="residue")
  logits = logits_of(model, tokenizer.encode_document([(PROTEIN, "MKVLA")]))[2:7, : tokenizer.VOCAB_SIZE]
  embedding = np.asarray(model.params["embedding"])[: tokenizer.VOCAB_SIZE]
  np.testing.assert_allclose(letters @ embedding.T, logits, rtol=1e-4, atol=1e-4)


def test_an_unknown_pool_is_refused():
  with pytest.raises(InputError, match="mean, last, residue"):
    inference.embeddings(random_model(), [[("dna", "acg")]], pool="max")


# --- loading


def test_a_run_is_loaded_with_its_parameters_and_nothing_else(small_config, tmp_path):
  write_run(tmp_path, small_config, steps=(3, 5))
  model = inference.load(str(tmp_path))
  assert (model.step, model.context, model.config.dtype) == (5, small_config.data.context, "float32")
  assert set(model.params) == {"embedding", "final_norm", "layers"}
  expected = model_lib.init_params(model.config, small_config.seed)
  np.testing.assert_allclose(model.params["layers"]["01"]["qkv"], expected["layers"]["01"]["qkv"], rtol=1e-6)
  assert model.places == 8  # every device that there is
  assert inference.load(str(tmp_path), step=3).step == 3


def test_a_model_of_another_vocabulary_is_refused(small_config, tmp_path):
  write_run(tmp_path, small_config, vocabulary_hash="ab" * 32)
  with pytest.raises(InputError, match="another vocabulary .abababababab"):
    inference.load(str(tmp_path))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
  with pytest.raises(InputError, match="it has no config.json"):
    inference.load(str(tmp_path))
