"""The timing model, and where a run's time went."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from migrator.layer.load import Load
from migrator.report.model import NAMED_HOSTS, Costs, Speed
from migrator.report.timing import HashingTime

# A byte takes a second, a file two, one without a record three, a layer four.
SPEED = Speed(hashing=1.0, opening=1.0, cpus=4)
COSTS = Costs(byte=1.0, file=2.0, file_recomputed=3.0, layer=4.0, handing_out=0.0, fixed=0.0)


@dataclass(frozen=True)
class Row:
    v1_id: str
    begun: float
    seconds: float
    worker: int
    tar_bytes: int = 1000
    files: int = 1
    method: str = "tar-split record"


@pytest.mark.parametrize(
    ("loads", "workers", "seconds"),
    [
        ([], 2, 0),
        ([Load(10, 3)], 2, 20),
        ([Load(10, 3, recomputed=True)], 2, 23),
        ([Load(6, 0)] * 4, 2, 20),
        ([Load(6, 0)] * 4, 1, 40),
        # The largest layer is a lower bound.
        ([Load(96, 0), *[Load(6, 0)] * 4], 4, 100),
        # Workers beyond the host's processors are of no use.
        ([Load(6, 0)] * 8, 8, 20),
    ],
)
def test_time_by_layers_and_workers(loads: list[Load], workers: int, seconds: float) -> None:
    assert SPEED.seconds(loads, workers, COSTS) == seconds


def test_handing_out_takes_its_time_for_any_number_of_workers() -> None:
    costs = replace(COSTS, handing_out=1.0)
    assert SPEED.seconds([Load(6, 0)] * 4, 4, costs) == 14


def test_disk_is_a_lower_bound() -> None:
    cold = Speed(hashing=1.0, opening=1.0, cpus=4, disk=0.1)
    assert cold.seconds([Load(6, 0)], 4, COSTS) == pytest.approx(60)


def test_this_host_is_measured_and_no_miracle() -> None:
    speed = Speed.here(2)
    assert 1e7 < speed.hashing < 2e10
    assert 1e-7 < speed.opening < 1e-3


def test_files_are_estimated_from_the_record() -> None:
    assert not Load.estimated(10**6, 10_000).recomputed
    assert Load.estimated(10**6, 20_000).files == pytest.approx(
        2 * Load.estimated(10**6, 10_000).files, abs=1
    )
    assert Load.estimated(10**6, None).recomputed
    assert Load.estimated(0, 500).files == 0


def test_last_layer_and_utilisation() -> None:
    rows = [Row("aa", 0.0, 4.0, 0), Row("bb", 0.0, 3.0, 1), Row("cc", 3.0, 7.0, 1)]
    time = HashingTime.of(rows, 2, 10.0, SPEED)
    assert (time.last, time.alone, time.utilisation) == ("cc", 6.0, pytest.approx(0.7))
    assert set(time.elsewhere) == {host.name for host in NAMED_HOSTS}
    assert any("cc" in line and "6.00 s" in line for line in time.lines())


def test_one_worker_keeps_nobody_waiting() -> None:
    assert HashingTime.of([Row("aa", 0.0, 4.0, 0)], 1, 4.0, SPEED).alone == 0
