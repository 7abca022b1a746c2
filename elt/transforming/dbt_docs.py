"""dbt's own documentation of the project, from what is at hand: page, manifest, and a catalog of tables.

The page is the one in the installed dbt. The manifest is what dbt wrote when it ran last. The catalog, which
`dbt docs generate` would make in a run of its own, is read from PostgreSQL where somebody looks at it. So the
documentation is as new as the marts, and costs a run nothing.
"""

from __future__ import annotations

import functools
import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from elt.errors import NotFound
from elt.settings import Settings
from elt.transforming.dbt_lineage import read_manifest
from elt.transforming.dbt_process import target_dir
from elt.warehouse import Connection

_CATALOG_SCHEMA = "https://schemas.getdbt.com/dbt/catalog/v1.json"
_PATHS = ("build_path", "compiled_path", "root_path")  # of this machine, and nothing to readers

_COLUMNS = """
select
    n.nspname as schema,
    c.relname as name,
    case when c.relkind in ('v', 'm') then 'VIEW' else 'BASE TABLE' end as type,
    obj_description(c.oid, 'pg_class') as comment,
    pg_get_userbyid(c.relowner) as owner,
    json_object_agg(
        a.attname,
        json_build_object(
            'name', a.attname,
            'index', a.attnum,
            'type', format_type(a.atttypid, a.atttypmod),
            'comment', col_description(c.oid, a.attnum)
        ) order by a.attnum
    ) as columns
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = any (%s) and c.relkind in ('r', 'p', 'v', 'm')
group by n.nspname, c.relname, c.relkind, c.oid, c.relowner
"""


# What is mended in dbt's page: it needs no `eval` then, and asks for no pictures that are not there.
_MENDED = (
    (' ng-app="dbt"', ' ng-app="dbt" ng-csp="no-unsafe-eval"'),
    ('<link rel="canonical" href="/overview/"/>', ""),
    ("${require('./assets/favicons/favicon.ico')}", "data:,"),
    ('xlink:href="{{ getIcon(', 'ng-attr-xlink:href="{{ getIcon('),
)


@functools.cache
def docs_page() -> str:
    """dbt's page, which reads `manifest.json` and `catalog.json` beside it."""
    path = Path(str(distribution("dbt-core").locate_file("dbt/task/docs/index.html")))
    page = path.read_text("utf-8")
    for found, instead in _MENDED:
        page = page.replace(found, instead)
    return page


def docs_manifest(settings: Settings) -> dict[str, Any]:
    """The manifest, without this machine's paths, and never asking readers' browsers to count them.

    Raises:
        NotFound: dbt has not run with this home yet.
        TransientError: dbt is writing it.
    """
    path = target_dir(settings) / "manifest.json"
    if not path.exists():
        raise NotFound("No run has built the marts here yet, so dbt has nothing to show.")
    manifest = read_manifest(path)
    manifest["metadata"]["send_anonymous_usage_stats"] = False
    for kind in ("nodes", "sources", "macros", "unit_tests"):
        for node in manifest[kind].values():
            for name in _PATHS:
                node.pop(name, None)
    return manifest


def docs_catalog(settings: Settings, connection: Connection) -> dict[str, Any]:
    """The columns of the project's tables as the database has them, in the form of dbt's `catalog.json`."""
    manifest = docs_manifest(settings)
    nodes = {**manifest["nodes"], **manifest["sources"]}
    ids = {
        (node["schema"], node.get("alias") or node.get("identifier") or node["name"]): unique_id
        for unique_id, node in nodes.items()
        if node["resource_type"] in ("model", "seed", "source")
    }
    found: dict[str, dict[str, Any]] = {"nodes": {}, "sources": {}}
    schemas = sorted({schema for schema, _ in ids})
    for row in connection.execute(_COLUMNS, (schemas,)).fetchall():
        unique_id = ids.get((row["schema"], row["name"]))
        if unique_id:
            kind = "sources" if unique_id.startswith("source.") else "nodes"
            found[kind][unique_id] = _entry(unique_id, row)
    about = {"dbt_schema_version": _CATALOG_SCHEMA, "dbt_version": manifest["metadata"]["dbt_version"]}
    return {"metadata": about, **found, "errors": None}


def _entry(unique_id: str, row: dict[str, Any]) -> dict[str, Any]:
    named = {name: row[name] for name in ("type", "schema", "name", "comment", "owner")}
    return {
        "unique_id": unique_id,
        "metadata": {**named, "database": None},
        "columns": row["columns"],
        "stats": {
            "has_stats": {
                "id": "has_stats",
                "label": "Has Stats?",
                "value": False,
                "include": False,
                "description": "Indicates whether there are statistics for this table",
            }
        },
    }


def as_bytes(value: dict[str, Any]) -> bytes:
    """As it is sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
