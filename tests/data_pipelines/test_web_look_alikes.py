"""What only looks like sequences gives none: capitals, codes, games, music, puns on the letters of DNA."""

import pytest

from tests.data_pipelines.web_texts import found, reasons

PROSE = {
    "a contract": "THIS AGREEMENT IS MADE BETWEEN THE PARTIES. ALL RIGHTS RESERVED. THE ARTIST PAINTED AT NIGHT.",
    "a licence": "THE SOFTWARE IS PROVIDED AS IS, WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING FITNESS",
    "headings": "# INTRODUCTION\n## MATERIALS AND METHODS\n## RESULTS\nCHAPTER FIVE: THE GREAT PLAGUE",
    "a poem": "AND THE SEA AT EVENING LIES\nSILENT AS A DREAMING CHILD\nWHILE THE STARS IN DISTANT SKIES\nGATHER PALE",
    "a rhyme with V for U": "MARY HAD A LITTLE LAMB ITS FLEECE WAS WHITE\nAND WHERE THAT MARY WENT THE LAMB WAS SVRE",
    "Latin": "SENATVS POPVLVSQVE ROMANVS IMP CAESARI DIVI NERVAE F TRAIANO AVG GERM DACICO PONTIF MAXIMO TRIB",
    "German": "DAS IST EIN SEHR LANGER SATZ DER KEINEN SINN ERGIBT STRASSENVERKEHRSAMT NEBENSAETZLICHKEITEN",
    "Indonesian": "PERATURAN PEMERINTAH MENTERI KEHAKIMAN DAN HAK ASASI MANUSIA PELAKSANAAN",
    "Swedish": "SKÄRGÅRDEN ÄR VACKER. DET ÄR EN FIN DAG. VI GÅR HEM.",
    "cities": "MANILA ATLANTA TALLINN RIGA VILNIUS MINSK KIEV CHISINAU SEATTLE DALLAS MIAMI",
    "people": "SMITH, MARTINEZ, GARCIA, PETERS, VARGAS, KLEIN, HERNANDEZ, FISCHER, WAGNER, TANAKA, LINDGREN",
    "filler": "LOREM IPSUM DOLOR SIT AMET CONSECTETUR ADIPISCING ELIT SED DO EIUSMOD TEMPOR",
    "laughter": "HAHAHAHAHAHA hahahahahaha ACKACKACK AAAARGH GRRRRRR ZZZZ tatatatatata",
    "shouts": "AAAAAAAAAAAAAAAAAAAA! TTTTTTTTTTTT. GGGGGGGGGG wp. AAAAAAHHHHHH",
    "small words of four letters": "a tat, a cat can act at a gnat; the tuna taunt an aunt; attacca, cantata",
}
CODES = {
    "acronyms": "NASA, UNESCO, HTML, CRISPR, UNICEF, NATO, ASEAN, SPECTRE, RADAR, LASER, DARPA and FIFA met WHO.",
    "base64": "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4O",
    "base64 in lines": "MIICXAIBAAKBgQCqGKukO1De7zhZj6+H0qtjTkVxwTCpvKe4eCZ0FPqri0cb2JZfXJ/DgYSF6vUp\nwmJG8wVQZKjeGcjD",
    "a key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGAcgtACCACATTGACA/x me@host",
    "hashes": "d41d8cd98f00b204e9800998ecf8427e DEADBEEF CAFEBABE ACCACACA 0xACACACACAC #FFFFFF FACADE",
    "UUIDs": "123e4567-e89b-12d3-a456-426614174000 and {ACCAACAC-CACA-4CAC-AAAA-CCCCAA3ACACA}",
    "serial numbers": "SN: ACTG-GATC-TTAA-CCGG-9 KEY: GTTCA-AAGTC-9XK2A-QQ7LM; VK7JG-NPHTM-C97JM-9MPGT-3V66T",
    "ciphers": "WKLVL VDVHF UHWPH VVDJH ENCRYPTED: XMCKL BZRPT QWGJV LLFNE URZQI RAGUR DHVPX",
    "cipher groups of residues": "QKXTW VZHLP RNDKF GMSTV WYEAC DILKP OBJUX QWZZL MMNPQ RRSTV FLKDE ACGHI",
    "rot13": "GUR DHVPX OEBJA SBK WHZCF BIRE GUR YNML QBT",
    "the environment": "export PATH SPARKHOME TMPDIR MAXPENDING GCCPREFIX LDFLAGS CPPFLAGS CFLAGS CMAKEARGS",
    "SQL": "SELECT DISTINCT NAME FROM TABLE WHERE CREATED IS NULL AND DELETED LIKE 'X' GRANT ALL PRIVILEGES",
    "constants": "ESPIPE ENETRESET EPERM EACCES SIGTERM SIGKILL RLIMIT STDIN WIFSIGNALED EINVAL",
    "keyboards": "QWERTYUIOP ASDFGHJKL ZXCVBNM; ASDFGH; QWERTY; DVORAK",
    "bank codes": "IBAN GB29 NWBK 6016 1331 9268 19 SWIFT DEUTDEFF NWBKGB CHASUS",
    "network": "GET /CAT HTTP; ACK SYN FIN ACK ACK; NAT; TCP; ARP; MAC",
}
GAMES = {
    "roman numerals": "MCMXCIV, MDCCLXXVI, MMXXIII, XVIII, LXXXVIII; CCCLXXXIII and MCMLXXXIV",
    "chess": "1. e4 e5 2. Nf3 Nc6 RNBQKBNR PPPPPPPP rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq",
    "knitting": "Row 1: K2, P2, K2, YO, SSK, K2TOG, P1. CO 48 STS. K1 P1 RIB. PSSO. KFB. BO ALL STS.",
    "chords": "A C G D A C G Am C G\nIntro: G G C C G G C A A C G A C C G A\nE|---0---2---3---|\nEADGBE, DADGAD",
    "notes": "C D E F G A B C; A A G G C C A A G; CAGED system; C-A-G-E-D; EGBDF",
    "grades": "Grades: A, B, C, A, A, C, A, C. Answers: A C A C C A A C B D",
    "an answer key": "Question 1: A C C A D A C A\nAnswer key: ACCADACA BACCADAC",
    "a table of grades": "| A | C | A | C | A | A | C | A | C |",
    "licence plates": "CAT 123, TAG 456, ACT 789; GCA-1234, TTA 42, ATG 77; KLMPRST 9; flight ACA123",
    "tickers": "AAPL, MSFT, GE, CAT, T, A, C, GCT, ACN, TGT, NFLX, AMGN, GILD, REGN, VRTX, ILMN, PACB",
    "a word search": "WVERTICALL\nROOAFFLSAB\nACRILIATOA\nNDODKONWDC\nDRKESOODDK\nOEEPZEGLIW\nMSIIHOAERA",
    "drawings": "  AAAA   CCCC  TTTT\n A    A C      TT\n AAAAAA C      TT\n TTTTTTTTTTTTTTTTTTTT\n GGGGGGGGGG\n",
    "compass": "W N NNE NE ENE E ESE SE SSE S SSW SW WSW W WNW NW NNW; NNNNEEESSSWWW",
    "airports": "LAX ATL CAT TGA GTA ACA CCA TAT AGA CGK; ICAO: EDDF EGLL KLAX KATL LSGG LEMD",
    "truth tables": "TTTT FFFF TFTF TTFFTTFF FFFFTTTT; T T T F F T A C A C",
    "geometry": "Let ABCD be a quadrilateral; triangle ACG; points A, C, G, T; AC and CA are equal",
    "calendars": "JAN FEB MAR APR MAY JUN; MTWTFSS SMTWTFS",
}
BIOLOGY = {
    "the film": "The film GATTACA (1997). GATTACA! Gattaca is named after G, A, T and C.",
    "puns": "CTAG CAT TAG ACT GATTACA TAGGAT CATTAG GAG TAT ATTACA",
    "codons": "AUG starts; stop codons are UAA, UAG and UGA, in DNA TAA TAG TGA.",
    "short sites": "EcoRI cuts G^AATTC, BsaI GGTCTC; TATA box TATAAA, Shine-Dalgarno AGGAGG, Kozak gccRccAUGG",
    "genotypes": "AA AG GG; CC CT TT; AA AG GG CC CT TT AC GT; rs123 AG, A/G, C/T",
    "blood groups": "A, B, AB, O; A+ A- AB+; HLA-A*02:01; HLADRB",
    "base pairs": "A-T-G-C-A-T, A·T, G·C base pairs A:T G:C",
    "placeholders": "UMI (NNNNNNNN), barcode NNNNNN, oligo(dT)18, (CAG)n, poly(A)15, 5'-NNNNNNNNNN-3'",
    "frameshifts": "THE FAT CAT ATE THE RAT. THE FTC ATA TET HER AT: codons of the protein sequence",
    "gene names": "protein kinases MAPKAPK, CAMKK, PIKFYVE, and proteins RAPGEF, ARHGEF, HRASLS, TMPRSS, PPARGC",
    "tools": "We used FASTQC, SAMTOOLS, MAFFT, CLUSTALW, HHPRED, PSIPRED and STRIDE for protein sequence analysis.",
    "kits": "QIAGEN MINELUTE, TRIZOL, SUPERDEX, SEPHAROSE, MILLIPLEX antibodies; VAXXITEKHVT vaccine protein",
    "motifs": "the HEXXH motif, GXGXXG, LXXLL, CXXC, RGDX, DXXLL motifs",
    "alphabets": "The letters are ACDEFGHIKLMNPQRSTVWY in the order ARNDCQEGHILKMFPSTWYV; codes ACGTRYSWKMBDHVN",
    "helix and strand": "Secondary structure of the protein: CCHHHHHHHHHHHCCCEEEEEECCHHHHHHCC",
    "lattice proteins": "a lattice model of protein folding: HPHPPHHPHPPHPHHPPHPH",
    "CIGAR": "76M 10S66M MMMMIIIMMMDDDMMM",
    "short peptides": "the tripeptide Arg-Gly-Asp, RGD, KDEL, GGGGS, LPETG",
    "vitamins": "VITAMINS A, C, D, E AND K; ATP, ADP, AMP, GTP, NAD, FAD, DNA, RNA, mRNA",
}


@pytest.mark.parametrize("text", PROSE.values(), ids=PROSE)
def test_prose_gives_nothing(text):
  assert found(text) == []


@pytest.mark.parametrize("text", CODES.values(), ids=CODES)
def test_codes_and_identifiers_give_nothing(text):
  assert found(text) == []


@pytest.mark.parametrize("text", GAMES.values(), ids=GAMES)
def test_games_lists_and_tables_of_letters_give_nothing(text):
  assert found(text) == []


@pytest.mark.parametrize("text", BIOLOGY.values(), ids=BIOLOGY)
def test_the_talk_of_biologists_gives_nothing_without_a_sequence(text):
  assert found(text) == []


def test_a_word_in_a_sequence_literal_is_no_protein():
  assert found('sequence = "TESTING"\nsequence: "EXAMPLE SENTENCE"\npeptide = "PRETEND"') == []


def test_names_beside_a_column_of_sequences_are_no_proteins():
  assert found("id\tspecies\tsequence\nHRASLSPK\tHNRNPQ\tATGGCCGATCAG\n") == [("dna", "ATGGCCGATCAG")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ATTGCCA", "too_short"),
        ("AAAAAAAAAAAA", "low_complexity"),
        ("NNNNNNNNNNNNACGT", "undetermined"),
        ("ACGUUGCATTGACG", "mixed_t_and_u"),
        ("ACGTTGCA".lower(), "lower_case"),
        ("FOLLOWING LICENSE", "words"),
        ("it was MKTAYIAK", "no_context"),
        ("letters ACDEFGHIKLMNPQRSTVWY", "alphabet"),
        ("HHHHHHHHTTCCCEEEEEECCSSHHHHHHTT", "secondary_structure"),
        ("A C A C C A A C A", "single_letters"),
        ("AA AG GG CC CT", "short_groups"),
        ("5'-T*C*G*TCGTTTTGTCGTTTTGT*C*G-3'", "modified"),
        ("id_ACGTTGCA", "attached"),
        ("https://host/ACGTTGCAACGT", "encoded"),
        ("ACGTTGCAACGT and ACGTTGCAACGT", "repeat"),
    ],
)
def test_every_reason_is_given_where_it_holds(text, code):
  assert code in reasons(text).values()
