"""The command line: parse arguments, call one function, print the result.

Results go to stdout, progress and errors to stderr. Modules that load a network or a chart library
are imported inside the command that needs them: `tuner --help` and `tuner check` load no torch.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tuner import __version__
from tuner.cli.data import data as data_verbs
from tuner.cli.errors import for_user, user_errors
from tuner.cli.export import commands as export_commands
from tuner.cli.judge import commands as judge_commands
from tuner.cli.pictures import pictures
from tuner.cli.results import commands as results_commands
from tuner.cli.study import commands as study_commands
from tuner.errors import ConfigError
from tuner.terminal import accept_all_text, say
from tuner.text import printable
from tuner.worker.environment import set_environment

app = typer.Typer(
    name="tuner",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search for the LoRA training settings that make people in Stable Diffusion better.",
    epilog="Example: tuner run search_spaces/pose.yaml",
)


def _print_version(version: bool) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.callback()
def prepare(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Set the libraries' environment for every command; handle --version."""
    set_environment()
    if studies := os.environ.get("TUNER_STUDIES"):
        os.environ["TUNER_STUDIES"] = os.path.expanduser(studies)


files = typer.Typer()


@files.command(epilog="Example: tuner models")
def models() -> None:
    """List every weight file that is used, with its licence, and its place or where to put it."""
    with user_errors():
        from tuner.models.catalogue import model_lines

        for line in model_lines():
            print(line)


@files.command(epilog="Example: tuner build-mannequin --fast --out build/mannequin")
def build_mannequin(
    fast: Annotated[
        bool, typer.Option("--fast", help="A one-minute trial run; the weights are useless.")
    ] = False,
    out: Annotated[Path, typer.Option(readable=False, help="The folder to write.")] = Path(
        "build/mannequin"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
) -> None:
    """Train the mannequin's weights from scratch; a stopped run continues where it stopped."""
    with user_errors():
        from tuner.mannequin import build

        build(out=out, fast=fast, seed=seed)


for commands in (
    *(study_commands, judge_commands, results_commands, export_commands),
    *(pictures, data_verbs, files),
):
    app.add_typer(commands)


_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes after Ctrl-C and SIGTERM."""


def expanded(arguments: Iterable[str]) -> list[str]:
    """Return the arguments with `~` and `~USER` expanded, also in `--out=~/x`.

    No shell does that within quotes or after `=`. A `~` that names no user stays as it is.
    """
    parts = [re.fullmatch(r"(--[a-z-]+=)?(.*)", text, re.DOTALL) for text in arguments]
    return [(part[1] or "") + os.path.expanduser(part[2]) for part in parts if part]


def main() -> None:
    """Run the command line, and write all of its output, where a full disk is one line too."""
    accept_all_text()
    try:
        try:
            _refuse_deleted_folder()
            app(expanded(sys.argv[1:]))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except SystemExit as end:
        if end.code in _STOPPED:
            _leave(int(end.code))
        raise
    except Exception as error:
        known = for_user(error)
        if known is None and not isinstance(error, BrokenPipeError):
            raise
        with contextlib.suppress(OSError):
            if known is not None:
                say(f"error: {printable(str(known))}")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # Python would try once more to write what is left
            os.dup2(nowhere, stream)
        sys.exit(known.exit_code if known is not None else 1)


def _leave(code: int) -> NoReturn:
    """End the process, whose work is put away, without waiting for threads.

    A signal may come while a library starts a thread that it then forgets: Python would wait for
    it for ever.
    """
    with contextlib.suppress(OSError, AttributeError):  # a terminal that is gone, or none at all
        sys.stderr.flush()
    os._exit(code)


def _refuse_deleted_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        reason = "the current folder no longer exists; change to another folder"
        raise ConfigError(reason) from error
