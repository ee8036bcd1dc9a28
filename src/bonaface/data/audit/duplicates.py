"""Copies among presentations: the same picture again, coded anew, resized, cropped or mirrored.

In two steps. Candidates come from a perceptual hash: the 8 x 8 mean grey levels of a picture, centred and scaled to
length one, so that a product of matrices compares all with all. A crop is met by hashing the picture as it would be
after 81 crops of up to 15 % off each side; a mirrored copy by mirroring the other's hash. A candidate counts only when
the pictures themselves, laid over each other, show no motion (`alignment`), and between videos in more than one frame: two
living takes may meet once, but not all along.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.data.audit.alignment import Overlay, overlay
from bonaface.data.audit.files import View
from bonaface.data.audit.hashing import CROPS, Crop, hash_of, hash_of_crops, mirror
from bonaface.data.processes import in_processes

__all__ = ["Copy", "find_copies"]

Floats = NDArray[np.float32]
Views = Sequence[View]

ALIKE = 0.86
"""Candidates have a hash product of at least this. Copies cropped by up to 15 % a side keep .88 and more."""

STARTS, ATTEMPTS = 2, 3
"""So many crops of one hash, and ways in all, at most, to lay two presentations over each other."""

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
    """A way in which two presentations may be one: view `part[1]` of presentation `part[0]` is cut from `whole`.

    `crop` is what is cut off, after mirroring.
    """

    alike: float
    part: tuple[int, int]
    whole: tuple[int, int]
    crop: Crop
    mirrored: bool


Candidates = Mapping[tuple[int, int], list[_Attempt]]


def find_copies(
    views: Sequence[Views],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Copy]:
    """Every pair of presentations that share a picture, ordered by position; one without views has no copies.

    The first view of each is sought in all views of all others. Takes time with the square of the presentations: a
    matrix product for all, and about a millisecond for each pair whose hashes are alike.
    """
    candidates = _candidates(views)
    jobs = list(_jobs(candidates, views))
    found: list[Copy] = []
    done = 0
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    for job, copies in zip(jobs, _work(jobs, workers), strict=True):
        found += copies
        done += len(job.candidates)
        if progress:
            progress(done, len(candidates))
    return sorted(found, key=lambda copy: (copy.first, copy.second))


def _candidates(views: Sequence[Views]) -> Candidates:
    """Attempts for each pair of presentations whose pictures may be one, the likeliest first."""
    places: list[tuple[int, int]] = []
    hashes: list[Floats] = []
    anchors: dict[int, tuple[int, Floats]] = {}
    for position, own in enumerate(views):
        for number, view in enumerate(own):
            grey = view.grey()
            plain = hash_of(grey)
            if plain is None:
                continue
            places.append((position, number))
            hashes += [plain, mirror(plain)]
            if position not in anchors:
                family = hash_of_crops(grey)
                assert family is not None
                anchors[position] = (number, family)
    if len(anchors) < 2:
        return {}
    known = np.stack(hashes).T
    owner = np.array([position for position, _ in places]).repeat(2)  # a view's hash and its mirror image
    attempts: dict[tuple[int, int], list[_Attempt]] = {}
    order = np.array(list(anchors))
    step = max(_AT_ONCE // (len(CROPS) * known.shape[1]), 1)
    for begin in range(0, len(order), step):
        asked = order[begin : begin + step]
        product = np.concatenate([anchors[position][1] for position in asked.tolist()]) @ known
        product = product.reshape(len(asked), len(CROPS), -1)
        best = product.max(axis=1)
        best[asked[:, None] == owner] = 0
        for row, column in np.argwhere(best >= ALIKE).tolist():
            whole, part = int(asked[row]), places[column // 2]
            tried = attempts.setdefault((min(whole, part[0]), max(whole, part[0])), [])
            mirrored = bool(column % 2)
            for cut in np.argsort(-product[row, :, column])[:STARTS].tolist():
                left, top, right, bottom = CROPS[cut]
                crop = (right, top, left, bottom) if mirrored else CROPS[cut]
                tried.append(
                    _Attempt(float(product[row, cut, column]), part, (whole, anchors[whole][0]), crop, mirrored)
                )
    return {
        pair: sorted(tried, key=lambda attempt: -attempt.alike)[:ATTEMPTS] for pair, tried in sorted(attempts.items())
    }


@dataclass(frozen=True)
class _Job:
    """Pairs to verify, with the views of all who stand in them."""

    candidates: list[tuple[tuple[int, int], list[_Attempt]]]
    views: dict[int, Views]


def _jobs(candidates: Candidates, views: Sequence[Views]) -> Iterator[_Job]:
    pairs = list(candidates.items())
    for begin in range(0, len(pairs), _PAIRS_A_JOB):
        some = pairs[begin : begin + _PAIRS_A_JOB]
        yield _Job(some, {position: views[position] for pair, _ in some for position in pair})


def _work(jobs: list[_Job], workers: int) -> Iterable[list[Copy]]:
    if workers <= 1:
        return map(_verified, jobs)
    return in_processes(_verified, jobs, workers=workers, initializer=cv2.setNumThreads, initargs=(1,))


def _verified(job: _Job) -> list[Copy]:
    greys: dict[tuple[int, int], Floats] = {}

    def grey(place: tuple[int, int]) -> Floats:
        if place not in greys:
            greys[place] = job.views[place[0]][place[1]].grey()
        return greys[place]

    found = []
    for pair, attempts in job.candidates:
        for attempt in attempts:
            laid = overlay(grey(attempt.part), grey(attempt.whole), attempt.crop, mirrored=attempt.mirrored)
            if laid is None:
                continue
            if not laid.same:
                break  # well laid over each other, and something has moved
            if _as_videos(attempt, laid, job.views, grey):
                found.append(_copy(pair, attempt, laid, job.views))
                break
    return found


def _as_videos(
    attempt: _Attempt, laid: Overlay, views: Mapping[int, Views], grey: Callable[[tuple[int, int]], Floats]
) -> bool:
    """Whether more than one picture is shared; where either has but one, nothing more is asked.

    Either all views match one by one, as in a whole copy; or two match in their order, as in a shortened copy, while in
    both videos something has moved from the one to the other: somebody who sits still in two takes proves nothing.
    """
    part, whole = attempt.part[0], attempt.whole[0]
    parts, wholes = len(views[part]), len(views[whole])
    if min(parts, wholes) < 2:
        return True
    crop: Crop = tuple(min(max(share, 0.0), 0.3) for share in laid.crop)  # type: ignore[assignment]

    @cache
    def match(first: int, second: int) -> bool:
        again = overlay(grey((part, first)), grey((whole, second)), crop, mirrored=attempt.mirrored)
        return again is not None and again.same

    @cache
    def still(presentation: int, first: int, second: int) -> bool:
        own = overlay(grey((presentation, first)), grey((presentation, second)), NO_CROP, mirrored=False)
        return own is not None and own.same

    if all(match(number, number) for number in range(min(parts, wholes))):
        return True
    found = [pair for pair in itertools.product(range(parts), range(wholes)) if match(*pair)]
    return any(
        earlier[0] < later[0]
        and earlier[1] < later[1]
        and not still(part, earlier[0], later[0])
        and not still(whole, earlier[1], later[1])
        for earlier, later in itertools.combinations(found, 2)
    )


def _copy(pair: tuple[int, int], attempt: _Attempt, laid: Overlay, views: Mapping[int, Views]) -> Copy:
    frame_of = {place[0]: views[place[0]][place[1]].frame for place in (attempt.part, attempt.whole)}
    return Copy(
        first=pair[0],
        second=pair[1],
        frames=(frame_of[pair[0]], frame_of[pair[1]]),
        mirrored=attempt.mirrored,
        whole=attempt.whole[0],
        crop=laid.crop,
        moved=round(laid.moved[0], 3),
    )
