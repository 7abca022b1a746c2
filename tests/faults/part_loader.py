"""What the load tasks of a run do, one after the other: large files in parts (`LAUREL_SPLIT_BYTES`)."""

from __future__ import annotations

from elt import pipeline
from elt.log import configure_logging
from elt.settings import Settings, load_settings


def load_all(settings: Settings) -> None:
    """Find what waits, and load it, group by group."""
    plan = pipeline.begin(settings, trigger="api", in_parts=True)
    for group in plan.groups:
        pipeline.load(settings, plan.run_id, group)


if __name__ == "__main__":
    configure_logging(json=True, level="ERROR")
    load_all(load_settings())
