"""What is particular to the store in a folder: kills, leftovers, strange entries, permissions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elt.errors import Conflict, NotFound, StoreUnavailable
from elt.store.base import open_store
from elt.store.folder import FolderStore

_SLOW_WRITER = """
import sys, time
from elt.store.base import open_store
def chunks():
    yield b"x" * 1_000_000
    print("writing", flush=True)
    time.sleep(60)
open_store(sys.argv[1]).put("a/b.csv", chunks())
"""


_LARGE_WRITER = """
import resource, sys
from elt.store.base import open_store
store = open_store(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.put("big", (bytes([n]) * (1 << 20) for n in range(200)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def _leftovers(folder: FolderStore) -> list[Path]:
    return list((folder.root / ".laurel-tmp").iterdir())


def _age(paths: list[Path], seconds: int = 3600) -> None:
    for path in paths:
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_a_killed_writer_leaves_no_object_and_its_file_is_swept(folder: FolderStore) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _SLOW_WRITER, folder.root.as_uri()], stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        _age(_leftovers(folder))
        assert folder.sweep() == 0, "the writer is alive"
        writer.send_signal(signal.SIGKILL)
    finally:
        writer.kill()
        writer.communicate()
    assert list(folder.list()) == []
    assert len(_leftovers(folder)) == 1
    assert folder.sweep() == 1
    assert _leftovers(folder) == []


def test_a_large_object_takes_little_memory(folder: FolderStore) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _LARGE_WRITER, folder.root.as_uri()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert folder.stat("big").size == 200 << 20
    assert int(result.stdout) < 20, "megabytes"


def test_a_file_just_made_is_not_swept(folder: FolderStore) -> None:
    folder.check()
    fresh = folder.root / ".laurel-tmp" / "fresh"
    fresh.touch()
    assert folder.sweep() == 0
    _age([fresh])
    assert folder.sweep() == 1


def test_a_put_leaves_no_temporary_file(folder: FolderStore) -> None:
    folder.put("x", [b"1"])
    folder.put("x", [b"2"], replace=True)
    with pytest.raises(Conflict):
        folder.put("x", [b"3"])
    with pytest.raises(OSError, match="connection"):
        folder.put("y", _raise(OSError("connection reset by the client")))
    assert _leftovers(folder) == []


def _raise(error: Exception):
    yield b"some"
    raise error


def test_files_dropped_by_other_means_are_found_and_strange_entries_are_not(folder: FolderStore) -> None:
    folder.put("uploads/x.csv", [b"1"])
    (folder.root / "students").mkdir()
    (folder.root / "students" / "dropped by hand.csv").write_bytes(b"a,b\n")
    (folder.root / ".hidden.csv").write_bytes(b"x")
    (folder.root / "two\nlines.csv").write_bytes(b"x")
    (folder.root / os.fsdecode(b"latin-\xe9.csv")).write_bytes(b"x")
    (folder.root / "link.csv").symlink_to("/etc/passwd")
    (folder.root / "loop").symlink_to(folder.root)
    os.mkfifo(folder.root / "pipe.csv")
    assert [found.key for found in folder.list()] == ["students/dropped by hand.csv", "uploads/x.csv"]
    for key in ("link.csv", "pipe.csv"):
        assert not folder.exists(key)
        with pytest.raises(NotFound):
            folder.open(key)


def test_a_changed_file_has_another_mark(folder: FolderStore) -> None:
    folder.check()
    dropped = folder.root / "in.csv"
    dropped.write_bytes(b"abc")
    before = folder.stat("in.csv").etag
    os.utime(dropped, ns=(1, 1))
    assert folder.stat("in.csv").etag != before


def test_a_file_where_a_folder_should_be_is_a_conflict(folder: FolderStore) -> None:
    folder.put("a", [b"1"])
    with pytest.raises(Conflict, match="not a folder"):
        folder.put("a/b", [b"2"])
    folder.put("c/d", [b"3"])
    for replace in (True, False):
        with pytest.raises(Conflict):
            folder.put("c", [b"4"], replace=replace)


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    broken = open_store((tmp_path / "file" / "store").as_uri())
    for act in (broken.check, lambda: broken.put("x", [b"1"])):
        with pytest.raises(StoreUnavailable, match="mounted"):
            act()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_says_so(folder: FolderStore) -> None:
    folder.check()
    (folder.root / ".laurel-tmp").chmod(0o500)
    with pytest.raises(StoreUnavailable, match="right"):
        folder.check()
