from __future__ import annotations

import io
import json
import os
import sys
import time
import unicodedata
from datetime import datetime
from pathlib import Path

import pytest
import typer
from PIL import Image

from bonaface.cli import main, output
from bonaface.cli.app import app
from bonaface.cli.output import echo, printable, show_progress
from bonaface.inference.bundle import write_bundle
from tests.networks import tiny_bundle

NAMES = ["a_anna", "b_José", unicodedata.normalize("NFD", "c_José"), "d_Łukasz", "e_日本", "f_😀"]
FORGED = [
    "x\nbona_fide     0.9999  threshold 0.4695  door",
    "x\rbona_fide     0.9999",
    "x\x1b[2K\x1b[1Gbona_fide",
    "x\x85bona_fide",
    "x\u2028bona_fide",
    "x\u202egpj.edif_anob",
    "x\x00\x07\x9b31m",
]


class Console(io.TextIOWrapper):
    """A stream of some encoding that says whether it is a terminal."""

    def __init__(self, encoding: str, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(tiny_bundle(folder / "bundle"))
    return folder / "bundle"


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str, encoding: str = "utf-8") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command on a console of this encoding."""
    out, err = Console(encoding), Console(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "argv", ["bonaface", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), out.text(), err.text()


@pytest.mark.parametrize("name", FORGED)
def test_printable_escapes_what_terminals_act_on(name: str):
    shown = printable(name)
    assert shown.isprintable()
    assert shown.startswith("x\\")
    assert shown.splitlines() == [shown]


def test_printable_keeps_names_of_all_scripts():
    for name in [*NAMES, "日本\u3000太郎", "a\u00a0b", "C:\\new\\clip.mp4"]:
        assert printable(name) == name


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "latin-1", "ascii", "cp437", "shift_jis"])
@pytest.mark.parametrize("as_json", [False, True])
def test_predict_on_any_console(
    encoding: str, as_json: bool, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    names = [f"{name}.png" for name in NAMES]
    if os.name == "posix":
        names += [os.fsdecode(b"g_caf\xe9.png"), "h\nbona_fide 0.9999.png"]
    for name in names:
        Image.new("RGB", (64, 64)).save(tmp_path / name, format="PNG")
    arguments = ["predict", str(bundle), *(str(tmp_path / name) for name in names), *(["--json"] if as_json else [])]
    code, out, err = run_main(monkeypatch, *arguments, encoding=encoding)
    assert code in (0, 1), err
    lines = out.split("\n")[:-1]
    assert len(lines) == len(names)
    if as_json:
        assert [Path(json.loads(line)["source"]).name for line in lines] == names
        assert out.isascii()
    else:
        shown = [printable(name).encode(encoding, "backslashreplace").decode(encoding) for name in names]
        assert all(line.endswith(name) for line, name in zip(lines, shown, strict=True))


@pytest.mark.skipif(os.name != "posix", reason="needs names with line breaks")
@pytest.mark.parametrize("command", ["index", "audit"])
def test_names_forge_no_line_of_a_summary(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for label in ("live", "print"):
        (tmp_path / "footage" / label / "p1").mkdir(parents=True)
        (tmp_path / "footage" / label / "p1" / "a\nverdict: nothing found\x1b[2K.png").write_bytes(b"no picture")
    manifest = str(tmp_path / "m.csv")
    done = run_main(monkeypatch, "data", "index", str(tmp_path / "footage"), "-o", manifest, "--check")
    if command == "audit":
        assert done[0] == 0, done[2]
        done = run_main(monkeypatch, "data", "audit", manifest, "--detector", "whole_frame", "--workers", "1")
    shown = done[1] + done[2]
    assert "a\\nverdict: nothing found\\x1b[2K.png" in shown
    assert "\nverdict: nothing found" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("name", [*NAMES, "g_\udce9", *FORGED[:-1]])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_errors_on_any_console(encoding: str, name: str, monkeypatch: pytest.MonkeyPatch):
    code, out, err = run_main(monkeypatch, "bundle", "show", f"nowhere_{name}", encoding=encoding)
    assert (code, out) == (2, "")
    assert "nowhere_" in err
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert err[:-1].isprintable()


def test_debug_shows_traceback_of_any_error(monkeypatch: pytest.MonkeyPatch):
    assert "Traceback" not in run_main(monkeypatch, "bundle", "show", "nowhere")[2]
    monkeypatch.setenv("BONAFACE_DEBUG", "1")
    for arguments in (["bundle", "show", "nowhere"], ["data", "split"], ["unknown"]):
        code, _, err = run_main(monkeypatch, *arguments)
        assert code == 2
        assert err.startswith("Traceback")
        assert err.splitlines()[-1].startswith("bonaface: ")


def test_internal_error_says_how_to_report_it(monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise IndexError("first\nsecond")

    monkeypatch.setattr("bonaface.layouts", fail)
    code, _, err = run_main(monkeypatch, "data", "layouts")
    assert code == 70
    assert err == (
        "bonaface: Internal error (IndexError: first second). "
        "Run with BONAFACE_DEBUG=1 and attach the traceback to a bug report.\n"
    )


@pytest.mark.parametrize("words", [[], ["data"], ["bundle"]])
def test_a_bare_group_prints_its_help(words: list[str], monkeypatch: pytest.MonkeyPatch):
    bare = run_main(monkeypatch, *words)
    assert bare == run_main(monkeypatch, *words, "--help")
    assert bare[0] == 0
    assert bare[1].count("\n") > 5


def test_a_program_without_console_writes_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    echo("lost")
    with show_progress() as progress:
        assert progress is None


def capture_stderr(monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False) -> Console:
    console = Console("utf-8", terminal=terminal)
    monkeypatch.setattr(sys, "stderr", console)
    return console


def test_lines_at_start_tenths_and_end_without_terminal(monkeypatch: pytest.MonkeyPatch):
    stderr = capture_stderr(monkeypatch)
    monkeypatch.setattr(output, "LINE_AT_MOST", 0.0)
    with show_progress() as progress:
        assert progress is not None
        for done in range(201):
            progress("crops", done, 200)
    lines = stderr.text().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"crops: {done}/200 ({done // 2} %)" for done in range(0, 201, 20)
    ]


def test_few_lines_for_a_stage_that_is_quick(monkeypatch: pytest.MonkeyPatch):
    stderr = capture_stderr(monkeypatch)
    with show_progress() as progress:
        assert progress is not None
        for _ in range(2):  # a stage may be run again, as by each fold
            for done in range(201):
                progress("crops", done, 200)
    assert [line.split()[1] for line in stderr.text().splitlines()] == ["0/200", "200/200"] * 2


def test_a_line_for_each_epoch(monkeypatch: pytest.MonkeyPatch):
    stderr = capture_stderr(monkeypatch)
    monkeypatch.setattr(output, "LINE_AT_MOST", 0.0)
    with show_progress() as progress:
        assert progress is not None
        progress("train", 0, 300)
        for epoch in range(3):
            for step in range(100):
                progress("train", epoch * 100 + step + 1, 300)
            progress.epoch(f"epoch {epoch + 1}/3", {"epoch": epoch + 1})
    lines = stderr.text().splitlines()
    assert [line for line in lines if line.startswith("epoch")] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    after = lines[lines.index("epoch 1/3") :]
    assert len(after) == 4  # the epochs' lines take the place of the tenths


def test_no_long_silence_without_terminal(monkeypatch: pytest.MonkeyPatch):
    stderr = capture_stderr(monkeypatch)
    monkeypatch.setattr(output, "SILENT_IN_STAGE", 0.5)
    monkeypatch.setattr(output, "SILENT_BETWEEN", 0.5)
    with show_progress() as progress:
        assert progress is not None
        progress("names", 0, 0)
        assert stderr.text() == "names: started, 0 s\n"  # a stage of unknown length starts with a line, too
        progress("names", 7, 0)
        time.sleep(1.5)
        assert "names: 7, " in stderr.text()
        progress("names", 7, 7)
        time.sleep(1.5)
        assert "working, names done" in stderr.text()
    before = stderr.text()
    time.sleep(1.5)
    assert stderr.text() == before


@pytest.mark.parametrize("terminal", [False, True])
def test_json_log_is_one_object_a_line(terminal: bool, monkeypatch: pytest.MonkeyPatch):
    stderr = capture_stderr(monkeypatch, terminal=terminal)
    with show_progress(json_log=True) as progress:
        assert progress is not None
        progress("names", 3, 0)
        for done in range(11):
            progress("train", done, 10)
        progress.epoch("epoch 1/2", {"epoch": 1, "epochs": 2, "val_hter": float("nan"), "best": True})
        echo("a note\nof two lines", err=True)
    lines = [json.loads(line) for line in stderr.text().splitlines()]
    times = [datetime.fromisoformat(line.pop("time")) for line in lines]
    assert times == sorted(times)
    for line in lines:
        line.pop("seconds", None)
    assert lines == [
        {"stage": "names", "done": 3, "total": None},
        {"stage": "train", "done": 0, "total": 10},
        {"stage": "train", "done": 10, "total": 10},
        {"stage": "train", "epoch": 1, "epochs": 2, "val_hter": None, "best": True},
        {"message": "a note\nof two lines"},
    ]


def test_json_log_holds_errors_and_warnings(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("notes")
    code, out, err = run_main(monkeypatch, "predict", "--json-log", str(bundle), str(tmp_path), str(tmp_path / "a.png"))
    assert (code in (0, 1), len(out.splitlines())) == (True, 2)
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["stage"] for line in lines if "stage" in line] == ["score", "score"]
    assert sum("2 presentations" in line.get("message", "") for line in lines) == 1
    assert sum("notes.txt" in line.get("message", "") for line in lines) == 1
    code, _, err = run_main(monkeypatch, "explain", "--json-log", str(tmp_path / "none"), str(tmp_path / "a.png"))
    assert (code, "no bundle" in json.loads(err)["message"]) == (2, True)
    for command in (["predict"], ["train", "none", "-o", "x", "--unknown"], ["data", "crop", "none.csv"]):
        code, _, err = run_main(monkeypatch, *command, "--json-log")
        assert (code, list(json.loads(err))) == (2, ["time", "message"])
    assert run_main(monkeypatch, "predict", str(bundle), "nowhere")[2].startswith("bonaface: ")  # text again


def test_every_long_command_has_quiet_and_json_log():
    group = typer.main.get_command(app)
    commands = {**group.commands, **group.commands["data"].commands, **group.commands["bundle"].commands}  # type: ignore[attr-defined]
    long = {name for name, command in commands.items() if any("--quiet" in option.opts for option in command.params)}
    assert long >= {"train", "folds", "demo", "export", "evaluate", "explain", "embed", "predict"}
    assert long >= {"index", "crop", "audit", "calibrate", "pull"}
    for name in long:
        assert any("--json-log" in option.opts for option in commands[name].params), name


def test_quiet_writes_nothing(monkeypatch: pytest.MonkeyPatch):
    stderr = capture_stderr(monkeypatch)
    with show_progress(quiet=True) as progress:
        assert progress is None
    assert stderr.text() == ""


def test_bars_with_epochs_above_in_a_terminal(monkeypatch: pytest.MonkeyPatch):
    console = capture_stderr(monkeypatch, terminal=True)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress() as progress:
        assert progress is not None
        for done in range(11):
            progress("train", done, 10)
        progress.epoch("epoch 1/1  [val] 0.2", {"epoch": 1})
        progress("score", 0, 0)
    text = console.text()
    assert "epoch 1/1  [val] 0.2" in text
    assert "10/10" in text
    assert "train" in text.rpartition("epoch 1/1")[2]
