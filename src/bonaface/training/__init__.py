"""Train a network: loader, augmentation, loop and checkpoints."""
