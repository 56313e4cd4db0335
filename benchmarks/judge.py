"""Measure `tuner judge` on an over-trained run of the mannequin: its answer, time and memory.

    python benchmarks/judge.py [--studies FOLDER] [--workers 1]

A run is trained much too long, with eight rungs. Its rungs are written as a trainer would leave
them: by the project's own export in kohya's and in diffusers' names (without its comparison of
pictures: those of the last rungs are so far gone that rounding changes them), and the same as
peft's adapters and as LoCon (with convolutions, of zeros, since the run trained none). Each of the
four folders is judged at the strength 1: the order of the files must be that of the study's own
rungs, and the file that is chosen the one that the study chooses. The chosen file is then judged
from 0.5 to 1.5. At last ten files are judged at two strengths, as a command of its own, which is
killed (SIGKILL, with all its processes) after six of the twenty and run again: what was measured
before has to be there unchanged. Minutes and memory are those of that command. Finished studies in
--studies are reused. The table goes to benchmarks/results/judge.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch
from safetensors.torch import load_file, save_file

from tuner.cli.live import View, show
from tuner.export.lora import Names, write_lora
from tuner.judged import JudgeOptions, find_files, judged_study, run_judged
from tuner.models import load_base, read_file
from tuner.models.lora_file import LoraFile, LoraModule, layers, write_file
from tuner.models.metadata import network_arguments
from tuner.report.judged import answer_lines, curve_lines, row_name, signed
from tuner.results import read_results
from tuner.results.confirmation import candidates
from tuner.results.judged import JudgedResults, read_judged
from tuner.results.results import strength
from tuner.space import load_study
from tuner.storage import Store, StudyFolder
from tuner.storage.files import write_text
from tuner.study import run_study
from tuner.text import counted, duration, interval

HERE = Path(__file__).parent
RESULT = HERE / "results" / "judge.md"
SPACE = """
study: judge_run
base: mannequin
data: mannequin:few
budget: {trials: 1, rungs: [20, 50, 100, 160, 240, 350, 500, 700]}
objectives: [pose, gender, clothing, quality]
suite: {name: persons, seeds: 4, size: 64, steps: 10, guidance_scale: 3.0}
train: {captions: all, rank: 16, learning_rate: 5.0e-3, batch_size: 16, resolution: 64}
"""
LAYOUTS = ("kohya", "diffusers", "peft", "locon")
STRENGTHS = (0.5, 0.75, 1.0, 1.25, 1.5)
KILLED_AFTER = 6


@dataclass(frozen=True)
class Cost:
    """Seconds of a command in all its goes, its largest memory in bytes, and what a kill left."""

    seconds: float
    memory: int
    kept: int
    trials: int
    unchanged: bool


def trained(studies: Path) -> StudyFolder:
    """Train the run, unless it is there, and return its study."""
    space = studies / "judge_run.yaml"
    space.parent.mkdir(parents=True, exist_ok=True)
    space.write_text(SPACE)
    config, folder = load_study(space), StudyFolder(studies / "judge_run")
    show(View("judge_run", 1, config.objectives), run_study(config, folder), plain=True)
    return folder


def write_layouts(study: StudyFolder, into: Path) -> None:
    """Write every rung in each of LAYOUTS, below `into`, with the step in its name."""
    rungs = read_results(study).rungs[0]
    base = load_base("mannequin", "cpu")
    for rung in rungs:
        name = f"over-step{rung.step:08d}"
        assert rung.lora is not None
        lora = read_file(rung.lora)
        names: tuple[Names, ...] = ("kohya", "diffusers")
        for layout in names:
            path = into / layout / f"{name}.safetensors"
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_lora(path, lora, base, layout)
        _write_peft(into / "diffusers" / f"{name}.safetensors", into / "peft" / name)
        _write_locon(lora, base.pipeline.unet, into / "locon" / f"{name}.safetensors")


def _write_peft(source: Path, folder: Path) -> None:
    """Write a file in diffusers' names as the adapter that peft's `save_pretrained` leaves."""
    tensors = load_file(source)
    prefix = "unet."
    adapter = {
        f"base_model.model.{key.removeprefix(prefix)}": each for key, each in tensors.items()
    }
    rank = next(len(each) for key, each in tensors.items() if "lora_A" in key)
    targets = sorted({key.removeprefix(prefix).split(".lora_")[0] for key in tensors})
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": targets}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(adapter, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def _write_locon(lora: LoraFile, unet: torch.nn.Module, path: Path) -> None:
    """Write a LoRA with convolutions beside it, as LyCORIS does; theirs change nothing."""
    modules = dict(lora.modules)
    for name, dotted in layers("unet", unet).items():
        layer = unet.get_submodule(dotted)
        if name not in modules and isinstance(layer, torch.nn.Conv2d) and ".conv" in dotted:
            out, inner, high, wide = layer.weight.shape
            down = torch.zeros(4, inner, high, wide)
            modules[name] = LoraModule(down, torch.zeros(out, 4, 1, 1), 4.0)
    metadata = {**lora.metadata, **network_arguments((4, 4.0))}
    metadata["ss_network_module"] = "lycoris.kohya"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, LoraFile(modules, metadata))


def judge(
    files: Sequence[Path], strengths: Sequence[float], folder: StudyFolder, workers: int
) -> JudgedResults:
    """Judge `files` in the study `folder`, which is reused, and return its results."""
    found = find_files(files)
    study = judged_study(JudgeOptions("mannequin", alias=""), found)
    view = View(folder.name, len(found.files) * len(strengths), study.config.objectives)
    events = run_judged(study.config, folder, found.files, strengths, workers)
    show(view, events, plain=True)
    return read_judged(folder)


def order(judged: JudgedResults) -> list[int]:
    """Return the steps of the files, the strongest first, by the rule of studies."""
    names, last = judged.results.study.objectives, judged.results.rungs
    ranked = sorted(judged.rows, key=lambda row: -strength(last[row.trial][-1], names))
    return [row.file.step or 0 for row in ranked]


def killed_and_resumed(files: Sequence[Path], folder: StudyFolder, workers: int) -> Cost:
    """Judge `files` at two strengths by the command, killed in the middle and run again."""
    shutil.rmtree(folder.root, ignore_errors=True)
    command = [sys.executable, "-m", "tuner", "judge", *map(str, files), "--base", "mannequin"]
    command += ["--alias", "", "--strengths", "0.7,1.0", "--out", str(folder.root), "--json"]
    command += ["--workers", str(workers)]
    began, memory = time.monotonic(), [0]
    _run(command, memory, KILLED_AFTER)
    before = _measured(folder)
    _run(command, memory, None)
    after = _measured(folder)
    unchanged = all(after[trial] == rung for trial, rung in before.items())
    return Cost(time.monotonic() - began, max(memory), len(before), len(after), unchanged)


def _measured(folder: StudyFolder) -> dict[int, object]:
    """Return the numbers, scores and pictures of every trial that ended by itself."""
    measured: dict[int, object] = {}
    with Store(folder.results_db, read_only=True) as store:
        for row in store.trials():
            if row.state in ("complete", "pruned"):
                rungs = store.rungs(row.number)
                samples = store.samples(row.number, rungs[0].step)
                pictures = [(each.cell, each.scores, each.path.read_bytes()) for each in samples]
                measured[row.number] = (rungs, row.begun, pictures)
    return measured


def _run(command: Sequence[str], memory: list[int], kill_after: int | None) -> None:
    """Run the command; after `kill_after` ended trials kill it and its workers."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, memory, over))
    watcher.start()
    ended = 0
    assert process.stdout is not None
    for line in process.stdout:
        ended += json.loads(line)["event"] == "trial_ended"
        if kill_after is not None and ended == kill_after:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.wait()
    over.set()
    watcher.join()
    if kill_after is None and process.returncode:
        raise SystemExit(f"the command ended with {process.returncode}")


def _watch(pid: int, memory: list[int], over: threading.Event) -> None:
    while not over.wait(1.0):
        memory.append(_unshared(pid))


def _unshared(pid: int) -> int:
    """Return the bytes that a process and all below it share with no other."""
    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += int(process.memory_full_info().uss)
    return total


def report(
    study: StudyFolder,
    layouts: dict[str, JudgedResults],
    curve: JudgedResults,
    cost: Cost,
    workers: int,
) -> str:
    """Return the page of the results."""
    results = read_results(study)
    names = results.study.objectives
    own = sorted(results.rungs[0], key=lambda rung: -strength(rung, names))
    chosen = candidates(results, 1)[0].step
    lines = [
        "# `tuner judge` on an over-trained run",
        "",
        "Made by `python benchmarks/judge.py`.",
        "",
    ]
    lines += [
        "| files | order of steps, the strongest first | chosen | turns at |",
        "|---|---|---|---|",
    ]
    lines.append(
        f"| the study's own rungs | {' '.join(str(rung.step) for rung in own)} | {chosen} | |"
    )
    for layout, judged in layouts.items():
        step = judged.winner.file.step if judged.winner else None
        turns = [each.at[each.turn] for each in judged.curves if each.turn is not None]
        turn = ", ".join(f"{each:g}" for each in turns) or "none shown"
        lines.append(f"| {layout} | {' '.join(map(str, order(judged)))} | {step} | {turn} |")
    lines += ["", "The chosen file over strengths:", "", "| | all | gain over the base |"]
    lines += ["|---|---|---|"]
    for row in curve.rows:
        if row.strength is not None and row.gain is not None:
            lines.append(f"| {row_name(row)} | {interval(row.strength)} | {signed(row.gain)} |")
    lines += ["", *curve_lines(curve.curves), "", "The answer in kohya's names:", ""]
    answer = answer_lines(curve_folder(study, "kohya"), layouts["kohya"])
    lines += [f"- {line}" for line in answer[:-1]]  # the last names a folder of this machine
    lines += [
        "",
        f"Ten files at two strengths, {counted(cost.trials, 'trial')} of 52 samples, with "
        f"{counted(workers, 'worker')}: "
        f"{duration(cost.seconds)} with one kill after {cost.kept}, at most "
        f"{cost.memory / 2**30:.1f} GiB of memory in all processes; what was measured before the "
        f"kill is {'unchanged' if cost.unchanged else 'CHANGED'}.",
    ]
    return "\n".join(lines) + "\n"


def curve_folder(study: StudyFolder, name: str) -> StudyFolder:
    """Return the folder of a judged study beside the run's."""
    return StudyFolder(study.root.parent / f"judge_{name}")


def main() -> None:
    """Train, write, judge, kill, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=Path, default=HERE / "studies")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    chosen = parser.parse_args()
    study, files = trained(chosen.studies), chosen.studies / "judge_files"
    write_layouts(study, files)
    layouts = {
        layout: judge([files / layout], (1.0,), curve_folder(study, layout), chosen.workers)
        for layout in LAYOUTS
    }
    winner = layouts["kohya"].winner
    assert winner is not None
    best = files / "kohya" / f"{winner.file.name}.safetensors"
    curve = judge([best], STRENGTHS, curve_folder(study, "curve"), chosen.workers)
    ten = sorted((files / "kohya").iterdir()) + sorted((files / "diffusers").iterdir())[:2]
    cost = killed_and_resumed(ten, curve_folder(study, "ten"), chosen.workers)
    write_text(chosen.out, report(study, layouts, curve, cost, chosen.workers))


if __name__ == "__main__":
    main()
