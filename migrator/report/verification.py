"""What a verification found, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrator.errors import ExitCode
from migrator.report.document import head
from migrator.store.findings import Finding
from migrator.text import count, printable


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """The outcome: nothing is wrong when there are no `findings`.

    `layers`, `images`, `references`, `containers` and `digests` count what the
    store holds; `published` the files of the migration's manifest (0 without
    one); `used` says what shows that Docker has used the root since the
    migration, if anything does. `bytes_read` are those of metadata, of rebuilt
    tars and, with deep, of compared files; `seconds` is the time taken.
    """

    data_root: Path
    driver: str
    deep: bool
    quick: bool
    findings: tuple[Finding, ...]
    layers: int
    images: int
    references: int
    containers: int
    digests: int
    published: int
    used: str | None
    bytes_read: int
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.findings

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.passed else ExitCode.FAILED

    def lines(self) -> list[str]:
        """The report for people: the findings, and a line that sums up."""
        outcome = count(len(self.findings), "fault") if self.findings else "no faults"
        summary = (
            f"{outcome} found: {count(self.layers, 'layer')}, {count(self.images, 'image')},"
            f" {count(self.references, 'reference')}, {count(self.containers, 'container')}"
            f" ({self.driver});"
            f" {self.bytes_read / 1e6:.1f} MB read in {self.seconds:.1f} s"
        )
        return [*(printable(str(finding)) for finding in self.findings), summary]

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object; names as `migrator.text.printable` gives them."""
        return {
            **asdict(self),
            **head("verify", self.data_root),
            "exit_code": int(self.exit_code),
            "passed": self.passed,
            "findings": [
                {key: printable(str(value)) for key, value in asdict(finding).items()}
                for finding in self.findings
            ],
        }
