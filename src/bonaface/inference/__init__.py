"""Bundles, and scoring through them. Does not import torch."""
