"""The colour stream of an HDF5 recording (3DMAD), read as a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.data.video import MAX_PIXELS, VideoInfo
from bonaface.errors import MediaError, needs_extra, one_line

HDF5_SUFFIXES = frozenset({".hdf5", ".h5"})
_COLOUR = "Color_Data"
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)


class Hdf5Reader:
    """The dataset `Color_Data`, `(frames, 3, height, width)` or `(frames, height, width, 3)` RGB, opened for one pass.

    Has the interface of `VideoReader`. Depth is not read. Raises MediaError where there is no such dataset,
    MissingExtraError where h5py is not installed.
    """

    def __init__(self, source: Path) -> None:
        self.name = str(source)
        self.decoded = 0
        self.damage = ""
        self.note = ""
        if not source.is_file():
            raise MediaError(f"{source}: {'is a folder; expected an HDF5 file' if source.is_dir() else 'no such file'}")
        with needs_extra(f"reading {source.name}"):
            import h5py
        try:
            self._file: Any = h5py.File(source, "r")
        except _DAMAGE as error:
            raise MediaError(f"{source}: not an HDF5 file that can be read ({one_line(error)})") from None
        try:
            self._colour, self._channels_first = self._find(h5py)
        except BaseException:
            self.close()
            raise
        frames, *sides = self._colour.shape
        height, width = sides[1:] if self._channels_first else sides[:2]
        self.info = VideoInfo("hdf5", frames=frames, declared=frames, width=width, height=height)

    def _find(self, h5py: Any) -> tuple[Any, bool]:
        colour = self._file.get(_COLOUR)
        if not isinstance(colour, h5py.Dataset):
            raise MediaError(f"{self.name}: holds no dataset {_COLOUR}; found: {', '.join(self._file) or 'nothing'}")
        shape: tuple[int, ...] = colour.shape or ()
        channels_first = len(shape) == 4 and shape[1] == 3
        if len(shape) != 4 or not (channels_first or shape[3] == 3) or colour.dtype != np.uint8 or 0 in shape:
            raise MediaError(
                f"{self.name}: {_COLOUR} holds {colour.dtype} of shape {shape}; expected uint8, "
                "(frames, 3, height, width) or (frames, height, width, 3)"
            )
        if shape[1] * shape[2] * shape[3] > 3 * MAX_PIXELS:
            raise MediaError(f"{self.name}: {_COLOUR} of shape {shape} has more pixels than are decoded")
        return colour, channels_first

    def frames(
        self, wanted: set[int] | None, *, flip: str = "", stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, float | None, NDArray[np.uint8]]]:
        """Index, None (the file has no times) and RGB picture of the wanted frames (None: all), in order, until `stop`."""
        for index in range(self.info.frames) if wanted is None else sorted(wanted):
            if index >= self.info.frames or stop():
                return
            try:
                stored = np.asarray(self._colour[index], dtype=np.uint8)
            except _DAMAGE as error:
                self.damage = one_line(error)
                return
            picture = stored.transpose(1, 2, 0) if self._channels_first else stored
            self.decoded = index + 1
            yield index, None, np.ascontiguousarray(picture[::-1] if flip == "vertical" else picture)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
