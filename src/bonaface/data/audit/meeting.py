"""Whether two presentations that look alike are copies: where their frames, laid over each other, show no motion.

Two pictures meet or do not. Of a picture and a video one frame has to meet, of two videos more than one: two living takes
may meet once, but not all along. Where the frames that are at hand do not meet, the videos are laid over each other in time
as well (`timing`): a copy may begin later, end earlier, or have fewer frames a second.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonaface.data.audit.alignment import Overlay, closer, overlay
from bonaface.data.audit.film import Film
from bonaface.data.audit.hashing import Crop
from bonaface.data.audit.timing import meetings
from bonaface.data.frames import evenly_spaced

__all__ = ["SOUGHT", "Attempt", "Meeting", "Pictures", "meeting_of"]

Floats = NDArray[np.float32]

SOUGHT = 8
"""So many frames of a video, beside its views, stand for all of it where any of them may be the one."""

LOOKED_AT = 1.25
"""A picture and another, or a frame, that are moved by this share of what copies may be are looked at again, larger."""

DETAIL = 480
"""Longer side at which one picture is judged that has to speak for all, where there is as much in both."""

NEAR = 0.11
"""How far, in pixels of 160, its strong edges may be from where a copy has them (as `Overlay.edges` has it): who sits still
hardly ever comes back as near."""

MOVED, BOTH = 0.55, 1.75
"""A copy is moved by about this share of what copies may be at most; and hardly ever its edges and all of it so far at once:
most that the two together may be, in these units."""

RETONED, OWN = 1.8, 190
"""What copies may be is larger by this where their tones were changed (which moves edges, and no camera does from take to
take), and in pictures with fewer pixels than this at their longer side by as much as their pixels are."""

BEST = 2
"""So many of the frames that may be a picture are looked at again, at most, in a round."""

AT_HAND = 128
"""So many pictures are held at full size, for who is looked at again is often compared with many."""

DENSE = 8
"""Of the frames between two that are kept of a video, so many are tried at once; then those around the best of these."""

AGAIN = 1.6
"""The views of two videos may be moved by this share where three or more meet one by one, one of them by what copies may
be: codecs leave later frames less sharp."""

SHORTENED = 1.35
"""And where frames of two videos meet in their order, one may be so far apart when looked at larger, of what copies may be."""

ROUNDS = 3
"""So often, at most, a picture's crop is sought anew among the frames of a video."""

MOST_CUT = 0.35
"""No copy is sought that was cropped by more at one side."""

NO_CROP: Crop = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Attempt:
    """A way in which two presentations may be one: frame `part[1]` of presentation `part[0]` is cut from `whole`.

    `crop` is what is cut off, after mirroring.
    """

    alike: float
    part: tuple[int, int]
    whole: tuple[int, int]
    crop: Crop
    mirrored: bool


class Pictures:
    """Grey pictures of some films, small ones decoded once, and what they look like laid over each other."""

    def __init__(self, films: Mapping[int, Film]) -> None:
        self.films = films
        self._greys: dict[tuple[int, int], NDArray[np.uint8] | None] = {}
        self._large: dict[tuple[int, int], NDArray[np.uint8] | None] = {}
        self._apart: dict[tuple[tuple[int, int], tuple[int, int], bool], float] = {}

    def grey(self, presentation: int, frame: int) -> Floats | None:
        """A frame of a film; None where it cannot be read."""
        if (presentation, frame) not in self._greys:
            self.load(presentation, {frame})
        grey = self._greys[presentation, frame]
        return None if grey is None else grey.astype(np.float32)

    def load(self, presentation: int, frames: set[int]) -> None:
        """Read these frames, in one go."""
        missing = {frame for frame in frames if (presentation, frame) not in self._greys}
        greys = self.films[presentation].greys(missing)
        for frame in missing:
            self._greys[presentation, frame] = greys[frame].astype(np.uint8) if frame in greys else None

    def load_all(self, attempt: Attempt, proposed: Sequence[tuple[int, tuple[int, ...]]]) -> None:
        """Read all frames of two presentations that may meet."""
        self.load(attempt.part[0], {first for first, _ in proposed})
        self.load(attempt.whole[0], {second for _, around in proposed for second in around})

    def overlay(self, attempt: Attempt, part: int, whole: int, crop: Crop) -> Overlay | None:
        """Two frames laid over each other."""
        first, second = self.grey(attempt.part[0], part), self.grey(attempt.whole[0], whole)
        if first is None or second is None:
            return None
        return overlay(first, second, crop, mirrored=attempt.mirrored)

    def confirmed(self, attempt: Attempt, part: int, whole: int, laid: Overlay, share: float) -> bool:
        """Whether two frames, laid over each other so, are one picture when looked at larger; looked at once, and kept.

        `share` is how far apart they may be, of what copies are.
        """
        frames = ((attempt.part[0], part), (attempt.whole[0], whole))
        asked = (*frames, attempt.mirrored)
        if asked not in self._apart:
            first, second = (self._at_full_size(frame) for frame in frames)
            self._apart[asked] = math.inf
            if first is not None and second is not None:
                self._apart[asked] = _apart(first, second, _inner(laid.crop), mirrored=attempt.mirrored)
        return self._apart[asked] <= share

    def _at_full_size(self, frame: tuple[int, int]) -> Floats | None:
        if frame not in self._large:
            while len(self._large) >= AT_HAND:
                del self._large[next(iter(self._large))]
            grey = self.films[frame[0]].large(frame[1])
            self._large[frame] = None if grey is None else grey.astype(np.uint8)
        kept = self._large[frame]
        return None if kept is None else kept.astype(np.float32)

    def still(self, presentation: int, first: int, second: int) -> bool:
        """Whether nothing moves from one frame to another."""
        one, other = self.grey(presentation, first), self.grey(presentation, second)
        laid = None if one is None or other is None else overlay(one, other, NO_CROP, mirrored=False)
        return laid is not None and laid.same


@dataclass(frozen=True)
class Meeting:
    """A frame of `part` and one of `whole` that are one picture."""

    part: int
    whole: int
    laid: Overlay


def meeting_of(attempt: Attempt, laid: Overlay | None, pictures: Pictures, *, thorough: bool) -> Meeting | None:
    """Where two presentations meet, if they are copies; `laid` is how the attempt's own frames lie over each other.

    Two pictures have to match, and of a picture and a video one frame, and again when looked at larger. Of two videos, all
    views have to match one by one, as in a whole copy, of three or more the others nearly if one does; or most of the frames
    that may be the same, as in a shortened one, one of them also when looked at larger, and two at least in their order while
    in both videos something has moved from the one to the other: somebody who sits still in two takes proves nothing.
    """
    part, whole = (pictures.films[place[0]] for place in (attempt.part, attempt.whole))
    crop = attempt.crop if laid is None else _inner(laid.crop)
    if min(len(part.tiny), len(whole.tiny)) <= 1:
        own = (attempt.part[1], attempt.whole[1])
        if laid is not None and laid.within(LOOKED_AT) and pictures.confirmed(attempt, *own, laid, 1.0):
            return Meeting(*own, laid)
        return (
            _in_film(attempt, crop, pictures, thorough=thorough) if max(len(part.tiny), len(whole.tiny)) > 1 else None
        )

    def match(first: int, second: int, share: float = 1.0) -> Meeting | None:
        again = pictures.overlay(attempt, first, second, crop)
        return Meeting(first, second, again) if again is not None and again.within(share) else None

    if laid is not None:
        pairs = [(one.frame, other.frame) for one, other in zip(part.views, whole.views, strict=False)]
        share = AGAIN if len(pairs) > 2 else 1.0
        every = [met for met in itertools.takewhile(bool, (match(*pair, share) for pair in pairs)) if met]
        if len(every) == len(pairs) and any(met.laid.same for met in every):
            return every[0]
    proposed = meetings(part, whole, crop=crop, mirrored=attempt.mirrored)
    pictures.load_all(attempt, proposed)
    found: list[Meeting] = []
    for place, (first, around) in enumerate(proposed):
        met = next(filter(None, (match(first, second) for second in around)), None)
        found += [met] if met is not None else []
        if 2 * (len(found) + len(proposed) - place - 1) <= len(proposed):
            return None
    if not _in_order(attempt, found, pictures):
        return None
    return next((met for met in found if pictures.confirmed(attempt, met.part, met.whole, met.laid, SHORTENED)), None)


def _apart(first: Floats, second: Floats, crop: Crop, *, mirrored: bool) -> float:
    """How far apart two pictures are, as a share of what copies may be, judged as large as what they share is in both."""
    height, width = second.shape
    left, top, right, bottom = crop
    shared = min(max(first.shape), round(max(width * (1 - left - right), height * (1 - top - bottom))))
    again = closer(first, second, crop, mirrored=mirrored, side=min(DETAIL, shared))
    if again is None:
        return math.inf
    coarse = max(RETONED if again.retoned else 1.0, OWN / shared)
    edges, moved = again.edges / (coarse * NEAR), again.share / (coarse * MOVED)
    return float(max(edges, (edges + moved) / BOTH))


def _in_film(attempt: Attempt, crop: Crop, pictures: Pictures, *, thorough: bool) -> Meeting | None:
    """A picture and the frame of a video that it is.

    A frame at which the sitter was elsewhere says only roughly how the picture was cut: the frame that lies best under it
    says better, and with that others may be nearer. Where it lies on none of those that look like it, a `thorough` search
    tries frames all over the video.
    """
    part, whole = (pictures.films[place[0]] for place in (attempt.part, attempt.whole))
    laid: dict[tuple[int, int], Overlay | None] = {}

    def nearest(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those that lie over each other, the best first."""
        pairs = list(dict.fromkeys(pairs))
        new = [pair for pair in pairs if pair not in laid]
        pictures.load(attempt.part[0], {first for first, _ in new})
        pictures.load(attempt.whole[0], {second for _, second in new})
        laid.update({pair: pictures.overlay(attempt, *pair, crop) for pair in new})
        found = [(over.moved, pair) for pair in pairs if (over := laid[pair]) is not None]
        return [pair for _, pair in sorted(found)]

    best: tuple[int, int] | None = None
    for attempted in range(ROUNDS):
        proposed = meetings(part, whole, crop=crop, mirrored=attempt.mirrored)
        pairs = [(first, second) for first, seconds in proposed for second in seconds]
        pairs += [] if attempted else [(attempt.part[1], attempt.whole[1])]
        if attempted and best is None:
            if not thorough:
                break
            some = [[index * film.step for index in evenly_spaced(len(film.tiny), SOUGHT)] for film in (part, whole)]
            pairs = [(first, second) for first in some[0] for second in some[1]]
        good = nearest(pairs)
        span = max(part.step, whole.step)
        while good and span > 1:
            stride = math.ceil(span / DENSE)
            beside = [near for pair in good[:BEST] for near in _beside(pair, span, stride, part, whole)]
            good = nearest([*good[:BEST], *beside])
            span = stride
        for pair in good[:BEST]:
            over = laid[pair]
            if over is not None and over.within(LOOKED_AT) and pictures.confirmed(attempt, *pair, over, 1.0):
                return Meeting(*pair, over)
        known = [*good, *([best] if best else [])]
        before, best = best, min(known, key=lambda pair: _moved(laid[pair]), default=None)
        over = laid[best] if best else None
        if attempted and over is not None and best == before:
            break
        crop = crop if over is None else _inner(over.crop)
    return None


def _moved(laid: Overlay | None) -> tuple[float, float]:
    return (math.inf, math.inf) if laid is None else laid.moved


def _beside(pair: tuple[int, int], span: int, stride: int, part: Film, whole: Film) -> list[tuple[int, int]]:
    """Frames of the video before and after one, less than `span` away, beside the same picture."""
    offsets = [offset for offset in range(-span + stride, span, stride) if offset]
    first, second = pair
    if len(part.tiny) > 1:
        return [(first + offset, second) for offset in offsets if first + offset >= 0]
    return [(first, second + offset) for offset in offsets if second + offset >= 0]


def _inner(crop: Crop) -> Crop:
    """The crop, with what would lie outside the picture or leave too little of it taken back."""
    left, top, right, bottom = (min(max(share, 0.0), MOST_CUT) for share in crop)
    return (left, top, right, bottom)


def _in_order(attempt: Attempt, found: Sequence[Meeting], pictures: Pictures) -> bool:
    """Whether two of the meetings follow each other in both videos, with something moving in between."""
    ordered = sorted(found, key=lambda met: (met.part, met.whole))
    return any(
        earlier.whole < later.whole
        and not pictures.still(attempt.part[0], earlier.part, later.part)
        and not pictures.still(attempt.whole[0], earlier.whole, later.whole)
        for earlier, later in itertools.combinations(ordered, 2)
    )
