"""Runs one of our programs, which sends itself a signal at a named point on its way.

    python launcher.py FOLDER POINT[,POINT…] MODULE [ARGUMENT…]

A point is a function of the program. Where FOLDER holds a file of the point's name, the function, having
done its work, takes the file away and raises the signal whose number the file holds: once, in whichever
process comes there first. SIGSTOP lets a test do harm from outside just there. Nothing is replaced but the
named functions, each of which does what it always did.
"""

from __future__ import annotations

import functools
import importlib
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

# Point → function, and which of its calls it is.
POINTS = {
    # in the API
    "half the body received": ("elt.store.folder:_write_all", 1),
    "body received": ("elt.store.folder:_write", 1),
    "during PUT": ("elt.store.folder:os.link", 1),
    "bytes stored": ("elt.store.folder:FolderStore.put", 1),
    "event stored": ("elt.store.folder:FolderStore.put", 2),
    "accepted": ("elt.notify:announce_upload", 1),
    # in a run
    "LIST": ("elt.store.folder:_sorted_entries", 2),
    "GET": ("elt.loading.rows:VerifiedStream.read", 1),
    "validated": ("elt.loading.rows:_count", 1),
    "mid-COPY": ("psycopg:Copy.write", 1),
    "ledger write": ("elt.loading.outcome:write_ledger_line", 1),
    "before COMMIT": ("elt.loading.loader:record_load", 1),
    "after COMMIT": ("elt.loading.loader:_Load.run", 1),
    "mid-score": ("ml.ledger:append", 1),
    # in a run that loads in parts
    "file cut": ("elt.loading.parts:_cut", 1),
    "table made": ("elt.loading.parts:create_part_table", 1),
    "mid-COPY of a part": ("psycopg:Copy.write", 2),
    "part copied": ("elt.loading.parts:copy_part", 2),
    "part noted": ("elt.loading.parts:_Split._note_found", 2),
    "part loaded": ("elt.pipeline:load_part", 2),
    "time given": ("elt.loading.parts:complete_part_table", 1),
    "attached": ("elt.loading.parts:attach_part_table", 1),
}


def _watch(point: str, folder: Path) -> None:
    path, number = POINTS[point]
    module, _, name = path.partition(":")
    *owners, name = name.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    original, order, calls = getattr(owner, name), folder / point, 0

    @functools.wraps(original)
    def watched(*args: Any, **options: Any) -> Any:
        nonlocal calls
        result = original(*args, **options)
        if order.exists():
            calls += 1
            if calls == number:
                calls, number_of_signal = 0, int(order.read_text())
                order.unlink()
                signal.raise_signal(number_of_signal)
        return result

    setattr(owner, name, watched)


if __name__ == "__main__":
    for wanted in sys.argv[2].split(","):
        _watch(wanted, Path(sys.argv[1]))
    program = sys.argv[3]
    sys.argv = sys.argv[3:]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
