"""Settings of the server, and the limits on what one request may send."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field

from bonaface.choices import FacePolicy
from bonaface.errors import SettingsError


@dataclass(frozen=True)
class Limits:
    """Maximum size of one request.

    `video_work` is bounded because decoding cannot be interrupted.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(json_schema_serialization_defaults_required=True)

    bytes: Annotated[int, Field(description="Bytes of the body.")] = 16_000_000
    pixels: Annotated[int, Field(description="Pixels of an image.")] = 16_000_000
    video_pixels: Annotated[int, Field(description="Pixels of a video's frame.")] = 9_000_000
    video_frames: Annotated[int, Field(description="Frames of a video.")] = 2_400
    video_work: Annotated[int, Field(description="Pixels of a frame times the frames of a video.")] = 5_400_000_000
    files: Annotated[int, Field(description="Images of a burst.")] = 32
    seconds: Annotated[float, Field(description="Duration of a video.")] = 20.0
    timeout: Annotated[float, Field(description="Seconds from the headers of a request to its response.")] = 30.0
    upload_seconds: Annotated[
        float, Field(description="Seconds from the headers of a request to the end of its body.")
    ] = 20.0


@dataclass(frozen=True)
class ServerSettings:
    """How the server runs.

    At most `max_concurrent` requests wait or are worked on at once; `max_pending_bytes` bounds the bodies of all open
    requests together. `threads` decode, find faces and run the network. `faces` says what is scored where a frame shows
    several, `min_face` replaces the bundle's smallest face in pixels, and without `quality` the bundle's limits on it do not
    apply. Requests must carry `key` where it is not empty. `log` is the decision log, a SQLite file or an SQLAlchemy
    URL. `allow_hosts` are further host names to answer to, `*` for any; `public_url` is the address behind a proxy.
    `allow_origins` are the sites whose pages may call the API, such as `https://example.org`. With `require_session` each
    verdict takes a token of its own, kept in the database of `log`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    limits: Limits = field(default_factory=Limits)
    max_concurrent: int = 32
    max_pending_bytes: int = 128_000_000
    threads: int | None = None
    faces: FacePolicy = "largest"
    min_face: float | None = None
    quality: bool = True
    key: str = field(default="", repr=False)
    log: str | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    allow_hosts: tuple[str, ...] = ()
    public_url: str = ""
    allow_origins: tuple[str, ...] = ()
    require_session: bool = False

    def __post_init__(self) -> None:
        if self.public_url and not (urlsplit(self.public_url).scheme in {"http", "https"} and self._public_host()):
            raise SettingsError(
                f"--public-url {self.public_url}: expected an address such as https://example.org/liveness"
            )

        for origin in self.allow_origins:
            try:
                parts = urlsplit(origin)
                default = {"http": 80, "https": 443}.get(parts.scheme, -1)
                as_sent = parts.port != default and origin == f"{parts.scheme}://{parts.netloc}".lower()
            except ValueError:
                as_sent = False
            if not as_sent or parts.scheme not in {"http", "https"} or not parts.hostname:
                raise SettingsError(
                    f"--allow-origin {origin}: expected scheme and host as browsers send them, such as https://example.org"
                )
        if self.require_session and not self.log:
            raise SettingsError("--require-session keeps its tokens in the decision log's database; add --log FILE")

    def _public_host(self) -> str | None:
        return urlsplit(self.public_url).hostname

    def allows_host(self, name: str) -> bool:
        """Whether a request to this host name is answered.

        Names of this machine, `host`, `allow_hosts` and the host of `public_url` are. Listening on all addresses (0.0.0.0
        or ::), so is any IP address: a page of a different site can reach this server by a name (DNS rebinding), not by one.
        """
        name = name.lower().rstrip(".")
        own = {"localhost", self.host.lower(), self._public_host(), *(host.lower() for host in self.allow_hosts)}
        if name in own or "*" in own:
            return True
        address = _address(name)
        listening = _address(self.host)
        everywhere = listening is not None and listening.is_unspecified
        return address is not None and (address.is_loopback or everywhere)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def read_key(file: Path) -> str:
    """Return the API key in a file, without the line's end.

    Raises SettingsError where the file cannot be read or the key is short.
    """
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the API key in {file} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if len(key) < 16 or not key.isascii() or not key.isprintable():
        raise SettingsError(f"the API key in {file} must be 16 or more printable ASCII characters")
    return key
