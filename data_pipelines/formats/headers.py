"""What the headers of public FASTA files say: taxon and accession; nothing is guessed from the letters.

UniProt's headers are described at https://www.uniprot.org/help/fasta-headers, UniRef's there too; NCBI's first words at
https://ncbi.github.io/cxx-toolkit/pages/ch_demo ("FASTA sequence identifiers").
"""

import re

# UniProt writes OX=9606, UniRef TaxID=9606, and `[taxid=9606]` or `[taxon=9606]` stand in files made for submission.
_TAXON = re.compile(r"(?:(?:^|\s)(?:OX|TaxID)=|\[tax(?:id|on)=)(\d{1,9})(?=[\s\]]|$)")
# NCBI's databases whose identifier is `tag|accession|name`; pir, prf and pat may leave the accession out.
_TAGS = {"ref", "gb", "emb", "dbj", "sp", "tr", "tpg", "tpe", "tpd", "pir", "prf", "gpp", "nat"}


def taxon(description: str) -> int:
  """NCBI taxonomy id that a header names, 0 where it names none (NCBI writes `[Homo sapiens]`, without an id).

  Args:
    description: what follows the header's first word.
  """
  match = _TAXON.search(description)
  return int(match[1]) if match else 0


def accession(name: str) -> str:
  """The accession in a header's first word, with its version where it has one.

  `sp|P01023|A2MG_HUMAN` → `P01023`, `gi|6319|ref|NP_414542.1|` → `NP_414542.1`, `pdb|1ABC|A` → `1ABC_A`,
  `UniRef50_P01023` → `P01023`, `gnl|database|name` and `lcl|name` → `name`; other words are returned as they are.
  """
  words = name.split("|")
  if len(words) > 3 and words[0] == "gi":  # Old headers put NCBI's numbers first.
    words = words[2:]
  tag, values = words[0], words[1:]
  if tag == "pdb" and len(values) > 1:
    return "_".join(filter(None, values[:2])) or name
  if tag == "gnl" and len(values) > 1:
    return values[1] or name
  if tag in _TAGS or tag in ("lcl", "gi", "bbs"):
    return next(filter(None, values), name)
  return re.sub(r"^UniRef(?:100|90|50)_", "", name)
