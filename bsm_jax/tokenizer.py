"""The one vocabulary: typed sequences to token ids and back, and its exports.

Everything that turns letters into ids comes from the table `VOCABULARY`: the look-up encoder in this file, the
SentencePiece model (`write_sentencepiece`) and the Hugging Face tokenizer (`write_hugging_face`).

Nucleotides are lower case and amino acids upper case, so the ids of the two alphabets are disjoint and a plain string
such as `<dna>atgaaa<sep><protein>MK` is unambiguous. A sequence always carries its modality; nothing here guesses it
from the letters. The letter case of the *input* has no meaning (NCBI's FASTA uses lower case for soft masking).

Policy for input letters, by modality:

* DNA and RNA: `u` is written as `t` (the `<rna>` tag keeps the difference); the IUPAC ambiguity codes
  `r y s w k m b d h v` become `n` and are counted as `ambiguous`.
* protein: the 20 amino acids, `U` (selenocysteine), `O` (pyrrolysine), the ambiguity codes `B Z X J`, and `*` (stop).
* any other character raises `TokenizerError` in strict mode, and becomes one `<unk>` (counted as `unknown`) otherwise.
"""

import enum
import hashlib
import json
import os
import pathlib
from collections.abc import MutableMapping, Sequence

import numpy as np

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>", "<sep>", "<dna>", "<rna>", "<protein>")
NUCLEOTIDES = "acgtn"
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
AMINO_ACID_CODES = AMINO_ACIDS + "UOBZXJ*"
AMBIGUOUS_NUCLEOTIDES = "ryswkmbdhv"
VOCAB_SIZE = 64

_letters = SPECIAL_TOKENS + tuple(NUCLEOTIDES) + tuple(AMINO_ACID_CODES)
VOCABULARY: tuple[str, ...] = _letters + tuple(f"<reserved_{i}>" for i in range(VOCAB_SIZE - len(_letters)))

PAD, BOS, EOS, UNK, SEP = range(5)
FIRST_NUCLEOTIDE = len(SPECIAL_TOKENS)
FIRST_AMINO_ACID = FIRST_NUCLEOTIDE + len(NUCLEOTIDES)
FIRST_RESERVED = len(_letters)


class Modality(enum.IntEnum):
  """What a sequence is; the value is the id of its tag in the vocabulary."""

  DNA = 5
  RNA = 6
  PROTEIN = 7

  @property
  def tag(self) -> str:
    return VOCABULARY[self]

  @classmethod
  def parse(cls, name: str) -> "Modality":
    """`dna`, `rna` or `protein` (any case) to its modality."""
    try:
      return cls[name.upper()]
    except KeyError:
      raise TokenizerError(f"unknown modality {name!r}: use dna, rna or protein") from None


class TokenizerError(ValueError):
  """A sequence that the vocabulary cannot express, or tokens that are no document."""


_INVALID = 255


def _nucleotide_table() -> np.ndarray:
  table = np.full(256, _INVALID, np.uint8)
  for token, letter in enumerate(NUCLEOTIDES, FIRST_NUCLEOTIDE):
    table[[ord(letter), ord(letter.upper())]] = token
  table[[ord("u"), ord("U")]] = table[ord("t")]
  for letter in AMBIGUOUS_NUCLEOTIDES:
    table[[ord(letter), ord(letter.upper())]] = table[ord("n")]
  return table


def _protein_table() -> np.ndarray:
  table = np.full(256, _INVALID, np.uint8)
  for token, letter in enumerate(AMINO_ACID_CODES, FIRST_AMINO_ACID):
    table[[ord(letter), ord(letter.lower())]] = token
  return table


_ENCODE = {
    Modality.DNA: _nucleotide_table(),
    Modality.RNA: _nucleotide_table(),
    Modality.PROTEIN: _protein_table(),
}
_IS_AMBIGUOUS = np.zeros(256, bool)
_IS_AMBIGUOUS[[ord(c) for c in AMBIGUOUS_NUCLEOTIDES + AMBIGUOUS_NUCLEOTIDES.upper()]] = True

# Ids of a strand's reverse complement, by id; everything but a c g t maps to itself.
_COMPLEMENT = np.arange(VOCAB_SIZE, dtype=np.uint8)
for _base, _partner in zip("acgt", "tgca"):
  _COMPLEMENT[FIRST_NUCLEOTIDE + NUCLEOTIDES.index(_base)] = FIRST_NUCLEOTIDE + NUCLEOTIDES.index(_partner)


def encode(
    sequence: str | bytes,
    modality: Modality,
    *,
    strict: bool = True,
    counts: MutableMapping[str, int] | None = None,
    name: str = "",
) -> np.ndarray:
  """Letters of one sequence to ids (no tag, no specials).

  Args:
    sequence: letters in either case, without white space.
    modality: what the sequence is.
    strict: raise on a letter outside the alphabet; otherwise it becomes one `<unk>`.
    counts: a counter to which `ambiguous` and `unknown` replacements are added.
    name: the record's name, for the error message.

  Returns:
    uint8 [len(sequence)].

  Raises:
    TokenizerError: in strict mode, naming the first letter outside the alphabet and where it stands.
  """
  # Latin-1 keeps one byte a character; characters beyond it become '?', which is in no alphabet.
  raw = np.frombuffer(sequence.encode("latin-1", "replace") if isinstance(sequence, str) else sequence, np.uint8)
  ids = _ENCODE[modality][raw]
  invalid = ids == _INVALID
  if invalid.any():
    if strict:
      at = int(invalid.argmax())
      letter = sequence[at] if isinstance(sequence, str) else chr(sequence[at])
      raise TokenizerError(
          f"{name + ': ' if name else ''}{letter!r} at position {at + 1} of {len(raw)} is not a letter of a"
          f" {modality.name.lower()} sequence ({int(invalid.sum())} such letters). Check that the file holds"
          f" {modality.name.lower()}, or use lenient mode to write <unk>."
      )
    ids[invalid] = UNK
    if counts is not None:
      counts["unknown"] = counts.get("unknown", 0) + int(invalid.sum())
  if counts is not None and modality != Modality.PROTEIN:
    ambiguous = int(_IS_AMBIGUOUS[raw].sum())
    if ambiguous:
      counts["ambiguous"] = counts.get("ambiguous", 0) + ambiguous
  return ids


_DECODE = np.frombuffer(
    "".join(t if len(t) == 1 else "?" for t in VOCABULARY).encode("ascii"), np.uint8
)


def decode(ids: np.ndarray | Sequence[int]) -> str:
  """Ids to the vocabulary's text, specials included: the inverse of `document_text` after encoding."""
  ids = np.asarray(ids)
  outside = ids[(ids < 0) | (ids >= VOCAB_SIZE)]
  if outside.size:
    raise TokenizerError(f"token id {int(outside[0])} is outside the vocabulary of {VOCAB_SIZE}")
  if ids.size and ids.min() >= FIRST_NUCLEOTIDE and ids.max() < FIRST_RESERVED:
    return _DECODE[ids].tobytes().decode("ascii")
  return "".join(VOCABULARY[i] for i in ids)


def reverse_complement(ids: np.ndarray) -> np.ndarray:
  """The other strand of encoded nucleotides, 5' to 3'."""
  return _COMPLEMENT[ids][::-1]


def join_document(parts: Sequence[tuple[Modality, np.ndarray]], *, bos: bool = True, eos: bool = True) -> np.ndarray:
  """Encoded sequences to a document's tokens: `<bos> <dna> … <sep> <protein> … <eos>`, uint8.

  Args:
    parts: modality and ids (from `encode`) of each sequence, in order.
    bos: False for a piece that does not begin at the true start of its document.
    eos: False for a piece that does not reach the true end.
  """
  pieces: list[np.ndarray] = [np.array([BOS], np.uint8)] if bos else []
  for i, (modality, ids) in enumerate(parts):
    pieces.append(np.array([SEP, modality] if i else [modality], np.uint8))
    pieces.append(ids)
  if eos:
    pieces.append(np.array([EOS], np.uint8))
  return np.concatenate(pieces)


def encode_document(
    sequences: Sequence[tuple[Modality, str | bytes]],
    *,
    strict: bool = True,
    counts: MutableMapping[str, int] | None = None,
) -> np.ndarray:
  """Typed sequences to a document's tokens, uint8; see `encode` for the letters and `join_document` for the layout."""
  return join_document([(m, encode(s, m, strict=strict, counts=counts)) for m, s in sequences])


def split_document(tokens: np.ndarray) -> list[tuple[Modality, np.ndarray]]:
  """A document's tokens back to its typed, encoded sequences: the inverse of `join_document`.

  Args:
    tokens: one document, flat; `<bos>`, `<eos>` and padding may frame it.

  Raises:
    TokenizerError: where a sequence does not begin with a modality tag, or a special or reserved token stands inside
      one. Two documents in a row are an error for the same reason.
  """
  body = np.trim_zeros(np.asarray(tokens))  # <pad> is id 0
  body = body[body[:1].tolist() == [BOS] :]
  body = body[: body.size - (body[-1:].tolist() == [EOS])]
  parts = []
  for piece in np.split(body, np.flatnonzero(body == SEP)):
    piece = piece[1:] if piece.size and piece[0] == SEP else piece
    if not piece.size or piece[0] not in Modality.__members__.values():
      raise TokenizerError(f"a sequence must begin with a modality tag, not {decode(piece[:10])!r}")
    letters = piece[1:]
    if (((letters < FIRST_NUCLEOTIDE) & (letters != UNK)) | (letters >= FIRST_RESERVED)).any():
      raise TokenizerError(f"a special token stands inside a sequence: {decode(piece)[:80]!r}")
    parts.append((Modality(int(piece[0])), letters))
  return parts


def document_text(sequences: Sequence[tuple[Modality, str]]) -> str:
  """Typed sequences as the canonical string that the exported tokenizers read, without `<bos>` and `<eos>`."""
  return "<sep>".join(m.tag + decode(encode(s, m)) for m, s in sequences)


def vocabulary_hash() -> str:
  """Identifies the table: sha256 of its entries, one a line. Rows and checkpoints carry it."""
  return hashlib.sha256("\n".join(VOCABULARY).encode()).hexdigest()


def write_sentencepiece(path: str | os.PathLike) -> None:
  """Writes the vocabulary as a SentencePiece CHAR model (a serialized `ModelProto`).

  `<bos>`, `<eos>` and `<pad>` are control pieces (`encode(text, add_bos=True, add_eos=True)`); the modality tags and
  `<sep>` are user-defined pieces, found in the text. The model reads the canonical text of `document_text`: raw `u` and
  ambiguity codes are unknown to it, and SentencePiece writes one `<unk>` for a whole run of unknown letters.

  The proto is built directly: a trainer would refuse a vocabulary that has no sentence to count letters in.
  https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
  """
  from sentencepiece import sentencepiece_model_pb2 as pb  # pylint: disable=g-import-not-at-top

  piece_type = pb.ModelProto.SentencePiece
  types = {UNK: piece_type.UNKNOWN, PAD: piece_type.CONTROL, BOS: piece_type.CONTROL, EOS: piece_type.CONTROL}
  for token in (SEP, *Modality):
    types[int(token)] = piece_type.USER_DEFINED
  model = pb.ModelProto()
  for token, piece in enumerate(VOCABULARY):
    kind = types.get(token, piece_type.UNUSED if token >= FIRST_RESERVED else piece_type.NORMAL)
    model.pieces.add(piece=piece, score=-float(token), type=kind)
  spec = model.trainer_spec
  spec.model_type = pb.TrainerSpec.CHAR
  spec.vocab_size = VOCAB_SIZE
  spec.pad_id, spec.bos_id, spec.eos_id, spec.unk_id = PAD, BOS, EOS, UNK
  spec.pad_piece, spec.bos_piece, spec.eos_piece, spec.unk_piece = (VOCABULARY[i] for i in (PAD, BOS, EOS, UNK))
  spec.user_defined_symbols.extend(VOCABULARY[i] for i in (SEP, *Modality))
  normalizer = model.normalizer_spec
  normalizer.name = "identity"
  normalizer.add_dummy_prefix = False
  normalizer.remove_extra_whitespaces = False
  normalizer.escape_whitespaces = False
  pathlib.Path(path).write_bytes(model.SerializeToString(deterministic=True))


def write_hugging_face(
    folder: str | os.PathLike, model_max_length: int | None = None, *, classifier: bool = False
) -> None:
  """Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` for `transformers.AutoTokenizer`.

  The text is split into single characters and the special tokens and looked up in a WordLevel table. `<bos>` comes
  first where special tokens are asked for, and `<sep>` between the texts of a pair. `<eos>` is not added: a text is
  mostly a prompt, which `generate` continues. Who means a whole document writes it at the end of the text.

  Args:
    folder: where; made if absent.
    model_max_length: tokens that the model's context holds, if it is known; longer texts get a warning, or are cut
      with `truncation=True`.
    classifier: texts are whole documents: `<eos>` comes last, and batches are padded on the right.
  """
  from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors  # pylint: disable=g-import-not-at-top

  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(VOCABULARY)}, unk_token=VOCABULARY[UNK]))
  # Lower-case `u` and ambiguity codes can only be nucleotides: the same replacements as `encode`.
  tokenizer.normalizer = normalizers.Sequence([
      normalizers.Replace("u", "t"),
      normalizers.Replace(Regex(f"[{AMBIGUOUS_NUCLEOTIDES}]"), "n"),
  ])
  tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
  tokenizer.decoder = decoders.Fuse()  # without a decoder, tokens are joined by spaces
  tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
  tokenizer.post_processor = processors.TemplateProcessing(
      single="<bos> $A" + " <eos>" * classifier,
      pair="<bos> $A <sep> $B" + " <eos>" * classifier,
      special_tokens=[("<bos>", BOS), ("<sep>", SEP), ("<eos>", EOS)],
  )
  tokenizer.save(str(folder / "tokenizer.json"))
  roles = {f"{role}_token": f"<{role}>" for role in ("pad", "bos", "eos", "unk", "sep")}
  (folder / "special_tokens_map.json").write_text(json.dumps(roles, indent=2) + "\n")
  config = roles | {
      "tokenizer_class": "PreTrainedTokenizerFast",
      "clean_up_tokenization_spaces": False,
      # transformers 4's name; 5 takes it for its `extra_special_tokens`, which 4 does not accept as a list.
      "additional_special_tokens": [m.tag for m in Modality],
      # Without them transformers adds token_type_ids, which Llama does not take.
      "model_input_names": ["input_ids", "attention_mask"],
      "padding_side": "right" if classifier else "left",
  }
  if model_max_length is not None:
    config["model_max_length"] = model_max_length
  (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def count_by_modality(tokens: np.ndarray) -> dict[str, int]:
  """Letters (not specials) of each modality in `tokens`, a flat array of whole documents."""
  tokens = np.asarray(tokens).reshape(-1)
  is_tag = (tokens >= Modality.DNA) & (tokens <= Modality.PROTEIN)
  at = np.maximum.accumulate(np.where(is_tag, np.arange(tokens.size), 0))
  letters = (tokens >= FIRST_NUCLEOTIDE) | (tokens == UNK)
  found = np.bincount(tokens[at][letters], minlength=VOCAB_SIZE)
  return {m.name.lower(): int(found[m]) for m in Modality}
