"""The exceptions that Bonaface raises, in one tree.

    BonafaceError              its text is one line: what was found, what was expected, what to do
    ├── InputError             an input that cannot be used
    │   ├── MediaError         an image or a video that cannot be decoded
    │   ├── ManifestError      a manifest, or the folder or table it is made from
    │   ├── LeakError          one subject or one file in more than one split
    │   ├── SettingsError      a recipe, an override or an option
    │   ├── WeightsError       weights that do not fit, or cannot be trusted
    │   ├── BundleError        a model bundle that is damaged, unknown or unfit for the request
    │   └── ScoreTableError    a score table
    ├── OutputError            an output that cannot be written, or that would overwrite another
    ├── DownloadError          a file that could not be fetched
    └── MissingExtraError      an optional dependency that is not installed

The command line catches the base class, prints its one line and exits with code 2. It prints a BonafaceWarning, for what
works but not as it should, as one line too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


class BonafaceError(Exception):
    """Base of every error that Bonaface raises on purpose."""


class BonafaceWarning(UserWarning):
    """Something that works, but not as it should; the command line prints its one line."""


class InputError(BonafaceError):
    """An input cannot be used."""


class MediaError(InputError):
    """An image or a video cannot be decoded."""


class ManifestError(InputError):
    """A manifest, or what it is made from, breaks a rule of the format."""


class LeakError(InputError):
    """A subject or a file occurs in more than one split."""


class SettingsError(InputError):
    """A recipe, an override or an option is not one that Bonaface knows."""


class WeightsError(InputError):
    """Weights do not fit the network, or are not the file they should be."""


class BundleError(InputError):
    """A bundle is damaged, of an unknown version, or unfit for the request."""


class ScoreTableError(InputError):
    """A score table breaks a rule of the format."""


class OutputError(BonafaceError):
    """An output cannot be written, or would overwrite something else."""


class DownloadError(BonafaceError):
    """A file could not be fetched."""


class MissingExtraError(BonafaceError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, extra: str, *, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra `{extra}`, which is not installed; "
            f'in a clone of Bonaface: pip install ".[{extra}]"'
        )
        self._extra, self._needed_for = extra, needed_for

    def __reduce__(self) -> tuple[partial[MissingExtraError], tuple[str]]:
        """Support pickling, so that the error can be sent from a worker process."""
        return partial(MissingExtraError, needed_for=self._needed_for), (self._extra,)


EXTRAS = {
    "accelerate": "train",
    "fsspec": "cloud",
    "h5py": "hdf5",
    "huggingface_hub": "train",
    "joblib": "eval",
    "matplotlib": "eval",
    "nncf": "openvino",
    "onnx": "train",
    "onnxscript": "train",
    "openvino": "openvino",
    "pandas": "eval",
    "pyarrow": "eval",
    "ray": "ray",
    "s3fs": "cloud",
    "safetensors": "train",
    "scipy": "eval",
    "sklearn": "eval",
    "timm": "train",
    "torch": "train",
    "torchvision": "train",
}
"""The extra that installs each module which the base install lacks."""


@contextmanager
def needs_extra(needed_for: str, *, extra: str | None = None) -> Iterator[None]:
    """Turn a failed import of a module that an extra installs into a MissingExtraError, of a wider `extra` if given."""
    try:
        yield
    except ModuleNotFoundError as error:
        found = EXTRAS.get((error.name or "").partition(".")[0])
        if found is None:
            raise
        raise MissingExtraError(extra or found, needed_for=needed_for) from None


def format_list(items: Iterable[object], *, limit: int = 5) -> str:
    """Return the first few of many items as one line.

    >>> format_list(range(8), limit=3)
    '0, 1, 2 and 5 more'
    """
    iterator = iter(items)
    shown = [str(item) for item in islice(iterator, limit)]
    rest = sum(1 for _ in iterator)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def one_line(error: object) -> str:
    """Return the text of an exception as one line of at most 300 characters, its type where it has no text.

    >>> one_line(ValueError("two\\n  lines")), one_line(EOFError())
    ('two lines', 'EOFError')
    """
    return " ".join(str(error).split())[:300] or type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint to the nearest known word, with a leading space; empty if none is near.

    >>> did_you_mean("epoch", ["epochs", "seed"])
    " (did you mean 'epochs'?)"
    """
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{near[0]}'?)" if near else ""


def check_choice(what: str, value: object, known: Collection[str]) -> None:
    """Raise SettingsError for the value of an option that is not one of those known; None, its default, is accepted."""
    if value is not None and value not in known:
        hint = did_you_mean(str(value), known)
        raise SettingsError(f"unknown {what} {value!r} (--{what}){hint}; known: {', '.join(known)}")


def describe_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line on what does not fit `model`: an unknown key with the known ones, or the first value."""
    faults = error.errors()
    unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
    if unknown:
        location = [str(part) for part in unknown[0]["loc"]]
        known = _known_keys(model, location[:-1])
        where = ".".join(location)
        return f"unknown key {where}{did_you_mean(location[-1], known)}; known here: {', '.join(known)}"
    fault = faults[0]
    where = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("literal", "constrained", "int")))
    reason = str(fault["msg"]).removeprefix("Value error, ")
    given = repr(fault["input"])
    given = given if len(given) <= 80 else f"{given[:80]}..."
    got = f" (got {given})" if where and not isinstance(fault["input"], dict) else ""
    others = format_list(
        [".".join(map(str, other["loc"])) for other in faults[1:] if other["loc"][:2] != fault["loc"][:2]]
    )
    return f"{where + ': ' if where else ''}{reason}{got}" + (f"; also wrong: {others}" if others else "")


@contextmanager
def reraise_os_error(path: object) -> Iterator[None]:
    """Raise an OSError from writing `path` (a full disk, no permission) as an OutputError."""
    try:
        yield
    except OSError as error:
        what = error.filename or path
        raise OutputError(
            f"cannot write {what}: {error.strerror or error}; free some space or choose a different folder"
        ) from None


def _known_keys(model: Any, sections: list[str]) -> list[str]:
    for section in sections:
        field: Mapping[str, Any] = model.model_fields
        if section not in field:
            return []
        annotation = field[section].annotation
        model = annotation if isinstance(annotation, type) else next(iter(get_args(annotation)), None)
        if not hasattr(model, "model_fields"):
            return []
    return list(model.model_fields)
