"""Command that exports a trial: its LoRA or model, or its settings for another trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tuner.cli.errors import user_errors
from tuner.cli.json_lines import Write
from tuner.cli.study import Json, MovedBase, MovedData, Studies, Study
from tuner.errors import ConfigError, TunerError
from tuner.storage.files import check_writable, refuse_existing
from tuner.storage.folder import DEFAULT_STUDIES, existing_study
from tuner.terminal import say
from tuner.text import readable

if TYPE_CHECKING:
    from tuner.export.lora import ExportReport
    from tuner.export.written import Written
    from tuner.results.confirmation import Choice

commands = typer.Typer()


Out = Annotated[
    Path,
    typer.Option("--out", "-o", readable=False, help="The .safetensors file, or a model's folder."),
]


Trial = Annotated[
    int | None,
    typer.Option(min=0, help="The trial; default: the confirmed one, else the strongest."),
]
Format = Annotated[
    Literal["kohya", "diffusers"],
    typer.Option(
        "--format", help="kohya: for ComfyUI, A1111 and Forge; diffusers: for diffusers alone."
    ),
]
LoraRank = Annotated[
    int | None, typer.Option(min=1, max=256, help="DreamBooth's model as a LoRA of this rank.")
]
Recipe = Annotated[
    Literal["kohya", "ai-toolkit", "onetrainer"] | None,
    typer.Option(help="Write the trial's settings for this trainer, not its LoRA."),
]
DoraProgram = Annotated[
    Literal["comfyui"] | None,
    typer.Option(help="Write a DoRA with the scales that ComfyUI and Forge need."),
]
AsItWas = Annotated[
    bool, typer.Option("--as-it-was", help="Of `tuner judge`: the file without its strength in it.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]


@commands.command(epilog="Example: tuner export pose -o pose.safetensors")
def export(  # noqa: PLR0913 - one argument per option
    study: Study,
    out: Out,
    trial: Trial = None,
    names: Format = "kohya",
    lora_rank: LoraRank = None,
    recipe: Recipe = None,
    dora_for: DoraProgram = None,
    as_it_was: AsItWas = False,
    force: Force = False,
    base: MovedBase = None,
    data: MovedData = None,
    studies: Studies = DEFAULT_STUDIES,
    json: Json = False,
) -> None:
    """Write a trial's LoRA or model as a file for other programs, and check the file."""
    with user_errors(json) as write:
        _check_out(out, force, is_file=recipe is not None)
        folder = existing_study(studies, study)
        from tuner.results.confirmation import Choice, chosen
        from tuner.results.judged import trained_elsewhere

        choice = chosen(folder) if trial is None else Choice(trial, None, ())
        if write is None:
            _say_all(choice.why)
        written: ExportReport | Written
        if trained_elsewhere(folder, choice.trial):
            from tuner.export import export_judged

            _refuse_trained(recipe is not None, lora_rank is not None, dora_for is not None)
            written = export_judged(folder, choice, out, as_it_was, force, base)
        elif as_it_was:
            raise TunerError(f"trial {choice.trial} was trained here; drop --as-it-was")
        elif recipe is not None:
            from tuner.export import write_recipe

            written = write_recipe(
                folder, choice, recipe, out, force=force, base_at=base, data_at=data or ()
            )
        else:
            from tuner.export import export_trial

            written = export_trial(
                folder,
                choice,
                out,
                names,
                force=force,
                lora_rank=lora_rank,
                dora_for=dora_for,
                base_at=base,
            )
        _print_written(choice, written, write)


def _refuse_trained(*given: bool) -> None:
    """Raise ConfigError for options that only a trial that was trained here has."""
    names = ("--recipe", "--lora-rank", "--dora-for")
    wrong = [name for name, is_given in zip(names, given, strict=True) if is_given]
    if wrong:
        raise ConfigError(
            f"the file was trained elsewhere, and {', '.join(wrong)} is for trials of `tuner run`; "
            "drop it"
        )


def _print_written(choice: Choice, written: ExportReport | Written, write: Write | None) -> None:
    if write is None:
        print(written.path)
        _say_all(written.lines)
        return
    exported = {"trial": choice.trial, "step": choice.step, "reasons": choice.why}
    write(exported | {"path": written.path, "lines": written.lines})


def _say_all(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


def _check_out(out: Path, force: bool, is_file: bool) -> None:
    """Raise TunerError for an output that nothing can be exported to; `is_file`: of any ending."""
    if not is_file and out.suffix not in ("", ".safetensors"):
        raise TunerError(f"{out}: give NAME.safetensors, or for a whole model a folder NAME")
    if readable(str(out)) != str(out):
        raise ConfigError(f"{out}: the name is not UTF-8; give another one")
    refuse_existing(out, force)
    if out.suffix:
        check_writable(out)
