"""Sources: what is read from databases and examination boards, for admins."""

from __future__ import annotations

from flask import Blueprint

from backend.access import allow, principal
from backend.operations import Answer, operation
from backend.schemas.sources import Source, SourceList
from backend.services import services
from elt.errors import NotFound
from elt.sources.listing import ListedSource, list_sources

sources = Blueprint("sources", __name__)


@sources.get("/sources")
@allow("sources:read")
@operation("List sources", {200: Answer("All, by name.", SourceList)})
def show_sources() -> SourceList:
    """What is read, when it was, and what is wrong; those of the caller's school, if bound to one."""
    return SourceList(items=[Source.model_validate(source) for source in visible_sources()])


@sources.get("/sources/<name>")
@allow("sources:read")
@operation("Show a source", {200: Answer("The source with its tables.", Source)})
def show_source(name: str) -> Source:
    """One source."""
    for source in visible_sources():
        if source.name == name:
            return Source.model_validate(source)
    raise NotFound(f"There is no source {name[:80]!r}.")


def visible_sources() -> list[ListedSource]:
    """Those of the caller's school; all for who is bound to none."""
    school_id = principal().school_id
    with services().connection() as connection:
        found = list_sources(services().settings, connection)
    return [source for source in found if school_id in (None, source.school_id)]
