"""Videos, images, manifests, splits, faces and crops. Does not import torch."""
