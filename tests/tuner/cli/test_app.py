from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from metrics.detectors.models import ModelUnavailableError
from tests.tuner.plain_trials import good, new_folder, session, study_config
from tests.tuner.tiny_space import write_clip
from tuner.cli.app import app
from tuner.cli.errors import user_errors
from tuner.errors import ConfigError, DiskError, DivergedError, Terminated, TooManyFailuresError
from tuner.results import read_results
from tuner.storage import StudyFolder
from tuner.study.study import search

HEAVY = ("torch", "diffusers", "peft", "transformers", "mediapipe", "open_clip", "optuna", "cv2")
VERBS = (
    *("run", "check", "init", "status", "dashboard", "export", "score", "label", "models"),
    *("selfcheck", "build-mannequin", "data audit", "data prepare"),
)

SPACE = """
study: pose
base: {base}
data: mannequin:few
budget: {{trials: 2, rungs: [2, 40]}}
suite: {{prompts: [{{text: 1girl, sex: female}}], seeds: 2, size: 64, steps: 2}}
judges: {{gender_model: {clip}}}
train: {{rank: {{choices: [2, 4]}}, batch_size: 2}}
"""


def tuner(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tuner", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_light_commands_load_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; from tuner.cli.app import app\n"
        "for words in sys.argv[1:]:\n"
        "    app(words.split(), standalone_mode=False)\n"
        f"    print('loaded', [one for one in {HEAVY} if one in sys.modules])"
    )
    commands = ["--help", "check nowhere.yaml", "status", "models", "data prepare -h"]
    done = subprocess.run(
        [sys.executable, "-c", code, *commands],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TUNER_STUDIES": str(tmp_path)},
    )
    loaded = [line for line in done.stdout.splitlines() if line.startswith("loaded")]
    assert loaded == ["loaded []"] * len(commands)


def test_checking_a_whole_space_loads_no_heavy_library(tmp_path: Path) -> None:
    # The data folder is missing, so that every other part is looked at too.
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.format(base="mannequin", clip="mannequin").replace("data: m", "data: n"))
    code = (
        "import sys; from tuner.space.load import load_study\n"
        "from tuner.study.check import check_study\n"
        "try: check_study(load_study(sys.argv[1]))\n"
        "except Exception as error: print(error)\n"
        "from tuner.study.timed import timed_units\n"
        "sizes = ['train.resolution=512', 'suite.size=512']\n"
        "config = load_study(sys.argv[1], base='owner/no-such-name', set_values=sizes)\n"
        "print(timed_units(config, 2).note)\n"
        f"print([one for one in {HEAVY} if one in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(space)], capture_output=True, text=True, check=True
    )
    assert "nannequin" in done.stdout
    assert "the base is not on this machine yet" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_process_that_runs_a_study_loads_no_network() -> None:
    code = (
        "import sys, tuner.study, tuner.study.confirm, tuner.cli.follow; "
        "print([one for one in ('torch', 'diffusers', 'peft', 'mediapipe') if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("verb", VERBS)
def test_each_help_ends_in_an_example(verb: str) -> None:
    shown = CliRunner().invoke(app, [*verb.split(), "--help"]).stdout
    last = shown.rstrip().splitlines()[-1].strip()
    assert f"{last} ".startswith(f"Example: tuner {verb} ")


def test_without_arguments_there_is_help() -> None:
    shown = CliRunner().invoke(app, [])
    assert "Usage" in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("one\ntwo"), 3, "error: one\nerror: two\n"),
        (ModelUnavailableError("no hand_landmarker"), 4, "error: no hand_landmarker\n"),
        (TooManyFailuresError("three"), 5, "error: three\n"),
        (DiskError("full"), 74, "error: full\n"),
        (
            OSError(errno.ENOSPC, "No space", "x.png"),
            74,
            "error: no space left on the disk for x.png; "
            "free some and run the same command again\n",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "photos"),
            3,
            "error: photos cannot be used (No such file); give another path\n",
        ),
        (OSError("no network"), 1, "error: no network\n"),
        (
            sqlite3.OperationalError("no such table"),
            1,
            "error: a database cannot be used: no such table\n",
        ),
        (
            DivergedError("the base's pictures"),
            1,
            "error: no finite numbers: the base's pictures; change the base or the parameters\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (Terminated(), 143, ""),
    ],
)
def test_what_a_user_can_mend_is_reported_with_its_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught, user_errors():
        raise error
    assert caught.value.exit_code == code
    assert capsys.readouterr() == ("", line)


def test_run_names_what_is_not_used_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[object] = []
    monkeypatch.setattr("tuner.cli.follow.follow", lambda *given: followed.append(given))
    for name in ("a", "b/c"):
        (path := tmp_path / "photos" / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((16, 16), 50).save(path)
    (tmp_path / "photos" / "a.txt").write_text("1girl")
    space = tmp_path / "x.yaml"
    space.write_text("{study: x, base: mannequin, data: photos, budget: {rungs: [1]}}")
    done = CliRunner().invoke(app, ["run", str(space), f"--studies={tmp_path}"])
    assert (done.exit_code, done.stdout, len(followed)) == (0, "", 1), done.stderr
    first, second = done.stderr.splitlines()
    assert first.endswith("photos: 1 picture to train on, 0 held out; captions: .txt 1")
    assert second == "  not used: pictures in folders that are not searched: 1 (b)"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(IndexError), user_errors():
        raise IndexError("gone")


def test_a_space_with_two_mistakes_is_reported_in_two_lines(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE.format(base="mannequin", clip="mannequin"))
    wrong = ["--set", "train.rnak=3", "--set", "train.learning_rate=2"]
    done = CliRunner().invoke(app, ["run", str(space), "--studies", str(tmp_path / "s"), *wrong])
    assert done.exit_code == 3
    assert done.stdout == ""
    assert [line[:7] for line in done.stderr.splitlines()] == ["error: "] * 2
    assert not (tmp_path / "s").exists()


def test_status_tells_of_all_studies_and_of_one(tmp_path: Path) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path / "studies")
    with session(config, folder) as open_study:
        list(search(open_study, good(folder)))
    studies = ["--studies", str(folder.root.parent)]
    line = "pose: 3 of 3 trials, 3 on the front, finished\n"
    assert CliRunner().invoke(app, ["status", *studies]).stdout == line
    one = CliRunner().invoke(app, ["status", "pose", *studies]).stdout
    assert one.startswith(line)
    assert "0.50 [0.40, 0.60]" in one
    assert one.count("complete") == 3
    other = CliRunner().invoke(app, ["status", "nope", *studies])
    assert (other.exit_code, other.stdout) == (3, "")
    assert "there: pose" in other.stderr


@pytest.fixture
def space(tiny_base: Path, tmp_path: Path) -> Path:
    """A search space on a base and a gender judge of random weights."""
    clip = write_clip(tmp_path / "clip")
    path = tmp_path / "pose.yaml"
    path.write_text(SPACE.format(base=tiny_base, clip=clip))
    return path


@pytest.mark.slow
def test_a_study_stopped_by_ctrl_c_goes_on_and_exports(space: Path, tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    folder = StudyFolder(studies / "pose")
    command = ["run", str(space), "--studies", str(studies), "--plain", "--workers", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "tuner", *command],
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs, the tests among them, hand down an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if line.startswith("trial 0, step 2:"):
                first.send_signal(signal.SIGINT)
                break
        stopped_at = time.monotonic()
        rest = first.stderr.read()
        assert first.wait() == 130
        assert time.monotonic() - stopped_at < 10
    assert "run the same command again to continue" in rest

    again = tuner(*command)
    assert again.returncode == 0, again.stderr
    assert "base: pose" in again.stderr
    assert "sampling the base" not in again.stderr
    assert "semaphore" not in again.stderr
    assert "Pareto front" in again.stdout
    assert f"study folder: {folder.root}" in again.stdout
    assert f"report: {folder.report}" in again.stdout
    assert "</html>" in folder.report.read_text(encoding="utf-8")
    results = read_results(folder)
    assert [one.state for one in results.trials] == ["interrupted", "complete", "complete"]
    assert results.trials[1].parameters == results.trials[0].parameters
    assert folder.trial(1).rung(40).grid.is_file()

    out = tmp_path / "pose.safetensors"
    exported = tuner("export", str(folder.root), "-o", str(out))
    assert exported.returncode == 0, exported.stderr
    assert exported.stdout == f"{out}\n"
    assert "geometric mean" in exported.stderr
    assert out.stat().st_size > 1000
    refused = CliRunner().invoke(app, ["export", str(folder.root), "-o", str(out)])
    assert refused.exit_code == 1
