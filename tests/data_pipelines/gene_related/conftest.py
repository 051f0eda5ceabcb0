"""The whole way from rows and records to documents, in one call."""

import collections
import dataclasses
import itertools

import pytest

from data_pipelines import gene_related
from data_pipelines.genes import CodingGene, Reject
from tests.data_pipelines.gene_related.gene_samples import table, write


@dataclasses.dataclass
class Result:
  documents: list[CodingGene]
  rejects: list[Reject]
  counts: dict[str, int]
  stats: dict

  @property
  def codes(self) -> dict[str, int]:
    return dict(collections.Counter(reject.code for reject in self.rejects))


@pytest.fixture
def build(tmp_path):
  """Builds from rows (of one table) and from the text of record files, each a list of records of one kind."""
  numbers = itertools.count()

  def run(rows, *, genbank=(), nucleotide=(), protein=(), tables=(), collab=None, **config) -> Result:
    (work := tmp_path / f"work{next(numbers)}").mkdir()
    (files := work / "files").mkdir()
    paths = [table(files / "gene2accession.gz", rows)] if rows else []
    paths += [table(files / f"more{i}", more) for i, more in enumerate(tables)]
    records = [
        (kind, write(files / f"{kind}.txt", "".join(texts)))
        for kind, texts in (("genbank", genbank), ("nucleotide", nucleotide), ("protein", protein)) if texts
    ]
    collab = write(files / "collab.gz", "\n".join(collab) + "\n") if collab else None
    counts, stats = {}, {}
    items = list(gene_related.read_gene_related(
        work, tables=paths, records=records, collab=collab, config=gene_related.GeneRelatedConfig(**config),
        counts=counts, stats=stats,
    ))
    documents = [item for item in items if isinstance(item, CodingGene)]
    rejects = [item for item in items if isinstance(item, Reject)]
    assert all(reject.code in gene_related.REASONS for reject in rejects)
    assert counts.get("rows", 0) == stats["rows"] == counts.get("rows_used", 0) + len(rejects)
    assert counts.get("documents", 0) == len(documents)
    assert not (work / "spill").exists()
    return Result(documents, rejects, counts, stats)

  return run
