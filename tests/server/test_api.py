from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path

import httpx
import numpy as np
import pytest

from bonaface.data.sources import Source
from bonaface.inference.bundle import load_bundle
from bonaface.server.app import create_app
from bonaface.server.errors import ERRORS
from bonaface.server.settings import ServerSettings
from tests.server import broken
from tests.server.conftest import encoded

URL = "/v1/liveness"


def post(server, *files: bytes, **options):
    return httpx.post(server.url + URL, files=[("file", (f"{n}.bin", file)) for n, file in enumerate(files)], **options)


def test_an_image_as_it_is_and_in_a_form_gives_one_verdict(server, jpeg):
    raw = httpx.post(server.url + URL, content=jpeg, headers={"Content-Type": "image/jpeg"}).json()
    form = post(server, jpeg).json()
    assert raw["verdict"] == form["verdict"] == "bona_fide"
    assert raw["accepted"] is True
    assert raw["kind"] == "image"
    assert raw["score"] == form["score"] >= raw["threshold"] == 0.5
    assert len(raw["frames"]) == 1


def test_python_request_of_the_readme_runs(server, jpeg, monkeypatch, capsys, tmp_path: Path):
    readme = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(import requests.*?)```", readme, re.DOTALL)
    assert example is not None
    (tmp_path / "photo.jpg").write_bytes(jpeg)
    monkeypatch.chdir(tmp_path)
    exec(example[1].replace("http://127.0.0.1:8000", server.url), {})
    assert capsys.readouterr().out.strip() == "bona_fide"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_the_same_verdict_and_score_as_the_pipeline_on_the_same_file(server, pipeline, frames, tmp_path: Path, form):
    for number in (0, 7):
        content = encoded(frames[number], form)
        file = tmp_path / f"{number}.{form.lower()}"
        file.write_bytes(content)
        (expected,) = pipeline.verdicts([Source("x", file)], kind="image")
        given = post(server, content).json()
        assert given["verdict"] == expected.outcome
        assert given["score"] == pytest.approx(expected.score, abs=1e-4)
        assert given["frames"][0]["box"] == pytest.approx(list(expected.frames[0].box))


def test_the_same_verdict_for_a_video_and_for_its_frames(server, pipeline, mp4, frames, tmp_path: Path):
    file = tmp_path / "live.mp4"
    file.write_bytes(mp4)
    (expected,) = pipeline.verdicts([Source("x", file)], kind="video")
    video = post(server, mp4).json()
    burst = post(server, *(encoded(frame) for frame in frames)).json()
    assert video["score"] == pytest.approx(expected.score, abs=1e-4)
    assert [frame["frame"] for frame in video["frames"]] == [frame.frame for frame in expected.frames]
    assert [frame["frame"] for frame in burst["frames"]] == [frame["frame"] for frame in video["frames"]]
    assert video["verdict"] == burst["verdict"] == "bona_fide"
    assert video["threshold"] == burst["threshold"] == 0.4
    assert burst["score"] == pytest.approx(video["score"], abs=0.05)


def test_what_is_dark_is_an_attack_to_this_bundle_and_an_empty_room_is_neither(server, dark_frames, frames):
    attack = post(server, encoded(dark_frames[0])).json()
    assert (attack["verdict"], attack["accepted"]) == ("attack", False)
    assert attack["score"] < attack["threshold"]
    nobody = post(server, encoded(frames[0] * 0 + 90)).json()
    assert (nobody["verdict"], nobody["accepted"], nobody["score"]) == ("no_face", False, None)
    assert nobody["frames"][0]["status"] == "no_face"


def test_several_faces_are_scored_as_on_the_command_line(server, servers, frames):
    two = encoded(np.hstack([frames[0][:, 140:500], frames[0][:, 140:500]]))
    largest = post(server, two).json()
    assert (largest["verdict"], largest["faces"], largest["reason"]) == ("bona_fide", 2, "2 faces, the largest scored")
    refused = post(servers("--faces", "refuse"), two).json()
    assert (refused["verdict"], refused["accepted"], refused["score"]) == ("several_faces", False, None)


def test_face_counts_what_liveness_would_score(servers, jpeg):
    for size, count, verdict in (("20", 1, "bona_fide"), ("400", 0, "too_small")):
        server = servers("--min-face", size)
        face = httpx.post(server.url + "/v1/face", files={"file": jpeg}).json()
        assert (face["faces"], face["box"] is None, face["width"]) == (count, False, 640)
        assert post(server, jpeg).json()["verdict"] == verdict
        server.stop()


def test_answer_is_what_python_and_the_command_line_give(server, pipeline, mp4, frames):
    late = broken.video([frame * 0 for frame in frames[:6]] + frames[:6])
    for content in (encoded(frames[0]), mp4, late):
        (expected,) = pipeline.verdicts([Source("x", content)])
        written = {**expected.to_dict(), "seconds": None}
        del written["source"]
        given = post(server, content).json()
        assert given.pop("request_id")
        assert {"total", "decode", "network"} < set(given["seconds"])
        assert {**given, "seconds": None} == written


def test_model_info_leaves_out_provenance(server, bundle):
    written = httpx.get(f"{server.url}/v1/model")
    assert written.json()["bundle"] == load_bundle(bundle).id
    assert written.json()["operating_points"]["video"]["threshold"] == 0.4
    assert "somebody" not in written.text


def test_health_and_metrics(server, jpeg):
    post(server, jpeg)
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"{server.url}/readyz").json() == {"status": "ready"}
    text = httpx.get(f"{server.url}/metrics").text
    assert re.search(r'^bonaface_verdicts_total\{outcome="bona_fide"\} [1-9]', text, re.M)
    assert re.search(r'^bonaface_stage_seconds_bucket\{le="\S+",stage="network"\}', text, re.M)
    assert re.search(r"^bonaface_places 8.0", text, re.M)


def test_openapi_has_an_example_for_every_error(server):
    document = httpx.get(f"{server.url}/openapi.json").json()
    operation = document["paths"][URL]["post"]
    kinds = {"image/jpeg", "video/mp4", "video/matroska", "multipart/form-data"}
    assert kinds <= set(operation["requestBody"]["content"])
    assert operation["x-codeSamples"]
    assert document["components"]["schemas"]["LivenessAnswer"]["examples"][0]["verdict"] == "bona_fide"
    assert "servers" not in document
    for code, (status, _) in ERRORS.items():
        examples = operation["responses"][str(status)]["content"]["application/json"]["examples"]
        assert examples[code]["value"]["error"]["code"] == code
    for path, statuses in (("/v1/model", {"200", "401"}), ("/readyz", {"200", "503"}), ("/healthz", {"200"})):
        assert set(document["paths"][path]["get"]["responses"]) == statuses


def test_docs_show_each_example_under_its_status(server):
    page = httpx.get(f"{server.url}/docs").text
    assert f"{server.url}{URL}" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    sections = dict(re.findall(r"<h3>(\d+)</h3>(.*?)(?=<h3>|$)", page.split("</section>")[0], re.S))
    for code, (status, _) in ERRORS.items():
        shown = re.findall(r'"code": "(\w+)"', unescape(sections[str(status)]))
        assert code in shown
        assert all(ERRORS[other][0] == status for other in shown)
    assert '"verdict": "no_face"' in unescape(sections["200"])


@pytest.mark.parametrize(
    ("given", "echoed"), [("abc-1.2_X", True), ("a" * 64, True), ("a" * 65, False), ("a b", False)]
)
def test_valid_request_id_is_echoed(server, jpeg, given, echoed):
    for content in (jpeg, b"no picture"):
        headers = {"Content-Type": "image/jpeg", "X-Request-ID": given}
        answer = httpx.post(server.url + URL, content=content, headers=headers)
        written = answer.json()
        found = written["request_id"] if answer.status_code == 200 else written["error"]["request_id"]
        assert found == answer.headers["x-request-id"]
        assert (found == given) == echoed


@pytest.mark.parametrize("name", ["image", "files[]", "fïle"])
@pytest.mark.parametrize("other", [{}, {"file": b"x"}])
def test_unknown_form_field_is_named(server, jpeg, name, other):
    answer = httpx.post(server.url + URL, files={**other, name: jpeg})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "unknown_field"
    assert repr(name) in answer.json()["error"]["message"]


def test_part_without_filename_keeps_its_bytes(server, jpeg):
    body = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + jpeg + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = httpx.post(server.url + URL, content=body, headers=headers).json()
    assert answer["score"] == post(server, jpeg).json()["score"]


def test_uploads_never_touch_the_disk(pipeline, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (1300, 1300, 3), dtype=np.uint8)
    large = encoded(noise, "PNG")
    assert len(large) > 5_000_000

    def rollover(_):
        pytest.fail("a temporary file was written")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    app = create_app(pipeline, ServerSettings(threads=1))

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post(URL, files=[("file", ("a.png", large)), ("file", ("b.png", large))])

    answer = asyncio.run(ask())
    assert answer.status_code == 200
    assert answer.json()["verdict"] == "no_face"
    app.state.queue.close()


@pytest.mark.parametrize("form", [False, True])
def test_matroska_is_scored_as_mp4(server, frames, form):
    answers = []
    for suffix in ("mp4", "matroska"):
        content = broken.video(frames, suffix)
        headers = {"Content-Type": "video/x-matroska;codecs=avc1"}
        raw = None if form else httpx.post(server.url + URL, content=content, headers=headers)
        answers.append((raw or post(server, content)).json())
    assert answers[1]["score"] == pytest.approx(answers[0]["score"], abs=1e-4)
    assert answers[1]["verdict"] == "bona_fide"


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/docs"])
def test_the_page_asks_nothing_of_other_hosts(server, path):
    answer = httpx.get(server.url + path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"""(src|href)=["'](https?:)?//|url\(|@import|fetch\(["'`]http""", answer.text)


def test_the_examples_are_answers_as_they_are_given(server, jpeg, frames):
    schemas = httpx.get(f"{server.url}/openapi.json").json()["components"]["schemas"]
    scored, nobody = schemas["LivenessAnswer"]["examples"]
    for example, content in ((scored, jpeg), (nobody, encoded(frames[0] * 0 + 90))):
        answer = post(server, content).json()
        for values in (example, answer):  # Haar finds no landmarks
            values["quality"] = {name: value for name, value in values["quality"].items() if "head_pose" not in name}
        assert shape(example) == shape(answer)
    assert shape(schemas["ErrorAnswer"]["examples"][0]) == shape(post(server, b"").json())


def shape(value):
    """Names and types of a JSON document."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/docs", "/v1/model"])
def test_a_balancer_may_ask_for_the_head_alone(server, path):
    head, whole = httpx.head(server.url + path), httpx.get(server.url + path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]


def test_an_address_that_is_not_there(server):
    for answer, status, code in (
        (httpx.get(f"{server.url}/v1/nothing"), 404, "not_found"),
        (httpx.get(server.url + URL), 405, "method_not_allowed"),
        (httpx.post(f"{server.url}{URL}/", headers={"Host": "localhost:1"}), 404, "not_found"),
        (httpx.get(f"{server.url}/../../etc/passwd"), 404, "not_found"),
    ):
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == code
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
        assert answer.headers.get("allow") == ("POST" if status == 405 else None)


def test_api_key_protects_v1_and_metrics(servers, tmp_path: Path, jpeg):
    file = tmp_path / "key"
    file.write_text("correct horse battery\n")
    server = servers("--key-file", str(file))
    for path in ("/v1/model", "/metrics"):
        assert httpx.get(server.url + path).json()["error"]["code"] == "unauthorized"
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    refused = post(server, jpeg, headers={"X-API-Key": "wrong"})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert post(server, jpeg).status_code == 401
    for headers in ({"X-API-Key": "correct horse battery"}, {"Authorization": "Bearer correct horse battery"}):
        assert post(server, jpeg, headers=headers).status_code == 200
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert document["paths"][URL]["post"]["security"] == [{"key": []}, {"bearer": []}]


def test_decision_log_keeps_seven_values(servers, tmp_path: Path, jpeg, dark_frames, bundle):
    file = tmp_path / "log.db"
    server = servers("--log", str(file))
    answers = [post(server, content).json() for content in (jpeg, encoded(dark_frames[0]), encoded(dark_frames[0] * 0))]
    post(server, b"not an image")
    assert server.stop() == 0
    with sqlite3.connect(file) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(decisions)")]
        rows = connection.execute("SELECT request_id, verdict, score, threshold, bundle FROM decisions ORDER BY time")
        found = rows.fetchall()
    connection.close()
    assert names == ["id", "request_id", "time", "verdict", "score", "threshold", "bundle"]
    assert found == [
        (answer["request_id"], answer["verdict"], answer["score"], answer["threshold"], load_bundle(bundle).id)
        for answer in answers
    ]


def test_nothing_of_what_was_sent_is_written_down(servers, tmp_path: Path, frames, mp4):
    server = servers(environment={"TMPDIR": str(tmp_path)})
    large = encoded(frames[0].repeat(2, axis=0).repeat(2, axis=1), "PNG", compress_level=0)
    assert len(large) > 1_200_000
    files = [("file", ("Erika Mustermann.png", large))]
    assert httpx.post(server.url + URL, files=files, headers={"User-Agent": "secret-agent"}, timeout=30).is_success
    assert httpx.post(f"{server.url}{URL}?name=Erika", files=[("file", ("Erika.mp4", mp4))]).is_success
    assert httpx.post(server.url + URL, files=[("file", ("Erika.jpg", b"\xff\xd8\xffErika"))]).status_code == 422
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            assert "deleted" not in str(link.readlink())
    assert not list(tmp_path.iterdir())
    server.stop()
    assert server.process.stdout
    output = server.process.stdout.read()
    assert output.count("\n") == 1
    assert "Erika" not in output
    assert "secret-agent" not in output


def test_serving_loads_none_of_the_heavy_libraries():
    program = (
        "import sys\nimport bonaface.server.serve\n"
        "heavy = {'torch', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'lightning', 'timm'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    assert (
        "HEAVY []" in subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.slow
def test_a_port_that_is_taken_and_a_bundle_that_is_not_there(server, bundle):
    bonaface = str(Path(sys.executable).with_name("bonaface"))
    port = server.url.rsplit(":", 1)[1]
    for arguments, said in (
        ([str(bundle), "--port", port], "cannot listen on 127.0.0.1"),
        (["nowhere"], "no bundle at nowhere"),
        ([str(bundle), "--log", "nowhere/at/all.db"], "decision log"),
        ([str(bundle), "--key-file", "nowhere"], "API key"),
        ([str(bundle), "--certificate", "nowhere"], "HTTPS needs two files"),
        ([str(bundle), "--certificate", "nowhere", "--certificate-key", "nowhere"], "PEM"),
    ):
        done = subprocess.run([bonaface, "serve", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
