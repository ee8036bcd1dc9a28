"""From the crop store to batches: one stored frame a presentation, the same whatever the number of workers."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from bonaface.data.crops.square import crop_face
from bonaface.data.crops.store import load_crop
from bonaface.data.manifest import Manifest
from bonaface.errors import InputError
from bonaface.model.transforms import TrainingCrop
from bonaface.settings import Recipe
from bonaface.verdicts import Box, Label, Status

__all__ = ["CropDataset", "EpochOrder", "evaluation_loader", "positive_weight", "training_loader"]

Sample = tuple[Tensor, Tensor, Tensor]


class CropDataset(Dataset[Sample]):
    """One crop a presentation: `(uint8 crop (size, size, 3), 1.0 for bona fide, index)`.

    A training view takes a stored frame drawn from (seed, epoch, index), so that neither the number of workers nor an
    interruption changes what is seen; any other takes the first frame, and leaves out presentations where it has no face.
    """

    def __init__(self, manifest: Manifest, crops: pd.DataFrame, recipe: Recipe, *, training: bool) -> None:
        usable = crops[crops["status"] == Status.OK.value]
        first_only = not training or recipe.training.frame == "first"
        if first_only:
            usable = usable[usable["frame"] == 0]
        frames = {path: rows for path, rows in usable.groupby("path", sort=False)}
        kept = manifest.table[manifest.table["path"].isin(frames)]
        self.left_out = len(manifest) - len(kept)
        self.names: list[str] = kept["path"].tolist()
        self.bona_fide = (kept["label"] == Label.BONA_FIDE.value).to_numpy()
        self._frames = [
            [(row.file, Box(row.x, row.y, row.w, row.h)) for row in frames[name].itertuples()]
            for name in self.names
        ]
        self._recipe = recipe
        model = recipe.model
        self._view = TrainingCrop(recipe.augment, model.crop_scale, model.input_size) if training else None
        # Shared with the worker processes, which are kept from epoch to epoch.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next samples are for."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        frames, bona_fide = self._frames[index], bool(self.bona_fide[index])
        if self._view is None:
            file, box = frames[0]
            model = self._recipe.model
            crop = crop_face(load_crop(file), box, scale=model.crop_scale, size=model.input_size)
        else:
            rng = np.random.default_rng([self._recipe.seed, int(self._epoch[0]), index])
            file, box = frames[int(rng.integers(len(frames)))]
            label = Label.BONA_FIDE if bona_fide else Label.ATTACK
            crop, label = self._view(load_crop(file), box, label=label, rng=rng)
            bona_fide = label is Label.BONA_FIDE
        return torch.from_numpy(crop), torch.tensor(float(bona_fide)), torch.tensor(index)


class EpochOrder(WeightedRandomSampler):
    """The order of an epoch, drawn from (seed, epoch): a permutation, or a draw balanced by class."""

    def __init__(
        self, dataset: CropDataset, *, seed: int, balance: Literal["none", "weights", "sampler"]
    ) -> None:
        share = max(float(dataset.bona_fide.mean()), 1e-9)
        weights = np.where(dataset.bona_fide, 0.5 / share, 0.5 / max(1 - share, 1e-9))
        super().__init__(weights.tolist(), len(dataset), generator=torch.Generator())
        self._seed = seed
        self._balanced = balance == "sampler"
        self._dataset = dataset

    def __iter__(self) -> Any:
        assert isinstance(self.generator, torch.Generator)
        self.generator.manual_seed(self._seed * 1_000_003 + int(self._dataset._epoch[0]))
        if self._balanced:
            return super().__iter__()
        return iter(torch.randperm(len(self._dataset), generator=self.generator).tolist())


def training_loader(dataset: CropDataset, recipe: Recipe) -> DataLoader[Sample]:
    """Batches in the epoch's order; a last batch of one, which BatchNorm cannot take, is dropped."""
    training = recipe.training
    return DataLoader(
        dataset,
        batch_size=training.batch_size,
        sampler=EpochOrder(dataset, seed=recipe.seed, balance=training.balance),
        drop_last=len(dataset) % training.batch_size == 1 and len(dataset) > 1,
        **_workers(training.workers),
    )


def evaluation_loader(dataset: CropDataset, recipe: Recipe) -> DataLoader[Sample]:
    """Batches in manifest order."""
    return DataLoader(
        dataset, batch_size=recipe.training.batch_size, shuffle=False, **_workers(recipe.training.workers)
    )


def positive_weight(dataset: CropDataset) -> float:
    """Attacks per bona fide presentation: what a bona fide sample weighs in a balanced loss."""
    bona_fide = int(dataset.bona_fide.sum())
    if bona_fide in (0, len(dataset)):
        raise InputError(
            "one class has no usable crop; training needs bona fide and attack presentations with a face"
        )
    return (len(dataset) - bona_fide) / bona_fide


def _workers(count: int) -> dict[str, Any]:
    if not count:
        return {}
    return {
        "num_workers": count,
        "persistent_workers": True,
        "worker_init_fn": _start_worker,
        "multiprocessing_context": "forkserver" if torch.cuda.is_available() else None,
        "pin_memory": torch.cuda.is_available(),
    }


def _start_worker(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
