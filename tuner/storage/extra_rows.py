"""Extra suites that a LoRA is sampled under, and their rows in results.db.

The rows are in separate tables, `extra_*`: objectives, stopping, confirmation and export never
read them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from metrics.contract import Measure
from tuner.storage.columns import Columns
from tuner.storage.rows import RungRow


@dataclass(frozen=True, order=True)
class Extra:
    """One change to the suite: another base, another size, or the alias.

    `size` is `512` or `896x640`; `alias` is put before each prompt, empty for none.
    """

    base: str
    size: str
    alias: str = ""

    @property
    def folder_name(self) -> str:
        """Name of its folder below a rung, unique within a study."""
        last = re.sub(r"[^A-Za-z0-9._-]", "_", self.base.replace("\\", "/").rpartition("/")[2])
        digest = sha256(f"{self.base}\n{self.alias}".encode()).hexdigest()[:8]
        return f"{self.size}_{last[:40]}_{digest}"


@dataclass(frozen=True)
class ExtraRow:
    """A trial's last rung sampled under `extra`, or the base (trial None), which has no LoRA.

    `reason` is set if there are no pictures; the rung then has no numbers.
    """

    extra: Extra
    rung: RungRow
    reason: str | None = None

    def columns(self, root: Path) -> Columns:
        """Return the columns of its table row, paths relative to `root`."""
        key = {"base": self.extra.base, "size": self.extra.size, "alias": self.extra.alias}
        return self.rung.columns(root) | key | {"reason": self.reason}

    @staticmethod
    def read(row: Columns, measures: dict[str, Measure], root: Path) -> ExtraRow:
        """Return the value of a table row with its measures; `root` is put before its paths."""
        extra = Extra(row["base"], row["size"], row["alias"])
        return ExtraRow(extra, RungRow.read(row, measures, root), row["reason"])
