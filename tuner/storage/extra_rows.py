"""What a LoRA is sampled under beside the suite, and its rows in results.db.

The rows lie in tables of their own, `extra_*`: nothing that is optimised, stopped, confirmed or
exported by reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from metrics.contract import Measure
from tuner.storage.rows import Columns, RungRow


@dataclass(frozen=True, order=True)
class Extra:
    """One thing that is otherwise than in the suite: another base, another size, or the alias.

    `size` is `512` or `896x640`; `alias` stands before each prompt, empty for none.
    """

    base: str
    size: str
    alias: str = ""

    @property
    def folder_name(self) -> str:
        """A name for its folder below a rung: another one for each extra of a study."""
        last = re.sub(r"[^A-Za-z0-9._-]", "_", self.base.replace("\\", "/").rpartition("/")[2])
        digest = sha256(f"{self.base}\n{self.alias}".encode()).hexdigest()[:8]
        return f"{self.size}_{last[:40]}_{digest}"


@dataclass(frozen=True)
class ExtraRow:
    """A trial's last rung sampled under `extra`, or the base (trial None), which has no LoRA.

    `reason`: why there are no pictures; the rung then has no numbers.
    """

    extra: Extra
    rung: RungRow
    reason: str | None = None

    def columns(self, root: Path) -> Columns:
        """The row of its table, paths from `root`."""
        told = {"base": self.extra.base, "size": self.extra.size, "alias": self.extra.alias}
        return self.rung.columns(root) | told | {"reason": self.reason}

    @staticmethod
    def read(row: Columns, measures: dict[str, Measure], root: Path) -> ExtraRow:
        """What a row says, its paths below `root`, with the measures found beside it."""
        extra = Extra(row["base"], row["size"], row["alias"])
        return ExtraRow(extra, RungRow.read(row, measures, root), row["reason"])
