"""Thresholds of the extraction of sequences from web text, and the reasons why something is left out."""

import dataclasses

# Why a candidate inside a document is no sequence of the corpus: code to meaning. Reports print both.
CANDIDATE_REASONS: dict[str, str] = {
    "too_short": "fewer letters than the shortest sequence that is kept",
    "low_complexity": "one letter or a few repeated, and nothing that calls it a sequence",
    "undetermined": "mostly N or X, or other codes of ambiguity",
    "mixed_t_and_u": "both T and U inside: neither DNA nor RNA",
    "lower_case": "lower-case letters that nothing calls a sequence",
    "words": "capitals that read like words",
    "no_context": "capitals that could be protein, but nothing near them says so",
    "alphabet": "an alphabet or a list of all residues, not a sequence",
    "secondary_structure": "codes of helix, strand and coil",
    "single_letters": "letters one by one (cells, chords, grades) that nothing calls a sequence",
    "short_groups": "a list of codons, genotypes or k-mers, not one sequence",
    "modified": "modified bases or residues inside, written in a way that has no plain reading",
    "attached": "grown together with other letters, digits or signs, so that its ends are unclear",
    "encoded": "part of a longer code: base64, a hash, an identifier, a web address",
    "repeat": "stands in the document already",
}
# Why a whole document is left out.
DOCUMENT_REASONS: dict[str, str] = {
    "no_candidates": "nothing in the text resembles a sequence",
    "too_few_sequences": "fewer distinct sequences than the corpus asks for",
}


@dataclasses.dataclass(frozen=True)
class WebConfig:
  """Thresholds; the lengths of the shortest sequences follow the labels of the measured documents.

  What a candidate must show depends on what the text says of it. There are four grades: *declared* (a FASTA record, a
  GenBank block, 5'…3' marks, a literal assigned to `seq`, an alignment whose coordinates add up), *framed* ("the
  peptide X", "X (SEQ ID NO: 3)", a neighbour in a list of sequences), *near* (a word such as protein or epitope
  in the surroundings) and *bare*.

  Attributes:
    min_sequences: distinct sequences that a document must hold (the paper: three or more).
    min_nucleotides: letters of the shortest DNA or RNA that is kept.
    min_residues: letters of the shortest protein that is kept, where it is declared or framed.
    min_residues_near, min_residues_bare: likewise, with less evidence. Sixteen random capitals are all
      residues once in 67 times, and capitals of that length without a digit are rare.
    bits_declared, bits_framed, bits_near, bits_bare: by how many bits the letters must look more like protein than like
      words (`language.protein_score`).
    min_lower_case: letters of the shortest lower-case DNA or RNA that is kept without a word that calls it one.
    min_mixed: letters of the shortest sequence that is kept although it is poor: nucleotides of two letters only, or
      with codes of ambiguity, that nothing calls a sequence; protein of three letters or less near such a word.
    min_glued: letters of the shortest nucleotides that are cut out of a longer word (a table that lost its cells).
    min_determined: letters A, C, G, T, U that nucleotides must have at least.
    determined: their share among all letters, where nothing declares the sequence and they are fewer than four times
      `min_nucleotides`.
    three_letter: whether `Met-Lys-…` is read, as its one-letter form.
    cue_distance: characters before a candidate in which a word counts as near; a third of it after the candidate.
  """

  min_sequences: int = 3
  min_nucleotides: int = 8
  min_residues: int = 6
  min_residues_near: int = 9
  min_residues_bare: int = 16
  bits_declared: float = 0.0
  bits_framed: float = 8.0
  bits_near: float = 15.0
  bits_bare: float = 28.0
  min_lower_case: int = 14
  min_mixed: int = 12
  min_glued: int = 15
  min_determined: int = 6
  determined: float = 0.5
  three_letter: bool = True
  cue_distance: int = 150

  def __post_init__(self):
    for field in dataclasses.fields(self):
      if getattr(self, field.name) < 0:
        raise ValueError(f"WebConfig.{field.name} is {getattr(self, field.name)}: it cannot be negative")
    if self.min_sequences < 1 or min(self.min_nucleotides, self.min_residues, self.min_glued) < 2:
      raise ValueError("WebConfig: min_sequences is at least 1, and a sequence has at least 2 letters")
