"""Sequences in the layouts of file formats and alignments are found letter for letter."""

import pytest

from tests.data_pipelines.web_texts import counted, dna, found, groups, numbered, protein, rna, wrap

D, E, F = dna(90), dna(90, 1), dna(20, 2)
P, Q = protein(140), protein(140, 1)
R, S = rna(60), rna(60, 1)
INSULIN = "GIVEQCCTSICSLYQLENYCN"
SEQRES = """\
SEQRES   1 A   21  GLY ILE VAL GLU GLN CYS CYS THR SER ILE CYS SER LEU
SEQRES   2 A   21  TYR GLN LEU GLU ASN TYR CYS ASN
SEQRES   1 B    9   DA  DC  DG  DT  DT  DG  DC  DA  DA
SEQRES   1 C    8    A   U   G   C   C   U   A   G
"""


def _blast(query: str, subject: str, first: int, last: int) -> str:
  line = "".join("|" if a == b else " " for a, b in zip(query, subject))
  letters = len(query.replace("-", ""))
  return f"Query  1    {query}  {letters}\n            {line}\nSbjct  {first:<4} {subject}  {last}\n"


FASTA = {
    "wrapped": (f">seq1 test gene\n{wrap(D, 60)}\n\nText after the record.", [("dna", D)]),
    "in small letters": (f">s\n{wrap(D.lower(), 50)}\n>t\n{wrap(P, 60)}\nProse here.", [("dna", D), ("protein", P)]),
    "a protein in small letters": (f">p\n{P.lower()}\n", [("protein", P)]),
    "with gaps": (f">a\n{D[:20]}--{D[20:40]}\n>b\n{E[:40]}--\n", [("dna", D[:40]), ("dna", E[:40])]),
    "with escaped headers": (f"&gt;a\n{D}\n", [("dna", D)]),
    "indented": (f"    >p\n    {P[:60]}\n    {P[60:80]}\n\nText", [("protein", P[:80])]),
    "in a code fence": (f"```\n>a\n{D}\n```\n", [("dna", D)]),
    "with a stop": (f">p\n{P}*\n", [("protein", P)]),
    "with Windows line ends": (f">a\r\n{wrap(D, 60, chr(13) + chr(10))}\r\n\r\ntext", [("dna", D)]),
    "in groups of ten": (f">a\n{groups(D[:60])}\n{groups(D[60:])}\n", [("dna", D)]),
    "with counts behind the lines": (f">a\n{D[:60]} 60\n{D[60:]} 90\n", [("dna", D)]),
    "in the cells of a table": (
        f">a | |\n{P[:70]} | |\n{P[70:]} | |\n>b | |\n{Q} | |\n", [("protein", P), ("protein", Q)]
    ),
    "as a string of a program": (rf'x = ">a\n{D[:30]}\n>b\n{E[:30]}\n"', [("dna", D[:30]), ("dna", E[:30])]),
    "of RNA": (f">tRNA\n{R}\n", [("rna", R)]),
    "shorter than a line": (">a\nACGTTGCAAGT\n>b\nACGTTGCAAGA\n", [("dna", "ACGTTGCAAGT"), ("dna", "ACGTTGCAAGA")]),
    "with an ellipsis at the end": (f">a\n{D[:50]}...\n", [("dna", D[:50])]),
}
FLAT_FILES = {
    "GenBank": (f"LOCUS       X\nORIGIN      \n{numbered(D.lower())}\n//\n", [("dna", D)]),
    "GenBank, one line": (f"ORIGIN\n        1 {groups(F.lower())}\n//", [("dna", F)]),
    "GenBank, lines run together": (f"ORIGIN 1 {groups(D[:60].lower())} 61 {groups(D[60:].lower())} //", [("dna", D)]),
    "GenPept": (f"ORIGIN\n{numbered(P.lower())}\n//", [("protein", P)]),
    "EMBL": (f"SQ   Sequence 90 BP; 20 A;\n{counted(D.lower())}\n//\n", [("dna", D)]),
    "UniProt": (
        f"SQ   SEQUENCE   140 AA;  9 MW;\n     {groups(P[:60])}\n     {groups(P[60:120])}\n     {groups(P[120:])}\n//",
        [("protein", P)],
    ),
    "UniProt's page, with rulers": (
        "        10         20         30         40         50\n"
        f"{groups(P[:50])}\n        60         70\n{groups(P[50:70])}\n",
        [("protein", P[:70])],
    ),
    "numbers with structure lines between": (
        f"   <<<<____>>>>\n  1 {R[:40]} 40\n   ....<<<<>>>>\n 41 {R[40:]} 60\n", [("rna", R)]
    ),
    "/translation": (f'  /translation="{wrap(P, 50, chr(10) + " " * 21)}"\n     gene', [("protein", P)]),
    "FASTQ": (f"@r1 length=30\n{D[:30]}\n+r1\n{'IIIIIFFFFF' * 3}\n", [("dna", D[:30])]),
    "SAM": (f"r1\t99\tref\t7\t30\t20M\t=\t37\t39\t{F}\t{'F' * 20}\tNM:i:0\n", [("dna", F)]),
    "PDB": (SEQRES, [("protein", INSULIN), ("dna", "ACGTTGCAA"), ("rna", "AUGCCUAG")]),
}
ALIGNMENTS = {
    "BLAST": (_blast(D[:40], D[:20] + "-" + D[21:40], 101, 139), [("dna", D[:40]), ("dna", D[:20] + D[21:40])]),
    "BLAST on the other strand": (_blast(D[:40], D[:39] + "N", 140, 101), [("dna", D[:40]), ("dna", D[:39] + "N")]),
    "BLAST in two blocks": (
        f"Query  1   {P[:60]}  60\n           {P[:30]}+{P[31:60]}\nSbjct  11  {P[:30]}W{P[31:60]}  70\n\n"
        f"Query  61  {P[60:90]}  90\n           {P[60:90]}\nSbjct  71  {P[60:90]}  100\n",
        [("protein", P[:90]), ("protein", P[:30] + "W" + P[31:90])],
    ),
    "Biopython": (
        f"target            0 {D[:20]}-{D[20:30]} 30\n                  0 {'|' * 20}-{'|' * 10} 31\n"
        f"query             0 {D[:20]}N{D[20:30]} 31\n",
        [("dna", D[:30]), ("dna", D[:20] + "N" + D[20:30])],
    ),
    "Biopython, rows that go on": (
        f"a     0 {P[:60]}\nb     0 {Q[:58]}--\n\na    60 {P[60:80]} 80\nb    58 {Q[58:78]} 78\n",
        [("protein", P[:80]), ("protein", Q[:78])],
    ),
    "Clustal": (
        f"CLUSTAL W\n\ns1      {P[:60]}\ns2      {Q[:20]}----{Q[24:60]}\n        {'*' * 9} :. *\n\n"
        f"s1      {P[60:90]}\ns2      {Q[60:90]}\n",
        [("protein", P[:90]), ("protein", Q[:20] + Q[24:90])],
    ),
    "Clustal with counts": (
        f"s1      {D[:60]} 60\ns2      {E[:20]}----{E[24:60]} 56\n\ns1      {D[60:]} 90\ns2      {E[60:]} 86\n",
        [("dna", D), ("dna", E[:20] + E[24:])],
    ),
    "Stockholm": (
        f"# STOCKHOLM 1.0\nt1   {R[:20]}.{R[20:40]}\n#=GR t1 SS {'HHHHHHHHHH' * 4}\nt2   {S[:21]}{S[21:41]}\n"
        "#=GC SS_cons <<<<<<<..<<<<.........>>>>\n//",
        [("rna", R[:40]), ("rna", S[:41])],
    ),
    "Stockholm in two blocks": (
        f"# STOCKHOLM 1.0\n\ns1/1-60 {P[:60]}\n#=GR s1/1-60 SS HHHHHHHH\ns2/1-60 {Q[:60]}\n\n"
        f"s1/1-60 {P[60:80]}\ns2/1-60 {Q[60:80]}\n//",
        [("protein", P[:80]), ("protein", Q[:80])],
    ),
    "PHYLIP": (
        f" 2 30\nAlpha     {groups(D[:20])}\nBeta      {E[:8]}-- {E[10:20]}\n\n"
        f"          {D[20:30]}\n          {E[20:30]}\n",
        [("dna", D[:30]), ("dna", E[:8] + E[10:30])],
    ),
    "bare rows with gaps": (f"{D[:16]}--{D[16:20]}\n{E[:22]}\n", [("dna", D[:20]), ("dna", E[:22])]),
}


@pytest.mark.parametrize(("text", "expected"), FASTA.values(), ids=FASTA)
def test_fasta_records_are_found(text, expected):
  assert found(text) == expected


@pytest.mark.parametrize(("text", "expected"), FLAT_FILES.values(), ids=FLAT_FILES)
def test_records_of_other_formats_are_found(text, expected):
  assert found(text) == expected


@pytest.mark.parametrize(("text", "expected"), ALIGNMENTS.values(), ids=ALIGNMENTS)
def test_rows_of_alignments_are_found_without_gaps_and_joined_over_blocks(text, expected):
  assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    ["> Note\n> something else\n>\n> GREAT\n> a thing\n", "> **Tip**\nremember\n> INSTALL\nsnakemake\n",
     "> Dear all,\n> thanks for the note\n> REGARDS\n> CAT\n\n> Hi\nthanks\n"],
)  # fmt: skip
def test_quoted_mail_and_markdown_are_no_fasta(text):
  assert found(text) == []


def test_counts_that_do_not_count_the_letters_make_no_numbered_block():
  assert found("1 Introduction\n2 Methods\n3 Results\n4 Discussion 12\n") == []
  assert found(f"    1 {groups(P[:60].lower())}\n   99 {groups(P[60:120].lower())}\n") != [("protein", P[:120])]


def test_rows_that_are_shortened_with_an_ellipsis_are_not_joined_over_it():
  rows = "\n".join(f"gi|{i}|ref|NP_{i}.1|  {protein(20, i)}...{protein(20, i + 9)}" for i in range(1, 4))
  assert found(rows) == [("protein", protein(20, i + j)) for i in range(1, 4) for j in (0, 9)]


def test_the_quality_line_of_a_read_is_no_sequence():
  quality = protein(40, seed=5)  # Any capitals can be qualities.
  assert found(f"@read\n{D[:40]}\n+\n{quality}\n") == [("dna", D[:40])]


def test_residues_of_an_alignment_annotation_are_no_sequence():
  assert found(f"#=GC SS_cons  {'HHHHCCCCEEEE' * 4}\n#=GC RF {P[:40]}\n") == []
