"""The colour stream of an HDF5 recording (3DMAD), read as a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonaface.data.indexed_reader import IndexedReader
from bonaface.data.video import MAX_PIXELS, VideoInfo
from bonaface.errors import MediaError, needs_extra, one_line

HDF5_SUFFIXES = frozenset({".hdf5", ".h5"})
_COLOUR = "Color_Data"
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)


class Hdf5Reader(IndexedReader):
    """The dataset `Color_Data`, `(frames, 3, height, width)` or `(frames, height, width, 3)` RGB, opened for one pass.

    Depth is not read, and a damaged frame is the end. Raises MediaError where there is no such dataset, MissingExtraError where
    h5py is not installed.
    """

    ends_at_damage = True

    def __init__(self, source: Path) -> None:
        if not source.is_file():
            raise MediaError(f"{source}: {'is a folder; expected an HDF5 file' if source.is_dir() else 'no such file'}")
        with needs_extra(f"reading {source.name}"):
            import h5py
        try:
            self._file: Any = h5py.File(source, "r")
        except _DAMAGE as error:
            raise MediaError(f"{source}: not an HDF5 file that can be read ({one_line(error)})") from None
        try:
            colour = self._file.get(_COLOUR)
            if not isinstance(colour, h5py.Dataset):
                held = ", ".join(self._file) or "nothing"
                raise MediaError(f"{source}: holds no dataset {_COLOUR}; found: {held}")
            shape: tuple[int, ...] = colour.shape or ()
            self._channels_first = len(shape) == 4 and shape[1] == 3
            if len(shape) != 4 or not (self._channels_first or shape[3] == 3) or colour.dtype != np.uint8 or 0 in shape:
                raise MediaError(
                    f"{source}: {_COLOUR} holds {colour.dtype} of shape {shape}; expected uint8, "
                    "(frames, 3, height, width) or (frames, height, width, 3)"
                )
            if shape[1] * shape[2] * shape[3] > 3 * MAX_PIXELS:
                raise MediaError(f"{source}: {_COLOUR} of shape {shape} has more pixels than are decoded")
        except BaseException:
            self.close()
            raise
        self._colour = colour
        height, width = shape[2:] if self._channels_first else shape[1:3]
        super().__init__(source, VideoInfo("hdf5", frames=shape[0], declared=shape[0], width=width, height=height))

    def picture(self, index: int) -> NDArray[np.uint8]:
        try:
            stored = np.asarray(self._colour[index], dtype=np.uint8)
        except _DAMAGE as error:
            raise MediaError(f"frame {index} ({one_line(error)})") from None
        return np.ascontiguousarray(stored.transpose(1, 2, 0) if self._channels_first else stored)

    def close(self) -> None:
        self._file.close()
