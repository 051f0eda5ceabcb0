"""Near-duplicates in a build: of nearly equal documents the first is kept, by MinHash or by MMseqs2."""

import json
import random
import sys

import pytest

from bsm_jax import tokenizer
from data_pipelines import build
from data_pipelines.errors import InputError

# Answers as `mmseqs easy-linclust INPUT OUTPUT TMP …`: sequences that begin alike are one cluster.
MMSEQS = f"""#!{sys.executable}
import sys
_, command, fasta, out, *_ = sys.argv
assert command == "easy-linclust" and sys.argv[sys.argv.index("--min-seq-id") + 1] == "0.8"
first = {{}}
with open(out + "_cluster.tsv", "w") as table:
  for record in open(fasta).read().split(">")[1:]:
    name, letters = record.split()
    table.write(f"{{first.setdefault(letters[:20], name)}}\\t{{name}}\\n")
"""


@pytest.fixture
def proteins(tmp_path):
  """Three families: a founder, and a relative of which one residue in a hundred differs; the first is there twice."""
  rng = random.Random(0)
  founders = ["".join(rng.choices(tokenizer.AMINO_ACIDS, k=400)) for _ in range(3)]
  relatives = [f[:200] + ("A" if f[200] != "A" else "C") + f[201:] for f in founders]
  path = tmp_path / "proteins.fa"
  sequences = [*founders, *relatives, founders[0]]
  path.write_text("".join(f">p{i}\n{letters}\n" for i, letters in enumerate(sequences)))
  return path


def rejects(out, proteins, **documents):
  config = {
      "context": 256, "sources": ({"kind": "fasta", "name": "s", "path": str(proteins), "modality": "protein"},),
      "documents": documents, "row_sets": {"single": {"corpus": "single_modal"}},
  }
  build.build(build.BuildConfig.parse(config), out)
  (path,) = out.glob("documents/single_modal/*/metadata.json")
  found = json.loads(path.read_text())
  assert found["records"] == 7 == found["records_used"] + sum(r["count"] for r in found["rejects"].values())
  return {reason: r["examples"] for reason, r in found["rejects"].items()}


def test_without_the_option_only_equal_documents_are_dropped(proteins, tmp_path):
  assert rejects(tmp_path / "out", proteins) == {"duplicate": ["s|p6"]}


def test_minhash_keeps_the_first_of_nearly_equal_ones(proteins, tmp_path):
  found = rejects(tmp_path / "out", proteins, near_duplicates={"bands": 16})
  assert found == {"duplicate": ["s|p6"], "near_duplicate": ["s|p3", "s|p4", "s|p5"]}


def test_mmseqs_keeps_the_representatives(proteins, tmp_path):
  program = tmp_path / "mmseqs"
  program.write_text(MMSEQS)
  program.chmod(0o755)
  found = rejects(tmp_path / "out", proteins, mmseqs={"min_seq_id": 0.8, "binary": str(program)})
  assert found == {"duplicate": ["s|p6"], "near_duplicate": ["s|p3", "s|p4", "s|p5"]}


def test_an_absent_mmseqs_is_named(proteins, tmp_path):
  with pytest.raises(InputError, match="no-such-mmseqs: no such program"):
    rejects(tmp_path / "out", proteins, mmseqs={"binary": "no-such-mmseqs"})


def test_options_that_do_not_exist_are_named(proteins, tmp_path):
  with pytest.raises(build.ConfigError, match="config.documents.near_duplicates: no such key: band"):
    rejects(tmp_path / "out", proteins, near_duplicates={"band": 1})
