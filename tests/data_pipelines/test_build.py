"""The whole build: files to rows, what it refuses, and what it leaves behind when it is stopped."""

import errno
import gzip
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from array_record.python import array_record_module

from bsm_jax import tokenizer
from bsm_jax.tokenizer import BOS, Modality
from data_pipelines import build, documents, genetic_code, pack, refseq_pairs, rows, single_modal, views
from data_pipelines.genes import reverse_complement
from data_pipelines.miniature import write_release
from data_pipelines.pack import BuildError

ROOT = pathlib.Path(__file__).parents[2]
CONTEXT = 256
ROW_SETS = {
    "single": {"corpus": "single_modal"},
    "pairs": {"corpus": "refseq_pairs", "codons": (10, 30)},
    "translate": {"corpus": "refseq_pairs", "splits": ("valid",), "modalities": ("dna", "protein"), "codons": (10, 30)},
    "translate_wrong": {"corpus": "refseq_pairs", "splits": ("valid",), "modalities": ("dna", "protein"),
                        "codons": (10, 30), "wrong_partner": True, "like": "translate"},
}
# Two related bacteria and a yeast with introns: the others only take time.
ASSEMBLIES = ({"kind": "assembly", "path": "{release}/GC[AF]_*[125].1_*"},)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
  folder = tmp_path_factory.mktemp("miniature") / "release"
  write_release(folder, genes=60)
  return folder


def settings(release=None, **changes):
  splits = {"valid": 0.15, "test": 0.1}
  config = {"context": CONTEXT, "release": str(release), "sources": ASSEMBLIES, "documents": {"splits": splits},
            "row_sets": ROW_SETS}
  return config | changes


def run(out, release=None, overwrite=False, **changes):
  build.build(build.BuildConfig.parse(settings(release, **changes)), out, overwrite=overwrite)


@pytest.fixture(scope="module")
def built(release, tmp_path_factory):
  """A finished build of `ROW_SETS`; not to be changed."""
  out = tmp_path_factory.mktemp("built")
  run(out, release)
  return out


def corpus(out, name):
  return json.loads((out / "rows" / name / "corpus.json").read_text())


def read_rows(out, name, split):
  found = []
  for path in sorted((out / "rows" / name / split).glob("rows-*.array_record")):
    reader = array_record_module.ArrayRecordReader(str(path))
    found += [np.frombuffer(row, np.uint8) for row in reader.read(0, reader.num_records())]
  return found


def read_documents(out, name, split):
  """The documents of all rows of a split, as dicts from modality to text."""
  for row in read_rows(out, name, split):
    row = row[row != tokenizer.PAD]
    for document in np.split(row, np.flatnonzero(row == BOS)):
      if len(document):
        yield {m: tokenizer.decode(ids).upper() for m, ids in tokenizer.split_document(document)}


def files_under(folder):
  return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestResult:

  def test_rows_have_the_length_of_the_context_and_are_as_many_as_described(self, built):
    for name in ROW_SETS:
      description = corpus(built, name)
      assert (description["context"], description["format_version"]) == (CONTEXT, pack.FORMAT_VERSION)
      assert description["vocabulary_hash"] == tokenizer.vocabulary_hash()
      for split, counts in description["splits"].items():
        found = read_rows(built, name, split)
        assert len(found) == counts["rows"] > 0
        assert {len(row) for row in found} == {CONTEXT}
        tokens = np.concatenate(found)
        assert (tokens != tokenizer.PAD).sum() == counts["tokens"]
        assert counts["letters_by_modality"] == tokenizer.count_by_modality(tokens)
        assert counts["fill"] == pytest.approx(counts["tokens"] / tokens.size, abs=1e-4)

  def test_records_in_are_documents_and_rejects(self, built):
    pairs = refseq_pairs.RefseqPairs(data_dir=built / "documents").info.metadata
    assert pairs["records"] == sum(pairs["documents"].values()) + sum(r["count"] for r in pairs["rejects"].values())
    assert all(0 < len(r["examples"]) <= 5 for r in pairs["rejects"].values())
    single = single_modal.SingleModal(data_dir=built / "documents").info.metadata
    assert single["records"] == single["records_used"] + sum(r["count"] for r in single["rejects"].values())

  def test_every_trap_of_the_release_is_rejected_for_its_reason(self, built, release):
    traps = json.loads((release / "release.json").read_text())["traps"]
    rejects = refseq_pairs.RefseqPairs(data_dir=built / "documents").info.metadata["rejects"]
    for reason in set(traps.values()) & set(rejects):
      assert 0 < rejects[reason]["count"] <= list(traps.values()).count(reason)
    assert {"pseudogene", "trans_splicing", "rna_editing"} <= set(rejects)

  def test_the_sources_are_named_without_their_folder(self, built, release):
    text = (built / "rows" / "pairs" / "corpus.json").read_text()
    assert str(release) not in text and str(built) not in text
    assert all(len(source["sha256"]) == 64 for source in corpus(built, "pairs")["sources"])

  def test_all_windows_translate(self, built):
    shown = list(read_documents(built, "translate", "valid"))
    assert len(shown) == corpus(built, "translate")["splits"]["valid"]["documents"] > 50
    for parts in shown:
      translation = genetic_code.translate(parts[Modality.DNA], 1).removesuffix("*")
      assert translation[1:] == parts[Modality.PROTEIN][1:]  # a first codon such as GTG reads M

  def test_the_control_shows_the_same_proteins_with_other_dna(self, built):
    right, wrong = (list(read_documents(built, name, "valid")) for name in ("translate", "translate_wrong"))
    assert sorted(p[Modality.PROTEIN] for p in right) == sorted(p[Modality.PROTEIN] for p in wrong)
    translated = [genetic_code.translate(p[Modality.DNA], 1)[: len(p[Modality.PROTEIN])] for p in wrong]
    assert sum(t[1:] == p[Modality.PROTEIN][1:] for t, p in zip(translated, wrong)) < 0.02 * len(wrong)
    assert all(abs(len(p[Modality.DNA]) - 3 * len(p[Modality.PROTEIN])) <= 3 for p in wrong)


class TestHeldOut:
  """Nothing of a held-out gene is in a training row; counted with strings, by none of the code that splits."""

  K = 24

  def held_out_genes(self, out):
    for split in ("valid", "test"):
      for example in refseq_pairs.RefseqPairs(data_dir=out / "documents").as_data_source(split=split):
        yield views.Gene.from_example(example)

  def test_no_training_document_holds_a_run_of_a_held_out_coding_sequence(self, built):
    kmers = set()
    for gene in self.held_out_genes(built):
      cds = tokenizer.decode(gene.cds).upper()
      for strand in (cds, reverse_complement(cds)):
        kmers.update(strand[i : i + self.K] for i in range(len(strand) - self.K + 1))
    assert len(kmers) > 10_000
    shown = 0
    for name in ("single", "pairs"):
      for parts in read_documents(built, name, "train"):
        for modality, letters in parts.items():
          if modality != Modality.PROTEIN:
            shown += 1
            assert sum(letters[i : i + self.K] in kmers for i in range(len(letters) - self.K + 1)) < 30
    assert shown > 1000

  def test_no_training_protein_looks_like_a_held_out_one(self, built):
    def kmers(protein):
      return {protein[i : i + 8] for i in range(len(protein) - 7)}

    held_out = [kmers(tokenizer.decode(gene.protein)) for gene in self.held_out_genes(built)]
    source = single_modal.SingleModal(data_dir=built / "documents").as_data_source(split="train")
    trained = [kmers(tokenizer.decode(e["letters"])) for e in source if e["modality"] == Modality.PROTEIN]
    shared = [len(h & t) / min(len(h), len(t)) for h in held_out for t in trained if h and t]
    assert len(shared) > 500
    assert max(shared) < 0.1

  def test_validation_rows_do_hold_them(self, built):
    genes = {tokenizer.decode(gene.cds).upper() for gene in self.held_out_genes(built)}
    letters = [p[Modality.DNA] for p in read_documents(built, "translate", "valid")]
    assert all(any(window in gene for gene in genes) for window in letters)

  def test_a_protein_is_in_one_split_in_every_corpus(self, built):
    where = {}
    for split in ("train", "valid", "test"):
      for example in refseq_pairs.RefseqPairs(data_dir=built / "documents").as_data_source(split=split):
        where.setdefault(example["protein"].tobytes(), set()).add(split)
      for example in single_modal.SingleModal(data_dir=built / "documents").as_data_source(split=split):
        if example["modality"] == Modality.PROTEIN:
          where.setdefault(example["letters"].tobytes(), set()).add(split)
    assert {len(found) for found in where.values()} == {1}


class TestAgain:

  def test_two_builds_in_two_processes_give_the_same_bytes(self, built, release, tmp_path):
    script = (
        "import json, sys; from data_pipelines import build;"
        "build.build(build.BuildConfig.parse(json.loads(sys.argv[1])), sys.argv[2])"
    )
    command = [sys.executable, "-c", script, json.dumps(settings(release)), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    assert files_under(tmp_path) == files_under(built)

  def test_what_is_complete_is_kept(self, built, release, capsys, monkeypatch):
    before = files_under(built)
    monkeypatch.setattr(documents, "build", None)  # calling it would fail
    monkeypatch.setattr(rows, "build", None)
    run(built, release)
    assert capsys.readouterr().out.count("complete, nothing to do") == 2 + len(ROW_SETS)
    assert files_under(built) == before

  def test_a_new_row_set_is_added_to_what_is_there(self, built, release, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(built, out)
    run(out, release, row_sets=ROW_SETS | {"more": {"corpus": "single_modal", "modalities": ("protein",)}})
    assert "rows of more: " in capsys.readouterr().out
    assert files_under(out).items() >= files_under(built).items()

  @pytest.mark.parametrize(("changes", "message"), [
      ({"row_sets": ROW_SETS | {"single": ROW_SETS["single"] | {"seed": 1}}}, "rows of single are there"),
      ({"row_sets": ROW_SETS | {"single": ROW_SETS["single"] | {"seed": 1}}}, "row_set.seed: 0 -> 1"),
      ({"documents": {"splits": {"valid": 0.15, "test": 0.2}}}, "config.splits.test: 0.1 -> 0.2"),
      ({"sources": ({"kind": "assembly", "path": "{release}/GC[AF]_*1.1_*"},)}, "sources: "),
      ({"context": 128}, "context: 256 -> 128"),
  ])
  def test_another_config_is_refused_with_the_difference(self, built, release, changes, message):
    before = files_under(built)
    with pytest.raises(BuildError) as error:
      run(built, release, **changes)
    assert message in str(error.value) and "--overwrite" in str(error.value)
    assert files_under(built) == before

  def test_a_changed_file_is_refused(self, built, release, tmp_path):
    changed = tmp_path / "release"
    shutil.copytree(release, changed)
    (path,) = changed.glob("*1.1_*/*Bact1_genomic.fna.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b">extra\nACGTACGTACGTACGTACGTACGTACGT\n"))
    with pytest.raises(BuildError, match="sha256"):
      run(built, changed)

  def test_overwrite_builds_anew_what_differs(self, built, release, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(built, out)
    run(out, release, overwrite=True, row_sets={"single": ROW_SETS["single"] | {"seed": 1}})
    assert corpus(out, "single")["seed"] == 1
    assert [p.name for p in out.iterdir() if p.name.startswith(".building")] == []
    before, after = files_under(built), files_under(out)
    assert {p.parts[1] for p in before if before[p] != after[p]} == {"single"}

  def test_a_second_build_into_the_same_folder_waits_for_nobody(self, built, release):
    script = (
        "import fcntl, sys; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, fcntl.LOCK_EX); print(1, flush=True);"
        "sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(built / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
      holder.stdout.readline()
      with pytest.raises(BuildError, match="another build is writing here"):
        run(built, release)
    finally:
      holder.communicate(b"")


class TestStopped:

  @pytest.mark.parametrize("where", ["documents._write", "pack.write_rows"])
  def test_a_kill_leaves_nothing_that_looks_complete_and_the_next_run_ends_the_same(
      self, built, release, tmp_path, where
  ):
    # The second call kills: something is whole by then, and something half written.
    script = (
        "import json, os, signal, sys; from data_pipelines import build, documents, pack\n"
        "calls = []\n"
        f"original = {where}\n"
        "def killer(*args):\n"
        "  calls.append(1)\n"
        "  if len(calls) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "  return original(*args)\n"
        f"{where} = killer\n"
        "build.build(build.BuildConfig.parse(json.loads(sys.argv[1])), sys.argv[2])\n"
    )
    command = [sys.executable, "-c", script, json.dumps(settings(release)), str(tmp_path)]
    assert subprocess.run(command, capture_output=True, cwd=ROOT).returncode == -signal.SIGKILL
    whole = files_under(built)
    left = {p: content for p, content in files_under(tmp_path).items() if not p.parts[0].startswith(".building")}
    for path, content in left.items():
      assert whole[path] == content
    assert not any(p.name == "corpus.json" for p in left)
    run(tmp_path, release)
    assert files_under(tmp_path) == whole

  def test_a_build_that_is_running_shows_no_row_set(self, release, tmp_path, monkeypatch):
    seen = []
    original = pack.write_rows

    def spy(*args):
      seen.append((tmp_path / "rows").exists())
      return original(*args)

    monkeypatch.setattr(pack, "write_rows", spy)
    run(tmp_path, release, row_sets={"single": ROW_SETS["single"]})
    assert seen == [False] * 3

  @pytest.mark.parametrize("target", ["documents.build", "pack.write_rows"])
  def test_a_full_disk_is_explained_and_cleaned_up(self, release, tmp_path, monkeypatch, target):
    def full(*args):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"data_pipelines.{target}", full)
    with pytest.raises(BuildError, match="the disk is full"):
      run(tmp_path, release)
    assert {path.name for path in tmp_path.iterdir()} <= {".building", ".lock", "documents"}
    assert not list(tmp_path.glob(".building/*/.*"))

  def test_a_disk_that_really_is_full(self, release, tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
      pytest.skip("only root can make a small disk")
    try:
      with pytest.raises(BuildError, match="the disk is full"):
        run(tmp_path, release)
      assert {p.name for p in tmp_path.iterdir()} == {".building", ".lock"}
    finally:
      subprocess.run(["umount", "--lazy", tmp_path], check=True)


class TestRowSets:

  def test_a_row_set_that_nothing_matches_is_an_error(self, built, release, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(built, out)
    with pytest.raises(BuildError, match="row set none: not one row"):
      run(out, release, row_sets={"none": {"corpus": "refseq_pairs", "taxa": (1,)}})
    assert not (out / "rows" / "none").exists()

  def test_documents_can_be_chosen_by_taxon_and_number(self, built, release, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(built, out)
    example = next(iter(refseq_pairs.RefseqPairs(data_dir=out / "documents").as_data_source(split="train")))
    spec = {"corpus": "refseq_pairs", "modalities": ("protein",), "splits": ("train",)}
    run(out, release, row_sets={"five": spec | {"max_documents": 5}, "one": spec | {"taxa": (example["taxon"],)}})
    assert corpus(out, "five")["splits"]["train"]["documents"] == 5
    proteins = {e["protein"].tobytes() for e in refseq_pairs.RefseqPairs(data_dir=out / "documents").as_data_source(
        split="train") if e["taxon"] == example["taxon"]}
    assert len(proteins) == corpus(out, "one")["splits"]["train"]["documents"]

  def test_concatenated_genes_are_counted_by_modality_across_their_pieces(self, built, release, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(built, out)
    spec = {"corpus": "refseq_pairs", "modalities": ("dna", "protein"), "splits": ("test",), "long": "concatenate"}
    run(out, release, row_sets={"chunks": spec})
    genes = [views.Gene.from_example(e) for e in
             refseq_pairs.RefseqPairs(data_dir=out / "documents").as_data_source(split="test")]
    counts = corpus(out, "chunks")["splits"]["test"]["letters_by_modality"]
    assert counts == {"dna": sum(len(g.cds) for g in genes), "rna": 0, "protein": sum(len(g.protein) for g in genes)}


class TestRealGenomes:

  @pytest.mark.slow
  def test_the_config_of_model_organisms_builds(self, shared_data, tmp_path):
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "data_pipelines.build", "--config=configs/data/model_organisms.py",
         f"--config.genomes={shared_data / 'genomes'}", f"--out={tmp_path}"], capture_output=True, text=True, cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout, f"{time.monotonic() - started:.0f} s")
    pairs = refseq_pairs.RefseqPairs(data_dir=tmp_path / "documents").info.metadata
    assert sum(pairs["documents"].values()) > 13_000
    assert corpus(tmp_path, "refseq_pairs_w10_30")["splits"]["train"]["rows"] > 100_000
    ecoli = list(read_documents(tmp_path, "translate_ecoli_w10_60", "valid"))
    assert all(
        genetic_code.translate(p[Modality.DNA], 11).removesuffix("*")[1:] == p[Modality.PROTEIN][1:] for p in ecoli
    )
