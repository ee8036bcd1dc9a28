"""Bundles and everything that scores through them. Never torch."""
