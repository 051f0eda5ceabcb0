"""Which corpus a row set belongs to."""

_CORPORA = ("single", "refseq_pairs", "gene_related", "web")


def corpus_of(row_set: str) -> str:
  """The corpus that a row set's name begins with; a row set of none of the four is a corpus of its own."""
  return next((corpus for corpus in _CORPORA if row_set.startswith(corpus)), row_set)
