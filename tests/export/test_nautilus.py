"""The parts of the NautilusTrader export that need no nautilus_trader; `test_other_tools` has the rest."""

from __future__ import annotations

import importlib.util

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.archive.reader import open_archive
from kraken_l3.errors import LocalFault, UsageError
from kraken_l3.export.formats.event_stream import Source
from kraken_l3.export.formats.nautilus import export_nautilus, fixed_point
from kraken_l3.rebuild.playback import chains_in

INT64 = st.integers(0, (1 << 63) - 1)


@given(st.lists(INT64, max_size=20), st.integers(1, (1 << 54) - 1))
def test_fixed_point_of_128_bits_is_the_product(values, factor):
    told = fixed_point(np.array(values, np.int64), factor, pa.binary(16))
    assert [int.from_bytes(text, "little") for text in told.to_pylist()] == [value * factor for value in values]


@given(st.lists(st.integers(0, 10**9 - 1), max_size=20), st.sampled_from([1, 10, 10**9]))
def test_fixed_point_of_64_bits_is_the_product(values, factor):
    told = fixed_point(np.array(values, np.int64), factor, pa.binary(8))
    assert [int.from_bytes(text, "little") for text in told.to_pylist()] == [value * factor for value in values]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"")
    archive = open_archive(path)
    return Source(archive, "BTC/USD", (), chains_in(archive)[0])


@pytest.mark.skipif(importlib.util.find_spec("nautilus_trader") is not None, reason="nautilus_trader is installed")
def test_without_the_library_it_says_what_to_install(source, tmp_path):
    with pytest.raises(UsageError, match="pip install nautilus_trader"):
        export_nautilus(source, tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.skipif(importlib.util.find_spec("nautilus_trader") is None, reason="needs nautilus_trader")
def test_a_place_that_cannot_be_written_is_a_clear_error(source, tmp_path):
    (tmp_path / "nautilus").write_bytes(b"")
    with pytest.raises(LocalFault, match="cannot write"):
        export_nautilus(source, tmp_path)
