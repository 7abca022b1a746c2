"""The picture of lineage, and cells of marts in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from backend.pages.lineage import Picture, draw
from backend.pages.mart_words import cell_text
from backend.texts import register_texts
from elt.errors import NotFound, TransientError
from elt.serving.marts import MartColumn
from elt.settings import Settings
from elt.transforming.dbt_lineage import Graph, read_graph

WAYS = {
    "raw.students": ["stg_students", "stg_students__changed"],
    "terms": ["dim_students"],
    "stg_students": ["dim_students", "mart_students"],
    "stg_students__changed": ["dim_students"],
    "dim_students": ["mart_students", "mart_classes"],
    "mart_students": ["mart_risk"],
}


def manifest() -> dict[str, Any]:
    """What dbt would write about `WAYS`."""
    names = {*WAYS, *(child for children in WAYS.values() for child in children)}
    nodes: dict[str, Any] = {}
    for name in names:
        kind = "source" if "." in name else "seed" if name == "terms" else "model"
        layer = {"ra": "raw", "st": "staging", "di": "core", "ma": "marts", "te": "core"}[name[:2]]
        nodes[f"{kind}.laurel.{name}"] = {
            "resource_type": kind, "schema": layer, "name": name.rpartition(".")[2],
            "description": " Of it. ",
        }  # fmt: skip
    ids = {node.partition(".laurel.")[2]: node for node in nodes}
    child_map = {ids[name]: [*map(ids.get, children), "test.laurel.x"] for name, children in WAYS.items()}
    parent_map = {
        ids[name]: [ids[parent] for parent, children in WAYS.items() if name in children] for name in names
    }
    return {"nodes": nodes, "sources": {}, "child_map": child_map, "parent_map": parent_map}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a home in which dbt has not run."""
    return Settings.model_construct(home=tmp_path, translations_dir="", time_zone="Africa/Lagos")


@pytest.fixture
def graph(settings: Settings) -> Graph:
    """The graph of `WAYS`."""
    target = settings.home / "dbt"
    target.mkdir()
    (target / "manifest.json").write_text(json.dumps(manifest()), "utf-8")
    return read_graph(settings)


def columns(picture: Picture) -> list[list[str]]:
    """The names in each column of the picture, from left to right."""
    found: dict[int, list[str]] = {}
    for box in picture.boxes:
        found.setdefault(box.x, []).append(box.table.name)
    return [sorted(found[x]) for x in sorted(found)]


def test_the_graph_is_that_of_the_manifest(graph: Graph) -> None:
    dim = graph.tables["dim_students"]
    assert (dim.layer, dim.description) == ("core", "Of it.")
    assert dim.parents == ("stg_students", "stg_students__changed", "terms")
    assert dim.children == ("mart_classes", "mart_students")
    assert graph.tables["terms"].layer == "seeds"
    assert graph.above("mart_classes") == {
        "dim_students",
        "stg_students",
        "stg_students__changed",
        "terms",
        "raw.students",
    }
    assert graph.below("stg_students") == {"dim_students", "mart_students", "mart_classes", "mart_risk"}


def test_another_manifest_is_read_again(graph: Graph, settings: Settings) -> None:
    path = settings.home / "dbt" / "manifest.json"
    path.write_text(path.read_text("utf-8").replace("mart_risk", "mart_danger"), "utf-8")
    assert "mart_danger" in read_graph(settings).tables
    path.write_text(path.read_text("utf-8")[:-9], "utf-8")
    with pytest.raises(TransientError, match="writing"):
        read_graph(settings)
    path.unlink()
    with pytest.raises(NotFound, match="No run"):
        read_graph(settings)


def test_a_picture_stands_from_what_a_table_is_made_of_to_what_is_made_of_it(graph: Graph) -> None:
    picture = draw(graph, "dim_students")
    assert columns(picture) == [
        ["raw.students"], ["stg_students"], ["dim_students"], ["mart_classes", "mart_students"], ["mart_risk"]
    ]  # fmt: skip
    assert [is_near for _way, is_near in picture.lines] == [False] * 3 + [True] * 3
    assert columns(draw(graph, "dim_students", only_above=True)) == [
        ["raw.students"], ["stg_students"], ["dim_students"]
    ]  # fmt: skip


def test_what_decides_how_tables_are_made_is_drawn_only_where_it_is_asked_for(graph: Graph) -> None:
    assert columns(draw(graph, "terms")) == [
        ["terms"],
        ["dim_students"],
        ["mart_classes", "mart_students"],
        ["mart_risk"],
    ]


def test_no_box_lies_on_another_and_all_are_in_the_picture(graph: Graph) -> None:
    for name in graph.tables:
        picture = draw(graph, name)
        places = [(box.x, box.y) for box in picture.boxes]
        assert len(set(places)) == len(places)
        assert all(box.x + box.width <= picture.width and box.y < picture.height for box in picture.boxes)


@pytest.fixture
def texts(settings: Settings) -> Iterator[None]:
    """English, in the school's time zone."""
    app = Flask("test")
    register_texts(app, settings)
    with app.test_request_context():
        yield


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        ("date", "2010-02-28", "28 February 2010"),
        ("date", "infinity", "infinity"),
        ("date", "0044-03-15 BC", "0044-03-15 BC"),
        ("text", "2010-02-28", "28 February 2010"),
        ("text", "2010-02-31", "2010-02-31"),
        ("text", "10 to 12", "10 to 12"),
        ("timestamp with time zone", "2026-11-20T23:30:00+00:00", "21 November 2026, 00:30"),
        ("timestamp with time zone", "infinity", "infinity"),
        ("boolean", True, "Yes"),
        ("numeric", "71.50", "71.50"),
        ("jsonb", [{"text": "x", "value": "1"}, "y"], "text: x, value: 1; y"),
        ("text", None, "–"),
    ],
)
def test_a_cell_is_said_in_words(type_: str, value: Any, said: str) -> None:
    assert cell_text(MartColumn("x", type_, None, True), value) == said
