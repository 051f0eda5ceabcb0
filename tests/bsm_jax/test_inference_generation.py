"""New sequences: the cache changes nothing, letters are of the modality, and samples depend on their prompt alone."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bsm_jax import inference, kernels, tokenizer
from bsm_jax import model as model_lib
from bsm_jax.inference import cache, generation
from bsm_jax.inference.documents import InputError
from bsm_jax.inference.generation import Settings
from bsm_jax.input import segments
from bsm_jax.tokenizer import Modality
from tests.bsm_jax.sample_models import CONFIG, random_model

DNA, RNA, PROTEIN = Modality
GENES = ["atggctaaatga", "atgcgtttgcatgaatag", "ggc"]


@functools.cache
def whole_forward():
  apply = model_lib.make_apply(CONFIG)
  return jax.jit(lambda params, x: apply(params, x, segments.segment_ids(x), segments.positions(x)))


def forward(model, tokens) -> np.ndarray:
  """Logits at every token, without a cache."""
  padded = np.pad(np.asarray(tokens), (0, model.context - len(tokens)))[None]
  return np.asarray(whole_forward()(model.params, padded))[0, : len(tokens)]


# --- the cache


def test_cached_logits_are_those_of_the_whole_sequence_token_by_token():
  model, rng = random_model(), np.random.default_rng(0)
  prompts = [tokenizer.join_document([(DNA, tokenizer.encode(gene, DNA))], eos=False) for gene in GENES]
  lengths = np.array([len(prompt) for prompt in prompts], np.int32)
  tokens = np.stack([np.pad(prompt, (0, 24 - len(prompt))) for prompt in prompts])
  more = rng.integers(tokenizer.FIRST_NUCLEOTIDE, tokenizer.FIRST_NUCLEOTIDE + 4, (3, 6)).astype(np.uint8)
  attention = kernels.choose_attention("reference", CONFIG.head_dim, jax.devices()[0])
  decoder = cache.CachedDecoder(model.config, attention)
  begin, go_on = jax.jit(decoder.begin, static_argnums=3), jax.jit(decoder.go_on, static_argnums=3)
  logits, kept = begin(model.params, tokens, lengths, 30)
  for number in range(7):
    for row, prompt in enumerate(prompts):
      expected = forward(model, np.concatenate([prompt, more[row, :number]]))[-1]
      np.testing.assert_allclose(logits[row], expected, rtol=1e-4, atol=1e-4)
    if number < 6:
      logits, kept = go_on(model.params, more[:, number].astype(np.int32), lengths, 24, jnp.int32(number), kept)


def test_greedy_letters_are_the_most_likely_ones_without_a_cache():
  model = random_model()
  (found,) = inference.sample(model, [[("dna", GENES[0])]], "protein", Settings(temperature=0, max_length=8))
  prompt = [(DNA, tokenizer.encode(GENES[0], DNA)), (PROTEIN, np.zeros(0, np.uint8))]
  tokens = tokenizer.join_document(prompt, eos=False)
  allowed = [*tokenizer.encode(tokenizer.AMINO_ACIDS, PROTEIN), tokenizer.EOS, tokenizer.SEP]
  expected = []
  for _ in range(8):
    logits = forward(model, tokens)[-1]
    token = max(allowed, key=lambda t: logits[t])
    if token in (tokenizer.EOS, tokenizer.SEP):
      break
    expected.append(token)
    tokens = np.append(tokens, np.uint8(token))
  assert found.letters == tokenizer.decode(expected) and found.end == ("length" if len(expected) == 8 else "eos")


def test_the_likelihood_of_a_sample_is_what_scoring_gives_it():
  model = random_model()
  prompts = [[("dna", gene)] for gene in GENES]
  for found in inference.sample(model, prompts, "protein", Settings(max_length=10, min_length=3), samples=3, seed=4):
    (scored,) = inference.likelihoods(model, [[("dna", GENES[found.prompt]), ("protein", found.letters)]])
    assert found.log_likelihood == pytest.approx(float(scored.parts[1].sum()), rel=1e-4)


# --- what is drawn


@pytest.mark.parametrize("modality", list(Modality))
def test_only_letters_of_the_modality_are_drawn(modality):
  # A random model gives other tokens most of the probability.
  found = inference.sample(random_model(), [[]], modality, Settings(max_length=20, min_length=20), samples=8)
  letters = set("".join(one.letters for one in found))
  assert all(len(one.letters) == 20 for one in found)
  assert letters <= set(tokenizer.AMINO_ACIDS if modality == PROTEIN else "acgt") and len(letters) > 2


def test_samples_depend_on_their_prompt_and_number_alone():
  model, settings = random_model(), Settings(max_length=12)
  prompts = [[("dna", gene)] for gene in [*GENES, "acgt" * 9]]
  together = inference.sample(model, prompts, "protein", settings, samples=3, seed=1, max_tokens_per_batch=512)
  assert [(one.prompt, one.number) for one in together] == list(itertools.product(range(4), range(3)))
  alone = inference.sample(
      model, prompts[2:3], "protein", settings, samples=2, seed=1, first_prompt=2, max_tokens_per_batch=512
  )
  assert alone == together[6:8]
  assert len({one.letters for one in together}) > 6
  other = inference.sample(model, prompts[2:3], "protein", settings, samples=2, seed=2, first_prompt=2)
  assert [one.letters for one in other] != [one.letters for one in alone]


def test_rows_spread_over_devices_get_the_same_letters():
  prompts, settings = [[("dna", gene)] for gene in GENES], Settings(max_length=6)
  one, eight = (
      inference.sample(random_model(devices=n), prompts, "protein", settings, samples=3, seed=5) for n in (1, 8)
  )
  assert [x.letters for x in one] == [x.letters for x in eight]


def test_a_sequence_is_continued_in_its_own_modality():
  found = inference.sample(random_model(), [[("dna", "acg"), ("protein", "MKV")], [("rna", "acgu")]], None,
                           Settings(max_length=5, min_length=5))  # fmt: skip
  assert [one.modality for one in found] == [PROTEIN, RNA]
  assert found[0].letters.startswith("MKV") and len(found[0].letters) > 4
  assert found[1].letters.startswith("acgt") and set(found[1].letters) <= set("acgt")


def draws(settings: Settings, logits, count: int = 2000) -> np.ndarray:
  noise = generation._noise(jax.random.split(jax.random.key(0), count), 4)[3, :, : len(logits)]
  return np.asarray(generation._draw(jnp.tile(jnp.asarray(logits)[None], (count, 1)), noise, settings))


def test_letters_are_drawn_by_their_probability():
  probabilities = np.array([0.5, 0.3, 0.15, 0.05])
  shares = np.bincount(draws(Settings(), np.log(probabilities)), minlength=4) / 2000
  np.testing.assert_allclose(shares, probabilities, atol=0.04)
  sharper = np.bincount(draws(Settings(temperature=0.5), np.log(probabilities)), minlength=4) / 2000
  np.testing.assert_allclose(sharper, probabilities**2 / (probabilities**2).sum(), atol=0.04)


def test_what_is_not_allowed_is_never_drawn():
  assert set(draws(Settings(temperature=100.0), [0.0, -np.inf, 1.0])) == {0, 2}


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        (Settings(top_k=2), {0, 1}),
        (Settings(top_p=0.6), {0, 1}),  # 0.5 alone is less than 0.6
        (Settings(top_p=0.5), {0}),
        (Settings(top_p=0.01), {0}),
        (Settings(top_k=3, top_p=0.99), {0, 1, 2}),
        (Settings(temperature=0), {0}),
    ],
)
def test_top_k_and_top_p_leave_the_most_likely(settings, left):
  assert set(draws(settings, np.log([0.5, 0.3, 0.15, 0.05]))) == left


# --- where a sequence ends


def test_a_gene_ends_with_its_first_stop_codon_in_frame():
  found = inference.sample(
      random_model(), [[("dna", "atg")], [("dna", "atgc")], [("dna", "ct")]], None,
      Settings(stop="translation", min_length=40), samples=12,
  )  # fmt: skip
  assert any(one.end == "codon" for one in found)
  for one in found:
    codons = [one.letters[i : i + 3] for i in range(0, len(one.letters) - 2, 3)]
    stops = [number for number, codon in enumerate(codons) if codon in ("taa", "tag", "tga")]
    if one.end == "codon":
      assert stops == [len(codons) - 1] and len(one.letters) % 3 == 0
    else:
      assert not stops


def test_tga_is_no_stop_in_genetic_code_4():
  settings = Settings(stop="translation", genetic_code=4, min_length=40, temperature=4.0)
  found = inference.sample(random_model(), [[("dna", "atg")]], None, settings, samples=30)
  ends = {one.letters[-3:] for one in found if one.end == "codon"}
  assert ends and ends <= {"taa", "tag"}
  assert any("tga" in [one.letters[i : i + 3] for i in range(0, len(one.letters), 3)] for one in found)


@pytest.mark.parametrize(
    ("document", "modality", "code", "residues"),
    [
        ([("dna", "atggctaaatga")], PROTEIN, 1, 3),
        ([("rna", "auggcuaaauga")], PROTEIN, 4, 4),  # code 4 reads tga as W
        ([("dna", "atggctaa")], PROTEIN, 1, 2),
        ([("dna", "atgntaaaa")], PROTEIN, 1, 3),  # no codon that holds an n is a stop
        ([("dna", "atggctaaatga"), ("protein", "M")], None, 1, 2),
        ([("protein", "MAK")], DNA, 1, 12),
        ([("protein", "MAK"), ("dna", "atgg")], None, 1, 8),
    ],
)
def test_translation_says_how_many_letters_follow(document, modality, code, residues):
  asked = generation.ask(document, modality, Settings(stop="translation", genetic_code=code), 64, False, "x")
  assert asked.limit == residues


def test_a_base_that_is_not_known_begins_no_stop_codon():
  as_codon = lambda letters: generation._unfinished_codon(tokenizer.encode(letters, DNA))
  assert [as_codon(x) for x in ("acg", "acgt", "acgta", "acgn", "acgtn")] == [0, 3, 12, 0, 0]


# --- what cannot be asked


@pytest.mark.parametrize(
    ("document", "modality", "settings", "message"),
    [
        ([("dna", "a" * 62)], None, Settings(), "x: 64 tokens and 1 new letters exceed the model's context of 64"),
        ([("dna", "acg")], None, Settings(max_length=60), "x: 5 tokens and 60 new letters exceed"),
        ([("dna", "acg")], PROTEIN, Settings(stop="translation", max_length=1), None),
        ([("dna", "taaacg")], PROTEIN, Settings(stop="translation"), "x: translation ends the sequence before"),
        ([], PROTEIN, Settings(stop="translation"), "x: a protein ends with its gene, and there is none"),
        ([], None, Settings(), "x: no sequence in the document"),
        ([("dna", "")], PROTEIN, Settings(), "x: the dna sequence is empty"),
    ],
)
def test_prompts_that_leave_no_room_are_named(document, modality, settings, message):
  if message is None:
    assert generation.ask(document, modality, settings, 64, False, "x").limit == 1
    return
  with pytest.raises(InputError, match=message):
    generation.ask(document, modality, settings, 64, False, "x")


@pytest.mark.parametrize(
    "wrong",
    [{"max_length": 0}, {"min_length": -1}, {"max_length": 3, "min_length": 4}, {"temperature": -1.0}, {"top_k": -1},
     {"top_p": 0.0}, {"top_p": 1.1}, {"stop": "never"}, {"genetic_code": 99}],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(wrong):
  with pytest.raises(InputError, match=next(iter(wrong)).split("_")[-1] if "genetic_code" not in wrong else "code 99"):
    Settings(**wrong)
