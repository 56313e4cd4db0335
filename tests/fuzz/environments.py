"""Commands in bad environments: closed folders, full disks, odd terminals and names, moves, kills.

Each case copies a small project with a finished trial, runs one command in a random environment,
puts the environment right, and runs the same command again: it must then succeed, and nothing that
was measured may be lost.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.isolation import Case, SilentlyWrong
from tests.tuner.tiny_space import write_space

MAIN = [sys.executable, "-c", "from tuner.cli import main; main()"]
CAPABILITIES = "--bounding-set=-dac_override,-dac_read_search,-fowner"
CHEAP = [
    "status", "status faults", "status faults --plain", "check faults.yaml", "models", "init pose",
    "report faults", "report faults --out out/page.html", "data audit data", "dashboard --help",
    "data audit data --json audit.json --sheet sheet.png", "label --help", "--help",
    "export faults --recipe kohya --trial 0 -o kohya.toml --force",
    "data prepare data prepared --crop none --min-side 16", "run faults.yaml --trials 1",
]  # fmt: skip
DEAR = [
    "run faults.yaml --trials 2 --workers 1",
    "confirm faults --trials 1 --samples 2 --training-seeds 0",
    "export faults --trial 0 -o lora.safetensors --force",
    "score data --gender-model clip --prompt 1girl --csv scores.csv --json scores.json",
]  # fmt: skip
Rows = frozenset[tuple[object, ...]]

SECONDS = 150
"""Limit of a command; the machine may be busy."""
KNOWN = (0, 1, 3, 4, 5, 74)
MEASURED = ("rungs", "samples", "scores", "measures", "features", "fresh_rungs", "fresh_scores")
NAMES = [
    "a b", " ", "[x]", "[bold]", "a:smile:", "\N{GRINNING FACE}", os.fsdecode(b"caf\xe9"), "-dash",
    "--set", "a'b\"c", "new\nline", "%s{x}$HOME", "\u5199\u771f", ".hidden", "a" * 200, "e\u0301",
    "*", "a=b", "#x", "a,b", "CON", "\x1b[31mred", "end.", "\u202eright", "data.yaml", "a\\b",
]  # fmt: skip
VARIABLES = {
    "LANG": ["C", "POSIX", "tr_TR.UTF-8", "zz", ""],
    "LC_ALL": ["C", "POSIX", "nonsense"],
    "PYTHONIOENCODING": ["ascii", "latin-1", "utf-16", "ascii:strict", "cp1252"],
    "PYTHONUTF8": ["0", "1"],
    "PYTHONCOERCECLOCALE": ["0"],
    "COLUMNS": ["1", "2", "7", "20", "0", "-1", "many"],
    "TERM": ["dumb", "", "unknown", "xterm-256color"],
    "HOME": [None, "/nonexistent", ""],
    "TUNER_HOME": ["closed", "faults.yaml", "/dev/null", "none/there"],
    "TUNER_STUDIES": ["studies", "./studies/", "~/x", "nowhere"],
    "FORCE_COLOR": ["1"], "NO_COLOR": ["1"], "TMPDIR": ["/nonexistent"], "TZ": ["Nowhere/City"],
    "XDG_CACHE_HOME": ["/dev/null"], "PYTHONWARNINGS": ["always"], "PATH": ["", None],
}  # fmt: skip


def prepare(place: Path) -> Case:
    """Make the project that the cases copy: a base, judges, data, and a study of one trial."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    template = place / "template"
    (template / "out").mkdir(parents=True)
    (template / "closed").mkdir(0o500)
    write_space(template)
    with _variables(template):
        command = [*MAIN, "run", "faults.yaml", "--trials", "1"]
        subprocess.run(command, cwd=template, check=True, capture_output=True)
    return functools.partial(_case, template)


def with_commands(case: Case, folder: Path, seed: str) -> tuple[str, str]:
    """Run a case, which has processes of its own, and return its word and details."""
    try:
        return case(folder, random.Random(seed)), ""
    except SilentlyWrong as error:
        return "wrong", str(error)
    except Exception:
        return "fuzzer", traceback.format_exc()
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False)


def _case(template: Path, folder: Path, rng: random.Random) -> str:
    kinds = [_permissions, _disk, _environment, _moved, _named]
    kind = rng.choice([*kinds, _killed])
    if kind is not _killed and rng.random() < 0.2:
        return kind(template, folder, rng, rng.choice(DEAR))
    return kind(template, folder, rng, rng.choice(CHEAP + (4 * DEAR if kind is _killed else [])))


def _permissions(template: Path, folder: Path, rng: random.Random, command: str) -> str:
    project = _copied(template, folder / "project")
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        return "skipped"
    kept = _measured(project)
    parts = [project, *(path for path in project.rglob("*") if rng.random() < 0.3 or path.is_dir())]
    story = []
    for path in rng.sample(parts, rng.choice([1, 1, 2, 8])):
        mode = rng.choice([0o555, 0o444, 0o000, 0o111] if path.is_dir() else [0o444, 0o000])
        story.append((path, path.stat().st_mode, mode))
    for path, _, mode in sorted(story, key=lambda row: -len(row[0].parts)):
        path.chmod(mode)
    word = _checked(project, command, f"{command} {_told(story, project)}", allowed=KNOWN)
    for path, before, _ in sorted(story, key=lambda row: len(row[0].parts)):
        path.chmod(before)
    _checked(project, command, f"again: {command} {_told(story, project)}", kept=kept)
    return word


def _disk(template: Path, folder: Path, rng: random.Random, command: str) -> str:
    used = sum(path.stat().st_blocks * 512 for path in template.rglob("*") if path.is_file())
    size = used + 40 * 2**20
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return "skipped"
    try:
        project = _copied(template, folder / "project")
        kept = _measured(project)
        left = rng.choice([0, 4096, 20_000, 100_000, 2**20])
        filler = folder / "filler"
        filler.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - left)))
        what = f"{command} with {left} bytes left"
        output = folder / "output" if rng.random() < 0.3 else None
        word = _checked(project, command, what, allowed=KNOWN, output=output)
        filler.unlink()
        _checked(project, command, f"again: {what}", kept=kept)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    return word


def _environment(template: Path, folder: Path, rng: random.Random, command: str) -> str:
    project = _copied(template, folder / "project")
    names = rng.sample(sorted(VARIABLES), rng.choice([1, 2, 3, 6]))
    values = {name: rng.choice(VARIABLES[name]) for name in names}
    refusing = values.keys() & {"TUNER_HOME", "TUNER_STUDIES"}
    what = f"{command} with {values}"
    allowed = KNOWN if refusing else (0,)
    return _checked(project, command, what, allowed, kept=_measured(project), **values)


def _moved(template: Path, folder: Path, rng: random.Random, command: str) -> str:
    project = _copied(template, folder / "project")
    names = ("faults ", "faults.yaml")
    if rng.random() < 0.5:
        _checked(project, command, f"before a move: {command}")
    if rng.random() < 0.5 or not any(name in command for name in names):
        project = project.rename(folder / rng.choice(NAMES[:6]))
    else:
        (project / "studies").rename(folder / "elsewhere")
        command += " --studies=../elsewhere"
    return _checked(project, command, f"moved: {command} in {project.name!r}")


def _named(template: Path, folder: Path, rng: random.Random, command: str) -> str:
    name = rng.choice(NAMES)
    project = _copied(template, folder / (name if rng.random() < 0.5 else "project"))
    arguments = command.split()
    if project.name != name and "data" in arguments[1:]:
        (project / "data").rename(project / name)
        arguments = [f"./{name}" if part == "data" else part for part in arguments]
        arguments[0] = "data" if command.startswith("data") else arguments[0]
    elif project.name != name and arguments[0] in ("run", "check"):
        (project / "data").rename(project / name)
        arguments.append(f"--data={name}")
    elif project.name != name and arguments[0] in ("report", "export") and "kohya" not in command:
        suffix = ".html" if arguments[0] == "report" else ".safetensors"
        arguments.append(f"--out={name}{suffix}")
    allowed = KNOWN if name.startswith("caf") else (0,)
    what = f"{arguments} in {project.name!r}"
    return _checked(project, arguments, what, allowed=allowed)


def _killed(template: Path, folder: Path, rng: random.Random, command: str) -> str:
    project = _copied(template, folder / "project")
    if command.startswith("run") and rng.random() < 0.6:
        shutil.rmtree(project / "studies")
    kept = _measured(project)
    number = rng.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    moment, whole = rng.randrange(1, 41) / 20, rng.random() < 0.5
    later = rng.random() < 0.5 and command.startswith("run")
    what = f"{command}, {number.name} after {moment} s{' of work' * later}, group: {whole}"
    process = _started(project, command.split())
    while later and process.poll() is None and not (project / "studies/faults/results.db").exists():
        time.sleep(0.002)
    time.sleep(moment)
    (os.killpg if whole else os.kill)(process.pid, number)
    allowed = {*KNOWN, 0, -number, 128 + number}
    word = _ended(process, what, allowed, seconds=40)
    _checked(project, command, f"again: {what}", kept=kept | _measured(project))
    return word


def _copied(template: Path, project: Path) -> Path:
    return Path(shutil.copytree(template, project, symlinks=True))


@contextlib.contextmanager
def _variables(project: Path, **values: str | None) -> Iterator[None]:
    before = dict(os.environ)
    root = str(Path(__file__).parents[2])
    own: dict[str, str | None] = {
        "PYTHONUNBUFFERED": None,
        "TUNER_HOME": str(project.parent / "home"),
        "PYTHONPATH": root,
    }
    if "TUNER_HOME" in before:
        own["TUNER_HOME"] = before["TUNER_HOME"]
    for name, value in {**own, **values}.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    yield
    os.environ.clear()
    os.environ.update(before)


def _started(
    project: Path, arguments: list[str], output: Path | None = None, **values: str | None
) -> subprocess.Popen[bytes]:
    bound = ["setpriv", CAPABILITIES] if os.geteuid() == 0 and shutil.which("setpriv") else []
    bound = [str(shutil.which(bound[0])), *bound[1:]] if bound else []
    with _variables(project, **values), open(output or project.parent / ".stdout", "wb") as stdout:
        return subprocess.Popen(
            [*bound, *MAIN, *arguments],
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )


def _checked(
    project: Path,
    command: str | list[str],
    what: str,
    allowed: tuple[int, ...] = (0,),
    output: Path | None = None,
    kept: Rows = frozenset(),
    **values: str | None,
) -> str:
    """Run a command; raise SilentlyWrong at a wrong end, or if rows of `kept` are gone."""
    if command == "init pose":  # it refuses to write over a file
        (project / "pose.yaml").unlink(missing_ok=True)
    arguments = command.split() if isinstance(command, str) else command
    word = _ended(_started(project, arguments, output, **values), what, set(allowed), SECONDS)
    if not kept <= _measured(project):
        raise SilentlyWrong(f"{what}: measured rows are gone")
    return word


def _ended(process: subprocess.Popen[bytes], what: str, allowed: set[int], seconds: int) -> str:
    try:
        error = process.communicate(timeout=seconds)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        error = process.communicate()[1].decode(errors="replace")
        raise SilentlyWrong(f"{what}: hang\n{error[-1500:]}") from None
    code = process.returncode
    told = f"{what}: exit code {code}\n{error[-1500:]}"
    if "Traceback" in error or "Exception ignored" in error or re.search(r"\.py:\d+: ", error):
        raise SilentlyWrong(f"a traceback: {told}")
    if code not in allowed:
        raise SilentlyWrong(told)
    if code in KNOWN[1:] and "error: " not in error:
        raise SilentlyWrong(f"no reason: {told}")
    return "accepted" if code == 0 else "refused"


def _measured(project: Path) -> Rows:
    """Return the rows of what was measured."""
    database = project / "studies" / "faults" / "results.db"
    if not os.access(database, os.R_OK):
        return frozenset()
    no_tables = contextlib.suppress(sqlite3.OperationalError)  # killed before they were made
    with contextlib.closing(sqlite3.connect(database)) as connection, no_tables:
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in MEASURED}
        return frozenset((name, *row) for name in MEASURED for row in rows[name])
    return frozenset()


def _told(story: list[tuple[Path, int, int]], project: Path) -> str:
    return ", ".join(f"{path.relative_to(project)} {mode:03o}" for path, _, mode in story)
