"""Write frames as a video."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_video(
    file: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: int | Fraction,
    quality: int = 20,
    container: str | None = None,
) -> None:
    """Write RGB frames `(height, width, 3)` as H.264, cut to even sides; `quality` is x264's CRF, lower is better.

    `container` is the format, such as `mp4`, by default that of the file's suffix.
    """
    import av  # starting without it is faster for the many commands that write no video

    with av.open(str(file), "w", format=container) as output:
        stream = output.add_stream("libx264", rate=Fraction(fps), options={"crf": str(quality), "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        number = 0
        for number, picture in enumerate(frames, start=1):
            if number == 1:
                stream.height, stream.width = (side - side % 2 for side in picture.shape[:2])
            even = np.ascontiguousarray(picture[: stream.height, : stream.width])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        if number:
            output.mux(stream.encode())
