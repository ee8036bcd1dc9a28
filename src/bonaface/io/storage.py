"""Files in object storage: addresses such as `s3://bucket/clips`, read and written through fsspec.

`Path("s3://bucket/clips")` keeps such an address, with one slash less, so it passes wherever a path does: it is joined and
named like any other. What opens, lists or writes a file asks `is_remote` first. Credentials and time-outs are those of the
storage's own library, from its usual environment variables and configuration files.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from bonaface.errors import (
    BonafaceError,
    InputError,
    MediaError,
    MissingExtraError,
    OutputError,
    needs_extra,
    one_line,
)

_ADDRESS = re.compile(r"(?!https?:|rtsps?:)([a-z][a-z0-9+.-]+):/+(?=[^/]|$)", re.IGNORECASE)
_USER = re.compile(r"([a-z][a-z0-9+.-]*:/+)(?:[^\s/?#]*@|[^\s/?#\[]*:(?![0-9]*(?:[/?#\s]|$))\S*@)", re.IGNORECASE)

Raised = TypeVar("Raised", bound=BonafaceError)


def is_remote(path: str | Path) -> bool:
    """Return whether a path is an address in storage, which fsspec opens.

    >>> is_remote("s3://bucket/a.csv"), is_remote(Path("s3://bucket/a.csv")), is_remote("c:/a.csv"), is_remote("a.csv")
    (True, True, False, False)
    """
    return _ADDRESS.match(path if isinstance(path, str) else path.as_posix()) is not None


def shown(path: str | Path) -> str:
    """Return a path as its user wrote it: an address in storage with both of its slashes, without a password.

    >>> shown(Path("s3://bucket/a.csv")), shown("ftp://me:secret@host/a.csv")
    ('s3://bucket/a.csv', 'ftp://host/a.csv')
    """
    return without_passwords(_address(path)) if is_remote(path) else str(path)


def without_passwords(text: str) -> str:
    """Return a text with the user names and passwords of all addresses in it left out.

    >>> without_passwords("no file at rtsp://me:secret@camera/live")
    'no file at rtsp://camera/live'
    """
    return _USER.sub(r"\1", text)


def version_of(path: Path) -> str:
    """Return what changes when an object does, such as its ETag; "" where there is none. Raises InputError."""
    with _reading(path) as (storage, key):
        try:
            info = storage.info(key)
        except FileNotFoundError:
            return ""
        if info.get("type") == "directory":
            return ""
        return next((str(info[name]) for name in ("ETag", "etag", "md5Hash") if info.get(name)), str(storage.ukey(key)))


def exists(path: Path) -> bool:
    """Return whether a file or folder is there, or an object, or a folder with objects. Raises InputError."""
    if not is_remote(path):
        return path.exists()
    with _reading(path) as (storage, key):
        return bool(storage.exists(key))


def listed(path: Path) -> list[Path]:
    """Return the objects below an address, or those that match its pattern, by name. Raises InputError."""
    with _reading(path) as (storage, key):
        keys = storage.glob(key) if any(mark in key for mark in "*?[") else storage.find(key)
        return [Path(storage.unstrip_protocol(each)) for each in sorted(keys)]


def read_range(path: Path, start: int, length: int) -> bytes:
    """Return so many bytes of a file or an object, fewer at its end. Raises InputError, OSError for a file."""
    if not is_remote(path):
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)
    with _reading(path) as (storage, key):
        content: bytes = storage.cat_file(key, start=start, end=start + length)
        return content


def copied(path: Path, folder: Path, *, error: type[Raised] | type[InputError] = InputError) -> Path:
    """Return a copy of an object, or of a folder of objects, in a local folder. Raises `error`, InputError."""
    target = folder / path.name
    with _reading(path) as (storage, key):
        try:
            storage.get_file(key, str(target))
        except FileNotFoundError:
            if not storage.isdir(key):
                raise error(f"nothing at {shown(path)}; check the address") from None
            target.unlink(missing_ok=True)
            storage.get(key.rstrip("/") + "/", str(target), recursive=True)
    return target


def local_copy(path: Path, *beside: str, error: type[InputError] = InputError) -> Path:
    """Return a path itself if it is local, else a copy that lasts as long as the process.

    `beside` names files next to it that are copied with it, where they exist. Raises `error`.
    """
    if not is_remote(path):
        return path
    folder = Path(tempfile.mkdtemp(prefix="bonaface-", dir=_copies()))
    local = copied(path, folder, error=error)
    for name in beside:
        if exists(path.with_name(name)):
            copied(path.with_name(name), folder)
    return local


@contextmanager
def temporary_copy(path: Path) -> Iterator[Path]:
    """Give a path itself if it is local, else a copy that is removed when the block ends.

    Raises MediaError where there is nothing, InputError where the storage fails. A MediaError of the block names the path.
    """
    if not is_remote(path):
        yield path
        return
    folder = local = Path(tempfile.mkdtemp(prefix="bonaface-"))
    try:
        local = copied(path, folder, error=MediaError)
        yield local
    except MediaError as error:
        raise MediaError(str(error).replace(str(local), shown(path))) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def named_as(path: Path, local: Path) -> Iterator[None]:
    """Name an address in the errors of a block that reads its local copy or what was copied with it."""
    if local == path:
        yield
        return
    try:
        yield
    except InputError as error:
        said = str(error).replace(str(local), shown(path)).replace(f"{local.parent}/", f"{shown(path.parent)}/")
        raise type(error)(said) from None


def upload(local: Path, path: Path, *, replace: bool = False) -> None:
    """Store a file, or all files of a folder, at an address; what is read first, `*.json`, comes last.

    An object appears complete or not at all. Of a folder that could not be completed, the objects that are new are removed
    again. With `replace`, other objects below the address are removed once all files are there. Raises OutputError.
    """
    with _writing(path) as (storage, key):
        if local.is_file():
            storage.put_file(str(local), key)
            return
        files = sorted(file for file in local.rglob("*") if file.is_file())
        files.sort(key=lambda file: (file.suffix == ".json", -len(file.parts)))
        before, put = set(storage.find(key)), set()
        try:
            for file in files:
                target = f"{key.rstrip('/')}/{file.relative_to(local).as_posix()}"
                put.add(target)
                storage.put_file(str(file), target)
        except BaseException:
            for target in put - before if before else [key]:
                with suppress(Exception):
                    storage.rm(target, recursive=True)
            raise
        if replace:
            for target in before - put:
                storage.rm_file(target)


def remove(path: Path) -> None:
    """Remove a file, an object or a folder of objects, if it is there. Raises OutputError."""
    if not is_remote(path):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot remove {path}: {error.strerror or error}") from None
        return
    with _writing(path) as (storage, key):
        if storage.exists(key):
            storage.rm(key, recursive=True)


@cache
def _copies() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="bonaface-copies-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _address(path: str | Path) -> str:
    text = path if isinstance(path, str) else path.as_posix()
    found = _ADDRESS.match(text)
    assert found is not None
    slashes = ":///" if found[1].lower() in ("file", "memory") else "://"
    return found[1].lower() + slashes + text[found.end() :]


@contextmanager
def _connected(path: Path, kind: type[BonafaceError], verb: str) -> Iterator[tuple[Any, str]]:
    """Give the file system of an address and the key in it; turn what either raises into one line."""
    name = shown(path)
    with needs_extra(f"{name}", extra="cloud"):
        import fsspec
    try:
        yield fsspec.core.url_to_fs(_address(path))
    except BonafaceError:
        raise
    except ImportError as error:
        if name.startswith("s3:"):
            raise MissingExtraError("cloud", needed_for=name) from None
        raise kind(f"{name} cannot be {verb}: {one_line(error)}") from None
    except PermissionError as error:
        raise kind(f"{name} cannot be {verb}: no permission ({one_line(error)}); check the credentials") from None
    except Exception as error:  # every storage has exceptions of its own
        raise kind(
            f"{name} cannot be {verb}: {one_line(error)}; check the address, the credentials in the environment and the "
            "connection"
        ) from None


_reading = partial(_connected, kind=InputError, verb="read")
_writing = partial(_connected, kind=OutputError, verb="written")
