from __future__ import annotations

from pathlib import Path

import pytest

from proxy.commands import keys
from proxy.commands.asking import AskingError
from proxy.secret import local_admin_key
from proxy.settings import Settings


@pytest.mark.parametrize(("span", "expected"), [("30s", 30), ("15m", 900), ("24h", 86_400), ("90d", 7_776_000)])
def test_spans_of_time_are_written_with_their_unit(span: str, expected: int) -> None:
    assert keys.seconds(span) == expected


@pytest.mark.parametrize("span", ["", "90", "d", "1w", "-1d", "1.5h", "1d "])
def test_others_are_refused_with_an_example(span: str) -> None:
    with pytest.raises(AskingError, match="90d"):
        keys.seconds(span)


def test_the_key_file_is_used_unless_a_key_is_given(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(AskingError, match="admin-key"):
        keys.admin_key(settings, None)
    made = local_admin_key(settings)
    assert made is not None
    assert local_admin_key(settings) == made
    assert keys.admin_key(settings, None) == made.decode()
    assert keys.admin_key(settings, "given") == "given"
    assert (tmp_path / "admin-key").stat().st_mode & 0o077 == 0


def test_where_the_data_directory_cannot_be_written_there_is_no_local_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert local_admin_key(Settings(data_dir=tmp_path / "file")) is None
