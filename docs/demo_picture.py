"""Draws the README's picture: four drawn persons, live above and as an attack below.

python docs/demo_picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bonaface.data.synthetic.head import Person
from bonaface.data.synthetic.take import SPECIES, Take, bona_fide_frames, presented_frames

PERSONS = (0, 1, 8, 6)
SIZE = (320, 240)


def main() -> None:
    """Write demo.jpg next to this file."""
    live, attacks = [], []
    for person, species in zip(PERSONS, SPECIES, strict=True):
        drawn = Person.random(person)
        live.append(shrunk(bona_fide_frames(Take(drawn, 100 * person), 1, 10)[0]))
        take, place = Take(drawn, 100 * person + 53), Take(drawn, 100 * person + 3)
        attacks.append(shrunk(presented_frames(take, place, species, 1, 10)[0]))
    sheet = Image.fromarray(np.vstack([np.hstack(live), np.hstack(attacks)]))
    sheet.save(Path(__file__).with_name("demo.jpg"), quality=88, optimize=True)


def shrunk(picture: np.ndarray) -> np.ndarray:
    """A frame at the size of a cell."""
    return np.asarray(Image.fromarray(picture).resize(SIZE, Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
