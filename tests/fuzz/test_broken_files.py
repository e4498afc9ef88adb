"""Each reader gets broken files; GANLIB_FUZZ_SECONDS gives it more of them."""

import os

import pytest
from broken_files import start_fuzzing

SECONDS = float(os.environ.get("GANLIB_FUZZ_SECONDS", "60"))


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_broken_files_are_refused_in_a_sentence_or_read_whole():
    figures = start_fuzzing(1_000_000, SECONDS, seed=7)()
    assert figures["failures"] == []
    counts = figures["readers"].values()
    assert all(refused for _, refused in counts), "a reader that refuses nothing"
