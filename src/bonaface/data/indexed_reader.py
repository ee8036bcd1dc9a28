"""Pictures that are read one by one, as the frames of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonaface.data.video import VideoInfo
from bonaface.errors import MediaError, format_list


class IndexedReader:
    """Pictures that are read one by one, by index, as the frames of a video; with the interface of `VideoReader`.

    One that cannot be read is left out, or ends them if `ends_at_damage`, and is named in `damage`.
    """

    note = ""
    ends_at_damage = False

    def __init__(self, source: Path, info: VideoInfo) -> None:
        self.name = str(source)
        self.info = info
        self.decoded = 0
        self.damage = ""

    def frames(
        self, wanted: set[int] | None, *, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, float | None, NDArray[np.uint8]]]:
        """Yield index, None (there are no times) and RGB picture of the wanted frames (None: all), in order, until `stop`."""
        faults: list[str] = []
        try:
            for index in range(self.info.frames) if wanted is None else sorted(wanted):
                if index >= self.info.frames or stop():
                    return
                try:
                    picture = self.picture(index)
                except MediaError as error:
                    faults.append(str(error).removeprefix(f"{self.name}/"))
                    if self.ends_at_damage:
                        return
                    continue
                self.decoded = index + 1
                yield index, None, picture
        finally:
            if faults:
                self.damage = f"{len(faults)} frames cannot be read: {format_list(faults, limit=2)}"

    def picture(self, index: int) -> NDArray[np.uint8]:
        """Return one frame. Raises MediaError."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file, if one is open."""
