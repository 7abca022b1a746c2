"""The store in a folder under a full disk and under kills at any point."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elt.store.folder import FolderStore

_FILL = """
import json, sys
from pathlib import Path
from elt.errors import DiskFull
from elt.store.folder import FolderStore
store = FolderStore(Path(sys.argv[1]) / "store")
store.put("kept.csv", [b"k" * 100_000])
outcome = {}
try:
    store.put("big.csv", (b"x" * 300_000 for _ in range(20)))
except DiskFull as error:
    outcome["detail"] = error.detail
outcome["keys"] = [found.key for found in store.list()]
outcome["temporary"] = [path.name for path in (store.root / ".laurel-tmp").iterdir()]
store.put("after.csv", [b"y" * 100_000])
print(json.dumps(outcome))
"""

_WRITE_FOR_EVER = """
import hashlib, os, sys
from pathlib import Path
from elt.store.folder import FolderStore
store = FolderStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    parts = [os.urandom(40_000) for _ in range(8)]
    name = hashlib.sha256(b"".join(parts)).hexdigest()
    print(store.put(f"{name[:1]}/{name}", parts).key, flush=True)
"""


def _can_mount() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and subprocess.run([unshare, "-rm", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="this machine lets nobody mount a small disk")
def test_a_full_disk_is_named_and_what_was_written_is_given_back(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=2m tmpfs "{tmp_path}" && exec "$0" -c "$1" "{tmp_path}"'
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, sys.executable, _FILL],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert "No room left" in outcome["detail"]
    assert outcome["keys"] == ["kept.csv"]
    assert outcome["temporary"] == []


def test_kills_at_any_point_leave_whole_objects_only(tmp_path: Path) -> None:
    chance = random.Random(20261120)
    store = FolderStore(tmp_path / "store")
    acknowledged: set[str] = set()
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITE_FOR_EVER, str(store.root)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.1))
        writer.kill()
        acknowledged |= {
            line.strip() for line in writer.communicate()[0].splitlines(keepends=True) if line.endswith("\n")
        }
    keys = [found.key for found in store.list()]
    assert acknowledged <= set(keys)
    for key in keys:
        with store.open(key) as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == key.partition("/")[2]
    for path in (store.root / ".laurel-tmp").iterdir():
        os.utime(path, (0, 0))
    store.sweep()
    assert list((store.root / ".laurel-tmp").iterdir()) == []
