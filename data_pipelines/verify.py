"""The check that a coding sequence translates to its protein; only genes that pass it are kept."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines import genetic_code
from data_pipelines.genes import Block, CodingGene, Reject

# `exception=` says that the product is not what the letters give by the rules. INSDC's feature table knows four values
# (RNA editing; rearrangement required for product; reasons given in citation; annotated by transcript or proteomic
# data); RefSeq adds others, and several stand between commas. These are the classes that have a reject code of their
# own; `trans-splicing` has one, too, but there it does not matter whether the parts translate.
_CODES = {
    "ribosomal slippage": "ribosomal_slippage",
    "rna editing": "rna_editing",
    "rearrangement required for product": "rearrangement_required",
}
# Under these the translation is the protein all the same: they are about the first residue (M whatever the codon), the
# borders of introns, other coding sequences of the transcript, an end that the location marks as incomplete, and slips
# that the location shows by its parts. All others say that letters differ (RNA editing, mismatches, artificial
# frameshift, low-quality sequence region), or leave open what differs (unclassified translation discrepancy, reasons
# given in citation, annotated by transcript or proteomic data).
_HARMLESS = {
    "alternative start codon",
    "nonconsensus splice site",
    "dicistronic gene",
    "unextendable partial coding region",
    "ribosomal slippage",
}
_ANY_RESIDUE = np.zeros(256, bool)
_ANY_RESIDUE[[ord(c) for c in "XBZJ"]] = True
_IS_LETTER = np.zeros(256, bool)
_IS_LETTER[ord("A") : ord("Z") + 1] = True


def verify(
    *,
    record: str,
    gene_id: str,
    transcript_id: str,
    protein_id: str,
    taxon: int,
    dna: str,
    cds_blocks: Sequence[Block],
    exon_blocks: Sequence[Block] | None,
    codon_start: int,
    rna: str | None = None,
    protein: str | None = None,
    protein_source: str,
    transl_table: int,
    transl_except: Mapping[int, str] = {},
    partial5: bool,
    partial3: bool,
    selected: bool,
    genomic: bool = True,
    exception: str | None = None,
) -> CodingGene | Reject:
  """Builds the gene if its coding sequence translates to its protein, and says why not otherwise.

  The first residue may be M where the table has that start codon and the CDS is complete there; the last stop is left
  out; `X B Z J` on either side match any residue; `U` and `O` stand only where `transl_except` says so.

  Args:
    record: what the file calls the feature, for a `Reject`.
    gene_id, transcript_id, protein_id, taxon, transl_table, partial5, partial3, selected, genomic: as in
      `CodingGene`.
    dna, cds_blocks, exon_blocks: from `coding_strand`.
    codon_start: 1, 2 or 3: the first base of the first whole codon.
    rna: the transcript's own record; None: spliced from the exons, else the CDS.
    protein: the annotated residues, with or without the stop; None: the translation is taken, unless an exception says
      that it may not be the protein.
    protein_source: where `protein` comes from, as in `CodingGene`; `translated` where it is None.
    transl_except: offset of a codon in the spliced CDS (0-based, before `codon_start` is applied) to the residue that
      it codes for here, `*` for a stop (also one that the poly-A tail completes).
    exception: the annotation's exceptions (`ribosomal slippage`, …), several between commas. They excuse no mismatch
      but a non-standard start codon, and name the reason of a `Reject`. Without a `protein` to test them against,
      only the harmless ones (`_HARMLESS`) are accepted. Trans-spliced genes have no stretch of DNA and are always left
      out.
  """

  def reject(code: str, detail: str) -> Reject:
    return Reject(code, record, detail)

  exceptions = [text.strip() for text in exception.lower().replace("-", " ").split(",")] if exception else []
  if "trans splicing" in exceptions:
    return reject("trans_splicing", f"exception={exception}")
  if transl_table not in genetic_code.TABLE_IDS:
    return reject("unknown_transl_table", f"transl_table={transl_table}")
  if codon_start not in (1, 2, 3):
    return reject("bad_location", f"codon_start={codon_start}")
  cds_blocks = _drop_bases(cds_blocks, codon_start - 1)
  cds = "".join(dna[start:end] for start, end in cds_blocks)
  if len(cds) < 3:
    return reject("empty_cds", f"{len(cds)} bases")
  residues = {}
  for offset, residue in transl_except.items():
    codon, phase = divmod(offset - codon_start + 1, 3)
    if phase or not 0 <= 3 * codon < len(cds):
      return reject("bad_transl_except", f"offset {offset} of {len(cds)}, codon_start {codon_start}: {residue}")
    residues[codon] = residue

  annotated = None if protein is None else protein.rstrip("*")
  any_start = "alternative start codon" in exceptions
  translation = _translation(cds, transl_table, residues, annotated, partial5, partial3, any_start)
  if not translation:
    return reject("empty_cds", "nothing but a stop codon")
  problem = _difference(translation, annotated)
  if annotated is None and problem is None:
    if len(cds) % 3 and not partial3 and len(cds) // 3 not in residues:
      problem = "length_mismatch", f"{len(cds)} bases, not marked partial"
    elif not _HARMLESS.issuperset(exceptions) or "ribosomal slippage" in exceptions and len(cds_blocks) == 1:
      problem = "other_exception", "no protein to test the translation against"
  if problem:
    code, detail = problem
    if exceptions:
      code = next((_CODES[text] for text in exceptions if text in _CODES), "other_exception")
      detail = f"exception={exception}; {detail}"
    return reject(code, detail)

  rna_source = "record"
  if rna is None:
    rna_source = "exons" if exon_blocks else "cds"
    rna = "".join(dna[start:end] for start, end in exon_blocks or _without_slips(cds_blocks))
  return CodingGene(
      gene_id=gene_id,
      transcript_id=transcript_id,
      protein_id=protein_id,
      taxon=taxon,
      dna=dna,
      cds_blocks=tuple(cds_blocks),
      rna=rna,
      rna_cds=_find_cds(rna, cds, cds_blocks[0][0], exon_blocks),
      rna_source=rna_source,
      protein=translation if annotated is None else annotated,
      protein_source="translated" if annotated is None else protein_source,
      transl_table=transl_table,
      partial5=partial5,
      partial3=partial3,
      selected=selected,
      genomic=genomic,
  )


def _translation(
    cds: str,
    table: int,
    residues: Mapping[int, str],
    annotated: str | None,
    partial5: bool,
    partial3: bool,
    any_start: bool,
) -> str:
  """The protein by the letters, without its last stop; `annotated` decides where they allow two readings."""
  codons = len(cds) // 3
  translation = genetic_code.translate(cds, table, residues)
  if len(cds) % 3 and codons not in residues:
    # GenBank's translations count an incomplete last codon where its bases fix the residue.
    last = genetic_code.translate((cds[3 * codons :] + "NN")[:3], table)
    if last not in "X*" and (partial3 if annotated is None else len(annotated) == codons + 1):
      translation += last
  if translation.endswith("*"):
    translation = translation[:-1]
  elif (
      not partial3
      and len(cds) % 3 == 0
      and codons - 1 not in residues
      and genetic_code.is_stop(cds[-3:], table)
      and (annotated is None or len(annotated) < codons)
  ):
    translation = translation[:-1]  # A codon that is a stop only at the end (tables 27, 28, 31).
  starts = not partial5 and 0 not in residues and (any_start or genetic_code.is_start(cds[:3], table))
  if translation and starts and (annotated is None or annotated[:1] == "M"):
    translation = "M" + translation[1:]
  return translation


def _difference(translation: str, annotated: str | None) -> tuple[str, str] | None:
  """Reason and detail where the translation has a stop inside or is not the annotated protein, else None."""
  stop = translation.find("*")
  if stop >= 0:
    return "internal_stop", f"stop at codon {stop + 1} of {len(translation)}"
  if annotated is None or annotated == translation:
    return None
  if len(annotated) != len(translation):
    return "length_mismatch", f"{len(translation)} residues from the CDS, {len(annotated)} in the protein"
  ours = np.frombuffer(translation.encode("latin-1", "replace"), np.uint8)
  theirs = np.frombuffer(annotated.encode("latin-1", "replace"), np.uint8)
  open_codons = _ANY_RESIDUE[ours] & _IS_LETTER[theirs]  # A damaged letter is no residue, whatever the codon is.
  differ = np.flatnonzero((ours != theirs) & ~open_codons & ~_ANY_RESIDUE[theirs])
  if not differ.size:
    return None
  at = int(differ[0])
  return "translation_mismatch", (
      f"{differ.size} of {len(annotated)} residues, first at {at + 1}: {translation[at]} from the CDS, {annotated[at]}"
      " in the protein"
  )


def _drop_bases(blocks: Sequence[Block], count: int) -> list[Block]:
  """Blocks without the first `count` bases."""
  kept = []
  for start, end in blocks:
    skipped = min(count, end - start)
    count -= skipped
    if start + skipped < end:
      kept.append((start + skipped, end))
  return kept


def _without_slips(blocks: Sequence[Block]) -> list[Block]:
  """Blocks joined where the ribosome slips: they overlap, touch, or leave out one or two bases (no intron)."""
  joined = [blocks[0]]
  for start, end in blocks[1:]:
    if start - joined[-1][1] <= 2:
      joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
    else:
      joined.append((start, end))
  return joined


def _find_cds(rna: str, cds: str, cds_start: int, exon_blocks: Sequence[Block] | None) -> Block | None:
  """Where the spliced CDS lies in the transcript, letter for letter; None where it does not."""
  if exon_blocks:
    # Its place by the exons comes first: a short coding sequence may occur twice.
    place = sum(min(end, cds_start) - start for start, end in exon_blocks if start < cds_start)
    if rna.startswith(cds, place):
      return place, place + len(cds)
  place = rna.find(cds)
  return (place, place + len(cds)) if place >= 0 else None
