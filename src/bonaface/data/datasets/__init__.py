"""Adapters of datasets: each turns a folder on disk into rows of a manifest."""
