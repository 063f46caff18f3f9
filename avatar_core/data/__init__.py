"""Captures: our own documented format, and readers for published layouts."""
