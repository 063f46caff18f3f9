"""Heads before many cameras: what NPVA needs of a folder in Multiface's layout, training, and replays."""
