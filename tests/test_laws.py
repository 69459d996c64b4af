"""The two laws: nothing is lost silently, and a partition is a function of its inputs."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core_home import AGGREGATE, CLEAN, D1, D2, PARSE, RESAMPLE, TRANSFORM, CoreHome
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

MIDNIGHT = datetime(2025, 3, 2, tzinfo=UTC)
STEPS = [PARSE, CLEAN, RESAMPLE, TRANSFORM, AGGREGATE]

MOMENTS = st.integers(-7200, 7200).map(
    # around midnight, so that files have rows of both days; halves of a second
    lambda halves: (MIDNIGHT + timedelta(seconds=halves / 2)).isoformat()
)
FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["m0", "m1", "m10", "outdoor_temp", "volt"]),
        st.sampled_from(["1", "7", "500", "900", "12.5", "x", ""]),
    ).map(":".join),
    min_size=1,
    max_size=3,
).map(";".join)
LINES = st.lists(
    st.one_of(
        st.tuples(MOMENTS, FIELDS).map(";".join),
        st.sampled_from(["", "rebooting", "2025-03-01T12:00:00Z", "2019-01-01;m0:1"]),
    ),
    max_size=25,
)


def made(files, steps=STEPS):
    """The parquet files that a flow makes of raw files, and their frames."""
    with tempfile.TemporaryDirectory() as folder:
        lab = CoreHome(Path(folder))
        for name, texts in files.items():
            lab.raw(name, "".join(f"{text}\n" for text in texts))
        lab.home.dataset("DS").raw.mkdir(parents=True, exist_ok=True)
        events = lab.run_well(lab.flow(*steps), D1, D2)
        assert all(counted.balanced for counted in events[0].source.files.values())
        digests = {
            name: digest
            for name, digest in lab.digests().items()
            if not name.startswith("quarantine")
        }
        frames = {
            (step, key, day): frame
            for step in ("10_parsed", "20_clean", "25_resampled", "30_transform", "40_aggregated")
            for day in (D1, D2)
            for key, frame in lab.frames(step, day).items()
        }
        return digests, frames


@given(LINES, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=examples(8))
def test_a_partition_is_the_same_whatever_the_files_are_called_or_repeated(lines, random):
    cut = random.randrange(len(lines) + 1)
    first, second = lines[:cut], lines[cut:]
    digests, _ = made({"a_pil-90_2025-03-01.csv": first, "b_pil-90_2025-03-01.csv": second})

    renamed, _ = made(
        {
            "deep/a_pil-90_2025-03-09.csv": first,
            "x_pil-90_2020-01-01_again.csv": first,
            "y_pil-90_2025-03-01.csv": second,
            "z/y_pil-90_2025-03-01.csv": second,
        }
    )

    assert renamed == digests


@given(LINES, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=examples(8))
def test_a_partition_has_the_same_values_however_its_lines_are_split(lines, random):
    lines = list({line.partition(";")[0]: line for line in lines}.values())  # no ties
    digests, frames = made({"pil-90_2025-03-01.csv": lines})
    shuffled = random.sample(lines, len(lines))
    parts = {f"{place}_pil-90_2025-03-02.csv": shuffled[place::3] for place in range(3)}

    split_digests, split_frames = made(parts)

    assert split_frames.keys() == frames.keys()
    for key, frame in frames.items():
        assert_frame_equal(split_frames[key], frame, check_exact=True)
    assert split_digests == digests


@given(LINES)
@settings(deadline=None, max_examples=examples(6))
def test_what_is_added_to_one_day_leaves_the_other_as_it_is(lines):
    before, _ = made({"pil-90_2025-03-01.csv": lines})

    after, _ = made(
        {"pil-90_2025-03-01.csv": lines, "pil-90_2025-03-02.csv": ["2025-03-02T20:00:00Z;m0:3"]}
    )

    day = str(D1)
    assert {n: d for n, d in after.items() if day in n} == {
        n: d for n, d in before.items() if day in n
    }
