"""Readers of the public file formats; every one yields records or counted rejects."""
