"""Copies among presentations: the same picture again, coded anew, resized, cropped or mirrored; the same video, or a part.

In two steps. Candidates come from a perceptual hash: the 8 x 8 mean grey levels of a picture, centred and scaled to
length one, so that a product of matrices compares all with all. A crop is met by hashing the picture as it would be
after 256 crops of up to a quarter off each side; a mirrored copy by mirroring the other's hash. A candidate counts only
when the pictures themselves, laid over each other, show no motion (`meeting`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonaface.data.audit.film import Film
from bonaface.data.audit.hashing import CROPS, Crop, hash_of, hash_of_crops, mirror
from bonaface.data.audit.meeting import SOUGHT, Attempt, Meeting, Pictures, meeting_of
from bonaface.data.frames import evenly_spaced
from bonaface.data.parallel import parallel_map

__all__ = ["Copy", "find_copies"]

Floats = NDArray[np.float32]

ALIKE = 0.86
"""Candidates have a hash product of at least this. Copies cropped by up to a quarter a side keep nearly always more."""

SAME = 0.97
"""Frames of a video are sought in others beside its views; less those whose hash is that of one before by this."""

DIFFERS = 0.999
"""Of frames that are cropped, those whose hash is that of one before by this are left out: before one wall frames look alike
whose crops, a head here and a head there, do not."""

ASKED = 16
"""Of a video, up to so many frames beside its views are cropped and sought among the pictures."""

STARTS, ATTEMPTS = 2, 3
"""So many crops of one hash at most, and so many likeliest ways to lay two presentations over each other."""

CROWD = 200
"""So many frames, at most, that look like one view are laid over it, the likeliest: before one wall all takes look alike."""

_AT_ONCE, _MOST_AT_ONCE = 20_000_000, 500
_MOST_ATTEMPTS = 32
_PAIRS_A_JOB = 400


@dataclass(frozen=True)
class Copy:
    """Two presentations, by position, that show the same picture.

    `frames` are the frames that were compared, `crop` is what of `whole` (one of the two) the other lacks: shares of its
    sides, left, top, right, bottom. `moved` is how far apart the blocks of the two pictures still are, in pixels of 160.
    """

    first: int
    second: int
    frames: tuple[int, int]
    mirrored: bool
    whole: int
    crop: Crop
    moved: float


_Hashed = tuple[tuple[int, int], Floats]
Candidates = Mapping[tuple[int, int], list[Attempt]]


def find_copies(
    films: Sequence[Film],
    *,
    workers: int | None = None,
    notes: list[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Copy]:
    """Every pair of presentations that share a picture, ordered by position; one without views has no copies.

    The views of each, cropped in every way, are sought in all others, and pictures in more frames of the videos. Takes time
    with the square of the presentations for a matrix product, and some milliseconds for each pair whose hashes are alike, up
    to a tenth of a second for a picture and a video.
    Where more than CROWD frames look like one view, the likeliest are looked at, and `notes` gets a sentence that says so.
    """
    candidates, crowded = _candidates(films)
    if crowded and notes is not None:
        notes.append(
            f"{crowded} presentations look like so many others (one background, or one face in all pictures) that only their "
            f"{CROWD} likeliest frames were compared: a copy that was cropped by much may be missed among them"
        )
    jobs = list(_jobs(candidates, films))
    found: list[Copy] = []
    done = 0
    for job, copies in zip(jobs, parallel_map(_verified, jobs, workers=workers), strict=True):
        found += copies
        done += len(job.candidates)
        if progress:
            progress(done, len(candidates))
    return sorted(found, key=lambda copy: (copy.first, copy.second))


def _candidates(films: Sequence[Film]) -> tuple[Candidates, int]:
    """Attempts for each pair of presentations whose pictures may be one, the likeliest first; how many are in a crowd."""
    attempts: dict[tuple[int, int], list[Attempt]] = {}
    crowded: set[int] = set()
    sought = _sought(films)
    pictures = [(place, hashed) for place, hashed in sought if len(films[place[0]].tiny) <= 1]
    # A picture may be cut out of any frame of a video; of two videos the views say enough.
    for asked, others in ((_asked(films, beside=False), sought), (_asked(films, beside=True), pictures)):
        _attempt(asked, others, attempts, crowded)
    return {pair: _likeliest(tried) for pair, tried in sorted(attempts.items())}, len(crowded)


def _attempt(
    asked: Iterator[_Hashed],
    sought: Sequence[_Hashed],
    attempts: dict[tuple[int, int], list[Attempt]],
    crowded: set[int],
) -> None:
    """Add where a crop of what is asked looks like what is sought, and who among them looks like too many."""
    if not sought:
        return
    places = [place for place, _ in sought]
    known = np.stack([some for _, hashed in sought for some in (hashed, mirror(hashed))]).T
    owner = np.array([position for position, _ in places]).repeat(2)  # a frame's hash and its mirror image
    at_once = min(max(_AT_ONCE // (known.shape[1] * len(CROPS)), 1), _MOST_AT_ONCE)
    while some := list(itertools.islice(asked, at_once)):
        product = np.concatenate([family for _, family in some]) @ known
        begin = 0
        for whole, family in some:
            own = product[begin : begin + len(family)]
            begin += len(family)
            best = own.max(axis=0)
            best[owner == whole[0]] = 0
            alike = np.flatnonzero(best >= ALIKE)
            if len(alike) > CROWD:
                crowded.add(whole[0])
                alike = alike[np.argsort(-best[alike], kind="stable")[:CROWD]]
            for column in alike.tolist():
                part, mirrored = places[column // 2], bool(column % 2)
                tried = attempts.setdefault((min(whole[0], part[0]), max(whole[0], part[0])), [])
                for cut in np.argsort(-own[:, column])[:STARTS].tolist():
                    left, top, right, bottom = CROPS[cut]
                    crop = (right, top, left, bottom) if mirrored else CROPS[cut]
                    tried.append(Attempt(float(own[cut, column]), part, whole, crop, mirrored))
                if len(tried) > _MOST_ATTEMPTS:
                    tried[:] = _likeliest(tried)


def _likeliest(tried: Sequence[Attempt]) -> list[Attempt]:
    """The best attempts, and of each way round at least the best, and the best that lays one moment over the same."""
    ordered = sorted(tried, key=lambda attempt: -attempt.alike)
    first: dict[tuple[bool, bool], Attempt] = {}
    for attempt in ordered:
        first.setdefault((attempt.mirrored, attempt.part[1] == attempt.whole[1]), attempt)
    kept = dict.fromkeys([*ordered[:ATTEMPTS], *first.values()])
    return sorted(kept, key=lambda attempt: (attempt.part[1] != attempt.whole[1], -attempt.alike))


def _sought(films: Sequence[Film]) -> list[_Hashed]:
    """The place and the hash of each film's views, and of as many of its other frames as look another way."""
    found: list[_Hashed] = []
    for position, film in enumerate(films):
        kept: list[Floats] = []
        for frame, grey in itertools.chain(_views(film), _beside(film, SOUGHT)):
            hashed = hash_of(grey)
            if hashed is not None and _differs(hashed, kept, SAME):
                kept.append(hashed)
                found.append(((position, frame), hashed))
    return found


def _asked(films: Sequence[Film], *, beside: bool) -> Iterator[_Hashed]:
    """The place and the hashes after all crops of each film's views; with `beside`, of up to ASKED other frames of a video.

    Frames that look like one before are left out.
    """
    for position, film in enumerate(films):
        kept = [hashed for _, grey in _views(film) if (hashed := hash_of(grey)) is not None] if beside else []
        for frame, grey in _beside(film, ASKED) if beside else _views(film):
            family = hash_of_crops(grey)
            if family is not None and _differs(family[0], kept, DIFFERS):
                kept.append(family[0])
                yield (position, frame), family


def _views(film: Film) -> Iterator[tuple[int, Floats]]:
    return ((view.frame, view.grey()) for view in film.views)


def _beside(film: Film, count: int) -> Iterator[tuple[int, Floats]]:
    """So many frames from all over a video, very small."""
    spread = evenly_spaced(len(film.tiny), count) if len(film.tiny) > 1 else []
    return ((index * film.step, film.tiny[index].astype(np.float32)) for index in spread)


def _differs(hashed: Floats, kept: Sequence[Floats], most: float) -> bool:
    return all(float(hashed @ other) < most for other in kept)


@dataclass(frozen=True)
class _Job:
    """Pairs to verify, with the films of all who stand in them."""

    candidates: list[tuple[tuple[int, int], list[Attempt]]]
    films: dict[int, Film]


def _jobs(candidates: Candidates, films: Sequence[Film]) -> Iterator[_Job]:
    pairs = list(candidates.items())
    for begin in range(0, len(pairs), _PAIRS_A_JOB):
        some = pairs[begin : begin + _PAIRS_A_JOB]
        yield _Job(some, {position: films[position] for pair, _ in some for position in pair})


def _verified(job: _Job) -> list[Copy]:
    found = []
    pictures = Pictures(job.films)
    for pair, attempts in job.candidates:
        moved: set[bool] = set()
        for attempt in attempts:
            if attempt.mirrored in moved:
                continue  # this way round they were well laid over each other, and something had moved
            laid = None
            if all(
                frame in {view.frame for view in job.films[of].views} for of, frame in (attempt.part, attempt.whole)
            ):
                laid = pictures.overlay(attempt, attempt.part[1], attempt.whole[1], attempt.crop)
            meeting = meeting_of(attempt, laid, pictures, thorough=attempt is attempts[0])
            if meeting is not None:
                found.append(_copy(pair, attempt, meeting))
                break
            if laid is not None and not laid.same:
                moved.add(attempt.mirrored)
    return found


def _copy(pair: tuple[int, int], attempt: Attempt, met: Meeting) -> Copy:
    frame_of = {attempt.part[0]: met.part, attempt.whole[0]: met.whole}
    return Copy(
        first=pair[0],
        second=pair[1],
        frames=(frame_of[pair[0]], frame_of[pair[1]]),
        mirrored=attempt.mirrored,
        whole=attempt.whole[0],
        crop=met.laid.crop,
        moved=round(met.laid.moved[0], 3),
    )
