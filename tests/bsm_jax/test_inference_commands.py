"""The command lines of inference: the files they read, how they go on after a stop, and what they write."""

import gzip
import json
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from bsm_jax import inference
from bsm_jax.inference import embed, pieces, records, score
from bsm_jax.inference.documents import InputError
from bsm_jax.tokenizer import Modality
from tests.bsm_jax.sample_models import write_run

DNA, _, PROTEIN = Modality
ROOT = pathlib.Path(__file__).parents[2]


def put(path: pathlib.Path, text: str) -> str:
  if path.suffix == ".gz":
    path.write_bytes(gzip.compress(text.encode()))
  else:
    path.write_text(text)
  return str(path)


# --- files


@pytest.mark.parametrize("name", ["x.fasta", "x.FNA", "x.fa.gz"])
def test_fasta_records_keep_their_first_word_and_join_their_lines(tmp_path, name):
  path = put(tmp_path / name, "\n>a first\nACGT\nac gt\n\n>b\r\nTTT\r\n")
  assert list(records.read(path, modality=DNA)) == [("a", ((DNA, "ACGTacgt"),)), ("b", ((DNA, "TTT"),))]


def test_columns_of_a_table_become_a_document_in_the_order_asked_for(tmp_path):
  path = put(tmp_path / "x.tsv", "protein\tid\tcds\nMK\tg1\tatgaaa\nM\t\tatg\n")
  found = list(records.read(path, columns={"cds": DNA, "protein": PROTEIN}))
  assert found[0] == ("g1", ((DNA, "atgaaa"), (PROTEIN, "MK")))
  assert found[1].name == "line_3"  # it has no name
  path = put(tmp_path / "x.csv", "sequence\nacg\n")
  assert list(records.read(path, modality=DNA)) == [("line_2", ((DNA, "acg"),))]


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("x.txt", "acg", {"modality": DNA}, "must end in one of .fasta"),
        ("x.fasta", ">a\nacg", {}, "say what its sequences are"),
        ("x.fasta", ">a\nacg", {"columns": {"s": DNA}}, "has no columns"),
        ("x.fasta", "acg", {"modality": DNA}, "line 1 should be a header"),
        ("x.fasta", ">a\n>b\nacg", {"modality": DNA}, "record 'a' has no sequence"),
        ("x.fasta", ">a\nacg\n>\nacg", {"modality": DNA}, "header in line 3 has no name"),
        ("x.fasta", "\n", {"modality": DNA}, "holds no record"),
        ("x.csv", "id,seq\na,acg\n", {"modality": DNA}, "no column 'sequence'; there are: id, seq"),
        ("x.csv", "id,seq\na,acg\nb\n", {"columns": {"seq": DNA}}, "line 3: not as many fields"),
        ("x.csv", "id,seq\na,acg\nb,\n", {"columns": {"seq": DNA}}, "line 3 .b.: no dna in column 'seq'"),
        ("x.csv", 'id,seq\na,"acg\n', {"columns": {"seq": DNA}}, "cannot be read beyond line 2"),
    ],
)
def test_damaged_files_are_named_with_the_place_and_the_remedy(tmp_path, name, text, options, message):
  path = put(tmp_path / name, text)
  with pytest.raises(InputError, match=message) as error:
    list(records.read(path, **options))
  assert path in str(error.value)


def test_a_truncated_gzip_file_is_no_shorter_one(tmp_path):
  path = tmp_path / "x.fa.gz"
  rng = np.random.default_rng(0)
  put(path, "".join(f">{i}\n{''.join(rng.choice(list('acgt'), 100))}\n" for i in range(200)))
  path.write_bytes(path.read_bytes()[:-500])
  with pytest.raises(InputError, match="cannot be read beyond line [1-9]"):
    list(records.read(str(path), modality=DNA))


def test_a_file_that_is_not_there_is_named(tmp_path):
  with pytest.raises(InputError, match="absent.fa cannot be read"):
    list(records.read(str(tmp_path / "absent.fa"), modality=DNA))


# --- pieces


RECORDS = [records.Record(f"r{number}", ((DNA, "acgt" * (1 + number % 3)),)) for number in range(10)]
TEXT = pieces.Format(".txt", lambda names, path: path.write_text("".join(names)), pieces.join_text)


class Worker:
  """Answers each record with its name, and breaks off when it has answered so many."""

  def __init__(self, until: int = 100):
    self.done, self.until = [], until

  def __call__(self, piece, start, progress):
    assert piece[0] == RECORDS[start]
    if len(self.done) >= self.until:
      raise KeyboardInterrupt
    self.done += [record.name for record in piece]
    progress(pieces.letters_of(piece))
    return [f"{record.name}\n" for record in piece]


def run(work, out, letters=20, **about) -> int:
  return pieces.run(RECORDS, work, str(out), form=TEXT, about={"step": 3} | about, letters=letters, total=76)


def test_stopped_work_goes_on_behind_the_last_finished_piece(tmp_path):
  out, first, second = tmp_path / "out.txt", Worker(until=4), Worker()
  with pytest.raises(KeyboardInterrupt):
    run(first, out)
  assert not out.exists() and 4 <= len(first.done) < 10
  assert run(second, out) == 10
  assert first.done + second.done == [record.name for record in RECORDS]
  assert out.read_text().split() == [record.name for record in RECORDS]
  assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_unfinished_work_of_another_command_is_not_mixed_in(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    run(Worker(until=4), tmp_path / "out.txt")
  with pytest.raises(InputError, match="step: 3 then, 4 now"):
    run(Worker(), tmp_path / "out.txt", step=4)


def test_pieces_of_another_size_are_not_taken_for_these(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    run(Worker(until=4), tmp_path / "out.txt")
  with pytest.raises(InputError, match="letters_a_piece: 20 then, 40 now"):
    run(Worker(), tmp_path / "out.txt", letters=40)


def test_a_file_that_is_there_is_replaced_only_if_asked_and_at_the_end(tmp_path):
  out = tmp_path / "out.txt"
  out.write_text("old")
  with pytest.raises(InputError, match="out.txt exists"):
    run(Worker(), out)
  options = dict(form=TEXT, about={}, letters=20, total=76, overwrite=True)
  with pytest.raises(KeyboardInterrupt):
    pieces.run(RECORDS, Worker(until=4), str(out), **options)
  assert out.read_text() == "old"
  pieces.run(RECORDS, Worker(), str(out), **options)
  assert out.read_text().startswith("r0\n")


@pytest.mark.parametrize("by_letter", [False, True])
def test_pieces_of_features_become_one_file_of_either_kind(tmp_path, by_letter):
  rng, paths, whole = np.random.default_rng(1), [], []
  for number in range(3):
    found = [rng.normal(size=(1 + n if by_letter else 1, 4)).astype(np.float32) for n in range(number + 1)]
    whole += found
    paths.append(tmp_path / f"{number}.npz")
    embed.write_piece({
        "ids": np.array([f"p{number}_{n}" for n in range(number + 1)]),
        "lengths": np.array([len(x) if by_letter else 0 for x in found]), "embeddings": np.concatenate(found),
    }, paths[-1])  # fmt: skip
  embed.join_npz(paths, tmp_path / "x.npz")
  embed.join_parquet(paths, tmp_path / "x.parquet")
  with np.load(tmp_path / "x.npz") as stored:
    np.testing.assert_array_equal(stored["embeddings"], np.concatenate(whole))
    assert stored["ids"].tolist() == ["p0_0", "p1_0", "p1_1", "p2_0", "p2_1", "p2_2"]
    if by_letter:
      at = stored["offsets"]
      np.testing.assert_array_equal(stored["embeddings"][at[4] : at[5]], whole[4])
  table = pq.read_table(tmp_path / "x.parquet").to_pydict()
  assert table["id"][2] == "p1_1"
  np.testing.assert_array_equal(np.array(table["embedding"][4], np.float32).reshape(-1, 4), whole[4])


def test_the_table_of_scores_tells_several_sequences_apart():
  document = ((DNA, "ac"), (PROTEIN, "M"))
  found = inference.Likelihood((np.float32([-1, -2]), np.float32([-0.5])))
  names = score.header(document, True)
  (line,) = score.lines([records.Record("g", document)], [found], True)
  assert dict(zip(names, line)) == {
      "id": "g", "dna1_letters": "2", "dna1_log_likelihood": "-3.000000", "dna1_mean_log_likelihood": "-1.500000",
      "dna1_per_residue": "-1.00000,-2.00000", "protein2_letters": "1", "protein2_log_likelihood": "-0.500000",
      "protein2_mean_log_likelihood": "-0.500000", "protein2_per_residue": "-0.50000",
  }  # fmt: skip


# --- the commands


def command(name: str, *arguments) -> subprocess.CompletedProcess:
  line = [sys.executable, "-m", f"bsm_jax.inference.{name}", *map(str, arguments)]
  return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_commands_write_what_the_functions_give(small_config, tmp_path):
  write_run(tmp_path / "run", small_config)
  path = put(tmp_path / "x.csv", "id,cds,protein\na,atgaaa,MK\nb,atgtgg,MW\n")
  common = [f"--checkpoint={tmp_path / 'run'}", f"--input={path}", "--columns=cds=dna,protein=protein"]
  model = inference.load(str(tmp_path / "run"))
  documents = [[("dna", "atgaaa"), ("protein", "MK")], [("dna", "atgtgg"), ("protein", "MW")]]

  ran = command("score", *common, f"--out={tmp_path / 's.tsv'}")
  assert ran.returncode == 0, ran.stderr
  rows = [line.split("\t") for line in (tmp_path / "s.tsv").read_text().splitlines()]
  expected = inference.likelihoods(model, documents)
  assert [row[0] for row in rows] == ["id", "a", "b"]
  np.testing.assert_allclose([float(row[5]) for row in rows[1:]], [x.parts[1].sum() for x in expected], rtol=1e-4)

  ran = command("embed", *common, f"--out={tmp_path / 'e.npz'}", "--pool=last")
  assert ran.returncode == 0, ran.stderr
  with np.load(tmp_path / "e.npz") as stored:
    np.testing.assert_allclose(stored["embeddings"], inference.embeddings(model, documents, pool="last"), rtol=1e-4)

  ran = command("generate", *common, f"--out={tmp_path / 'g.fasta'}", "--generate=rna", "--samples=2", "--max_length=7")
  assert ran.returncode == 0, ran.stderr
  settings = inference.Settings(max_length=7)
  found = inference.sample(model, documents, "rna", settings, samples=2)
  lines = (tmp_path / "g.fasta").read_text().splitlines()
  assert [line.split()[0] for line in lines if line.startswith(">")] == [">a_1", ">a_2", ">b_1", ">b_2"]
  assert "".join(line for line in lines if not line.startswith(">")) == "".join(one.letters for one in found)


def test_a_command_that_cannot_run_ends_with_one_line(small_config, tmp_path):
  write_run(tmp_path / "run", small_config)
  path = put(tmp_path / "x.fa", ">good\nMKV\n>bad\nMK1\n")
  ran = command("score", f"--checkpoint={tmp_path / 'run'}", f"--input={path}", "--modality=protein",
                f"--out={tmp_path / 's.tsv'}")  # fmt: skip
  assert ran.returncode == 1 and "error: bad: '1' at position 3 of 3" in ran.stderr and "Traceback" not in ran.stderr
  assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "x.fa"]


def test_about_is_what_the_results_depend_on(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    run(Worker(until=4), tmp_path / "out.txt", dtype="float32")
  assert json.loads((tmp_path / "out.txt.pieces/about.json").read_text()) == {
      "step": 3, "dtype": "float32", "letters_a_piece": 20,
  }  # fmt: skip
