"""Simulate presentation attacks on pictures: lighting, prints, displays and the camera."""
