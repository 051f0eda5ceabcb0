"""Invented genomes with real biology's regularities, written in real file formats; `miniature` is the entrance."""
