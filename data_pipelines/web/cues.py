"""What the text around a candidate says of it: declared, framed, near or bare."""

import re

from data_pipelines.web.candidates import Evidence
from data_pipelines.web.config import WebConfig

# Every sign that stands for the prime of 5' and 3'.
PRIME = (
    r"(?:\\?['′’‘`´ʹ‵ʼ＇]|&prime;|&apos;|&rsquo;|&#(?:0?39|8217|8242|x27|x2019|x2032);"
    r"|\$?\s?\^\{?\\prime\}?\s?\$?|\$\^?\{?'\}?\$|[ -]prime\b)"
)
_DASH = r"[-‐‑‒–—―−]"
# A label at an oligonucleotide's end: `/5Phos/`, `(Phosphate)`, `[6FAM]`, `FAM-`, `Biotin-`.
_LABEL = (
    r"(?:/[\w' .-]{1,20}/|[(\[][\w' .-]{1,20}[)\]]"
    r"|(?:\d-)?(?![ACGTUNacgtun]{4})[A-Za-z][A-Za-z0-9]{1,9}(?=[-‐–—\s]))"
)
_OPEN = r"(?:[rdp]?[(\[]|<[^<>]{1,40}>|\*\*|[\"“]|&quot;)*"
MARK_BEFORE = re.compile(
    rf"(?<![\w.])[53]\s?{PRIME}\s*(?:{_DASH}|:|>)*\s*{_OPEN}(?:{_LABEL}{_DASH}*\s*){{0,2}}{_OPEN}$"
)
MARK_AFTER = re.compile(
    rf"(?:</?[^<>]{{1,20}}>|\*\*|[)\]'′\"])*\s*{_DASH}*\s*(?:{_LABEL}{_DASH}*\s*){{0,2}}[35]\s?{PRIME}"
)

# `seq = "`, `Seq('`, `"sequence": "`, `align("…", "`, `sequences = ["…", "`: the letters are a literal that its name
# declares.
_LITERAL = re.compile(
    r"""(?ix)
    (?: \b[\w.]*(?:seq|dna|rna|prot|pept|nucleo|oligo|primer|epitope|k_?mer|align|transl|transcri|revcomp|complement
        |barcode|adapt[eo]r|codon|genome|chromosome|promoter|spacer|plasmid|linker|motif|cds|orf)[\w.]* | \baa\w* )
    \\?["'”’]? \s* (?: [:=] | <- | => | \( )
    \s* (?: [\w.]+ \s* [(=] \s* ){0,3}
    (?: [(\[{] \s* )? (?: ["'][^"'\n]{0,150}["'] \s* , \s* ){0,20}
    [rbuf]? \\?["'“‘`]$
    """
)

# "the peptide", "an epitope, namely", "linker 1c (": what stands directly before a protein. Verbs that join it.
_FRAME_BEFORE = re.compile(
    r"""(?ix)
    (?: \b(?: [a-z]*peptides? | epitopes? | sequences? | motifs? | linkers? | residues | amino[ -]?acids? | tags?
        | signals? (?:\ \(\w{1,5}\))? | (?:cleavage|recognition)\ sites? | CDR-?[HL]?-?[123] | \d+-?mers? ) \b
      | \bSEQ\.?\ ?ID\.?\ ?NOs?\.?\ ?:?\ ?\d+ )
    (?: \s* (?: [:,;=(\[{"'“‘`*-]
        | \b(?: (?<=sequence\ )of | (?<=sequences\ )of | is | was | are | were | ha[sd] | having | with
          | contain(?:s|ing)? | compris(?:es|ing|ed) | consist(?:s|ing)?(?:\ of)? | corresponding\ to | named | called
          | designated | termed | the | an? | amino | acids? | sequences? | following | as | follows | namely
          | essentially | including | synthetic | [a-z]?\d{1,3}[a-z]? )\b ) ){0,8}
    \s* ["'“‘(\[`*]* $
    """
)
_FRAME_AFTER = re.compile(
    r"""(?ix) ["'”’)\]`*\s,;:]{0,4} [(\[]? \s* (?: SEQ\.?\s?ID | (?:poly|oligo)?peptides?\b | epitopes?\b | motifs?\b
    | -?tag\b ) | \s? [-‐–—] \s? (?: NH(?:2|₂) | OH\b | COOH | CONH | amide )"""
)
# "strand: ", "mRNA ": what stands before nucleotides that are written one by one or codon by codon.
_FRAME_NUCLEOTIDES = re.compile(
    r"(?i)(?:\b[a-z]*RNA|\b[a-z]*DNA|strand|sequence|primer|oligo[a-z]*|probe|template|bases|codons|nucleotides)\b"
    r"[^.;\n]{0,25}$"
)
# "OVA 257–264 (": the place of a peptide in its protein.
_RANGE_BEFORE = re.compile(r"\d{1,4} ?[-–] ?\d{1,4} ?[)\]]?[\s,:]{0,2}[(\[]? ?$")
_NEAR_PROTEIN = re.compile(
    r"""(?ix) peptid | protein | epitope | amino[ -]acid | residue | antigen | SEQ\.?\s?ID | motif | terminal | terminus
    | sequence | linker | tryp(?:sin|tic) | antibod | isoform | CDR | mutant | translat | FASTA | cleav | \bORFs?\b
    | \bdomain | homolog | \balign | lysine | arginine | histidine | glycine | alanine | proline | glutam | leucine
    | amyloid | toxin | hormone | enzyme | insulin | collagen | venom | receptor | microbial"""
)
_NEAR_NUCLEOTIDES = re.compile(
    r"""(?ix) primer | probe | oligo | sequence | sense | forward | reverse | adapt[eo]r | barcode | RNA | DNA | codon
    | nucleotid | promoter | motif | \bsites? | exon | intron | allele | repeat | PCR | SEQ\.?\s?ID | genom | gene
    | strand | restriction | cleav | digest | \bcuts?\b | transcri | clon | amplif | aptamer | \bbox | \b\d*bp\b
    | hybridi | vector | plasmid | \breads?\b | k-?mer | mutat | template | \bSNP | FASTA | \balign"""
)
_CSV_COLUMN = re.compile(r'(?i)\s*"?(?:sequence|seq|peptide|primer|oligo|epitope|protein|aa_?seq\w*|cdr3\w*)s?"?\s*')
_COLUMN = re.compile(r"(?i)sequence|seq\b|peptide|primer|oligo|epitope|protein|[53]\s?['′’]|probe|forward|reverse")
_LOOK_BACK = 200
_LOOK_AHEAD = 60


def _sentence(before: str) -> str:
  """What stands before a candidate, without lines above that do not lead to it: a table's head, a title."""
  line = before.rfind("\n")
  above = before[: max(0, line)].rstrip()
  last = above[above.rfind("\n") + 1 :]
  leads = last.endswith(":") or (len(last) >= 40 and "\t" not in last and "|" not in last)
  return before if line < 0 or leads else before[line + 1 :]


_ASSIGNS = ("=", ":", "(", "<-")
_QUOTES = ("'", '"', "“", "‘", "`")


class Context:
  """The text around candidates, asked in the order of the text."""

  def __init__(self, text: str, config: WebConfig):
    self._text = text
    self._config = config
    self._header: tuple[int, str] = (-1, "")  # Start of a line of a table, and the table's first line.

  def marked(self, start: int, end: int) -> bool:
    """Whether 5' or 3' stands at an end of the letters [start, end)."""
    before = self._text[max(0, start - 60) : start]
    return bool(MARK_BEFORE.search(before)) or bool(MARK_AFTER.match(self._text, end, end + 60))

  def evidence(self, start: int, end: int, *, nucleotides: bool) -> Evidence:
    """What the surroundings of the letters [start, end) say."""
    before = self._text[max(0, start - _LOOK_BACK) : start]
    if (nucleotides and self.marked(start, end)) or self._is_literal(before):
      return Evidence.DECLARED
    if _FRAME_BEFORE.search(_sentence(before)) or _FRAME_AFTER.match(self._text, end, end + _LOOK_AHEAD):
      return Evidence.FRAMED
    if (nucleotides and _FRAME_NUCLEOTIDES.search(before)) or self._in_column(start):
      return Evidence.FRAMED
    near = _NEAR_NUCLEOTIDES if nucleotides else _NEAR_PROTEIN
    distance = self._config.cue_distance
    if near.search(before[-distance:]) or near.search(self._text, end, end + distance // 3):
      in_protein = not nucleotides and _RANGE_BEFORE.search(before)
      return Evidence.FRAMED if in_protein else Evidence.NEAR
    return Evidence.BARE

  def _is_literal(self, before: str) -> bool:
    # Cheap questions first: lists hold thousands of literals.
    return before[-1:] in _QUOTES and any(sign in before for sign in _ASSIGNS) and bool(_LITERAL.search(before))

  def _in_column(self, start: int) -> bool:
    """Whether the candidate stands in a table's column that its header calls one of sequences."""
    line = self._text.rfind("\n", max(0, start - 2000), start) + 1
    if not line and start > 2000:
      return False
    in_line = self._text[line:start]
    sign = next((sign for sign in "\t|," if sign in in_line), "")
    if not sign:
      return False
    cells = self._header_line(line, sign).split(sign)
    column = in_line.count(sign)
    if column >= len(cells):
      return False
    # Commas stand in prose too: there the whole cell must be the name of such a column.
    return bool(_CSV_COLUMN.fullmatch(cells[column]) if sign == "," else _COLUMN.search(cells[column]))

  def _header_line(self, line: int, sign: str) -> str:
    """The first line of the table that the line at `line` belongs to; looks at most 100 lines back."""
    top = line
    for _ in range(100):
      if top == 0 or top == self._header[0]:
        break
      above = self._text.rfind("\n", 0, top - 1) + 1
      if sign not in self._text[above : top - 1]:
        break
      top = above
    if top == self._header[0]:
      header = self._header[1]
    else:
      end = self._text.find("\n", top)
      header = self._text[top : end if end >= 0 else len(self._text)][:2000]
    self._header = (line, header)
    return header
