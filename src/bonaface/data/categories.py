"""The coarse category of an attack, read from the words of its species."""

from __future__ import annotations

import re

_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("paper_mask", re.compile(r"paper_?mask|mask_?paper|(?=.*(?:paper|print|photo|cardboard))(?=.*mask)")),
    ("partial", re.compile(r"\bpartial|\bfunny_?eye|\bpaper_?glass")),
    ("mask_3d", re.compile(r"mask|silicone|latex|resin|mannequin")),
    ("print", re.compile(r"\bprint|\bpaper|\bposter|\ba4\b|hard_?copy")),
    (
        "replay",
        re.compile(r"replay|video|screen|display|monitor|laptop|phone|tablet|ipad|\b(?:mobile|pc|lcd|tv)\b"),
    ),
    ("print", re.compile(r"photo|picture|\bpic\b")),
)


def category_of(species: str) -> str:
    """Return one of `types.CATEGORIES` from a species' name; `other` if no word fits. A bare `mask` is `mask_3d`.

    >>> [category_of(name) for name in ("print_a4", "replay_ipad", "mobile_photo", "paper_mask", "makeup")]
    ['print', 'replay', 'replay', 'paper_mask', 'other']
    """
    words = re.sub(r"[^a-z0-9]+", " ", re.sub(r"(?<=[a-z]{2})(?=[A-Z])", "_", species).lower()).strip()
    glued = words.replace(" ", "_")
    # `\b` sees words in the first spelling, `_?` bridges them in the second
    for category, pattern in _WORDS:
        if pattern.search(words) or pattern.search(glued):
            return category
    return "other"
