"""Days that runs work on."""

from __future__ import annotations

from datetime import date

import pytest

from procezo_assets.datasets import Home
from procezo_assets.day_lock import remove_unfinished, working_on
from procezo_assets.stores.replacing import temporary_name

DAY, NEXT = date(2026, 1, 20), date(2026, 1, 21)


@pytest.fixture
def dataset(tmp_path):
    return Home(tmp_path).dataset("a/b")


def being_written(dataset, day):
    folder = dataset.stage("20_clean") / "domain=bio_signal" / f"day={day}"
    folder.mkdir(parents=True, exist_ok=True)
    path = temporary_name(folder / "x.parquet")
    path.write_bytes(b"half")
    return path


def test_what_a_killed_run_wrote_goes(dataset):
    written = being_written(dataset, DAY)
    work = working_on(dataset, DAY)
    work.__enter__()
    remove_unfinished(dataset)
    assert written.exists()  # a run works on it

    lock = dataset.lock(DAY)
    work.__exit__(None, None, None)
    lock.with_suffix(".unfinished").touch()  # as a run leaves it that is killed
    untouched = being_written(dataset, NEXT)
    remove_unfinished(dataset)
    assert not written.exists()
    assert untouched.exists()
    assert not list(lock.parent.glob("*.unfinished"))


def test_a_run_that_waited_cleans_up_after_the_one_that_was_killed(dataset):
    written = being_written(dataset, DAY)
    mark = dataset.lock(DAY).with_suffix(".unfinished")
    mark.parent.mkdir(parents=True)
    mark.touch()
    with working_on(dataset, DAY):
        assert not written.exists()
        assert mark.exists()


def test_a_day_that_fails_is_finished(dataset):
    with pytest.raises(ZeroDivisionError), working_on(dataset, DAY):
        raise ZeroDivisionError
    assert not list(dataset.lock(DAY).parent.glob("*.unfinished"))
