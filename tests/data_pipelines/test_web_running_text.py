"""Sequences in prose, tables and programs are found letter for letter, however people write them."""

import dataclasses

import pytest

from data_pipelines.web_interleaved import extract
from tests.data_pipelines.web_texts import CONFIG, dna, found, groups, protein, reasons, rna, wrap

D, E, F = dna(20), dna(21, 1), dna(19, 2)
LONG, P = dna(120, 3), protein(120)
R, S = rna(21), rna(21, 1)
PRIMES = ["'", "′", "’", "‘", "´", "`", "ʹ", "＇", "&prime;", "&#39;", "\\'", "$'$", "$^\\prime$", "-prime"]

PRIMERS = {
    "marks": (f"The primers were 5'-{D}-3' and 5'-{E}-3'.", [D, E]),
    "marks with spaces": (f"sense 5' - {D}' - 3′, antisense 5′ – {E} – 3′", [D, E]),
    "marks without dashes": (f"sense 5′ {D}3′ and 5′{E}3′", [D, E]),
    "marks behind a letter": (f"F:5’ {D} 3′\n\nR:5’ {E} 3’\n\n97.0%", [D, E]),
    "marks around codons": (f"5'-{wrap(D[:18], 3, ' ')}-3'", [D[:18]]),
    "marks around small letters": (f"5'-{D.lower()}-3'", [D]),
    "marks around a line end": (f"the primer 5'-{D[:12]}\n{D[12:]}-3' as before", [D]),
    "marks around irregular pieces": (f"5'-{D[:5]} {D[5:]}-3' and 5'-{E[:2]} {E[2:]}-3'", [D, E]),
    "marks the other way round": (f"3'-{D}-5'", [D]),
    "a site in parentheses": (f"5'-CGC(GGATCC){D}-3'", ["CGCGGATCC" + D]),
    "labels": (f"Probe: 5'-FAM-{D}-BHQ1-3' and VIC-{E}-MGBNFQ; biotin-{F}", [D, E, F]),
    "labels in parentheses": (f"(6FAM)-{D}-(TAMRA), 5′-(Phosphate)-{E}-3′", [D, E]),
    "labels of an order form": (f"/5Phos/{D} and /56-FAM/{E[:9]}/ZEN/{E[9:]}/3IABkFQ/", [D, E]),
    "a hyphen inside": (f"primer {D[:11]}-{D[11:]} was", [D]),
    "a hyphen at the line's end": (f"primer {D[:11]}-\n{D[11:]} was", [D]),
    "names with hyphens": (f"Nogo-A {D}, Nogo-B {E}, Nogo-C {F}", [D, E, F]),
    "names behind": (f"F-primer, {D} R-primer, {E}", [D, E]),
    "the word at": (f"with primer {D} at 55 °C, OR {E} AT 55 C", [D, E]),
    "lengths attached": (f"PPIB {D} (24 bp/59.3 °C) {E}(24 bp/61.0 °C)", [D, E]),
    "small letters and a word for it": (f"the primers {D.lower()}, {E.lower()}", [D, E]),
    "capitals and small letters": (f"ccata{D}, {E[:8]}{E[8:].lower()}", ["CCATA" + D, E]),
    "codes of ambiguity": ("primers GTGYCAGCMGCCGCGGTAA and 806R GGACTACNVGGGTWTCTAAT",
                           ["GTGYCAGCMGCCGCGGTAA", "GGACTACNVGGGTWTCTAAT"]),
    "unknown bases": (f"{D}NNNNNNNN{E}", [D + "NNNNNNNN" + E]),
    "an anchored tail": (f"{D} AACGTGAT TTTTTTTTTTTTTTTVN", [D + "AACGTGATTTTTTTTTTTTTTTTVN"]),
    "sense and antisense": (f"(sense: {D}), (anti-sense: {E})", [D, E]),
    "rows of pairs": (f"ACTN {D} {E} 250\nGAPN {F} {dna(20, 9)} 180", [D, E, F, dna(20, 9)]),
    "long pieces and short ones": (f"{D} GATCTG {LONG[:34]}", [D + "GATCTG" + LONG[:34]]),
    "a colon": (f"what we looked at: {D}; TAG: {E}", [D, E]),
    "the words DNA and RNA beside it": (f"the DNA {D}, {E} DNA, an RNA {F} RNA of 3 KB", [D, E, F]),
    "a restriction site of eight": ("NotI cuts GC^GGCCGC", ["GCGGCCGC"]),
    "an accession in brackets": (f"Hprt ({D} [SEQ ID NO: 1], {E} [SEQ ID NO: 2])", [D, E]),
    "between Chinese characters": (f"序列{D}是", [D]),
    "assignments": (f"P1={D} P2={E}", [D, E]),
    "arrows and slashes": (f"{D} -> {E}/{F}", [D, E, F]),
    "quotation marks": (f"“{D}” and ‘{E}’", [D, E]),
    "invisible characters": (f"{D[:10]}\u200b{D[10:]} and {E[:9]}\u00ad{E[9:]}", [D, E]),
    "protected spaces": (f"5'-{wrap(D[:18], 3, chr(160))}-3'", [D[:18]]),
    "bold and underlined sites": (f"<b>GGATCC</b>{D}, ccata**GGTCTC**a{E}", ["GGATCC" + D, "CCATAGGTCTCA" + E]),
    "TeX": (f"\\texttt{{{D}}} & {E} \\\\", [D, E]),
    "a line broken in prose": (
        f"We amplified the whole fragment with the forward primer {D[:10]}\n{D[10:]}, which binds.", [D]
    ),
}
RNAS = {
    "siRNA": (f"siRNA sense 5'-{R}-3'", [R]),
    "a deoxy end": (f"siRNA {R[:19]}dTdT", [R[:19] + "TT"]),
    "r()": (f"5′-r({R})-3′, antisense, 5′-r({S})-3′", [R, S]),
    "a duplex": (f"5'-  {R[:19]} TT -3'\n3'- TT{S[:19]}   -5'", [R[:19] + "TT", "TT" + S[:19]]),
    "with its structure": (f"{R}\n(((((..((((.....))))", [R]),
    "codons of an mRNA": ("the mRNA AUG GCC UAC UAA", ["AUGGCCUACUAA"]),
    "prose": ("The sequence AUGGCCUAAGCU would be read", ["AUGGCCUAAGCU"]),
}
TABLES = {
    "Markdown": (f"| Name | Sequence |\n|---|---|\n| F | {D} |\n| R | {E} |", [("dna", D), ("dna", E)]),
    "Markdown without outer bars": (f"Gene | F | R |\n---|---|---|\nB | {D} | {E} | 3.3 |", [("dna", D), ("dna", E)]),
    "tabs": (f"name\tprimer\tpeptide\nx1\t{D}\tSIINFEKL\n", [("dna", D), ("protein", "SIINFEKL")]),
    "commas": (f"name,seq\np1,{D}\np2,{P[:12]}\n", [("dna", D), ("protein", P[:12])]),
    "HTML": (f"<tr><td>fwd</td><td>{D}</td><td>{E}</td></tr>", [("dna", D), ("dna", E)]),
    "HTML with a line break": (f"<td>{LONG[:60]}<br/>{LONG[60:]}</td>", [("dna", LONG)]),
    "one letter a cell": ("| DNA | A | T | G | G | C | C | G | A | T |", [("dna", "ATGGCCGAT")]),
    "cells that ran together": (f"PrimerForwardT{D}Reverse{E}", [("dna", "T" + D), ("dna", E)]),
    "GFF": (f"c1\t.\tSAGE\t1\t20\t.\t+\t.\tsequence=SAGE:{D.lower()};x=1", [("dna", D)]),
}
WRAPPED = {
    "lines": wrap(LONG, 60),
    "lines that became one": f"sequence {wrap(LONG, 61, ' ')} (SEQ ID NO: 3)",
    "groups of ten": groups(LONG),
    "comments": wrap(LONG, 60, "\n# ").join(("# ", "\n")),
    "quotes": f'x = ("{wrap(LONG, 50, chr(34) + chr(10) + "     " + chr(34))}")',
    "quotes with protected spaces": f'f("{LONG[:50]}" +\n\xa0\xa0"{LONG[50:100]}"\xa0+\n\xa0\xa0"{LONG[100:]}");',
    "added quotes": f'x = "{LONG[:12]}" + "{LONG[12:]}"',
    "added quotes of a session": f'>>> s = Seq("{LONG[:12]}"\n...   + "{LONG[12:]}")',
    "letters one by one": f"template strand: {' '.join(LONG)}",
}
PROGRAMS = {
    "assignments": (f'seq = "{D}"\nprotein = "{P[:8]}"', [("dna", D), ("protein", P[:8])]),
    "a poor literal": ('x = Seq("AAAAAAAAAAAA")', [("dna", "AAAAAAAAAAAA")]),
    "a list": (f"seqs = ['{D}', '{E}', \"{F}\"]", [("dna", D), ("dna", E), ("dna", F)]),
    "R": (f'x <- DNAString("{D}")\np <- AAString("{P[:10]}")', [("dna", D), ("protein", P[:10])]),
    "JSON": (f'{{"sequence": "{D}", "aa": "{P[:10]}"}}', [("dna", D), ("protein", P[:10])]),
    "YAML": (f"sequence: {D}\nprotein: {P[:12]}\n", [("dna", D), ("protein", P[:12])]),
    "a shell": (f"cutadapt -a {D}...{E} -A ^{F} in.fq", [("dna", D), ("dna", E), ("dna", F)]),
    "two arguments": (f'aligner.align("{P[:12]}", "{P[20:27]}")', [("protein", P[:12]), ("protein", P[20:27])]),
    "an ellipsis": (f"Seq('{LONG[:54]}...GCC')", [("dna", LONG[:54])]),
    "k-mers of a session": (
        f'>>> protseq = "{P[:9]}"\n{P[:7]} 314082356\n{P[1:8]} 102738502\n',
        [("protein", P[:9]), ("protein", P[:7]), ("protein", P[1:8])],
    ),
}
PEPTIDES = {
    "named as peptide": ("mice were pulsed with SIINFEKL peptide", ["SIINFEKL"]),
    "with its number": ("a synthetic peptide (KRHLFEAGEAQETAS; SEQ ID NO: 21)", ["KRHLFEAGEAQETAS"]),
    "behind its number": ("SEQ ID NO: 5: MKTAYIAKQRQ", ["MKTAYIAKQRQ"]),
    "claims": ("selected from:\n- VAGSAF (SEQ ID NO: 1)\n- IAFSAF (SEQ ID NO: 2)", ["VAGSAF", "IAFSAF"]),
    "tags": ("the FLAG tag DYKDDDDK", ["DYKDDDDK"]),
    "sites and signals": ("TEV cleavage site ENLYFQG, localization signal (PKKKRKV)", ["ENLYFQG", "PKKKRKV"]),
    "linkers": ("the linker GGGGSGGGGS was used", ["GGGGSGGGGS"]),
    "a list": ("the peptides SLYNTVATL, GILGFVFTL and NLVPMVATV", ["SLYNTVATL", "GILGFVFTL", "NLVPMVATV"]),
    "bullets": ("Peptides:\n- SLYNTVATL\n- GILGFVFTL\n", ["SLYNTVATL", "GILGFVFTL"]),
    "ends": ("Ac-RYYRIKSD-NH2 and H-RQIKIWFQNRRMKWKK-OH", ["RYYRIKSD", "RQIKIWFQNRRMKWKK"]),
    "places": ("epitopes OVA257–264 (SIINFEKL) and gp100 209-217 (ITDQVPFSV)", ["SIINFEKL", "ITDQVPFSV"]),
    "neighbours in a digest": ("peptides K.LVNELTEFAK.T and R.YLYEIARRHPY.F", ["LVNELTEFAK", "YLYEIARRHPY"]),
    "loops": ("CDR1 (GFTFSSYA), CDR2 (ISGSGGST)", ["GFTFSSYA", "ISGSGGST"]),
    "a poor polymer": ("histidine-lysine co-polymer, R=KHHHKHHHKHHHKHHHK", ["KHHHKHHHKHHHKHHHK"]),
    "three letters a residue": ("H-Met-Lys-Thr-Ala-Tyr-Ile-Ala-Lys-Gln-OH", ["MKTAYIAKQ"]),
    "a sequence listing": ("Met Lys Thr Ala Tyr Ile Ala Lys\n1               5\nGln Arg Gln", ["MKTAYIAKQRQ"]),
    "groups of five": (f"heavy chain {groups(P[:30], 5)}", [P[:30]]),
    "a patent's broken lines": (f"segment comprises {wrap(P, 57, ' ')} (SEQ ID NO: 1) or", [P]),
    "no word for it but its length": (f"it was {P[:40]} after all", [P[:40]]),
    "a stop at its end": ("Seq('MAIVMGRWKGAR*')", ["MAIVMGRWKGAR"]),
}


@pytest.mark.parametrize(("text", "expected"), PRIMERS.values(), ids=PRIMERS)
def test_dna_in_prose_is_found(text, expected):
  assert found(text) == [("dna", letters) for letters in expected]


@pytest.mark.parametrize("prime", PRIMES)
def test_every_sign_for_a_prime_marks_an_end(prime):
  # Two letters are too poor to be a sequence of their own accord.
  assert found(f"use 5{prime}-GAGAGAGA-3{prime}") == [("dna", "GAGAGAGA")]
  assert found("use GAGAGAGA") == []


@pytest.mark.parametrize(("text", "expected"), RNAS.values(), ids=RNAS)
def test_letters_with_u_are_rna(text, expected):
  assert found(text) == [("rna", letters) for letters in expected]


def test_rna_that_is_written_with_t_is_dna():
  """The rule goes by the letters: prose speaks of RNA beside DNA primers of it."""
  assert found(f"the RNA sequence {D}") == [("dna", D)]


@pytest.mark.parametrize(("text", "expected"), TABLES.values(), ids=TABLES)
def test_cells_of_tables_are_sequences_of_their_own(text, expected):
  assert found(text) == expected


@pytest.mark.parametrize("text", WRAPPED.values(), ids=WRAPPED)
def test_a_sequence_in_pieces_is_joined(text):
  assert found(text) == [("dna", LONG)]


@pytest.mark.parametrize(("text", "expected"), PROGRAMS.values(), ids=PROGRAMS)
def test_literals_of_programs_are_found(text, expected):
  assert found(text) == expected


@pytest.mark.parametrize(("text", "expected"), PEPTIDES.values(), ids=PEPTIDES)
def test_peptides_and_proteins_are_found(text, expected):
  assert found(text) == [("protein", letters) for letters in expected]


@pytest.mark.parametrize(
    "text", [f"Primers\n{D}\n{E}\n{F}\n", f"primers {D} and {E}, {F}", f"{D}    {E}    {F}", f"{D},{E};{F}"]
)
def test_a_list_of_sequences_is_not_joined(text):
  assert found(text) == [("dna", D), ("dna", E), ("dna", F)]


@pytest.mark.parametrize("width", [45, 50, 76, 100])
def test_lines_that_are_all_full_are_a_list_unless_the_width_is_usual(width):
  reads = [dna(width, seed) for seed in range(3)]
  assert found("\n".join(reads)) == [("dna", read) for read in reads]
  usual = [dna(60, seed) for seed in range(3)]
  assert found("\n".join(usual)) == [("dna", "".join(usual))]


def test_two_strands_one_below_the_other_are_two_sequences():
  below = LONG[:60].translate(str.maketrans("ACGT", "TGCA"))
  assert found(f"{LONG[:60]}\n{below}\n") == [("dna", LONG[:60]), ("dna", below)]


def test_overlapping_kmers_are_not_joined():
  kmers = [LONG[i : i + 9] for i in range(4)]
  assert found(f"k-mers: {' '.join(kmers)}") == [("dna", kmer) for kmer in kmers]


@pytest.mark.parametrize(
    "text",
    ["ODN 5'-T*C*G*TCGTTTTGTCGTTTTGT*C*G-3'", f"TSO: {D}rGrG+G", f"primer {D}(A/G){E}", f"{D}[5mC]{E}",
     "a moiety (ggggGACGA: TCGTCgggggg)",
     "H3 peptide ARTKQTARK(me3)STGGKAPRKQ"],
)  # fmt: skip
def test_modified_or_branching_sequences_are_rejected(text):
  assert found(text) == []
  assert set(reasons(text).values()) <= {"modified", "attached", "too_short"}


def test_a_string_that_holds_more_than_letters_is_rejected():
  assert reasons('protseq1 = ".VKVYAPAS"') == {"VKVYAPAS": "attached"}


def test_three_letter_residues_are_left_alone_when_the_config_says_so():
  config = dataclasses.replace(CONFIG, three_letter=False)
  assert extract("H-Met-Lys-Thr-Ala-Tyr-Ile-Ala-Lys-Gln-OH", config).sequences == ()
