"""Write files and folders: each appears complete or not at all, since it is written under a temporary name and moved."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bonaface.errors import OutputError, reraise_os_error
from bonaface.io import storage

LOCK = ".lock"
_TEMPORARY = ".bonaface-"
_PACKAGES = (
    "bonaface",
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "onnx",
    "onnxruntime",
    "opencv-python-headless",
    "av",
    "numpy",
    "pandas",
)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a temporary path next to `path`, whose file takes its place when the block ends without an error.

    Makes the folder if needed. A file in storage is written to a local folder and then uploaded. Raises OutputError.
    """
    if storage.is_remote(path):
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as folder:
            local = Path(folder) / path.name
            yield local
            storage.upload(local, path)
        return
    fresh: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        fresh = Path(name)
        os.close(handle)
        yield fresh
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        fresh.chmod(0o666 & ~_umask())
        fresh.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write {path}: {reason}; free some space or name a different folder") from None
    finally:
        if fresh is not None:
            fresh.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, and make its folder if needed. Raises OutputError."""
    with new_file(path) as fresh:
        fresh.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write text atomically in UTF-8; bytes of a file name that are not UTF-8 are escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON atomically; NaN and infinity become null."""
    write_text(path, json.dumps(json_safe(values), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def json_safe(value: Any) -> Any:
    """Return a value as JSON can hold it: dataclasses become objects, NaN and infinity become null.

    >>> json_safe({"far": float("nan"), "notes": ("a", "b")})
    {'far': None, 'notes': ['a', 'b']}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return json_safe(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if the file is missing. Raises InputError where storage cannot be read."""
    try:
        if not storage.exists(path):
            return {}
        values = json.loads(storage.local_copy(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def check_free(path: str | Path, *, what: str) -> Path:
    """Return the path where a folder may be made: nothing is there, or an empty folder. Raises OutputError."""
    path = Path(path)
    if storage.is_remote(path):
        if storage.exists(path):
            raise OutputError(f"{storage.shown(path)} is not empty; name a different folder for the {what}")
        return path
    with reraise_os_error(path):
        if path.exists() and (not path.is_dir() or any(not _is_temporary(item) for item in path.iterdir())):
            is_run = (path / "run.json").exists()
            held = "holds another run" if is_run else "is not empty" if path.is_dir() else "is a file"
            hint = ", or add --resume to continue it" if is_run and what == "training run" else ""
            raise OutputError(f"{path} {held}; name a different folder for the {what}{hint}")
    return path


def fresh_folder(path: str | Path, *, what: str) -> Path:
    """Make an empty folder, or accept one that is empty already. Raises OutputError for anything else in its place."""
    path = check_free(path, what=what)
    if storage.is_remote(path):
        raise OutputError(
            f"{storage.shown(path)} is in storage; a {what} grows file by file and needs a local folder: upload it when it is "
            "complete"
        )
    with reraise_os_error(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked_folder(path: Path, *, doing: str) -> Iterator[None]:
    """Make a folder and lock it; the system releases the lock when the process ends.

    Raises OutputError, which says what the other process is `doing`, where another one holds it. Systems without such locks,
    such as Windows, lock nothing.
    """
    with reraise_os_error(path):
        path.mkdir(parents=True, exist_ok=True)
        file = (path / LOCK).open("w")
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"another process is {doing} in {path}; wait for it or name another folder") from None
        except (ImportError, OSError):
            pass
        yield


@contextmanager
def new_folder(path: str | Path, *, what: str, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder whose content is moved to `path` when the block ends without an error.

    After an error nothing is left, so that the same call can be made again. A folder at `path` must be empty; with
    `replace` its content makes way for the new one. Raises OutputError before the block where `path` is taken or cannot
    be written.
    """
    path = Path(path) if replace else check_free(path, what=what)
    if storage.is_remote(path):
        with _uploaded(path, replace=replace) as folder:
            yield folder
        return
    with reraise_os_error(path):
        # An existing folder may be a mount or the working directory: it is filled, not replaced.
        existing = path.is_dir()
        if not existing:
            path.parent.mkdir(parents=True, exist_ok=True)
        fresh = _temporary_folder(path if existing else path.parent)
    try:
        yield fresh
        with reraise_os_error(path):
            if existing:
                _move_up(fresh, path)
            else:
                fresh.chmod(0o777 & ~_umask())
                fresh.replace(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def _uploaded(path: Path, *, replace: bool) -> Iterator[Path]:
    """Give a local folder that is uploaded when the block ends; where that fails, it is kept and named."""
    folder = Path(tempfile.mkdtemp(prefix=f"{path.name}-"))
    kept = False
    try:
        yield folder
        try:
            storage.upload(folder, path, replace=replace)
        except OutputError as error:
            kept = True
            raise OutputError(f"{error}; what was made is kept in {folder}") from None
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _move_up(fresh: Path, path: Path) -> None:
    """Move what `fresh` holds into `path`, its parent; what was there before is deleted."""
    old = _temporary_folder(path)
    for item in list(path.iterdir()):
        if not _is_temporary(item):
            item.replace(old / item.name)
    for item in list(fresh.iterdir()):
        item.replace(path / item.name)
    shutil.rmtree(old, ignore_errors=True)


def _temporary_folder(parent: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=parent))


def _is_temporary(path: Path) -> bool:
    """Return whether an interrupted process may have left a folder."""
    return path.name.startswith(_TEMPORARY)


def versions() -> dict[str, str]:
    """Return the versions of Bonaface and of the packages that decide its numbers."""
    found = {}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def now() -> str:
    """Return the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
