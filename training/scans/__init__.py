"""Scans of clothed people: made here (`people`), and turned into what gDNA trains on (`prepare`)."""
