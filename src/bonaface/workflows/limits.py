"""Set a bundle's limits on the quality of a face, and its smallest face."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from bonaface.errors import SettingsError, describe_validation_error
from bonaface.inference.bundle import Bundle, change_bundle, write_bundle
from bonaface.inference.bundle_schema import BundleCard
from bonaface.inference.quality_limits import parse_limits
from bonaface.workflows.bundle import find_bundle


def set_limits(
    bundle: str | Path | Bundle,
    limits: Iterable[str] = (),
    *,
    output: str | Path,
    min_face: float | None = None,
) -> Bundle:
    """Write a bundle that scores no frame whose quality breaks a limit.

    The limits replace the bundle's own; without any it has none. The thresholds are kept; the error rates are left out,
    since they were measured without these limits.

    Args:
        bundle: the bundle, its path, or the run folder that holds it.
        limits: limits such as `sharpness>=40`; `bonaface.types.Quality` says what each measure is.
        output: the bundle to write.
        min_face: the longer side in pixels that a face needs to be scored, by default as before.

    Returns:
        The new bundle.

    Raises:
        SettingsError: a limit is of no known measure, is not a number, or leaves nothing; the pose is limited, which the
            bundle's detector does not find.

    Examples:
        ```python
        strict = bonaface.set_limits("run/bundle", ["sharpness>=10", "over_exposure<=0.5"], output="strict")
        print(strict.card.quality)
        ```
    """
    model = find_bundle(bundle).use(None)
    changes = {
        "quality": parse_limits(list(limits)),
        "min_face": model.card.min_face if min_face is None else min_face,
        "results": {},
    }
    try:
        card = BundleCard.model_validate({**dict(model.card), **changes})
    except ValidationError as error:
        raise SettingsError(describe_validation_error(error, BundleCard)) from None
    done = change_bundle(model, path=Path(output), **{name: getattr(card, name) for name in changes})
    write_bundle(done)
    return done
