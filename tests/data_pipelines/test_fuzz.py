"""Damaged and strange input: every parser yields items or raises `InputError`, and loses no record.

The same targets are fuzzed by hand, guided by coverage, for as long as one likes: `tests/fuzz/fuzz_parsers.py`.
"""

import pathlib
import re
import signal
import tempfile

import hypothesis
import pytest
from hypothesis import strategies as st

from data_pipelines.formats import fasta
from tests.fuzz import samples
from tests.fuzz.document_targets import DOCUMENT_TARGETS
from tests.fuzz.targets import TARGETS as SEQUENCE_TARGETS

TARGETS = SEQUENCE_TARGETS | DOCUMENT_TARGETS
EXAMPLES = 100
ODD_TEXT = [
    b"", b" ", b"\t", b"\n", b"\n\n", b"\r\n", b"\0", b"\xff", b"\xe2\x80\x89", "٣".encode(), b">", b"//", b'"', b"=",
    b";", b",", b"(", b")", b"..", b"%", b"-1", b"0", b"1e9", b"9" * 5000, b"18446744073709551616", b"CDS", b"join(",
    b"*", b".",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_hang():
  """An input that takes a minute of processor time hangs: the test fails instead of never ending."""

  def stop(*_):
    raise AssertionError("hangs")

  before = signal.signal(signal.SIGPROF, stop)
  signal.setitimer(signal.ITIMER_PROF, 60)
  yield
  signal.setitimer(signal.ITIMER_PROF, 0)
  signal.signal(signal.SIGPROF, before)


def _pieces(separator: bytes, change):
  """A mutation of the list of lines, fields or numbers of the input."""

  def mutate(draw, data):
    pieces = re.split(b"(" + separator + b")", data)
    at, other = (draw(st.integers(0, len(pieces) - 1)) for _ in range(2))
    change(draw, pieces, at, other)
    return b"".join(pieces)

  return mutate


def _swap(draw, pieces, at, other):
  pieces[at], pieces[other] = pieces[other], pieces[at]


def _drop(draw, pieces, at, other):
  del pieces[at : at + 2]


def _repeat(draw, pieces, at, other):
  pieces[other:other] = pieces[at : at + 2]


def _replace(draw, pieces, at, other):
  pieces[at] = draw(st.sampled_from(ODD_TEXT))


def _flip(draw, data):
  at = draw(st.integers(0, len(data) - 1)) if data else 0
  return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]


def _insert(draw, data):
  at = draw(st.integers(0, len(data)))
  return data[:at] + draw(st.sampled_from(ODD_TEXT)) + data[at:]


def _truncate(draw, data):
  return data[: draw(st.integers(0, len(data)))]


def _cut_out(draw, data):
  start, stop = sorted(draw(st.integers(0, len(data))) for _ in range(2))
  return data[:start] + data[stop:]


MUTATIONS = [
    _flip, _insert, _truncate, _cut_out, lambda _, data: data.replace(b"\n", b"\r\n"),
    *(_pieces(separator, change) for separator in (rb"\n", rb"[\t ]+|\n", rb"\d+")
      for change in (_swap, _drop, _repeat, _replace)),
]  # fmt: skip


@st.composite
def mutants(draw, seeds):
  data = draw(st.sampled_from([data for data, _ in seeds]))
  for mutate in draw(st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=4)):
    data = mutate(draw, data)
  return data


def _run(target, data):
  with tempfile.TemporaryDirectory() as folder:
    return TARGETS[target].run(pathlib.Path(folder), data)


@pytest.mark.parametrize("target", TARGETS)
def test_valid_input_gives_one_item_for_each_record(target):
  assert [_run(target, data) for data, _ in TARGETS[target].seeds] == [count for _, count in TARGETS[target].seeds]


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_input_is_read_or_refused_with_a_clear_error(target):

  @hypothesis.settings(max_examples=EXAMPLES)
  @hypothesis.given(data=mutants(TARGETS[target].seeds))
  def check(data):
    _run(target, data)

  check()


@pytest.mark.parametrize("target", TARGETS)
def test_input_cut_off_anywhere_is_read_or_refused_with_a_clear_error(target):
  for data, count in TARGETS[target].seeds:
    for end in range(0, len(data), max(1, len(data) // 40)):
      found = _run(target, data[:end])
      assert found is None or found <= count  # What was cut off is not made up.


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("strange", [b"\n", b" ", b"9", b">", b'"', b",", b" \n"])
def test_long_runs_of_one_thing_take_bounded_time(target, strange):
  data, count = TARGETS[target].seeds[0]
  for at in (len(data) // 3, len(data) // 2):
    found = _run(target, data[:at] + strange * 200_000 + data[at:])  # `_no_hang` fails the test that takes too long.
    assert found is None or found <= 2 * count  # Some items are cut in two; 200,000 of them would be made up.


# Records in = items out, counted by what was written and not by what a parser says.

LOCATIONS = st.sampled_from([
    "31..63", "complement(81..113)", "381..413", "join(381..400,1..13)", "<1..>400", "join(31..45,<46..63)", "63..31",
    "join(complement(131..145),complement(100..120))", "join(1..9,complement(20..30))", "order(1..9,20..30)", "9",
    "X1.1:1..9", "join(1..3,X1.1:1..9)", "1^2", "", "()", "join()", "1..99999999999", "one-of(1,2)..9", "0..9",
    "join(1..9,4..9)",
])  # fmt: skip
QUALIFIERS = st.lists(
    st.sampled_from([
        "/gene=abc", '/gene="a/b"', "/pseudo", "/codon_start=2", "/codon_start=x", "/transl_table=99", "/",
        '/translation="MK', '/translation="MKTAYIAKQR"', '/translation=""', '/note="a CDS 1..2"', '/protein_id="P"',
        "/transl_except=(pos:1..3,aa:Sec)", "/transl_except=(", '/exception="RNA editing"', "/ribosomal_slippage",
        "/trans_splicing", '/db_xref="GeneID:1"', "/transl_table=4", "/number=1", '/product="x', "continued",
    ]),
    max_size=4,
)  # fmt: skip
FEATURES = st.lists(st.tuples(st.sampled_from(["CDS", "mRNA", "gene", "misc_feature"]), LOCATIONS, QUALIFIERS))


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(features=FEATURES)
def test_every_coding_feature_of_a_genbank_file_is_a_gene_or_a_reject(features):
  before, origin, after = samples.text(samples.bacterium(), "genomic_gbff").decode().partition("ORIGIN")
  for key, where, qualifiers in features:
    before += "".join(f"{line}\n" for line in [f"     {key:<16}{where}", *(" " * 21 + text for text in qualifiers)])
  expected = samples.coding_features(samples.bacterium()) + sum(key == "CDS" for key, _, _ in features)
  assert _run("genbank", (before + origin + after).encode()) == expected


GFF_LINES = st.lists(
    st.tuples(
        st.sampled_from(["CDS", "exon", "gene", "mRNA"]), st.sampled_from(["NC_000001.1", "other"]),
        st.integers(1, 500), st.integers(0, 500), st.sampled_from("+-.?"), st.sampled_from("012."),
        st.sampled_from([
            "", ";transl_table=99", ";pseudo=true", ";transl_except=(pos:1..3%2Caa:Sec)", ";Parent=new0", ";Parent=a,b",
            ";protein_id=P", ";exception=RNA editing", ";partial=true;end_range=3,.", ";transl_table=" + "1" * 5000,
        ]),
    ),
    max_size=12,
)  # fmt: skip


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(lines=GFF_LINES)
def test_every_coding_sequence_of_a_gff3_file_is_a_gene_or_a_reject(lines):
  bacterium = samples.bacterium()
  annotation, expected = samples.text(bacterium, "genomic_gff").decode(), samples.coding_features(bacterium)
  for number, (kind, contig, start, length, strand, phase, rest) in enumerate(lines):
    columns = (contig, "x", kind, start, start + length, ".", strand, phase, f"ID=new{number}{rest}")
    annotation += "\t".join(map(str, columns)) + "\n"
    # Each has an ID of its own, hence is a coding sequence of its own; under two parents it is two.
    expected += (kind == "CDS") * (2 if "Parent=a,b" in rest else 1)
  data = annotation.encode() + samples.SEPARATOR + samples.text(bacterium, "genomic_fna")
  assert _run("gff3", data) == expected


TABLE_ROWS = st.lists(
    st.fixed_dictionaries({
        "feature": st.sampled_from(["CDS", "mRNA", "gene"]), "genomic_accession": st.just("NC_000001.1"),
        "class": st.sampled_from(["with_protein", "", "without_protein"]), "symbol": st.just("x"),
        "start": st.integers(1, 500), "end": st.integers(1, 500), "strand": st.sampled_from(["+", "-", "", "?"]),
        "product_accession": st.sampled_from(["NP_1.1", "NP_3.1", "NP_9.1", ""]),
        "related_accession": st.sampled_from(["", "NM_1.1"]), "GeneID": st.sampled_from(["", "7"]),
        "locus_tag": st.sampled_from(["", "L1"]), "feature_interval_length": st.integers(0, 10**18 - 1),
        "attributes": st.sampled_from(["", "pseudo", "partial", "ribosomal_slippage;partial", "trans_splicing"]),
    }),
    max_size=10,
)  # fmt: skip


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(rows=TABLE_ROWS)
def test_every_coding_row_of_a_feature_table_is_a_gene_or_a_reject(rows):
  bacterium = samples.bacterium()
  table, *others = samples.joined(bacterium, "feature_table", "genomic_fna", "protein_faa").split(samples.SEPARATOR)
  header = table.decode().partition("\n")[0].removeprefix("# ").split("\t")
  for row in rows:
    table += "\t".join(str(row.get(name, "")) for name in header).encode() + b"\n"
  expected = samples.coding_features(bacterium) + sum(row["feature"] == "CDS" for row in rows)
  assert _run("feature_table", samples.SEPARATOR.join([table, *others])) == expected


FASTA_RECORDS = st.lists(
    st.tuples(
        st.from_regex(r"[^\s\x00>][^\n\x00]{0,20}", fullmatch=True),
        st.text("ACGTacgtNMK*-.", min_size=1, max_size=200),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(records=FASTA_RECORDS, width=st.integers(1, 80), end=st.sampled_from(["\n", "\r\n", "\n\n", " \n"]))
def test_every_fasta_record_is_read_letter_for_letter(records, width, end):
  lines = []
  for header, letters in records:
    lines += [f">{header}", *(letters[i : i + width] for i in range(0, len(letters), width))]
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "x.fa"
    path.write_bytes("".join(line + end for line in lines).encode())
    read = list(fasta.read_fasta(path))
  assert [record.sequence for record in read] == [letters.upper() for _, letters in records]
  assert [f"{name} {rest}".split() for name, rest, _ in read] == [header.split() for header, _ in records]


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("assembly", [samples.bacterium(), samples.eukaryote()], ids=["circular", "linear"])
def test_no_damaged_byte_makes_a_genbank_feature_disappear(assembly, step):
  data, expected = samples.text(assembly, "genomic_gbff"), samples.coding_features(assembly)
  # Another key is another feature; and a lost line end makes two lines one, as continued qualifiers may look.
  keys = {at for match in re.finditer(rb"\n {5}(CDS) ", data) for at in range(match.start(1), match.end(1) + 1)}
  for at in range(0, len(data), step):
    if at not in keys and data[at] != ord("\n"):
      for byte in (data[at] ^ 1, ord("x") if data[at] == ord(" ") else ord(" ")):
        count = _run("genbank", data[:at] + bytes([byte]) + data[at + 1 :])
        assert count in (expected, None), (data[max(at - 30, 0) : at], chr(data[at]), chr(byte))


# What fuzzing found; each of these ended in another error, or never.

HUGE = "9" * 5000  # More digits than Python turns into a number.


@pytest.mark.parametrize("column", ["start", "end", "feature_interval_length"])
def test_a_number_of_thousands_of_digits_in_a_feature_table_is_named(column):
  table, *others = samples.joined(samples.bacterium(), "feature_table", "genomic_fna", "protein_faa").split(
      samples.SEPARATOR
  )
  header, *rows = [line.split("\t") for line in table.decode().splitlines()]
  for row in rows:
    row[header.index(column)] = HUGE
  lines = "".join("\t".join(row) + "\n" for row in [header, *rows])
  assert _run("feature_table", samples.SEPARATOR.join([lines.encode(), *others])) is None


@pytest.mark.parametrize("old, new, count", [
    ("\t31\t63\t", f"\t31\t{HUGE}\t", None),
    ("NC_000001.1 1 400", f"NC_000001.1 1 {HUGE}", 7),
    ("taxon:562", f"taxon:{HUGE}", 7),
    ("transl_table=11", f"transl_table={HUGE}", 7),
])
def test_a_number_of_thousands_of_digits_in_gff3_is_named_or_no_number(old, new, count):
  data = samples.joined(samples.bacterium(), "genomic_gff", "genomic_fna", "protein_faa")
  assert old.encode() in data
  assert _run("gff3", data.replace(old.encode(), new.encode())) == count


def test_a_length_of_thousands_of_digits_in_genbank_is_named():
  data = samples.text(samples.bacterium(), "genomic_gbff")
  assert _run("genbank", data.replace(b" 400 bp", f" {HUGE} bp".encode())) is None


def test_a_protein_that_is_a_stop_only_is_a_reject():
  files = ("feature_table", "genomic_fna", "protein_faa", "cds_from_genomic_fna", "rna_fna")
  data = samples.joined(samples.eukaryote(), *files)
  assert _run("feature_table", data.replace(b"MKTAYIAKQR\n", b"*\n")) == 2


def test_a_first_record_behind_spaces_is_told_as_the_others_are():
  for text in (b"  >a\nAC\n", b">b\nA\n  >a\nAC\n"):
    assert _run("fasta", text) is None
    assert _run("ranges", b"\x30\x90" + text) is None


def test_a_gff3_line_behind_the_sequences_is_not_passed_over():
  data = samples.joined(samples.bacterium(), "genomic_gff", "genomic_fna")
  assert _run("gff3", data.replace(samples.SEPARATOR, b"\n##FASTA\n>a b\tc\nACGT\n" + samples.SEPARATOR)) == 7
  lines = data.split(b"\n")
  lines[12] = b">" + lines[12][1:]
  assert _run("gff3", b"\n".join(lines)) is None


@pytest.mark.parametrize("old, new", [
    (b"LOCUS       NC_000001", b"LOKUS       NC_000001"),
    (b"\nFEATURES", b"\nFEATURED"),
    (b"\n     CDS  ", b"\n    CDS  "),
    (b"\n     gene  ", b"\ngene  "),
    (b"\n//\n", b"\n/\n"),
])
def test_a_damaged_genbank_record_is_not_passed_over(old, new):
  data = samples.text(samples.bacterium(), "genomic_gbff")
  other = samples.text(samples.eukaryote(), "genomic_gbff")
  assert _run("genbank", data + other) == _run("genbank", other + data) == 9
  assert old in data
  assert _run("genbank", data.replace(old, new) + other) is None
  assert _run("genbank", other + data.replace(old, new)) is None


def test_a_genbank_record_that_lost_its_first_and_last_line_is_not_passed_over():
  data = samples.text(samples.bacterium(), "genomic_gbff")
  other = samples.text(samples.eukaryote(), "genomic_gbff")
  torn = data.partition(b"\n")[2].replace(b"\n//\n", b"\n")
  assert _run("genbank", torn + other) is None
  assert _run("genbank", other + torn + other) is None
  assert _run("genbank", b"GBBCT1.SEQ\n  Release 250\n\n" + other) == 2
