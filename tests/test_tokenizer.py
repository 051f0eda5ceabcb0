"""The vocabulary and everything that turns letters into ids: one table, one answer."""

import json

import hypothesis
import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import strategies as st

from bsm_jax import tokenizer
from bsm_jax.tokenizer import BOS, EOS, PAD, SEP, UNK, Modality, TokenizerError

NUCLEOTIDE_LETTERS = "acgtuACGTU" + "nryswkmbdhv" + "NRYSWKMBDHV"
PROTEIN_LETTERS = "ACDEFGHIKLMNPQRSTVWYUOBZXJ*" + "acdefghiklmnpqrstvwyuobzxj"
ALPHABETS = {Modality.DNA: NUCLEOTIDE_LETTERS, Modality.RNA: NUCLEOTIDE_LETTERS, Modality.PROTEIN: PROTEIN_LETTERS}
# What comes of each input letter, written out a second time so that a slip in the table shows.
AS_NUCLEOTIDE = str.maketrans("uryswkmbdhv", "tnnnnnnnnnn")

modalities = st.sampled_from(list(Modality))
typed_sequences = modalities.flatmap(lambda m: st.tuples(st.just(m), st.text(ALPHABETS[m], max_size=60)))
documents = st.lists(typed_sequences, min_size=1, max_size=5)
nucleotides = st.text(NUCLEOTIDE_LETTERS, max_size=60)


def canonical(modality: Modality, sequence: str) -> str:
  """The letters that stand for `sequence` in the vocabulary."""
  return sequence.upper() if modality == Modality.PROTEIN else sequence.lower().translate(AS_NUCLEOTIDE)


def encoded(document: list[tuple[Modality, str]]) -> list[tuple[Modality, np.ndarray]]:
  return [(m, tokenizer.encode(s, m)) for m, s in document]


def assert_same_parts(found, expected):
  assert [m for m, _ in found] == [m for m, _ in expected]
  for (_, ids), (_, expected_ids) in zip(found, expected, strict=True):
    np.testing.assert_array_equal(ids, expected_ids)


@pytest.fixture(scope="module")
def sentencepiece_model(tmp_path_factory) -> sentencepiece.SentencePieceProcessor:
  path = tmp_path_factory.mktemp("sentencepiece") / "bsm.model"
  tokenizer.write_sentencepiece(path)
  return sentencepiece.SentencePieceProcessor(model_file=str(path))


@pytest.fixture(scope="module")
def hugging_face_folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("hugging_face")
  tokenizer.write_hugging_face(folder)
  return folder


@pytest.fixture(scope="module")
def hugging_face(hugging_face_folder) -> tokenizers.Tokenizer:
  return tokenizers.Tokenizer.from_file(str(hugging_face_folder / "tokenizer.json"))


# The table


def test_special_ids_are_fixed():
  expected = ["<pad>", "<bos>", "<eos>", "<unk>", "<sep>", "<dna>", "<rna>", "<protein>"]
  assert list(tokenizer.VOCABULARY[:8]) == expected
  assert (PAD, BOS, EOS, UNK, SEP, Modality.DNA, Modality.RNA, Modality.PROTEIN) == tuple(range(8))
  assert [m.tag for m in Modality] == ["<dna>", "<rna>", "<protein>"]


def test_vocabulary_hash_is_pinned():
  assert tokenizer.vocabulary_hash() == "37cb30c06b73cbbaafdb649276cf68cbc39e0605596d409fbb60e196a11865d3", (
    "The vocabulary changed: every row, checkpoint and exported model made so far becomes unreadable. If that is meant,"
    " pin the new hash here and say so in the README."
  )


def test_vocabulary_has_64_different_entries():
  assert len(tokenizer.VOCABULARY) == len(set(tokenizer.VOCABULARY)) == tokenizer.VOCAB_SIZE == 64


def test_nucleotides_and_amino_acids_share_no_id():
  nucleotide_ids = set(tokenizer.encode(NUCLEOTIDE_LETTERS, Modality.DNA).tolist())
  protein_ids = set(tokenizer.encode(PROTEIN_LETTERS, Modality.PROTEIN).tolist())
  assert not nucleotide_ids & protein_ids
  assert min(nucleotide_ids | protein_ids) == 8
  assert max(nucleotide_ids | protein_ids) == tokenizer.FIRST_RESERVED - 1


@pytest.mark.parametrize("name", ["protein", "Protein", "PROTEIN"])
def test_modality_is_parsed_in_any_case(name):
  assert Modality.parse(name) is Modality.PROTEIN


def test_unknown_modality_is_refused_with_the_known_ones():
  with pytest.raises(TokenizerError, match="'peptide'.*dna, rna or protein"):
    Modality.parse("peptide")


# Letters to ids and back


@hypothesis.given(typed_sequences)
def test_decode_inverts_encode(typed):
  modality, sequence = typed
  ids = tokenizer.encode(sequence, modality)
  assert ids.dtype == np.uint8
  assert tokenizer.decode(ids) == canonical(modality, sequence)
  np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(ids), modality), ids)


@hypothesis.given(typed_sequences)
def test_letter_case_and_text_type_of_the_input_have_no_meaning(typed):
  modality, sequence = typed
  ids = tokenizer.encode(sequence, modality)
  for variant in (sequence.upper(), sequence.lower(), sequence.encode()):
    np.testing.assert_array_equal(tokenizer.encode(variant, modality), ids)


@hypothesis.given(documents)
def test_decode_of_a_document_is_its_framed_text(document):
  text = "<bos>" + tokenizer.document_text(document) + "<eos>"
  assert tokenizer.decode(tokenizer.encode_document(document)) == text


@hypothesis.given(st.lists(st.integers(0, 63)))
def test_decode_writes_any_id_of_the_table_as_its_entry(ids):
  assert tokenizer.decode(ids) == "".join(tokenizer.VOCABULARY[i] for i in ids)


@pytest.mark.parametrize("wrong", [-1, 64, 255])
def test_decode_names_an_id_outside_the_vocabulary(wrong):
  with pytest.raises(TokenizerError, match=f"token id {wrong} is outside the vocabulary of 64"):
    tokenizer.decode([8, wrong, 9])


def test_uracil_is_written_as_thymine():
  for modality in (Modality.DNA, Modality.RNA):
    assert tokenizer.decode(tokenizer.encode("AuGU", modality)) == "atgt"


def test_u_of_a_protein_is_selenocysteine():
  assert tokenizer.decode(tokenizer.encode("MuK", Modality.PROTEIN)) == "MUK"


@hypothesis.given(nucleotides)
def test_ambiguity_codes_become_n_and_are_counted(sequence):
  counts = {"ambiguous": 5}
  ids = tokenizer.encode(sequence, Modality.DNA, counts=counts)
  codes = sum(letter in "ryswkmbdhv" for letter in sequence.lower())
  assert counts == {"ambiguous": 5 + codes}  # an `n` of the input replaces nothing
  assert tokenizer.decode(ids).count("n") == codes + sequence.lower().count("n")


def test_ambiguous_amino_acids_are_kept_and_not_counted():
  counts = {}
  assert tokenizer.decode(tokenizer.encode("bzxj", Modality.PROTEIN, counts=counts)) == "BZXJ"
  assert counts == {}


@hypothesis.given(modalities, st.text(max_size=40))
def test_strict_mode_accepts_the_alphabet_and_nothing_else(modality, text):
  outside = [letter for letter in text if letter not in ALPHABETS[modality]]
  if not outside:
    assert tokenizer.encode(text, modality).size == len(text)
    return
  with pytest.raises(TokenizerError) as error:
    tokenizer.encode(text, modality)
  assert repr(outside[0]) in str(error.value)
  assert f"position {text.index(outside[0]) + 1} of {len(text)}" in str(error.value)
  assert f"({len(outside)} such letters)" in str(error.value)


@pytest.mark.parametrize("sequence", ["ac-gt", b"ac-gt"])
def test_strict_error_names_the_record_and_the_remedy(sequence):
  with pytest.raises(TokenizerError, match=r"^NC_1\.1: '-' at position 3 of 5 is not a letter of a dna.*lenient"):
    tokenizer.encode(sequence, Modality.DNA, name="NC_1.1")


@hypothesis.given(modalities, st.text(max_size=40))
@hypothesis.example(Modality.PROTEIN, "Mé\u00ff日😀e\u0301?\ud800\n K")
def test_lenient_mode_writes_one_unk_per_character_outside_the_alphabet(modality, text):
  counts = {"unknown": 3}
  ids = tokenizer.encode(text, modality, strict=False, counts=counts)
  is_outside = [letter not in ALPHABETS[modality] for letter in text]
  assert (ids == UNK).tolist() == is_outside
  assert counts["unknown"] == 3 + sum(is_outside)


# Strands


@hypothesis.given(nucleotides)
def test_reverse_complement_twice_is_the_sequence(sequence):
  ids = tokenizer.encode(sequence, Modality.DNA)
  np.testing.assert_array_equal(tokenizer.reverse_complement(tokenizer.reverse_complement(ids)), ids)


def test_reverse_complement_pairs_the_bases_and_keeps_what_is_unknown():
  ids = tokenizer.encode("aacgtn-", Modality.DNA, strict=False)
  assert tokenizer.decode(tokenizer.reverse_complement(ids)) == "<unk>nacgtt"


# Documents


def test_document_layout():
  tokens = tokenizer.encode_document([(Modality.DNA, "atg"), (Modality.RNA, "aug"), (Modality.PROTEIN, "M")])
  assert tokens.dtype == np.uint8
  assert tokens.tolist() == [BOS, 5, 8, 11, 10, SEP, 6, 8, 11, 10, SEP, 7, 23, EOS]


@hypothesis.given(documents, st.booleans(), st.booleans(), st.integers(0, 3))
def test_split_document_inverts_join_document(document, bos, eos, padding):
  parts = encoded(document)
  tokens = tokenizer.join_document(parts, bos=bos, eos=eos)
  assert (tokens[0] == BOS, tokens[-1] == EOS) == (bos, eos)
  assert_same_parts(tokenizer.split_document(np.pad(tokens, (0, padding), constant_values=PAD)), parts)


def test_split_document_keeps_unknown_letters():
  parts = [(Modality.PROTEIN, tokenizer.encode("M-K", Modality.PROTEIN, strict=False))]
  assert_same_parts(tokenizer.split_document(tokenizer.join_document(parts)), parts)


@pytest.mark.parametrize(
  "tokens",
  [[], [BOS, EOS], [BOS, 8, 9, EOS], [BOS, SEP, Modality.DNA, 8, EOS], [BOS, Modality.DNA, 8, SEP, EOS]],
  ids=["empty", "no sequence", "no tag", "nothing before <sep>", "nothing after <sep>"],
)
def test_sequence_without_a_tag_is_refused(tokens):
  with pytest.raises(TokenizerError, match="must begin with a modality tag"):
    tokenizer.split_document(np.array(tokens, np.uint8))


@pytest.mark.parametrize("token", [PAD, BOS, EOS, *Modality, tokenizer.FIRST_RESERVED, 63])
def test_special_or_reserved_token_inside_a_sequence_is_refused(token):
  with pytest.raises(TokenizerError, match="stands inside a sequence"):
    tokenizer.split_document(np.array([BOS, Modality.DNA, 8, token, 9, EOS], np.uint8))


def test_two_documents_are_not_one():
  document = tokenizer.encode_document([(Modality.DNA, "acgt")])
  with pytest.raises(TokenizerError, match="stands inside a sequence"):
    tokenizer.split_document(np.concatenate([document, document]))


@hypothesis.given(st.lists(documents, max_size=4), st.integers(0, 3))
def test_letters_are_counted_by_modality(several, padding):
  pieces = [tokenizer.encode_document(document) for document in several] + [np.full(padding, PAD, np.uint8)]
  expected = {"dna": 0, "rna": 0, "protein": 0}
  for document in several:
    for modality, sequence in document:
      expected[modality.name.lower()] += len(sequence)
  assert tokenizer.count_by_modality(np.concatenate(pieces)) == expected


def test_unknown_letters_count_for_the_modality_they_stand_in():
  ids = tokenizer.encode("M--K", Modality.PROTEIN, strict=False)
  tokens = tokenizer.join_document([(Modality.DNA, tokenizer.encode("ac", Modality.DNA)), (Modality.PROTEIN, ids)])
  assert tokenizer.count_by_modality(tokens) == {"dna": 2, "rna": 0, "protein": 4}


# The exported tokenizers


@hypothesis.given(documents)
def test_look_up_sentencepiece_and_hugging_face_give_the_same_ids(sentencepiece_model, hugging_face, document):
  expected = tokenizer.encode_document(document).tolist()
  text = tokenizer.document_text(document)
  assert sentencepiece_model.encode(text, add_bos=True, add_eos=True) == expected
  assert hugging_face.encode(text + "<eos>").ids == expected
  assert hugging_face.encode(text).ids == expected[:-1]
  assert hugging_face.encode(text, add_special_tokens=False).ids == expected[1:-1]


@hypothesis.given(documents)
def test_exported_tokenizers_decode_to_the_canonical_text(sentencepiece_model, hugging_face, document):
  ids = tokenizer.encode_document(document).tolist()
  text = tokenizer.document_text(document)
  assert sentencepiece_model.decode(ids) == text
  assert hugging_face.decode(ids, skip_special_tokens=False) == f"<bos>{text}<eos>"


@hypothesis.given(st.sampled_from([Modality.DNA, Modality.RNA]), st.text("acgtunryswkmbdhv"))
def test_hugging_face_reads_raw_lower_case_nucleotides_as_the_look_up_does(hugging_face, modality, sequence):
  expected = [modality, *tokenizer.encode(sequence, modality).tolist()]
  assert hugging_face.encode(modality.tag + sequence, add_special_tokens=False).ids == expected


def test_hugging_face_writes_one_unk_per_unknown_character(hugging_face):
  sequence = "Mé日😀--\n K"
  expected = [Modality.PROTEIN, *tokenizer.encode(sequence, Modality.PROTEIN, strict=False).tolist()]
  assert expected.count(UNK) == 7
  assert hugging_face.encode("<protein>" + sequence, add_special_tokens=False).ids == expected


def test_sentencepiece_writes_one_unk_per_run_of_unknown_characters(sentencepiece_model):
  # Its encoder always merges them: the reason why text for it has to be canonical.
  assert sentencepiece_model.encode("<protein>Mé日K") == [Modality.PROTEIN, 23, UNK, 21]


def test_exported_tables_are_the_vocabulary(sentencepiece_model, hugging_face):
  size = tokenizer.VOCAB_SIZE
  assert tuple(sentencepiece_model.id_to_piece(list(range(size)))) == tokenizer.VOCABULARY
  assert tuple(hugging_face.id_to_token(i) for i in range(size)) == tokenizer.VOCABULARY
  assert sentencepiece_model.vocab_size() == hugging_face.get_vocab_size() == size


def test_sentencepiece_types_of_the_special_pieces(sentencepiece_model):
  assert sentencepiece_model.unk_id() == UNK
  assert (sentencepiece_model.pad_id(), sentencepiece_model.bos_id(), sentencepiece_model.eos_id()) == (PAD, BOS, EOS)
  assert [i for i in range(64) if sentencepiece_model.is_control(i)] == [PAD, BOS, EOS]
  assert [i for i in range(64) if sentencepiece_model.is_unused(i)] == list(range(tokenizer.FIRST_RESERVED, 64))


def test_exports_are_the_same_bytes_every_time(tmp_path):
  for folder in ("one", "two"):
    tokenizer.write_hugging_face(tmp_path / folder)
    tokenizer.write_sentencepiece(tmp_path / folder / "bsm.model")
  for path in (tmp_path / "one").iterdir():
    assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_hugging_face_files_name_the_special_tokens(hugging_face_folder):
  config = json.loads((hugging_face_folder / "tokenizer_config.json").read_text())
  roles = json.loads((hugging_face_folder / "special_tokens_map.json").read_text())
  expected = {f"{role}_token": f"<{role}>" for role in ("pad", "bos", "eos", "unk", "sep")}
  assert roles == expected
  assert config.items() >= expected.items()


def raw(modality: Modality, rng: np.random.Generator) -> str:
  """Letters as files hold them and as the exported normalizer reads them: nucleotides lower, amino acids upper case."""
  if modality == Modality.PROTEIN:
    return "".join(rng.choice(list(tokenizer.AMINO_ACID_CODES + "-."), rng.integers(0, 60)))
  return "".join(rng.choice(list("acgtunryswkmbdhv-."), rng.integers(0, 60)))


def test_ten_thousand_raw_documents_get_the_ids_of_the_look_up(hugging_face):
  rng = np.random.default_rng(0)
  several = [[(m, raw(m, rng)) for m in rng.choice(list(Modality), rng.integers(1, 4))] for _ in range(10_000)]
  several = [[(Modality(m), sequence) for m, sequence in document] for document in several]
  texts = ["<sep>".join(m.tag + sequence for m, sequence in document) + "<eos>" for document in several]
  for found, document in zip(hugging_face.encode_batch(texts), several, strict=True):
    assert found.ids == tokenizer.encode_document(document, strict=False).tolist()


def test_a_pair_of_texts_is_one_document(hugging_face):
  expected = tokenizer.encode_document([(Modality.DNA, "atg"), (Modality.PROTEIN, "M")]).tolist()
  assert hugging_face.encode("<dna>atg", "<protein>M<eos>").ids == expected


def test_the_context_is_told_where_it_is_known(hugging_face_folder, tmp_path):
  tokenizer.write_hugging_face(tmp_path, model_max_length=1024)
  assert json.loads((tmp_path / "tokenizer_config.json").read_text())["model_max_length"] == 1024
  assert "model_max_length" not in json.loads((hugging_face_folder / "tokenizer_config.json").read_text())


def test_transformers_loads_the_folder(hugging_face_folder):
  transformers = pytest.importorskip("transformers", reason="needs the extra [export]")
  loaded = transformers.AutoTokenizer.from_pretrained(hugging_face_folder)
  roles = (loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id, loaded.unk_token_id, loaded.sep_token_id)
  assert roles == (PAD, BOS, EOS, UNK, SEP)
  document = [(Modality.RNA, "augn"), (Modality.PROTEIN, "MK*")]
  prompt = loaded(tokenizer.document_text(document))
  ids = tokenizer.encode_document(document).tolist()
  assert dict(prompt) == {"input_ids": ids[:-1], "attention_mask": [1] * (len(ids) - 1)}
  assert loaded.decode(ids) == "<bos><rna>atgn<sep><protein>MK*<eos>"
  assert loaded.decode(ids, skip_special_tokens=True) == "atgnMK*"
  assert loaded(["<dna>a", "<dna>acg"], padding=True)["input_ids"] == [[PAD, PAD, BOS, 5, 8], [BOS, 5, 8, 9, 10]]
