"""What every store promises, checked on each implementation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest

from elt.errors import (
    Conflict,
    DigestMismatch,
    NotFound,
    StoreUnavailable,
    TruncatedUpload,
    UploadRejected,
)
from elt.store.base import Store, open_store
from elt.store.s3 import S3Store


@pytest.fixture(params=["folder", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """The store under test, empty."""
    if request.param == "folder":
        return open_store((tmp_path / "store").as_uri())
    return open_store(f"{request.getfixturevalue('bucket')}/some/prefix")


def _keys(store: Store, prefix: str = "", after: str | None = None) -> list[str]:
    return [found.key for found in store.list(prefix, after=after)]


@pytest.mark.parametrize(
    "sizes",
    [[], [0], [1], [3, 0, 5], [65_536] * 20, [1 << 20, 300_000, 7], [9 << 20, 9 << 20, 1]],
    ids=["no chunks", "empty chunk", "one byte", "small", "many", "large", "many parts"],
)
def test_what_was_put_comes_back_byte_for_byte(kept: Store, sizes: list[int]) -> None:
    chunks = [os.urandom(size) for size in sizes]
    content = b"".join(chunks)
    stored = kept.put("uploads/a b.csv", iter(chunks), media_type="text/csv")
    assert stored.size == len(content)
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    with kept.open("uploads/a b.csv") as stream:
        assert stream.read() == content
    found = kept.stat("uploads/a b.csv")
    assert (found.key, found.size, found.etag) == ("uploads/a b.csv", stored.size, stored.etag)
    assert found.modified.tzinfo is not None
    assert kept.exists("uploads/a b.csv")


def test_a_stream_reads_in_pieces_of_any_size(kept: Store) -> None:
    content = os.urandom(3_000_001)
    kept.put("x", [content])
    with kept.open("x") as stream:
        pieces = [stream.read(1), stream.read(1_000_000), stream.read(0)]
        while piece := stream.read(700_000):
            pieces.append(piece)
        assert stream.read(10) == b""
    assert b"".join(pieces) == content


def test_a_range_is_read_as_if_it_were_all_there_is(kept: Store) -> None:
    content = os.urandom(3_000_001)
    kept.put("x", [content])
    for start, length in ((0, 10), (0, len(content)), (999_999, 1_000_001), (len(content) - 1, 1)):
        with kept.open_range("x", start, length) as stream:
            pieces = [stream.read(7), stream.read(300_000), stream.read(0)]
            while piece := stream.read(700_000):
                pieces.append(piece)
        assert b"".join(pieces) == content[start : start + length]


def test_a_range_that_the_object_does_not_have_is_an_error(kept: Store) -> None:
    kept.put("x", [b"abc"])
    with pytest.raises(StoreUnavailable), kept.open_range("x", 1, 9) as stream:
        stream.read()
    with pytest.raises(NotFound, match="none"):
        kept.open_range("none", 0, 1)


def test_an_object_is_never_changed(kept: Store) -> None:
    kept.put("x", [b"first"])
    with pytest.raises(Conflict, match="other content"):
        kept.put("x", [b"other"])
    with pytest.raises(Conflict):
        kept.put("x", [b"a longer one"])
    with kept.open("x") as stream:
        assert stream.read() == b"first"


def test_a_put_may_be_repeated_with_the_same_bytes(kept: Store) -> None:
    first = kept.put("x", [b"same"])
    again = kept.put("x", [b"sa", b"me"])
    assert again == first


def test_derived_files_may_be_replaced(kept: Store) -> None:
    kept.put("marts/m.csv", [b"old"], replace=True)
    with kept.open("marts/m.csv") as reader:
        new = kept.put("marts/m.csv", [b"newer"], replace=True)
        assert reader.read() in (b"old", b"newer")
    with kept.open("marts/m.csv") as stream:
        assert stream.read() == b"newer"
    assert kept.stat("marts/m.csv").etag == new.etag


def test_an_error_while_receiving_leaves_nothing(kept: Store) -> None:
    def cut_short() -> Iterator[bytes]:
        yield os.urandom(9 << 20)
        yield b"half"
        raise TruncatedUpload("the body ended early")

    with pytest.raises(TruncatedUpload):
        kept.put("x", cut_short())
    assert not kept.exists("x")
    assert _keys(kept) == []


def test_bytes_that_do_not_match_the_announced_digest_are_not_stored(kept: Store) -> None:
    with pytest.raises(DigestMismatch, match="announced"):
        kept.put("x", [b"abc"], expected_sha256="00" * 32)
    assert not kept.exists("x")
    kept.put("x", [b"abc"], expected_sha256=hashlib.sha256(b"abc").hexdigest().upper())
    assert kept.exists("x")


def test_what_is_not_there_is_named(kept: Store) -> None:
    for read in (kept.stat, kept.open):
        with pytest.raises(NotFound, match=r"uploads/none\.csv"):
            read("uploads/none.csv")
    assert not kept.exists("uploads/none.csv")


def test_a_folder_is_not_an_object(kept: Store) -> None:
    kept.put("a/b.csv", [b"x"])
    assert not kept.exists("a")
    with pytest.raises(NotFound):
        kept.open("a")


def test_delete_removes_and_may_be_repeated(kept: Store) -> None:
    kept.put("a/x", [b"1"])
    kept.delete("a/x")
    kept.delete("a/x")
    assert not kept.exists("a/x")
    assert _keys(kept) == []


def test_listing_follows_the_order_of_the_keys_bytes(kept: Store) -> None:
    keys = ["a-b", "a.csv", "a/b", "a/c/d", "a/é", "a0", "A", "b", "é"]
    for key in keys:
        kept.put(key, [key.encode()])
    expected = sorted(keys, key=str.encode)
    assert _keys(kept) == expected
    for place, key in enumerate(expected):
        assert _keys(kept, after=key) == expected[place + 1 :]
    assert _keys(kept, "a/") == ["a/b", "a/c/d", "a/é"]
    assert _keys(kept, "a") == [key for key in expected if key.startswith("a")]
    assert _keys(kept, "a/c") == ["a/c/d"]
    assert _keys(kept, "a/", after="a/c") == ["a/c/d", "a/é"]
    assert _keys(kept, "none/") == []


def test_a_listing_is_read_while_it_is_consumed(kept: Store) -> None:
    for number in range(30):
        kept.put(f"d{number:02}/x", [b"1"])
    listing = kept.list()
    assert next(listing).key == "d00/x"
    kept.delete("d29/x")
    assert "d05/x" in [found.key for found in listing]


def test_one_of_many_racing_writers_wins(kept: Store) -> None:
    def write(number: int) -> bool:
        try:
            kept.put("x", [b"%d" % number * 1000])
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert won.count(True) == 1
    with kept.open("x") as stream:
        assert stream.read() == b"%d" % won.index(True) * 1000


def test_a_name_that_could_do_harm_is_refused_everywhere(kept: Store) -> None:
    for act in (kept.open, kept.stat, kept.delete, lambda key: kept.put(key, [b"x"])):
        with pytest.raises(UploadRejected):
            act("../outside")


def test_a_working_store_says_so(kept: Store) -> None:
    kept.check()
    assert kept.sweep() == 0


def test_what_a_key_held_before_can_be_seen_and_forgotten(kept: Store) -> None:
    if not isinstance(kept, S3Store):
        kept.put("a.csv", [b"one"])
        kept.put("a.csv", [b"two"], replace=True)
        assert list(kept.old_versions()) == []
        assert kept.forget("a.csv") == 0
        return
    boto3.client("s3").put_bucket_versioning(
        Bucket=kept.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    for content in (b"one", b"two", b"three"):
        kept.put("a.csv", [content], replace=True)
        kept.put("a.csv.bak", [content], replace=True)
    kept.put("gone.csv", [b"four"])
    kept.delete("gone.csv")

    old = {version.key: [] for version in kept.old_versions()}
    for version in kept.old_versions():
        with kept.open_old(version) as stream:
            old[version.key].append(stream.read())
    assert {key: sorted(contents) for key, contents in old.items()} == {
        "a.csv": [b"one", b"two"], "a.csv.bak": [b"one", b"two"], "gone.csv": [b"four"],
    }  # fmt: skip

    assert kept.forget("a.csv") == 2
    assert kept.forget("gone.csv") == 2
    assert {version.key for version in kept.old_versions()} == {"a.csv.bak"}
    assert _keys(kept) == ["a.csv", "a.csv.bak"]
    with kept.open("a.csv") as stream:
        assert stream.read() == b"three"
