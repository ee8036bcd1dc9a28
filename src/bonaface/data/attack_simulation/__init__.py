"""Presentation attacks made from pictures: light, ink, paper, displays and the camera that sees them."""
