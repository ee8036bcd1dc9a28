"""The examples of a deployment: the options, variables and paths that they name are those of the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from fastapi.testclient import TestClient

from bonaface.cli import app
from bonaface.inference.pipeline import Pipeline
from bonaface.server.app import create_app
from bonaface.server.settings import ServerSettings

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
FILES = ("compose.yaml", "kubernetes.yaml")


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def nodes(tree: Any) -> Iterator[Any]:
    """The tree and everything in it."""
    yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nodes(part)


def serve_command() -> Any:
    root: Any = typer.main.get_command(app)
    return root.commands["serve"]


def commands(name: str) -> list[list[str]]:
    return [node for node in nodes(documents(name)) if isinstance(node, list) and node[:2] == ["bonaface", "serve"]]


@pytest.mark.parametrize("name", FILES)
def test_options_are_those_of_serve(name: str):
    ((_, _, *arguments),) = commands(name)
    given = serve_command().make_context("serve", arguments).params
    assert given["threads"] == 1
    assert (given["host"], str(given["bundle"])) == ("0.0.0.0", "/bundle")
    assert given["require_session"]
    assert given["log"] == "postgresql+psycopg://"


@pytest.mark.parametrize("name", FILES)
def test_variables_are_known_and_hold_no_secret(name: str):
    variables: dict[str, str] = {}
    for node in nodes(documents(name)):
        if isinstance(node, dict):
            listed = node.get("environment") or node.get("env") or {}
            variables |= listed if isinstance(listed, dict) else {each["name"]: each["value"] for each in listed}
    known = {parameter.envvar for parameter in serve_command().params if parameter.envvar}
    assert {name for name in variables if name.startswith("BONAFACE_")} == known
    assert not [name for name in variables if "PASSWORD" in name]


def probes() -> list[str]:
    """The paths that are asked for health: Kubernetes' probes, HAProxy's check, the image's own check."""
    found = [
        probe["httpGet"]["path"]
        for node in nodes(documents("kubernetes.yaml"))
        if isinstance(node, dict)
        for key, probe in node.items()
        if key.endswith("Probe")
    ]
    assert len(found) == 3
    texts = [(DEPLOY / "haproxy.cfg").read_text(), (DEPLOY.parents[1] / "Dockerfile").read_text()]
    return found + [path for text in texts for path in re.findall(r"(?:uri |http://127\.0\.0\.1:8000)(/\w+)", text)]


def test_probes_are_answered_without_a_key(pipeline: Pipeline):
    paths = probes()
    assert len(paths) == 5
    application = create_app(pipeline, ServerSettings(host="0.0.0.0", key="k" * 16))
    for host in ("10.1.2.3:8000", "localhost"):  # a pod's address, and what HAProxy's check sends
        with TestClient(application, base_url=f"http://{host}") as client:
            assert [client.get(path).status_code for path in paths] == [200] * 5
        application = create_app(pipeline, ServerSettings(host="0.0.0.0", key="k" * 16))


def test_time_to_end_covers_a_request():
    timeout = ServerSettings().limits.timeout
    (compose,) = documents("compose.yaml")
    assert int(compose["services"]["server"]["stop_grace_period"].removesuffix("s")) > timeout + 5
    pod = documents("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    wait = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > timeout + 5 + wait
    (server,) = re.findall(r"timeout server (\d+)s", (DEPLOY / "haproxy.cfg").read_text())
    assert int(server) > timeout


def test_mounted_files_are_there():
    (compose,) = documents("compose.yaml")
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).is_file()
