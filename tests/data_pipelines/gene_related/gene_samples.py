"""Small tables, record files and genes, written by hand."""

import gzip
import itertools
import pathlib

from data_pipelines import genetic_code

COLUMNS = (
    "tax_id", "GeneID", "status", "RNA_nucleotide_accession.version", "RNA_nucleotide_gi", "protein_accession.version",
    "protein_gi", "genomic_nucleotide_accession.version", "genomic_nucleotide_gi",
    "start_position_on_the_genomic_accession", "end_position_on_the_genomic_accession", "orientation", "assembly",
    "mature_peptide_accession.version", "mature_peptide_gi", "Symbol",
)  # fmt: skip
CODONS = {}
for _codon in map("".join, itertools.product("TCAG", repeat=3)):
  CODONS.setdefault(genetic_code.translate(_codon), []).append(_codon)


def row(rna="-", protein="-", genomic="-", start="-", end="-", strand="?", *, gene=1, taxon=9606, status="-"):
  """A line of gene2accession; coordinates are 0-based and inclusive, as there."""
  cells = (taxon, gene, status, rna, "-", protein, "-", genomic, "-", start, end, strand, "-", "-", "-", "ABC")
  return "\t".join(map(str, cells))


def coding(protein, synonym=0):
  """A coding sequence with its stop codon; another `synonym`, other codons."""
  return "".join(CODONS[residue][synonym % len(CODONS[residue])] for residue in protein + "*")


def feature(location, protein_id, protein=None, *more):
  qualifiers = [f'protein_id="{protein_id}"', *more] + ([f'translation="{protein}"'] if protein else [])
  return f"     CDS             {location}\n" + "".join(f"{' ' * 21}/{qualifier}\n" for qualifier in qualifiers)


def genbank(name, sequence, *features, moltype="DNA", topology="linear"):
  origin = "".join(f"{i + 1:>9} {sequence[i : i + 60].lower()}\n" for i in range(0, len(sequence), 60))
  return (
      f"LOCUS       {name.split('.')[0]:<16} {len(sequence):>11} bp    {moltype:<6}  {topology:<8} PRI 01-JAN-2000\n"
      f"ACCESSION   {name.split('.')[0]}\nVERSION     {name}\nKEYWORDS    .\n"
      f"FEATURES             Location/Qualifiers\n     source          1..{len(sequence)}\n"
      f'{" " * 21}/db_xref="taxon:9606"\n{"".join(features)}ORIGIN      \n{origin}//\n'
  )


def write(path: pathlib.Path, text: str) -> str:
  path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
  return str(path)


def table(path: pathlib.Path, rows) -> str:
  return write(path, "\n".join(["#" + "\t".join(COLUMNS), *rows]) + "\n")


PROTEIN = "MAKGRELWCQHTSPDN"
OTHER = "MSTNPKPQRKTKRNTN"
CDS = coding(PROTEIN)
BAC = "ACGTTGCA" * 20 + CDS[:10] + "GTAAGTTTTTTAG" + CDS[10:] + "TTGACCAT" * 30
BAC_AT = 160
LOCATION = f"join({BAC_AT + 1}..{BAC_AT + 10},{BAC_AT + 24}..{BAC_AT + 13 + len(CDS)})"
BAC_END = BAC_AT + 13 + len(CDS)
MRNA = "GGCACGAG" + CDS + "TTTAAATAAAAA"
MRNA_RECORD = genbank("AK1.1", MRNA, feature(f"9..{8 + len(CDS)}", "BAA1.1", PROTEIN), moltype="mRNA")
BAC_RECORD = genbank("AC1.3", BAC, feature(LOCATION, "AAA1.1", PROTEIN))
MRNA_ROW = row("AK1.1", "BAA1.1")
BAC_ROW = row(protein="AAA1.1", genomic="AC1.3")
VARIANT = PROTEIN[:7] + "V" + PROTEIN[8:]  # 15 of 16 residues
