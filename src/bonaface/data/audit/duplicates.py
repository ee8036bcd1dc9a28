"""Copies among presentations: the same picture again, coded anew, resized, cropped or mirrored; the same video, or a part.

In two steps. Candidates come from a perceptual hash: the 8 x 8 mean grey levels of a picture, centred and scaled to
length one, so that a product of matrices compares all with all. A crop is met by hashing the picture as it would be
after 169 crops of up to a quarter off a side; a mirrored copy by mirroring the other's hash. A candidate counts only when
the pictures themselves, laid over each other, show no motion (`alignment`), and between videos in more than one frame: two
living takes may meet once, but not all along. Where the frames that are at hand do not meet, the videos are laid over each
other in time as well: a copy may begin later, end earlier, or have fewer frames a second.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.audit.alignment import Overlay, overlay
from bonaface.data.audit.film import Film
from bonaface.data.audit.hashing import CROPS, Crop, hash_of, hash_of_crops, mirror
from bonaface.data.audit.timing import meetings
from bonaface.data.frames import evenly_spaced
from bonaface.data.processes import in_processes

__all__ = ["Copy", "find_copies"]

Floats = NDArray[np.float32]

ALIKE = 0.86
"""Candidates have a hash product of at least this. Copies cropped by up to a fifth a side keep .88 and more."""

SOUGHT, SAME = 8, 0.97
"""So many frames of a video are sought in others, beside its views; less those whose hash is that of one before."""

STARTS, ATTEMPTS = 2, 3
"""So many crops of one hash, and ways in all, at most, to lay two presentations over each other."""

CROWD = 200
"""So many frames, at most, that look like one view are laid over it, the likeliest: before one wall all takes look alike."""

SURE, SURE_OF_ONE = 0.7, 0.4
"""Share of the motion allowed in copies that a frame may have which was chosen among many to meet a picture: of another
person's, and of the same one's, who comes back to the same place now and then."""

NO_CROP: Crop = (0.0, 0.0, 0.0, 0.0)
_AT_ONCE = 20_000_000
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


@dataclass(frozen=True)
class _Attempt:
    """A way in which two presentations may be one: frame `part[1]` of presentation `part[0]` is cut from `whole`.

    `crop` is what is cut off, after mirroring.
    """

    alike: float
    part: tuple[int, int]
    whole: tuple[int, int]
    crop: Crop
    mirrored: bool


_Asked = tuple[tuple[int, int], Sequence[Crop], Floats]
Candidates = Mapping[tuple[int, int], list[_Attempt]]


def find_copies(
    films: Sequence[Film],
    *,
    persons: Sequence[str] | None = None,
    workers: int | None = None,
    notes: list[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Copy]:
    """Every pair of presentations that share a picture, ordered by position; one without views has no copies.

    `persons` says who each is said to be: of one person, a picture and a frame of a video must agree more closely.
    The first view of each is sought in all views of all others. Takes time with the square of the presentations for a
    matrix product, and about a millisecond for each pair whose hashes are alike. Where more than CROWD frames look like one
    view, the likeliest are looked at, and `notes` gets a sentence that says so.
    """
    candidates, crowded = _candidates(films)
    if crowded and notes is not None:
        notes.append(
            f"{crowded} presentations look like so many others (one background, or one face in all pictures) that only their "
            f"{CROWD} likeliest frames were compared: a copy that was cropped by much may be missed among them"
        )
    jobs = list(_jobs(candidates, films, persons))
    found: list[Copy] = []
    done = 0
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    for job, copies in zip(jobs, _work(jobs, workers), strict=True):
        found += copies
        done += len(job.candidates)
        if progress:
            progress(done, len(candidates))
    return sorted(found, key=lambda copy: (copy.first, copy.second))


def _candidates(films: Sequence[Film]) -> tuple[Candidates, int]:
    """Attempts for each pair of presentations whose pictures may be one, the likeliest first; how many are in a crowd."""
    sought, asked = _sought(films), _asked(films)
    if not sought or len({place[0] for place, _, _ in asked}) < 2:
        return {}, 0
    places = [place for place, _ in sought]
    known = np.stack([some for _, hashed in sought for some in (hashed, mirror(hashed))]).T
    owner = np.array([position for position, _ in places]).repeat(2)  # a frame's hash and its mirror image
    attempts: dict[tuple[int, int], list[_Attempt]] = {}
    crowded: set[int] = set()
    for some in _portions(asked, max(_AT_ONCE // known.shape[1], len(CROPS))):
        product = np.concatenate([family for _, _, family in some]) @ known
        begin = 0
        for whole, crops, family in some:
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
                    left, top, right, bottom = crops[cut]
                    crop = (right, top, left, bottom) if mirrored else crops[cut]
                    tried.append(_Attempt(float(own[cut, column]), part, whole, crop, mirrored))
    likeliest = {
        pair: sorted(tried, key=lambda attempt: -attempt.alike)[:ATTEMPTS] for pair, tried in sorted(attempts.items())
    }
    return likeliest, len(crowded)


def _sought(films: Sequence[Film]) -> list[tuple[tuple[int, int], Floats]]:
    """The place and the hash of each film's views, and of as many of its other frames as look another way."""
    found = []
    for position, film in enumerate(films):
        kept: list[Floats] = []
        frames = [(view.frame, hash_of(view.grey())) for view in film.views]
        spread = evenly_spaced(len(film.tiny), SOUGHT) if len(film.tiny) > 1 else []
        frames += [(index * film.step, hash_of(film.tiny[index].astype(np.float32))) for index in spread]
        for frame, hashed in frames:
            if hashed is not None and all(float(hashed @ other) < SAME for other in kept):
                kept.append(hashed)
                found.append(((position, frame), hashed))
    return found


def _asked(films: Sequence[Film]) -> list[_Asked]:
    """The place of each film's first view with its hashes after all crops; and of the others, as they are."""
    found: list[_Asked] = []
    for position, film in enumerate(films):
        kept: list[Floats] = []
        for view in film.views:
            family = hash_of_crops(view.grey())
            if family is None or any(float(family[0] @ other) >= SAME for other in kept):
                continue
            crops = CROPS if not kept else CROPS[:1]
            kept.append(family[0])
            found.append(((position, view.frame), crops, family[: len(crops)]))
    return found


def _portions(asked: Sequence[_Asked], rows: int) -> Iterator[list[_Asked]]:
    """Runs of those that are asked, with about so many hashes each."""
    portion: list[_Asked] = []
    for one in asked:
        if portion and sum(len(family) for _, _, family in portion) + len(one[2]) > rows:
            yield portion
            portion = []
        portion.append(one)
    if portion:
        yield portion


@dataclass(frozen=True)
class _Job:
    """Pairs to verify, with the films of all who stand in them."""

    candidates: list[tuple[tuple[int, int], list[_Attempt]]]
    films: dict[int, Film]
    of_one: frozenset[tuple[int, int]]


def _jobs(candidates: Candidates, films: Sequence[Film], persons: Sequence[str] | None) -> Iterator[_Job]:
    pairs = list(candidates.items())
    for begin in range(0, len(pairs), _PAIRS_A_JOB):
        some = pairs[begin : begin + _PAIRS_A_JOB]
        of_one = {pair for pair, _ in some if persons is not None and persons[pair[0]] == persons[pair[1]]}
        yield _Job(some, {position: films[position] for pair, _ in some for position in pair}, frozenset(of_one))


def _work(jobs: list[_Job], workers: int) -> Iterable[list[Copy]]:
    if workers <= 1:
        return map(_verified, jobs)
    return in_processes(_verified, jobs, workers=workers, initializer=cv2.setNumThreads, initargs=(1,))


def _verified(job: _Job) -> list[Copy]:
    found = []
    table = _Table(job.films)
    for pair, attempts in job.candidates:
        for attempt in attempts:
            laid = None
            if attempt.part[1] in {view.frame for view in job.films[attempt.part[0]].views}:
                laid = table.overlay(attempt, attempt.part[1], attempt.whole[1], attempt.crop)
            meeting = _meeting(attempt, laid, table, of_one=pair in job.of_one)
            if meeting is not None:
                found.append(_copy(pair, attempt, meeting))
                break
            if laid is not None and not laid.same:
                break  # well laid over each other, and something has moved
    return found


class _Table:
    """Grey pictures of some films, decoded once, and what they look like laid over each other."""

    def __init__(self, films: Mapping[int, Film]) -> None:
        self.films = films
        self._greys: dict[tuple[int, int], NDArray[np.uint8] | None] = {}

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

    def overlay(self, attempt: _Attempt, part: int, whole: int, crop: Crop) -> Overlay | None:
        """Two frames laid over each other."""
        first, second = self.grey(attempt.part[0], part), self.grey(attempt.whole[0], whole)
        if first is None or second is None:
            return None
        return overlay(first, second, crop, mirrored=attempt.mirrored)

    def still(self, presentation: int, first: int, second: int) -> bool:
        """Whether nothing moves from one frame to another."""
        one, other = self.grey(presentation, first), self.grey(presentation, second)
        laid = None if one is None or other is None else overlay(one, other, NO_CROP, mirrored=False)
        return laid is not None and laid.same


@dataclass(frozen=True)
class _Meeting:
    """A frame of `part` and one of `whole` that are one picture."""

    part: int
    whole: int
    laid: Overlay


def _meeting(attempt: _Attempt, laid: Overlay | None, table: _Table, *, of_one: bool) -> _Meeting | None:
    """Where two presentations meet, if they are copies; `laid` is how the attempt's own frames lie over each other.

    Two pictures have to match, and of a picture and a video one frame. Of two videos, all views have to match one by one,
    as in a whole copy; or most of the frames that may be the same, as in a shortened one, and two at least in their order
    while in both videos something has moved from the one to the other: somebody who sits still in two takes proves nothing.
    """
    part, whole = (table.films[place[0]] for place in (attempt.part, attempt.whole))
    own = _Meeting(attempt.part[1], attempt.whole[1], laid) if laid is not None and laid.same else None
    frames = min(len(part.tiny), len(whole.tiny))
    # Of a picture and a video: how sure it must be of the frame at hand, and of one that was chosen among many.
    at_hand, chosen = (SURE_OF_ONE, SURE_OF_ONE) if of_one else (1.0, SURE)
    if max(len(part.tiny), len(whole.tiny)) <= 1 or (frames <= 1 and own and own.laid.within(at_hand)):
        return own
    crop = attempt.crop
    if laid is not None:
        crop = tuple(min(max(share, 0.0), 0.35) for share in laid.crop)  # type: ignore[assignment]

    def match(first: int, second: int, share: float = 1.0) -> _Meeting | None:
        again = table.overlay(attempt, first, second, crop)
        return _Meeting(first, second, again) if again is not None and again.within(share) else None

    if laid is not None and frames > 1:
        pairs = [(one.frame, other.frame) for one, other in zip(part.views, whole.views, strict=False)]
        every = list(itertools.takewhile(bool, itertools.starmap(match, pairs)))
        if len(every) == len(pairs):
            return every[0]
    proposed = meetings(part, whole, crop=crop, mirrored=attempt.mirrored)
    table.load(attempt.part[0], {first for first, _ in proposed})
    table.load(attempt.whole[0], {second for _, around in proposed for second in around})
    found: list[_Meeting] = []
    for place, (first, around) in enumerate(proposed):
        met = next(filter(None, (match(first, second, 1.0 if frames > 1 else chosen) for second in around)), None)
        if met is not None and frames <= 1:
            return met
        found += [met] if met is not None else []
        if 2 * (len(found) + len(proposed) - place - 1) <= len(proposed):
            return None
    return found[0] if _in_order(attempt, found, table) else None


def _in_order(attempt: _Attempt, found: Sequence[_Meeting], table: _Table) -> bool:
    """Whether two of the meetings follow each other in both videos, with something moving in between."""
    ordered = sorted(found, key=lambda met: (met.part, met.whole))
    return any(
        earlier.whole < later.whole
        and not table.still(attempt.part[0], earlier.part, later.part)
        and not table.still(attempt.whole[0], earlier.whole, later.whole)
        for earlier, later in itertools.combinations(ordered, 2)
    )


def _copy(pair: tuple[int, int], attempt: _Attempt, met: _Meeting) -> Copy:
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
