"""From score tables to rates and intervals. Does not import torch."""
