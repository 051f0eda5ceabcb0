"""Fetching public releases: one client that is polite, files that resume and are verified, releases by name."""
