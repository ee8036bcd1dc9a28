"""Print a verdict about every second on what a webcam sees, until Ctrl+C.

python examples/webcam.py run/bundle --camera 0
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import bonaface

ADVICE = {
    "no_face": "look into the camera",
    "several_faces": "one person at a time, please",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Print a verdict about every second on what a webcam sees.")
    parser.add_argument("bundle", help="a bundle, such as run/bundle or minifas-128.bonaface")
    parser.add_argument("--camera", type=int, default=0, help="the camera's number")
    parser.add_argument("--seconds", type=float, help="stop after this long; by default on Ctrl+C")
    options = parser.parse_args(arguments)
    try:
        model = bonaface.load(options.bundle, faces="refuse")
        # Each verdict is on the newest frames of about one second, fused: the bundle's threshold for a video applies.
        for verdict in model.predict(options.camera, seconds=options.seconds):
            advice = verdict.findings[0].advice if verdict.findings else ADVICE.get(verdict.outcome, "")
            print(
                f"{verdict.outcome:<14}{verdict.score_text():>8}  threshold {verdict.threshold:.4f}  {advice}".rstrip()
            )
    except KeyboardInterrupt:
        pass
    except bonaface.BonafaceError as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
