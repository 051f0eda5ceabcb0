"""Readers of assays: what they take from clean files, and what they say of others."""

import gzip

import pytest

from bsm_jax.evaluation import dms
from bsm_jax.tokenizer import Modality

WILD = "MKTAYI"
PROTEINGYM = """mutant,mutated_sequence,DMS_score,DMS_score_bin
K2A,MATAYI,0.5,1
K2R:I6V,MRTAYV,-1.5,0
"""
RNAGYM = """mutant,DMS_score,sequence
,1.0,ACGUU
A1C,0.25,CCGUU
"C2G,U5A",0.75,AGGUA
"""
EVO = "wt_seq_nt\tmt_seq_nt\tfitness\nACGTT\tCCGTT\t0.25\nACGTT\tACGTA\t-2\n"


@pytest.fixture
def write(tmp_path):
  def write(text: str, name: str = "assay.csv") -> str:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)

  return write


def test_a_proteingym_assay_is_read_plain_and_gzipped(write):
  for path in (write(PROTEINGYM), write(PROTEINGYM, "assay.csv.gz")):
    assay = dms.read_proteingym(path, "X", WILD)
    assert [(v.letters, v.score, v.fit, v.line) for v in assay.variants] == [
      ("MATAYI", 0.5, 1, 2), ("MRTAYV", -1.5, 0, 3),
    ]  # fmt: skip
    assert assay.wild_types == (WILD,)
    assert assay.scores.tolist() == [0.5, -1.5]


def test_an_rnagym_assay_leaves_the_wild_types_row_out_and_finds_it_in_the_mutants(write):
  assay = dms.read_rnagym(write(RNAGYM), "X")
  assert [v.letters for v in assay.variants] == ["CCGUU", "AGGUA"]
  assert assay.wild_types == ("ACGUU",)
  assert assay.counts == {"the wild type's rows, left out": 1}


def test_t_and_u_are_one_letter_in_mutants_and_sequences(write):
  assay = dms.read_rnagym(write(RNAGYM.replace("AGGUA", "AGGTA").replace("U5A", "T5A")), "X")
  assert assay.variants[1].letters == "AGGUA"
  assert dms.read_rnagym(write(RNAGYM), "X", Modality.DNA).wild_types == ("ACGTT",)


def test_an_evo_assay_is_read_as_what_it_is_said_to_be(write):
  assay = dms.read_evo(write(EVO, "x.tsv"), "x", Modality.RNA)
  assert [(v.letters, v.score) for v in assay.variants] == [("CCGUU", 0.25), ("ACGUA", -2.0)]
  assert dms.read_evo(write(EVO, "x.tsv"), "x", Modality.DNA).wild_types == ("ACGTT",)


def test_a_table_of_another_layout_is_told_by_its_columns(write):
  with pytest.raises(dms.AssayError, match=r"csv, line 1: no column 'mutated_sequence'.*there are: mutant, DMS_s"):
    dms.read_proteingym(write(RNAGYM), "X", WILD)
  with pytest.raises(dms.AssayError, match="no column 'wt_seq_nt', .*It needs wt_seq_nt, mt.*of a .tsv by tabs"):
    dms.read_evo(write(PROTEINGYM), "X", Modality.DNA)


def test_a_wild_type_that_does_not_match_its_mutants_is_an_error_with_the_line(write):
  with pytest.raises(dms.AssayError, match="line 2: K2A wants K at 2, but the wild type has Q there"):
    dms.read_proteingym(write(PROTEINGYM), "X", "MQTAYI")
  with pytest.raises(dms.AssayError, match=r"line 2: mutated_sequence is not .* with K2A \(Y at 5, W expected\)"):
    dms.read_proteingym(write(PROTEINGYM), "X", "MKTAWI")
  with pytest.raises(dms.AssayError, match="line 3: I6V lies outside the wild type's 5 letters"):
    dms.read_proteingym(write(PROTEINGYM.replace("MATAYI", "MATAY")), "X", "MKTAY")
  with pytest.raises(dms.AssayError, match=r"line 4: without C2G,U5A it is another wild type than that of line 2"):
    dms.read_rnagym(write(RNAGYM.replace("AGGUA", "AGCUA")), "X")
  with pytest.raises(dms.AssayError, match="line 3: mt_seq_nt has less than half"):
    dms.read_evo(write(EVO.replace("ACGTA", "GTACG"), "x.tsv"), "x", Modality.DNA)


def test_what_is_no_substitution_is_an_error(write):
  with pytest.raises(dms.AssayError, match="line 2: 'del2' is no substitution such as A1P"):
    dms.read_proteingym(write(PROTEINGYM.replace("K2A", "del2")), "X", WILD)


def test_letters_outside_the_alphabet_are_an_error_with_line_and_column(write):
  with pytest.raises(dms.AssayError, match=r"line 2, column 'mutated_sequence': .*'\?'"):
    dms.read_proteingym(write(PROTEINGYM.replace("MATAYI", "M?TAYI")), "X", WILD)
  with pytest.raises(dms.AssayError, match="line 3, column 'sequence'"):
    dms.read_rnagym(write(RNAGYM.replace("CCGUU", "CCEUU")), "X")


@pytest.mark.parametrize("score", ["", "nan", "NA"])
def test_a_missing_score_is_an_error_or_left_out_and_counted_as_told(write, score):
  path = write(PROTEINGYM.replace("0.5", score))
  with pytest.raises(dms.AssayError, match=r"line 2: no score in column 'DMS_score' .*--missing=drop"):
    dms.read_proteingym(path, "X", WILD)
  assay = dms.read_proteingym(path, "X", WILD, dms.Rules(missing="drop"))
  assert len(assay.variants) == 1
  assert assay.counts == {"rows without a score, left out": 1}


def test_a_score_that_is_no_number_is_an_error_whatever_the_rules(write):
  with pytest.raises(dms.AssayError, match="line 2: DMS_score is 'high', which is no finite number"):
    dms.read_proteingym(write(PROTEINGYM.replace("0.5", "high")), "X", WILD, dms.Rules(missing="drop"))


def test_a_variant_that_is_there_twice_is_an_error_or_kept_or_left_out_as_told(write):
  path = write(PROTEINGYM + "K2A,MATAYI,0.7,1\n")
  with pytest.raises(dms.AssayError, match="line 4: the variant of line 2 again"):
    dms.read_proteingym(path, "X", WILD)
  read = lambda rule: dms.read_proteingym(path, "X", WILD, dms.Rules(duplicates=rule))
  assert read("drop").scores.tolist() == [0.5, -1.5]
  assert read("drop").counts == {"duplicates, left out": 1}
  assert read("keep").scores.tolist() == [0.5, -1.5, 0.7]


def test_a_damaged_file_is_an_error_that_names_it(write):
  path = write(PROTEINGYM, "assay.csv.gz")
  with open(path, "rb") as file:
    whole = file.read()
  with open(path, "wb") as file:
    file.write(whole[:-12])
  with pytest.raises(dms.AssayError, match="assay.csv.gz cannot be read"):
    dms.read_proteingym(path, "X", WILD)
  with pytest.raises(dms.AssayError, match="line 3: not as many fields"):
    dms.read_proteingym(write(PROTEINGYM.rsplit(",", 2)[0]), "X", WILD)
  with pytest.raises(dms.AssayError, match="no variant with a score"):
    dms.read_proteingym(write(PROTEINGYM.splitlines()[0] + "\n"), "X", WILD)


def test_a_coding_sequence_is_translated_without_its_stop_and_keeps_those_before():
  assert dms.translate("ATGTGGTAA") == "MW"
  assert dms.translate("ATGTAGTGGTAA") == "M*W"
  assert dms.translate("ATGNNNTGA", code=4) == "MXW"
  with pytest.raises(ValueError, match="whole codons, and this has 4 letters"):
    dms.translate("ATGA")
