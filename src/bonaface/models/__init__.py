"""The network. Only this package and `training` import torch."""
