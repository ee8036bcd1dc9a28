"""Videos, images, manifests, splits, faces and crops. Never torch."""
