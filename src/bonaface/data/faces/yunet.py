"""The YuNet network on ONNX Runtime: the boxes of OpenCV's FaceDetectorYN, two to three times as fast on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bonaface.errors import BundleError
from bonaface.onnx_runtime import onnx_session

Floats = NDArray[np.float32]

STRIDES = (8, 16, 32)
OVERLAP, MOST = 0.3, 100
_KINDS = ("cls", "obj", "bbox", "kps")

# The published file says that its input has 640 x 640 pixels, though nothing in the network depends on it: two dimensions of
# its one input, each as ONNX writes a number, and the same in as many bytes as ONNX writes a name.
_FIXED = b"\n\x03\x08\x80\x05" * 2
_FREE = b"\n\x03\x12\x01h\n\x03\x12\x01w"


class NotYuNet(Exception):
    """The file does not hold this network; the message says why."""


class Found(NamedTuple):
    """Left, top, width and height of a face, which may lie outside the picture, its score, and its landmarks `(5, 2)`."""

    box: Floats
    score: float
    landmarks: Floats


class YuNetNetwork:
    """Pictures in, boxes with scores and landmarks out.

    Wu et al. 2023, "YuNet: a tiny millisecond-level face detector"; what is done before and after the network is as in
    OpenCV. Runs on one thread: for many pictures, use several instances. Raises NotYuNet.
    """

    def __init__(self, path: Path, *, confidence: float) -> None:
        self._confidence = confidence
        content = path.read_bytes()
        if content.count(_FIXED) == 1:
            content = content.replace(_FIXED, _FREE)
        try:
            self._session = onnx_session(content, name=path)
        except BundleError as error:
            raise NotYuNet(str(error)) from None
        inputs = self._session.get_inputs()
        self._outputs = [f"{kind}_{stride}" for stride in STRIDES for kind in _KINDS]
        missing = set(self._outputs) - {output.name for output in self._session.get_outputs()}
        if len(inputs) != 1 or missing:
            raise NotYuNet("its inputs or outputs differ")
        if any(isinstance(side, int) for side in inputs[0].shape[2:]):
            raise NotYuNet("it takes pictures of one size only")
        self._input = inputs[0].name

    def faces(self, image: NDArray[np.uint8]) -> list[Found]:
        """Return the faces in an RGB picture, in pixels.

        Landmarks are the eyes, the tip of the nose and the corners of the mouth, the person's right one first.
        """
        height, width = image.shape[:2]
        padded = np.zeros((1, 3, _up(height), _up(width)), np.float32)
        padded[0, :, :height, :width] = image[:, :, ::-1].transpose(2, 0, 1)
        outputs = self._session.run(self._outputs, {self._input: padded})
        found = [
            self._above(outputs[4 * number : 4 * number + 4], stride, padded.shape[3] // stride)
            for number, stride in enumerate(STRIDES)
        ]
        boxes, scores, landmarks = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = cv2.dnn.NMSBoxes(boxes.astype(int).tolist(), scores.tolist(), self._confidence, OVERLAP, top_k=MOST)
        return [
            Found(boxes[index], float(scores[index]), landmarks[index])
            for index in np.ravel(np.asarray(kept, dtype=int))
        ]

    def _above(self, outputs: list[Any], stride: int, columns: int) -> tuple[Floats, Floats, Floats]:
        """Boxes `(n, 4)`, scores and landmarks `(n, 5, 2)` of the cells of one stride whose score is above the threshold."""
        classes, objects, offsets, points = (output[0] for output in outputs)
        scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
        cells = np.flatnonzero(scores > self._confidence)
        across, down, wide, high = offsets[cells].T
        size = np.exp(np.stack([wide, high], axis=1)) * stride
        corner = np.stack([cells % columns, cells // columns], axis=1)
        centre = (corner + np.stack([across, down], axis=1)) * stride
        landmarks = (corner[:, None] + points[cells].reshape(-1, 5, 2)) * stride
        return np.hstack([centre - size / 2, size]).astype(np.float32), scores[cells], landmarks.astype(np.float32)


def _up(pixels: int) -> int:
    """The next multiple of the largest stride."""
    return -(-pixels // STRIDES[-1]) * STRIDES[-1]
