"""The crop function and the crop store."""
