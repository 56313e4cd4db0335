"""Write the results of step.py as tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def page(
    rows: Sequence[Mapping[str, Any]],
    side: int,
    rates: Mapping[str, float],
    watched: Mapping[str, Any],
    checks: Sequence[str],
) -> str:
    """Return the tables in Markdown."""
    products = ", ".join(f"{rate / 1e9:.0f} in {name}" for name, rate in rates.items())
    last = rows[-1]["way"]
    compiled = last.startswith("compiled")
    option = "" if not compiled else " --compiled" if last == "compiled" else " --compiled torch"
    file = "step_torch.json" if option.endswith("torch") else "step.json"
    lines = [
        "# A training step and a sample of the mannequin",
        "",
        f"Made by `python benchmarks/step.py{option}`; the machine is in {file}. A plain "
        f"matrix product of {side} x {side} reaches {products} (GFLOP/s, one thread on a "
        "processor).",
        "",
        "| what | precision | ms | GFLOP | GFLOP/s | share of the product |",
        "|---|---|---|---|---|---|",
    ]
    for each in rows:
        precision = each["precision"] + ("" if each["way"] == "eager" else f", {each['way']}")
        lines.append(
            f"| {each['what']} | {precision} | {each['milliseconds']:.0f} | {each['gflop']:.1f} | "
            f"{each['gflop_per_second']:.0f} | {each['share']:.2f} |"
        )
    parts = watched["milliseconds"].items()
    (step, *_) = (each for each in rows if each["precision"] == "bfloat16")
    if compiled:
        lines += ["", "The operations of a compiled arm are counted in the eager one."]
    lines += [
        "",
        f"A step at 64 px in bfloat16 makes the host wait {watched['waits']} times and has "
        f"{watched['operations']} operations: "
        + ", ".join(f"{name} {value:.0f} ms" for name, value in parts)
        + " (timing makes them a little longer: the whole step takes "
        + f"{step['milliseconds']:.0f} ms). "
        + "The longest that are no products (calls, ms): "
        + ", ".join(f"{name} ({n}, {ms})" for name, (n, ms) in watched["longest"].items())
        + ".",
        "",
        "Checked first:",
        "",
        *(f"- {line}" for line in checks),
    ]
    return "\n".join(lines) + "\n"
