"""The Dockerfile cannot be built in a test; what can be read off it is held here."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_it_runs_the_server_without_root():
    *_, last = re.split(r"^FROM .*$", DOCKERFILE, flags=re.M)
    assert re.search(r"^USER 10001$", last, re.M)
    assert '"serve", "/bundle"' in last
    assert last.index("USER") < last.index("CMD")


def test_it_installs_no_training():
    assert not re.search(r"bonaface\[|\.\[", DOCKERFILE)


@pytest.mark.parametrize(
    "name", re.findall(r"[\w.]+", " ".join(re.findall(r"^COPY (?!--from|\$)(.*) \S+$", DOCKERFILE, re.M)))
)
def test_what_it_copies_is_there_and_is_sent_to_the_builder(name: str):
    assert (ROOT / name).exists()
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert any(fnmatch(name, pattern) for pattern in allowed)
