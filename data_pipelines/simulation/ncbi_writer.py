"""Writes annotated genomes in the file formats and the directory layout of NCBI's assembly releases.

One directory an assembly, `<accession>_<name>/<accession>_<name>_<content>`: genomic FASTA (lower case where soft
masked), GFF3, GenBank flat file, protein and transcript FASTA, CDS cut from the genome, feature table, md5checksums.
The layout and the columns follow the README files of https://ftp.ncbi.nlm.nih.gov/genomes/ and real releases. Files are
byte-reproducible: gzip headers carry neither time nor name.

The writer does no biology: proteins and transcripts are written as given, only `cds_from_genomic` is cut here.
"""

import gzip
import hashlib
import os
import pathlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from data_pipelines.simulation.assembly import Assembly, Contig, Gene, Part, Transcript, extract

DATE = "01-JAN-2024"  # fixed, so that the same release has the same bytes
# Biotype to the feature key and class of its RNA in GenBank files and feature tables.
_RNA_FEATURES = {"tRNA": ("tRNA", ""), "rRNA": ("rRNA", ""), "lncRNA": ("ncRNA", "lncRNA")}


def _ranges(part: Part, length: int) -> list[str]:
  """A part as INSDC ranges, in ascending order; two where it crosses the origin."""
  start, end = part[0] % length, part[0] % length + part[1] - part[0]
  return [f"{start + 1}..{end}"] if end <= length else [f"{start + 1}..{length}", f"1..{end - length}"]


def location(parts: Sequence[Part], length: int, *, partial5: bool = False, partial3: bool = False) -> str:
  """Parts in transcription order as an INSDC location."""
  strands = {strand for _, _, strand in parts}
  if len(strands) == 2:
    return "join(" + ",".join(location([part], length) for part in parts) + ")"
  reverse = strands == {"-"}
  ranges = [r for part in (reversed(parts) if reverse else parts) for r in _ranges(part, length)]
  low, high = (partial3, partial5) if reverse else (partial5, partial3)
  ranges[0] = "<" * low + ranges[0]
  ranges[-1] = ranges[-1].replace("..", "..>" if high else "..")
  joined = f"join({','.join(ranges)})" if len(ranges) > 1 else ranges[0]
  return f"complement({joined})" if reverse else joined


def fasta(header: str, sequence: str) -> str:
  lines = [sequence[i : i + 80] for i in range(0, len(sequence), 80)]
  return f">{header}\n" + "\n".join(lines) + "\n"


def genomic_fna(assembly: Assembly) -> Iterator[str]:
  for contig in assembly.contigs:
    yield fasta(f"{contig.accession} {_title(assembly, contig)}", contig.sequence)


def _title(assembly: Assembly, contig: Contig) -> str:
  return f"{assembly.organism} {contig.seq_type} {contig.chromosome}".rstrip() + ", complete sequence"


def protein_faa(assembly: Assembly) -> Iterator[str]:
  """One record an accession: identical proteins of a bacterium share theirs."""
  written = set()
  for _, gene, transcript in _coding(assembly):
    if transcript.protein and transcript.protein_id not in written:
      written.add(transcript.protein_id)
      header = f"{transcript.protein_id} {gene.product_of(transcript)} [{assembly.organism}]"
      yield fasta(header, transcript.protein)


def rna_fna(assembly: Assembly) -> Iterator[str]:
  for contig in assembly.contigs:
    for gene in contig.genes:
      for number, transcript in enumerate(gene.transcripts, 1):
        if transcript.rna:
          variant = f", transcript variant {number}" if len(gene.transcripts) > 1 else ""
          kind = "long non-coding RNA" if gene.biotype == "lncRNA" else "mRNA"
          title = f"{transcript.accession} {assembly.organism} {gene.product} ({gene.symbol}){variant}, {kind}"
          yield fasta(title, transcript.rna)


def cds_from_genomic_fna(assembly: Assembly) -> Iterator[str]:
  for number, (contig, gene, transcript) in enumerate(_coding(assembly), 1):
    length = len(contig.sequence)
    ends = ",".join(end for end, there in (("5'", gene.partial5), ("3'", gene.partial3)) if there)
    tags = {
        "gene": gene.symbol, "locus_tag": gene.locus_tag,
        "db_xref": f"GeneID:{gene.gene_id}" if gene.gene_id else "",
        "protein": gene.product_of(transcript), "pseudo": "true" if gene.pseudo else "", "partial": ends,
        "exception": gene.exception,
        "transl_except": ",".join(f"(pos:{location([p], length)},aa:{aa})" for p, aa in gene.transl_except),
        "frame": str(gene.codon_start) if gene.codon_start > 1 else "", "protein_id": transcript.protein_id,
        "location": location(transcript.cds, length, partial5=gene.partial5, partial3=gene.partial3), "gbkey": "CDS",
    }
    name = "_".join(filter(None, [f"lcl|{contig.accession}", "cds", transcript.protein_id, str(number)]))
    header = " ".join([name, *(f"[{key}={value}]" for key, value in tags.items() if value)])
    yield fasta(header, extract(contig, transcript.cds))


def _coding(assembly: Assembly) -> Iterator[tuple[Contig, Gene, Transcript]]:
  for contig in assembly.contigs:
    for gene in contig.genes:
      for transcript in gene.transcripts:
        if transcript.cds:
          yield contig, gene, transcript


def _gff_escape(text: str) -> str:
  for character in "%;=&,":
    text = text.replace(character, f"%{ord(character):02X}")
  return text


def _gff_line(accession, source, kind, start, end, strand, phase, attributes: Mapping[str, str | Sequence[str]]) -> str:
  """One GFF3 line; a list is a multi-valued attribute, empty values are left out, the order is NCBI's."""
  first = ("ID", "Parent", "Dbxref", "Name")
  others = sorted(set(attributes).difference(first))
  column9 = []
  for key in [key for key in (*first, *others) if attributes.get(key)]:
    values = [attributes[key]] if isinstance(attributes[key], str) else attributes[key]
    column9.append(f"{key}={','.join(_gff_escape(value) for value in values)}")
  return "\t".join([accession, source, kind, str(start), str(end), ".", strand, str(phase), ";".join(column9)]) + "\n"


def genomic_gff(assembly: Assembly) -> Iterator[str]:
  """GFF3. A feature over the origin of a circular contig has its end beyond the contig's length, as GFF3 asks."""
  yield "##gff-version 3\n#!gff-spec-version 1.21\n#!processor NCBI annotwriter\n"
  yield f"#!genome-build {assembly.name}\n#!genome-build-accession NCBI_Assembly:{assembly.accession}\n"
  protein_uses: dict[str, int] = {}
  for contig in assembly.contigs:
    length = len(contig.sequence)
    yield f"##sequence-region {contig.accession} 1 {length}\n"
    yield f"##species https://www.ncbi.nlm.nih.gov/Taxonomy/Browser/wwwtax.cgi?id={assembly.taxid}\n"
    attributes = {
        "ID": f"{contig.accession}:1..{length}", "Dbxref": [f"taxon:{assembly.taxid}"],
        "Is_circular": "true" if contig.circular else "", "Name": contig.chromosome or "ANONYMOUS",
        "chromosome": contig.chromosome, "gbkey": "Src",
        "genome": "chromosome" if contig.seq_type == "chromosome" else "genomic", "mol_type": "genomic DNA",
    }
    yield _gff_line(contig.accession, "RefSeq", "region", 1, length, "+", ".", attributes)
    for gene in contig.genes:
      yield from _gff_gene(assembly, contig, gene, protein_uses)
  yield "###\n"


def _gff_gene(assembly: Assembly, contig: Contig, gene: Gene, protein_uses: dict[str, int]) -> Iterator[str]:
  """The gene's lines, then those of each transcript: RNA, exons, CDS."""
  length = len(contig.sequence)
  source = "BestRefSeq" if assembly.eukaryote else "RefSeq"
  geneid = [f"GeneID:{gene.gene_id}"] if gene.gene_id else []
  common = {"gene": gene.symbol, "locus_tag": gene.locus_tag, "pseudo": "true" if gene.pseudo else ""}
  if gene.partial5 or gene.partial3:
    at_start = gene.partial5 == (gene.parts[0][2] == "+")
    low, high = gene.parts[0][0] + 1, gene.parts[0][1]
    common |= {"partial": "true", **({"start_range": [".", str(low)]} if at_start else {"end_range": [str(high), "."]})}
  gene_attributes = {
      **common, "ID": f"gene-{gene.locus_tag}", "Dbxref": geneid, "Name": gene.symbol, "gbkey": "Gene",
      "gene_biotype": gene.biotype, "exception": gene.exception if len(gene.parts) > 1 else "",
  }

  def lines(kind, parts, attributes, *, numbered="", phases=None, origin=source):
    for number, (start, end, strand) in enumerate(parts):
      shift = start // length * length
      extra = {"part": str(number + 1)} if numbered == "part" else {}
      if numbered == "exon":
        extra = {"ID": f"{attributes['ID']}-{number + 1}"}
      phase = phases[number] if phases else "."
      yield _gff_line(
          contig.accession, origin, kind, start + 1 - shift, end - shift, strand, phase, {**attributes, **extra})

  numbered = "part" if len(gene.parts) > 1 else ""
  yield from lines("pseudogene" if gene.pseudo else "gene", gene.parts, gene_attributes, numbered=numbered)
  for transcript in gene.transcripts:
    parent = f"gene-{gene.locus_tag}"
    product = gene.product_of(transcript)
    if transcript.accession or gene.biotype in _RNA_FEATURES:
      name = transcript.accession or gene.locus_tag
      kind = {"protein_coding": "mRNA", "lncRNA": "lnc_RNA"}.get(gene.biotype, gene.biotype)
      reference = geneid + ([f"GenBank:{transcript.accession}"] if transcript.accession else [])
      attributes = {
          **common, "ID": f"rna-{name}", "Parent": parent, "Dbxref": reference, "Name": transcript.accession,
          "gbkey": _RNA_FEATURES.get(gene.biotype, ("mRNA", ""))[0], "product": product, "tag": transcript.tag,
          "transcript_id": transcript.accession,
      }
      start = min(part[0] for part in transcript.exons)
      end = max(part[1] for part in transcript.exons)
      yield from lines(kind, [(start, end, transcript.exons[0][2])], attributes)
      exon = {**attributes, "ID": f"exon-{name}", "Parent": f"rna-{name}", "Name": ""}
      yield from lines("exon", transcript.exons, exon, numbered="exon")
      parent = f"rna-{name}"
    if transcript.cds:
      name = transcript.protein_id or gene.locus_tag
      uses = protein_uses[name] = protein_uses.get(name, 0) + 1
      reference = geneid + ([f"GenBank:{transcript.protein_id}"] if transcript.protein_id else [])
      attributes = {
          **common, "ID": f"cds-{name}" + (f"-{uses}" if uses > 1 else ""), "Parent": parent, "Dbxref": reference,
          "Name": transcript.protein_id, "Note": gene.note, "exception": gene.exception, "gbkey": "CDS",
          "product": product, "protein_id": transcript.protein_id,
          "transl_except": [f"(pos:{location([p], length)},aa:{aa})" for p, aa in gene.transl_except],
          "transl_table": "" if assembly.transl_table == 1 else str(assembly.transl_table),
      }
      phases, coded = [], 1 - gene.codon_start
      for start, end, _ in transcript.cds:
        phases.append(-coded % 3)
        coded += end - start
      origin = source if assembly.eukaryote or gene.gene_id else "Protein Homology"
      yield from lines("CDS", transcript.cds, attributes, phases=phases, origin=origin)


def _qualifier(name: str, value: str = "", *, quoted: bool = True) -> Iterator[str]:
  text = f"/{name}" + (f'="{value}"' if quoted and value else f"={value}" if value else "")
  for line in textwrap.wrap(text, 58, break_on_hyphens=False):
    yield f"{'':21}{line}\n"


def _feature(key: str, where: str, qualifiers: Sequence[tuple]) -> Iterator[str]:
  """A GenBank feature; a qualifier is (name, value) or (name, value, False) for an unquoted value."""
  lines = textwrap.wrap(where.replace(",", ", "), 58)  # breaks only after commas
  for i, line in enumerate(lines):
    yield f"     {key if i == 0 else '':16}{line.replace(', ', ',')}\n"
  for name, value, *unquoted in qualifiers:
    yield from _qualifier(name, value, quoted=not unquoted)


def genomic_gbff(assembly: Assembly) -> Iterator[str]:
  """GenBank flat file, one record a contig. It does not say which transcript is selected: only the GFF3 does."""
  division = "PLN" if assembly.eukaryote else "BCT"
  for contig in assembly.contigs:
    length = len(contig.sequence)
    bare = contig.accession.split(".")[0]
    topology = "circular" if contig.circular else "linear"
    yield f"LOCUS       {bare:16} {length:>11} bp    DNA     {topology:8} {division} {DATE}\n"
    yield f"DEFINITION  {_title(assembly, contig)}.\n"
    yield f"ACCESSION   {bare}\nVERSION     {contig.accession}\nDBLINK      Assembly: {assembly.accession}\n"
    yield f"KEYWORDS    RefSeq.\nSOURCE      {assembly.organism}\n  ORGANISM  {assembly.organism}\n"
    yield textwrap.fill(assembly.lineage + ".", 79, initial_indent=" " * 12, subsequent_indent=" " * 12) + "\n"
    yield "COMMENT     Simulated record: organism, sequence and accessions are invented.\n"
    yield "FEATURES             Location/Qualifiers\n"
    source = [("organism", assembly.organism), ("mol_type", "genomic DNA"), ("db_xref", f"taxon:{assembly.taxid}")]
    if contig.chromosome:
      source.append(("chromosome", contig.chromosome))
    yield from _feature("source", f"1..{length}", source)
    for gene in contig.genes:
      yield from _genbank_gene(assembly, gene, length)
    yield "ORIGIN      \n"
    bases = contig.sequence.lower()
    for i in range(0, length, 60):
      yield f"{i + 1:9} " + " ".join(bases[j : j + 10] for j in range(i, min(i + 60, length), 10)) + "\n"
    yield "//\n"


def _genbank_gene(assembly: Assembly, gene: Gene, length: int) -> Iterator[str]:
  """The gene, then its RNAs, then its CDSs, as NCBI orders them."""
  ends = {"partial5": gene.partial5, "partial3": gene.partial3}
  names = [("gene", gene.symbol), ("locus_tag", gene.locus_tag)]
  geneid = [("db_xref", f"GeneID:{gene.gene_id}")] if gene.gene_id else []
  flags = [("pseudo", "")] if gene.pseudo else []
  if gene.exception == "trans-splicing":
    flags.append(("trans_splicing", ""))
  yield from _feature("gene", location(gene.parts, length, **ends), names + flags + geneid)
  for transcript in gene.transcripts:
    if transcript.accession or gene.biotype in _RNA_FEATURES:
      key, ncrna_class = _RNA_FEATURES.get(gene.biotype, ("mRNA", ""))
      qualifiers = names + [("product", gene.product_of(transcript))]
      if ncrna_class:
        qualifiers.append(("ncRNA_class", ncrna_class))
      if transcript.accession:
        qualifiers.append(("transcript_id", transcript.accession))
      yield from _feature(key, location(transcript.exons, length), qualifiers + geneid)
  for transcript in gene.transcripts:
    if transcript.cds:
      qualifiers = names + ([("note", gene.note)] if gene.note else []) + flags
      if gene.exception == "ribosomal slippage":
        qualifiers.append(("ribosomal_slippage", ""))
      elif gene.exception and gene.exception != "trans-splicing":
        qualifiers.append(("exception", gene.exception))
      qualifiers.append(("codon_start", str(gene.codon_start), False))
      for part, residue in gene.transl_except:
        qualifiers.append(("transl_except", f"(pos:{location([part], length)},aa:{residue})", False))
      if assembly.transl_table != 1:
        qualifiers.append(("transl_table", str(assembly.transl_table), False))
      qualifiers.append(("product", gene.product_of(transcript)))
      if transcript.protein_id:
        qualifiers.append(("protein_id", transcript.protein_id))
      qualifiers += geneid
      if transcript.protein:
        qualifiers.append(("translation", transcript.protein))
      yield from _feature("CDS", location(transcript.cds, length, **ends), qualifiers)


_TABLE_COLUMNS = (
    "feature class assembly assembly_unit seq_type chromosome genomic_accession start end strand product_accession "
    "non-redundant_refseq related_accession name symbol GeneID locus_tag feature_interval_length product_length "
    "attributes"
).split()


def feature_table(assembly: Assembly) -> Iterator[str]:
  """The 20-column table. A feature over the origin has its start after its end (unverified against a real file)."""
  yield "# " + "\t".join(_TABLE_COLUMNS) + "\n"
  for contig in assembly.contigs:
    for gene in contig.genes:
      name = gene.product if assembly.eukaryote else ""
      yield _table_row(assembly, contig, gene, "gene", gene.biotype, gene.parts, name=name)
      for transcript in gene.transcripts:
        name = gene.product_of(transcript)
        if transcript.accession or gene.biotype in _RNA_FEATURES:
          yield _table_row(
              assembly, contig, gene, *_RNA_FEATURES.get(gene.biotype, ("mRNA", "")), transcript.exons, name=name,
              product_accession=transcript.accession, related_accession=transcript.protein_id,
              product_length=len(transcript.rna) or "",
          )
        if transcript.cds:
          shared = transcript.protein_id if transcript.protein_id.startswith("WP_") else ""
          yield _table_row(
              assembly, contig, gene, "CDS", "with_protein" if transcript.protein else "without_protein",
              transcript.cds, name=name, product_accession=transcript.protein_id,
              related_accession=transcript.accession, product_length=len(transcript.protein) or "",
              **{"non-redundant_refseq": shared},
          )


def _table_row(
    assembly: Assembly, contig: Contig, gene: Gene, feature: str, feature_class: str, parts: Sequence[Part], **columns
) -> str:
  length = len(contig.sequence)
  start, end = min(part[0] for part in parts), max(part[1] for part in parts)
  flags = {
      "partial": gene.partial5 or gene.partial3, "pseudo": gene.pseudo,
      "ribosomal_slippage": gene.exception == "ribosomal slippage",
      "trans_splicing": gene.exception == "trans-splicing",
      f"anticodon={gene.anticodon}": feature == "tRNA",
  }
  columns |= {
      "feature": feature, "class": feature_class, "assembly": assembly.accession,
      "assembly_unit": "Primary Assembly", "seq_type": contig.seq_type, "chromosome": contig.chromosome,
      "genomic_accession": contig.accession, "start": start % length + 1, "end": (end - 1) % length + 1,
      "strand": parts[0][2], "symbol": gene.symbol, "GeneID": gene.gene_id or "", "locus_tag": gene.locus_tag,
      "feature_interval_length": sum(end - start for start, end, _ in parts),
      "attributes": ";".join(flag for flag, there in flags.items() if there),
  }
  return "\t".join(str(columns.get(name, "")) for name in _TABLE_COLUMNS) + "\n"


_SUMMARY_COLUMNS = (
    "assembly_accession bioproject biosample wgs_master refseq_category taxid species_taxid organism_name "
    "infraspecific_name isolate version_status assembly_level release_type genome_rep seq_rel_date asm_name "
    "asm_submitter gbrs_paired_asm paired_asm_comp ftp_path excluded_from_refseq relation_to_type_material "
    "asm_not_live_date"
).split()


def assembly_summary(assemblies: Sequence[Assembly]) -> Iterator[str]:
  """`assembly_summary_refseq.txt`: the first 23 columns; "na" is NCBI's word for nothing."""
  yield "##  See ftp://ftp.ncbi.nlm.nih.gov/genomes/README_assembly_summary.txt for a description of the columns.\n"
  yield "#" + "\t".join(_SUMMARY_COLUMNS) + "\n"
  for assembly in assemblies:
    digits = assembly.accession[4:13]
    complete = all(contig.seq_type == "chromosome" for contig in assembly.contigs)
    columns = {
        "assembly_accession": assembly.accession, "refseq_category": "reference genome", "taxid": assembly.taxid,
        "species_taxid": assembly.taxid, "organism_name": assembly.organism, "version_status": "latest",
        "assembly_level": "Complete Genome" if complete else "Chromosome", "release_type": "Major",
        "genome_rep": "Full", "seq_rel_date": "2024/01/01", "asm_name": assembly.name,
        "ftp_path": "https://ftp.ncbi.nlm.nih.gov/genomes/all/GCF/"
                    f"{digits[:3]}/{digits[3:6]}/{digits[6:]}/{assembly.directory}",
    }
    yield "\t".join(str(columns.get(name, "na")) for name in _SUMMARY_COLUMNS) + "\n"


def write_assembly(assembly: Assembly, parent: str | os.PathLike) -> pathlib.Path:
  """Writes the assembly's directory into `parent` and returns it."""
  folder = pathlib.Path(parent) / assembly.directory
  folder.mkdir()
  contents = {
      "genomic.fna": genomic_fna, "genomic.gff": genomic_gff, "genomic.gbff": genomic_gbff,
      "protein.faa": protein_faa, "feature_table.txt": feature_table, "cds_from_genomic.fna": cds_from_genomic_fna,
  }
  if assembly.eukaryote:
    contents["rna.fna"] = rna_fna
  checksums = []
  for content, lines in sorted(contents.items()):
    name = f"{assembly.directory}_{content}.gz"
    # mtime 0 and no name in the header: the same text gives the same bytes.
    (folder / name).write_bytes(gzip.compress("".join(lines(assembly)).encode("ascii"), compresslevel=6, mtime=0))
    checksums.append(f"{hashlib.md5((folder / name).read_bytes()).hexdigest()}  ./{name}\n")
  (folder / "md5checksums.txt").write_text("".join(checksums))
  return folder
