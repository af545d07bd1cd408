"""`image/<driver>/distribution/`: whether its two directions say the same."""

from __future__ import annotations

from migrator.errors import Subject
from migrator.store.distribution import MOST, read_digest_lists, read_digest_records
from migrator.store.findings import Finding, Findings
from migrator.store.layout import Layout
from migrator.system.rootfiles import RootFiles


def check_distribution(
    files: RootFiles, driver: str, *, in_use: bool
) -> tuple[int, tuple[Finding, ...]]:
    """Check the records of both directions: how many digests are recorded, and what is wrong.

    On a root that Docker has used, a digest may have gone from its layer's
    list: Docker drops one that a registry does not know any longer there only.
    """
    layout = Layout(driver)
    lists, records = read_digest_lists(files, driver), read_digest_records(files, driver)
    findings = Findings((*lists.findings, *records.findings))
    known = {name: {each["Digest"] for each in entries} for name, entries in lists.lists.items()}
    for digest, diff_id in records.diff_ids.items():
        digests = known.get(diff_id, set())
        if digest not in digests and len(digests) < MOST and not in_use:
            reason = f"names {diff_id}, whose list has not this digest"
            findings.add(Subject.DIGEST, digest, layout.digest(digest), reason)
    for diff_id, digests in known.items():
        for digest in sorted(digests - records.digests):
            reason = f"lists {digest}, for which there is no record"
            findings.add(Subject.DIGEST, diff_id, layout.diff_id(diff_id), reason)
    return len(records.digests), tuple(findings)
