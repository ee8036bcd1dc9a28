"""Load batches from the crop store.

A sample depends on (seed, epoch, place in the epoch) alone: the numbers of loader processes and of training processes,
and interruptions, do not change what the network sees.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from bonaface.config import Recipe
from bonaface.data.attack_simulation.attacks import simulate
from bonaface.data.crop_store import load_crop
from bonaface.data.cropping import crop_face
from bonaface.data.manifest import Manifest
from bonaface.errors import BonafaceError, InputError, SettingsError, format_list
from bonaface.training.augment import Picture, TrainingCrop
from bonaface.types import Box, Label, Status

_SHUFFLE, _SAMPLE, _VALIDATION = 0, 1, 3
"""Separate streams of random numbers; the trainer's dropout uses stream 2."""


class Batch(NamedTuple):
    """Crops `(n, size, size, 3)` uint8 RGB, labels `(n,)` float32 (1 bona fide), indices of the samples `(n,)`."""

    crops: Tensor
    labels: Tensor
    samples: Tensor


Loader = DataLoader[Batch | BonafaceError]
"""Read it through `batches`: an error of a sample arrives in place of its batch."""


class Key(NamedTuple):
    """Request for a training sample: the one in this place of this epoch."""

    epoch: int
    place: int
    sample: int


@dataclass(frozen=True)
class StoredFrames:
    """The usable stored frames of presentations; presentation i has frames `start[i]:start[i + 1]`.

    `labels` are True for bona fide. `sources` are indices of `source_names`, the datasets. `left_out` names the
    presentations without a frame. Plain arrays, because forked loader processes share them without copying.
    """

    names: tuple[str, ...]
    labels: NDArray[np.bool_]
    sources: NDArray[np.int64]
    source_names: tuple[str, ...]
    start: NDArray[np.int64]
    boxes: NDArray[np.float64]
    left_out: tuple[str, ...]
    files: NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.names)

    def load(self, frame: int) -> tuple[Picture, Box]:
        """Return a stored square and the face's box in it. Raises MediaError if the file is missing or damaged."""
        file = os.fsdecode(self.files[frame])
        return load_crop(file), Box(*self.boxes[frame])


def frames_for_training(manifest: Manifest, crops: pd.DataFrame, *, first: bool = False) -> StoredFrames:
    """Select all usable frames of each presentation, or its first usable one; `crops` is the crop store's table."""
    usable = _usable(crops)
    return _stored_frames(manifest, usable.drop_duplicates("path") if first else usable)


def frames_for_validation(manifest: Manifest, crops: pd.DataFrame) -> StoredFrames:
    """Select frame 0 of each presentation; one without a usable frame 0 is left out, never replaced."""
    usable = _usable(crops)
    return _stored_frames(manifest, usable[usable["frame"] == 0])


class TrainingSet(Dataset[Batch]):
    """One augmented crop per presentation and epoch, from a stored frame drawn at random."""

    def __init__(self, frames: StoredFrames, recipe: Recipe) -> None:
        self.frames = frames
        self._seed = recipe.seed
        self._crop = TrainingCrop(recipe.augment, recipe.model.crop_scale, recipe.model.input_size)

    def __getitem__(self, key: Key) -> Batch:
        frames = self.frames
        rng = np.random.default_rng((_SAMPLE, self._seed, key.epoch, key.place))
        chosen = int(rng.integers(frames.start[key.sample], frames.start[key.sample + 1]))
        square, box = frames.load(chosen)
        label = Label.BONA_FIDE if frames.labels[key.sample] else Label.ATTACK
        picture, label = self._crop(square, box, label=label, rng=rng)
        return _sample(picture, label is Label.BONA_FIDE, key.sample)


class ValidationSet(Dataset[Batch]):
    """The crop that scoring sees, of each presentation's only frame; then attacks simulated on the bona fide ones.

    `training.validate_simulated` attacks per bona fide frame, the same in every epoch, so that losses are comparable.
    `labels` (True for bona fide), `sources` and `simulated` describe the samples.
    """

    def __init__(self, frames: StoredFrames, recipe: Recipe) -> None:
        self.frames = frames
        self._settings = recipe.model
        self._seed = recipe.seed
        real = np.arange(len(frames))
        attacked = np.repeat(np.flatnonzero(frames.labels), recipe.training.validate_simulated)
        self._frame = np.concatenate([real, attacked])
        self.simulated = np.arange(len(self._frame)) >= len(real)
        self.labels = frames.labels[self._frame] & ~self.simulated
        self.sources = frames.sources[self._frame]

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, index: int) -> Batch:
        square, box = self.frames.load(int(self._frame[index]))
        crop = crop_face(square, box, scale=self._settings.crop_scale, size=self._settings.input_size)
        if self.simulated[index]:
            rng = np.random.default_rng((_VALIDATION, self._seed, index - len(self.frames)))
            crop = simulate(crop, rng)[0]
        return _sample(crop, bool(self.labels[index]), index)


class EpochSampler(Sampler[list[Key]]):
    """The batches of an epoch: each presentation once, or drawn so that both classes, and all sources in each, weigh alike.

    Set `epoch` before each. Process `rank` of `world` takes every `world`-th place of each batch of `batch_size`, so that
    the batches are the same on any number of processes. Each process gets at least `min_batch` samples of every batch: where
    the last batch has fewer for it, samples from the start of the epoch follow, which must not count (see `real`).
    """

    def __init__(
        self,
        labels: NDArray[np.bool_],
        *,
        seed: int,
        batch_size: int,
        sources: NDArray[np.int64] | None = None,
        balanced: bool = False,
        min_batch: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.epoch = 0
        self._labels = labels
        self._sources = np.zeros(len(labels), dtype=np.int64) if sources is None else sources
        self._seed = seed
        self._batch_size = batch_size
        self._balanced = balanced
        self._min_batch = min_batch
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self._batch_size)

    def samples(self, batch: int, batches: int = 1) -> int:
        """Return how many samples so many batches from this one on have, over all processes."""
        return min(batches * self._batch_size, len(self._labels) - batch * self._batch_size)

    def real(self, batch: int) -> int:
        """Return how many samples at the head of this process's share of a batch count."""
        return len(range(self._rank, self.samples(batch), self._world))

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        order = self._order(np.random.default_rng((_SHUFFLE, self._seed, epoch)))
        for batch in range(len(self)):
            first = batch * self._batch_size + self._rank
            count = max(self.real(batch), self._min_batch)
            places = range(first, first + count * self._world, self._world)
            yield [Key(epoch, place, int(order[place % len(order)])) for place in places]

    def _order(self, rng: np.random.Generator) -> NDArray[np.int64]:
        count = len(self._labels)
        if not self._balanced:
            return rng.permutation(count)
        wanted = np.zeros(count, dtype=bool)
        wanted[: count // 2 + int(rng.integers(2)) * (count % 2)] = True
        order = np.empty(count, dtype=np.int64)
        rng.shuffle(wanted)
        for label in (True, False):
            order[wanted == label] = self._drawn(label, int((wanted == label).sum()), rng)
        return order

    def _drawn(self, label: bool, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` presentations of a class in random order, as many of each source, give or take one."""
        choices = [np.flatnonzero((self._labels == label) & (self._sources == s)) for s in np.unique(self._sources)]
        present = [each for each in choices if len(each)]
        if len(present) == 1:
            return _repeated(present[0], count, rng)
        shares = np.bincount(_repeated(np.arange(len(present)), count, rng), minlength=len(present))
        drawn = [_repeated(each, int(share), rng) for each, share in zip(present, shares, strict=True)]
        return rng.permutation(np.concatenate(drawn))


def batches_in_order(count: int, *, batch_size: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """Return this process's batches of `count` samples in order; each process gets equally many, so some occur twice."""
    mine = [place % count for place in range(rank, -(-count // world) * world, world)]
    share = max(batch_size // world, 1)
    return [mine[first : first + share] for first in range(0, len(mine), share)]


def make_loader(
    dataset: Dataset[Batch], order: Sequence[list[int]] | Sampler[list[Key]], *, workers: int, pin: bool
) -> Loader:
    """Return a loader of these batches; its processes live as long as the loader."""
    options: dict[str, Any] = {}
    if workers:
        options = {"persistent_workers": True, "prefetch_factor": 4, "worker_init_fn": _start_worker}
    return DataLoader(
        _CatchErrors(dataset),
        batch_sampler=order,
        num_workers=workers,
        pin_memory=pin,
        collate_fn=_collate,
        **options,
    )


def check_classes(split: str, frames: StoredFrames, what: str) -> None:
    """Raise InputError if a split lacks a class; `what` names the frames that were looked for."""
    bona_fide = int(frames.labels.sum())
    attacks = len(frames) - bona_fide
    if bona_fide and attacks:
        return
    left_out = f"; {format_list(frames.left_out, limit=3)} were left out for the lack of one" if frames.left_out else ""
    raise InputError(
        f"split {split!r} has {bona_fide} bona fide and {attacks} attack presentations with {what}; "
        f"training needs both{left_out}"
    )


def batches(loader: Iterable[Batch | BonafaceError]) -> Iterator[Batch]:
    """Iterate over a loader. Raises what a sample raised, in whichever process."""
    for batch in loader:
        if isinstance(batch, BonafaceError):
            raise batch
        yield batch


def positive_weight(labels: NDArray[np.bool_], *, balanced: bool, simulate: float) -> float:
    """Return the weight of a bona fide sample with which both classes weigh the same in the loss.

    A share `simulate` of the bona fide samples is expected to become attacks. With `balanced` the sampler draws both
    classes equally often.
    """
    bona_fide = 0.5 if balanced else float(labels.mean())
    left = bona_fide * (1 - simulate)
    if not left:
        raise SettingsError("augment.simulate=1 leaves no bona fide sample to balance; set it below 1, or balance=none")
    return (1 - left) / left


def _usable(crops: pd.DataFrame) -> pd.DataFrame:
    usable = crops[(crops["status"] == Status.OK.value) & (crops["file"] != "")]
    return usable.sort_values("frame", kind="stable")


def _stored_frames(manifest: Manifest, usable: pd.DataFrame) -> StoredFrames:
    table = manifest.table
    row_of = pd.Series(np.arange(len(table)), index=table["path"])
    rows = row_of.reindex(usable["path"]).to_numpy(dtype=np.float64)
    known = ~np.isnan(rows)
    order = np.argsort(rows[known], kind="stable")
    mine, rows = usable[known].iloc[order], rows[known][order].astype(np.int64)
    present, counts = np.unique(rows, return_counts=True)
    files = [os.fsencode(file) for file in mine["file"]]
    sources, names = pd.factorize(table["dataset"].iloc[present], sort=True)
    return StoredFrames(
        names=tuple(table["path"].iloc[present]),
        labels=(table["label"].iloc[present] == Label.BONA_FIDE.value).to_numpy(dtype=bool),
        sources=sources.astype(np.int64),
        source_names=tuple(map(str, names)),
        start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=mine[["x", "y", "w", "h"]].to_numpy(dtype=np.float64),
        left_out=tuple(table["path"].drop(table.index[present])),
        files=np.array(files, dtype=np.bytes_),
    )


def _repeated(choices: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` of the choices in random order, each as often as any other, give or take one."""
    rounds = [rng.permutation(choices) for _ in range(-(-count // len(choices)))]
    return np.concatenate([*rounds, choices[:0]])[:count]


def _sample(picture: Picture, bona_fide: bool, index: int) -> Batch:
    return Batch(torch.from_numpy(picture), torch.tensor(float(bona_fide)), torch.tensor(index))


class _CatchErrors(Dataset[Batch | BonafaceError]):
    """Return errors as samples: raised in a loader process, they would arrive as the text of a traceback."""

    def __init__(self, dataset: Dataset[Batch]) -> None:
        self._dataset = dataset

    def __getitem__(self, key: Any) -> Batch | BonafaceError:
        try:
            return self._dataset[key]
        except BonafaceError as error:
            return error


def _collate(samples: list[Batch | BonafaceError]) -> Batch | BonafaceError:
    for sample in samples:
        if isinstance(sample, BonafaceError):
            return sample
    batch: Batch = default_collate(samples)
    return batch


def _start_worker(_: int) -> None:
    """Use one thread, as the processes share the cores, and leave Ctrl-C to the training process."""
    torch.set_num_threads(1)
    if cv2.getNumThreads() > 1:
        cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
