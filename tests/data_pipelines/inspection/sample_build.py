"""A small build for the tests of inspection: documents of three corpora, two row sets, and names nobody checked."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from bsm_jax import tokenizer
from bsm_jax.tokenizer import Modality
from data_pipelines import pack, refseq_pairs, single_modal

DNA, RNA, PROTEIN = Modality
CONTEXT = 40
# What an id may hold when nobody checks it: markup, a terminal's escape sequence, and a character that turns the text.
HOSTILE = "<script>alert(1)</script>\"'><img src=http://example.org/x onerror=alert(1)>\x1b[31m\u202e$x^{2}$"


def ids(letters, modality=DNA):
  return tokenizer.encode(letters, modality)


def gene(name, dna, blocks, protein, rna=None, rna_cds=(-1, -1), rna_source="cds", taxon=7, table=1, genomic=True):
  return {
      "id": name, "taxon": taxon, "transl_table": table, "dna": ids(dna), "cds_blocks": np.array(blocks, np.int32),
      "genomic": genomic, "rna": ids(rna or "".join(dna[a:b] for a, b in blocks), RNA),
      "rna_cds": np.array(rna_cds, np.int32), "rna_source": rna_source, "protein": ids(protein, PROTEIN),
      "partial5": False, "partial3": False,
  }


def single(name, letters, modality, taxon=7):
  return {
      "id": name, "taxon": taxon, "modality": int(modality), "letters": ids(letters, modality), "at_start": True,
      "at_end": True,
  }


def web(name, sequences, url="http://example.org"):
  return {
      "id": name, "taxon": 0, "url": url, "modalities": np.array([m for m, _ in sequences], np.uint8),
      "ends": np.cumsum([len(s) for _, s in sequences]).astype(np.int32),
      "letters": np.concatenate([ids(s, m) for m, s in sequences]),
  }


_IDS = tfds.features.Tensor(shape=(None,), dtype=np.uint8, encoding="bytes")
FEATURES = {
    "refseq_pairs": refseq_pairs.RefseqPairs.FEATURES,
    "single_modal": single_modal.SingleModal.FEATURES,
    "web_interleaved": tfds.features.FeaturesDict({
        "id": tfds.features.Text(), "taxon": np.int32, "url": tfds.features.Text(), "modalities": _IDS,
        "ends": tfds.features.Tensor(shape=(None,), dtype=np.int32), "letters": _IDS,
    }),
}
GENES = [
    gene("a|intron", "ATGAAAGTAAGTTTAGCCCTAA", [(0, 6), (16, 22)], "MKP", "GGATGAAACCCTAATT", (2, 14), "record"),
    gene("a|start", "GTGAAATAA", [(0, 9)], "MK", taxon=8, table=11),
]
SINGLES = [
    single("a|chromosome", "ACGTN" * 100, DNA), single("a|transcript", "GGCC", RNA), single(HOSTILE, "MKX", PROTEIN, 8),
]
WEB = [web("<urn:1>", [(DNA, "ACGT"), (PROTEIN, "MK"), (PROTEIN, "MKV")], "javascript:alert(1)")]
SOURCES = [{"source": "a", "role": "path", "name": "a<b>.fna.gz", "sha256": "0" * 64, "bytes": 12_345}]
REJECTS = {
    "too_short": {"count": 3, "examples": [HOSTILE, "a|x"]}, "of_another_world": {"count": 1, "examples": []},
}
DOCUMENTS = {
    "refseq_pairs": ({"train": GENES, "valid": GENES[:1]}, {"records": 3, "rejects": {}, "clusters": {"train": 2}}),
    "single_modal": (
        {"train": SINGLES}, {"records": 7, "records_used": 3, "rejects": REJECTS, "replaced_letters": {"unknown": 2}},
    ),
    "web_interleaved": ({"train": WEB}, {}),
}


def write_documents(folder, name, splits, metadata, shards=1):
  """A TFDS dataset as any builder writes it."""

  def _info(self):
    found = tfds.core.MetadataDict({"made_from": {"sources": SOURCES}} | metadata)
    return tfds.core.DatasetInfo(builder=self, features=FEATURES[name], metadata=found)

  content = {
      "VERSION": tfds.core.Version("1.0.0"), "_info": _info,
      "_split_generators": lambda self, manager: {s: self._generate_examples(d) for s, d in splits.items()},
      "_generate_examples": lambda self, documents: iter(enumerate(documents)),
  }
  bases = (tfds.core.GeneratorBasedBuilder,)
  title = name.title().replace("_", "")
  builder = type(title, bases, content | {"__module__": __name__}, skip_registration=True)(
      data_dir=str(folder), file_format="array_record"
  )
  builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))


def write_rows(folder, name, corpus, splits, **changes):
  """A row set as a build writes it."""
  described = {}
  for split, documents in splits.items():
    (folder / name / split).mkdir(parents=True)
    rows = list(pack.pack(documents, CONTEXT))
    pack.write_rows(rows, folder / name / split)
    tokens = np.concatenate(documents)
    described[split] = {
        "documents": len(documents), "rows": len(rows), "tokens": len(tokens),
        "letters_by_modality": tokenizer.count_by_modality(tokens),
        "fill": round(len(tokens) / (CONTEXT * len(rows)), 4),
    }
  description = {
      "format_version": 1, "name": name, "corpus": corpus, "vocabulary_hash": tokenizer.vocabulary_hash(),
      "context": CONTEXT, "seed": 5, "splits": described, "created_by": "data_pipelines.build 1.0.0",
      "sources": SOURCES, "dropped": {"too_short": {"count": 2, "examples": ["a|y"]}},
  } | changes
  (folder / name / "corpus.json").write_text(json.dumps(description))


def pair(dna="ACG", protein="M"):
  return tokenizer.join_document([(DNA, ids(dna)), (PROTEIN, ids(protein, PROTEIN))])


def row(*pieces):
  """A row of these tokens, padded."""
  tokens = np.concatenate([np.atleast_1d(np.asarray(p, np.uint8)) for p in pieces])
  return np.pad(tokens, (0, CONTEXT - len(tokens)))


def write_build(out):
  """Documents and rows; the rows of `pairs` have several shards."""
  for name, (splits, metadata) in DOCUMENTS.items():
    write_documents(out / "documents", name, splits, metadata)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(pack, "ROWS_PER_SHARD", 4)
    write_rows(out / "rows", "pairs", "refseq_pairs", {
        "train": [pair("ACG" * k, "M" * k) for k in (1, 2, 3, 4) * 8], "valid": [pair()],
    })
    write_rows(out / "rows", "single", "single_modal", {
        "train": [tokenizer.join_document([(RNA, ids("GGC" * 3, RNA))], bos=False, eos=False)] * 3,
    })
