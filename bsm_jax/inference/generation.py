"""New sequences from a model: sampled letter by letter, of one modality only, with a cache of keys and values."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from bsm_jax import codons, kernels, tokenizer
from bsm_jax.inference import batches as batches_lib
from bsm_jax.inference import documents as documents_lib
from bsm_jax.inference.cache import CachedDecoder
from bsm_jax.inference.documents import Document, Encoded, InputError
from bsm_jax.inference.loaded import Model
from bsm_jax.model import PADDED_VOCAB_SIZE
from bsm_jax.tokenizer import Modality

STOPS = ("eos", "translation")
_NUCLEIC = (Modality.DNA, Modality.RNA)
# Letters that a sequence may get: no ambiguity codes, which stand for what a measurement left open.
_LETTERS = {m: tokenizer.encode("acgt", m) for m in _NUCLEIC}
_LETTERS |= {Modality.PROTEIN: tokenizer.encode(tokenizer.AMINO_ACIDS, Modality.PROTEIN)}
_ENDS = (tokenizer.EOS, tokenizer.SEP)


@dataclasses.dataclass(frozen=True)
class Settings:
  """How letters are drawn.

  Attributes:
    max_length: new letters at most; None for what the context has room for.
    min_length: new letters at least.
    temperature: divides the logits; 0 takes the most likely letter.
    top_k: only the k most likely letters; 0 for all.
    top_p: only the most likely letters that together have this probability.
    stop: "eos": where the model ends the sequence. "translation": also where translation says so: a protein behind its
      gene with the last codon before the first stop codon in frame, a gene with its first stop codon in frame, and a
      gene behind its protein after as many codons as residues and one.
    genetic_code: NCBI's number of it, for "translation".
  """

  max_length: int | None = None
  min_length: int = 0
  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0
  stop: str = "eos"
  genetic_code: int = 1

  def __post_init__(self):
    if self.max_length is not None and self.max_length < 1:
      raise InputError(f"max_length must be at least 1, not {self.max_length}")
    if not 0 <= self.min_length <= (self.max_length or self.min_length):
      raise InputError(f"min_length must be in 0..max_length, not {self.min_length}")
    if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
      raise InputError("temperature and top_k must not be negative, and top_p must be above 0 and at most 1")
    if self.stop not in STOPS:
      raise InputError(f"unknown stop {self.stop!r}: use one of {', '.join(STOPS)}")
    if self.genetic_code not in codons.GENETIC_CODES:
      raise InputError(f"genetic code {self.genetic_code}: there are {', '.join(map(str, codons.GENETIC_CODES))}")


@dataclasses.dataclass(frozen=True)
class Sample:
  """A sequence that was generated.

  Attributes:
    prompt: number of its prompt.
    number: of the samples of that prompt, from 0.
    modality: what it is.
    letters: lower case for nucleotides; of a sequence that was continued, with its beginning.
    log_likelihood: natural logarithm of the probability that the model gives the new letters, at temperature 1 and over
      the whole vocabulary.
    end: "eos" (the model ended it), "codon" (a stop codon), or "length".
  """

  prompt: int
  number: int
  modality: Modality
  letters: str
  log_likelihood: float
  end: str


# By the numbers that `_generate` returns.
_ENDED_BY = ("length", "eos", "codon")


@dataclasses.dataclass(frozen=True)
class Asked:
  """A prompt: its tokens, the modality that follows, letters that it has already, and how many may follow."""

  tokens: np.ndarray
  modality: Modality
  begun: np.ndarray
  limit: int


def _limit_of_translation(document: Encoded, modality: Modality, begun: int, code: int, where: str) -> int | None:
  """Letters until translation ends the sequence, if that is known before it is there.

  Args:
    document: the sequences before it.
    modality: what is generated.
    begun: letters that it has already.
    code: number of the genetic code.
    where: the prompt, for the error message.
  """
  partners = (Modality.PROTEIN,) if modality in _NUCLEIC else _NUCLEIC
  partner = next((letters for of_partner, letters in reversed(document) if of_partner in partners), None)
  if modality in _NUCLEIC:
    return None if partner is None else 3 * len(partner) + 3 - begun
  if partner is None:
    raise InputError(f"{where}: a protein ends with its gene, and there is none before it: use stop 'eos'")
  of_gene = codons.numbers(partner)
  ends = np.flatnonzero((of_gene != codons.UNKNOWN) & codons.is_stop(code)[of_gene])
  return int(ends[0] if len(ends) else len(of_gene)) - begun


def ask(
    document: Document, modality: Modality | None, settings: Settings, context: int, lenient: bool, where: str
) -> Asked:
  """What a prompt asks for.

  Args:
    document: the prompt.
    modality: of the new sequence; None to continue the prompt's last.
    settings: how letters are drawn.
    context: of the model, in tokens.
    lenient: see `documents.encode`.
    where: the prompt's name, for error messages.

  Raises:
    InputError, TokenizerError: see `sample`.
  """
  encoded = documents_lib.encode(document, lenient=lenient, name=where) if document or modality is None else []
  begun = np.zeros(0, np.uint8)
  if modality is None:
    *encoded, (modality, begun) = encoded
  tokens = tokenizer.join_document([*encoded, (modality, begun)], eos=False)
  room = context - len(tokens)
  found = None
  if settings.stop == "translation":
    found = _limit_of_translation(encoded, modality, len(begun), settings.genetic_code, where)
    if found is not None and found < 1:
      raise InputError(f"{where}: translation ends the sequence before its first new letter")
  limit = min((n for n in (settings.max_length, found) if n is not None), default=room)
  if limit > room or room < 1:
    raise InputError(
        f"{where}: {len(tokens)} tokens and {max(limit, 1)} new letters exceed the model's context of {context}:"
        " shorten the prompt, or ask for less"
    )
  return Asked(tokens, modality, begun, limit)


def _noise(keys_b: jax.Array, new: int) -> jax.Array:
  """What `_draw` adds to logits, fp32 [new, b, v]; of a row and a number the same for any `new`.

  All of it at once: generators are loops, and inside the loop over letters they would drag the cache through each turn.
  """
  of_letter = lambda key, number: jax.random.gumbel(jax.random.fold_in(key, number), (PADDED_VOCAB_SIZE,))
  return jax.vmap(jax.vmap(of_letter, (0, None)), (None, 0))(keys_b, jnp.arange(new))


def _draw(logits_bv: jax.Array, noise_bv: jax.Array, settings: Settings) -> jax.Array:
  """Tokens int32 [b] from logits, in which what is not allowed is -inf, and their part of `_noise`."""
  if settings.temperature == 0:
    return jnp.argmax(logits_bv, axis=-1)
  logits_bv = logits_bv / settings.temperature
  if settings.top_k:
    least_b1 = jax.lax.top_k(logits_bv, settings.top_k)[0][:, -1:]
    logits_bv = jnp.where(logits_bv < least_b1, -jnp.inf, logits_bv)
  if settings.top_p < 1:
    sorted_bv = jnp.sort(logits_bv, axis=-1, descending=True)
    shares_bv = jax.nn.softmax(sorted_bv, axis=-1)
    before_bv = jnp.cumsum(shares_bv, axis=-1) - shares_bv
    least_b1 = jnp.min(jnp.where(before_bv < settings.top_p, sorted_bv, jnp.inf), axis=-1, keepdims=True)
    logits_bv = jnp.where(logits_bv < least_b1, -jnp.inf, logits_bv)
  return jnp.argmax(logits_bv + noise_bv, axis=-1)


def _masks(modality: Modality) -> tuple[np.ndarray, np.ndarray]:
  """bool [1, v]: letters of a modality, and what ends a sequence."""
  letters, ends = np.zeros((2, 1, PADDED_VOCAB_SIZE), bool)
  letters[:, _LETTERS[modality]] = True
  ends[:, list(_ENDS)] = True
  return letters, ends


def _generate(model: Model, modality: Modality, settings: Settings) -> Callable:
  """Jitted `generate(params, tokens_bp, rows, new) -> (letters, log_likelihoods, ends)` for batches of prompts.

  Args of it: `rows`, by row: `length` (tokens of the prompt), `limit` (new letters at most), `begun` (letters there
  already), `codon` (`_unfinished_codon`), `key`; `new`: the most new letters.
  Returns: uint8 [b, new], padded; fp32 [b]; int8 [b], 0 for the limit, 1 for the model's end, 2 for a stop codon.
  """
  attention = model.ops.attention
  if attention.feature_major:
    attention = kernels.choose_attention("reference", model.config.head_dim, model.mesh.devices.flat[0])
  decoder = CachedDecoder(model.config, attention)
  letters_1v, ends_1v = _masks(modality)
  by_codon = settings.stop == "translation" and modality in _NUCLEIC
  is_stop_64 = jnp.asarray(codons.is_stop(settings.genetic_code))

  @functools.partial(jax.jit, static_argnames="new", out_shardings=model.by_row)
  def generate(params, tokens_bp, rows, new):
    prompts = tokens_bp.shape[1]
    logits_bv, cache = decoder.begin(params, tokens_bp, rows["length"], prompts + new)
    noise_nbv = _noise(rows["key"], new)
    first = {
        "number": jnp.zeros((), jnp.int32), "logits": logits_bv, "cache": cache, "codon": rows["codon"],
        "out": jnp.zeros((len(tokens_bp), new), jnp.uint8), "likelihood": jnp.zeros(len(tokens_bp), jnp.float32),
        "end": jnp.zeros(len(tokens_bp), jnp.int8), "going": rows["limit"] > 0,
    }  # fmt: skip

    def body(now):
      number, going_b = now["number"], now["going"]
      allowed_1v = letters_1v | (ends_1v & (number >= settings.min_length))
      token_b = _draw(jnp.where(allowed_1v, now["logits"], -jnp.inf), noise_nbv[number], settings)
      ended_b = going_b & jnp.asarray(ends_1v[0])[token_b]
      letter_b = going_b & ~ended_b
      of_token_b = jnp.take_along_axis(jax.nn.log_softmax(now["logits"]), token_b[:, None], axis=-1)[:, 0]
      codon_b = (now["codon"] * 4 + token_b - tokenizer.FIRST_NUCLEOTIDE) % 64
      complete_b = (rows["begun"] + number + 1) % 3 == 0
      stopped_b = letter_b & complete_b & is_stop_64[codon_b] if by_codon else jnp.zeros_like(letter_b)
      logits_bv, cache = decoder.go_on(params, token_b, rows["length"], prompts, number, now["cache"])
      out_b1 = jnp.where(letter_b, token_b, tokenizer.PAD).astype(jnp.uint8)[:, None]
      return {
          "number": number + 1, "logits": logits_bv, "cache": cache, "codon": codon_b,
          "out": jax.lax.dynamic_update_slice(now["out"], out_b1, (0, number)),
          "likelihood": now["likelihood"] + jnp.where(letter_b, of_token_b, 0.0),
          "end": now["end"] + ended_b.astype(jnp.int8) + 2 * stopped_b.astype(jnp.int8),
          "going": letter_b & ~stopped_b & (number + 1 < rows["limit"]),
      }  # fmt: skip

    last = jax.lax.while_loop(lambda now: jnp.any(now["going"]), body, first)
    return last["out"], last["likelihood"], last["end"]

  return generate


def _compiled(model: Model, modality: Modality, settings: Settings) -> Callable:
  key = f"sample {modality.name} {dataclasses.replace(settings, max_length=None)}"
  if key not in model.compiled:
    model.compiled[key] = _generate(model, modality, settings)
  return model.compiled[key]


def _unfinished_codon(begun: np.ndarray) -> int:
  """Bases of the codon that the letters end in the middle of, as base-4 digits; no stop codon begins as an `n` does."""
  bases = begun[len(begun) - len(begun) % 3 :].astype(np.int64) - tokenizer.FIRST_NUCLEOTIDE
  return int(np.polyval(bases, 4)) if ((bases >= 0) & (bases < 4)).all() else 0


def _new_letters(bucket: int, shorter: int, modality: Modality, settings: Settings, context: int) -> int:
  """The most new letters that a prompt of shorter < tokens <= bucket may get, whatever others are asked for."""
  most = [context - shorter - 1, settings.max_length or context]
  if settings.stop == "translation" and modality == Modality.PROTEIN:
    most.append(bucket // 3)
  return min(most)


def sample(
    model: Model,
    prompts: Sequence[Document],
    modality: Modality | str | None,
    settings: Settings = Settings(),
    *,
    samples: int = 1,
    seed: int = 0,
    lenient: bool = False,
    max_tokens_per_batch: int | None = None,
    names: Sequence[str] = (),
    first_prompt: int = 0,
    progress: Callable[[int], object] = lambda sequences: None,
) -> list[Sample]:
  """Generates sequences; what a prompt gets does not depend on what else is asked in the same call.

  Args:
    model: what `load` gives.
    prompts: typed sequences that come before the new one, possibly none.
    modality: of the new sequence; None to continue the last sequence of each prompt.
    settings: how letters are drawn.
    samples: so many for each prompt.
    seed: of the random numbers, with the number of the prompt and of the sample.
    lenient: see `documents.encode`.
    max_tokens_per_batch: prompts and new letters; by default what suits the devices.
    names: of the prompts, for error messages.
    first_prompt: number of the first prompt, for a call that goes on with a longer list.
    progress: called with the number of sequences of each batch when it is done.

  Returns:
    the samples of the first prompt, then those of the next.

  Raises:
    InputError: a prompt leaves no room in the context, or see `documents.encode`.
    TokenizerError: see `documents.encode`.
  """
  names = names or [f"prompt {number}" for number in range(1, len(prompts) + 1)]
  wanted = Modality.parse(modality) if isinstance(modality, str) else modality
  asked = [
      ask(prompt, wanted, settings, model.context, lenient, name)
      for prompt, name in zip(prompts, names, strict=True)
      for _ in range(samples)
  ]
  found: dict[int, Sample] = {}
  for of_modality in {one.modality for one in asked}:
    members = [number for number, one in enumerate(asked) if one.modality == of_modality]
    run = _compiled(model, of_modality, settings)
    new_letters = functools.partial(_new_letters, modality=of_modality, settings=settings, context=model.context)
    for batch in batches_lib.batches(
        [asked[number].tokens for number in members], batches_lib.doubling_lengths(model.context),
        max_tokens_per_batch or model.tokens_per_batch, model.places, new_letters,
    ):  # fmt: skip
      numbers = [members[row] for row in batch.rows]
      of_prompt = [(number // samples + first_prompt, number % samples) for number in numbers]
      rows = _rows([asked[number] for number in numbers], of_prompt, len(batch.tokens), seed)
      tokens, rows = jax.device_put((batch.tokens, rows), model.by_row)
      out = jax.device_get(run(model.params, tokens, rows, new=batch.more))
      for number, (prompt, of_sample), new, likelihood, end in zip(numbers, of_prompt, *out):
        letters = np.concatenate([asked[number].begun, np.trim_zeros(new, "b")])
        found[number] = Sample(
            prompt, of_sample, of_modality, tokenizer.decode(letters), float(likelihood), _ENDED_BY[end]
        )
      progress(len(numbers))
  return [found[number] for number in range(len(asked))]


def _rows(asked: Sequence[Asked], of_prompt: Sequence[tuple[int, int]], size: int, seed: int) -> dict:
  """What `_generate` takes of each row; those behind the last one ask for nothing."""
  fill = lambda values, fills: jnp.asarray([*values, *[fills] * (size - len(asked))], jnp.int32)
  key = jax.random.key(seed)
  of_row = lambda prompt, number: jax.random.fold_in(jax.random.fold_in(key, prompt), number)
  prompts, numbers = ([pair[i] for pair in of_prompt] for i in range(2))
  return {
      "length": fill((len(one.tokens) for one in asked), 1),
      "limit": fill((one.limit for one in asked), 0),
      "begun": fill((len(one.begun) for one in asked), 0),
      "codon": fill((_unfinished_codon(one.begun) for one in asked), 0),
      "key": jax.vmap(of_row)(fill(prompts, 0), fill(numbers, 0)),
  }
