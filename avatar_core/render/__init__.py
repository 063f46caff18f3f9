"""Rays in, pixels out: what several methods need to march, sample and composite."""
