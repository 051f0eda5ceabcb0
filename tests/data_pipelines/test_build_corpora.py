"""All four corpora in one build: one split for all of them, and evaluation sets in none."""

import gzip
import json
import pathlib
import random

import pytest

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import build, refseq_pairs, single_modal, views, web_corpus
from data_pipelines.formats.genbank import read_genbank
from data_pipelines.genes import CodingGene, reverse_complement
from data_pipelines.miniature import write_release

ROW_SETS = {
    "single": {"corpus": "single_modal"},
    "pairs": {"corpus": "refseq_pairs", "codons": (10, 30)},
    "related": {"corpus": "gene_related", "codons": (10, 30)},
    "web": {"corpus": "web_interleaved"},
}
SPLITS = ("train", "valid", "test")
TABLE_HEADER = (
    "#tax_id\tGeneID\tstatus\tRNA_nucleotide_accession.version\tRNA_nucleotide_gi\tprotein_accession.version\tprotein_gi"
    "\tgenomic_nucleotide_accession.version\tgenomic_nucleotide_gi\tstart_position_on_the_genomic_accession"
    "\tend_position_on_the_genomic_accession\torientation\tassembly\tmature_peptide_accession.version"
    "\tmature_peptide_gi\tSymbol"
)


def page(rng, *sequences):
  parts = [f"Then the primer 5'-{s}-3' was used in the reaction." for s in sequences]
  rng.shuffle(parts)
  return "\n\n".join(["We describe an experiment in some detail.", *parts])


@pytest.fixture(scope="module")
def genes_and_settings(tmp_path_factory):
  """The second bacterium's genes come as assembly and, by a gene table and GenBank records, as related sequences."""
  root = tmp_path_factory.mktemp("corpora")
  write_release(root / "release", genes=60)
  (flat,) = root.glob("release/*2.1_*/*genomic.gbff.gz")
  genes = [item for item in read_genbank(flat) if isinstance(item, CodingGene)]
  records = [line.split()[1] for line in gzip.decompress(flat.read_bytes()).decode().splitlines()
             if line.startswith("VERSION")]
  row = "90000002\t{}\t-\t-\t-\t{}\t-\t{}\t-\t-\t-\t?\t-\t-\t-\tmnf"
  lines = [row.format(i + 1, gene.protein_id, accession) for i, gene in enumerate(genes) for accession in records]
  (root / "gene2accession").write_text("\n".join([TABLE_HEADER, *lines]) + "\n")
  rng = random.Random(0)
  # Held out by name: a protein of the first bacterium, a stretch of DNA, and a ribozyme that a page quotes.
  (other,) = root.glob("release/*1.1_*/*genomic.gbff.gz")
  named = [item for item in read_genbank(other) if isinstance(item, CodingGene) and len(item.protein) > 80][5]
  ribozyme = "".join(rng.choices("ACGT", k=70))
  (root / "set.csv").write_text(f"seq,rna\n{named.protein},{ribozyme.replace('T', 'U')}\n")
  strangers = [["".join(rng.choices("ACGT", k=40)) for _ in range(3)] for _ in range(60)]
  pages = [page(rng, *s) for s in strangers]
  pages.append(page(rng, ribozyme[5:65], *strangers[0][:2], strangers[1][0]))
  pages += [page(rng, gene.cds[:150], *strangers[i]) for i, gene in enumerate(genes)]
  (root / "web.jsonl").write_text("".join(json.dumps({"id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(pages)))
  (root / "related.fa").write_text(
      f">part\n{named.protein[10:75]}\n>stranger\n{''.join(rng.choices(tokenizer.AMINO_ACIDS, k=90))}\n"
  )
  settings = {
      "context": 256, "row_sets": ROW_SETS,
      "sources": (
          {"kind": "assembly", "path": str(root / "release" / "GC[AF]_*[125].1_*")},
          {"kind": "gene_related", "tables": str(root / "gene2accession"), "records": str(flat)},
          {"kind": "fasta", "path": str(root / "related.fa"), "modality": "protein"},
          {"kind": "fineweb", "path": str(root / "web.jsonl")},
      ),
      "documents": {
          "splits": {"valid": 0.15, "test": 0.1},
          "evaluation_sets": ({"name": "named", "path": str(root / "set.csv"), "format": "csv",
                               "columns": {"seq": "protein", "rna": "rna"}},),
      },
  }
  return genes, named, ribozyme, settings


@pytest.fixture(scope="module")
def built(genes_and_settings, tmp_path_factory):
  out = tmp_path_factory.mktemp("built")
  build.build(build.BuildConfig.parse(genes_and_settings[-1]), out)
  return out


def documents(out, builder):
  dataset = builder(data_dir=out / "documents")
  for split in dataset.info.splits:
    yield from ((split, example) for example in dataset.as_data_source(split=split))


def metadata(out, corpus):
  (path,) = (out / "documents" / corpus).glob("*/metadata.json")
  return json.loads(path.read_text())


def test_every_corpus_accounts_for_what_was_read(built):
  for corpus in ("refseq_pairs", "gene_related", "single_modal", "web_interleaved"):
    found = metadata(built, corpus)
    assert found["records"] == found["records_used"] + sum(r["count"] for r in found["rejects"].values())
    assert found["documents"]["train"] > 0
    assert found["vocabulary_hash"] == tokenizer.vocabulary_hash()


def test_a_protein_is_in_one_split_in_all_corpora(built):
  where = {}
  for builder in (refseq_pairs.RefseqPairs, refseq_pairs.GeneRelated):
    for split, example in documents(built, builder):
      where.setdefault(example["protein"].tobytes(), {}).setdefault(builder.__name__, set()).add(split)
  for split, example in documents(built, single_modal.SingleModal):
    if example["modality"] == Modality.PROTEIN:
      where.setdefault(example["letters"].tobytes(), {}).setdefault("single", set()).add(split)
  in_all = [found for found in where.values() if len(found) == 3]
  assert len(in_all) > 30
  assert all(len(set.union(*found.values())) == 1 for found in where.values())
  assert {split for found in in_all for splits in found.values() for split in splits} == set(SPLITS)


def test_a_page_that_quotes_a_held_out_gene_follows_it(built, genes_and_settings):
  genes, *_ = genes_and_settings
  split_of = {e["protein"].tobytes(): s for s, e in documents(built, refseq_pairs.GeneRelated)}
  page_of = {e["id"].decode(): s for s, e in documents(built, web_corpus.WebInterleaved)}
  held = 0
  for i, gene in enumerate(genes):
    split = split_of.get(tokenizer.encode(gene.protein, Modality.PROTEIN).tobytes())
    if split in ("valid", "test"):
      held += 1
      assert page_of.get(f"d{61 + i}") in (split, None)  # rejected where the page itself was held out for the other
  assert held > 5


def test_web_pages_are_read_back_in_order(built):
  for _, example in documents(built, web_corpus.WebInterleaved):
    document = views.WebDocument.from_example(example)
    assert len(document.sequences) >= 3
    assert {len(ids) for _, ids in document.sequences} <= {40, 60, 150}


def test_evaluation_sets_are_in_no_split_of_any_corpus(built, genes_and_settings):
  _, named, ribozyme, _ = genes_and_settings
  quoted = [named.cds[60:200], ribozyme[5:65]]
  quoted += [reverse_complement(q) for q in quoted]
  for builder in (refseq_pairs.RefseqPairs, refseq_pairs.GeneRelated, single_modal.SingleModal):
    for _, example in documents(built, builder):
      for key in ("dna", "rna", "letters"):
        if key in example:
          text = tokenizer.decode(example[key]).upper()
          assert not any(q in text for q in quoted) and named.protein[10:75] not in text
  assert "d60" not in {e["id"].decode() for _, e in documents(built, web_corpus.WebInterleaved)}
  assert metadata(built, "web_interleaved")["rejects"]["evaluation_set"]["examples"] == ["d60 (eval/named)"]
  assert metadata(built, "single_modal")["dropped_letters"]["evaluation_set"] >= 3 * len(named.protein)


def test_the_thresholds_and_what_was_held_out_are_reported(built):
  found = metadata(built, "single_modal")
  assert found["decontamination"]["min_score"] == 30
  assert found["held_out_sequences"]["eval/named"] == {"nucleotides": 1, "proteins": 1, "too_short": 0}
  text = json.dumps(found["made_from"])
  assert '"name": "set.csv"' in text and str(pathlib.Path(built).parent) not in text
