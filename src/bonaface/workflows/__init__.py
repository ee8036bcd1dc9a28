"""The jobs that cross rooms, one module each."""
