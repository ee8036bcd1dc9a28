"""The network and its training: the only room that imports torch."""
