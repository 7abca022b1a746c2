"""Published marts in other engines: DuckDB and Spark see what PostgreSQL has; Spark works marts out again.

`docs/scale.md` tells how they are read; its examples are run here.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow.dataset
import pyarrow.fs
import pytest
from psycopg import sql
from psycopg.rows import scalar_row, tuple_row

from elt.serving.mart_catalogue import Mart, MartColumn, describe_mart, list_marts
from elt.serving.mart_formats import row_text
from elt.serving.mart_parquet import write_parquet
from elt.serving.publish import NEVER_PUBLISHED, publish, read_manifest
from elt.settings import PROJECT_DIR, Settings
from elt.store.base import Store, open_store
from elt.warehouse import Connection, connect

Rows = list[tuple[Any, ...]]

_PAGE = PROJECT_DIR / "docs" / "scale.md"
_STORE_OF_THE_PAGE = re.compile("s3a?://school-data/laurel")

# What a column of PostgreSQL is elsewhere; the page has the same list in words.
_DUCKDB_TYPES = {
    "boolean": "BOOLEAN",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "real": "FLOAT",
    "double precision": "DOUBLE",
    "numeric": "DOUBLE",
    "numeric(9,2)": "DECIMAL(9,2)",
    "date": "DATE",
    "timestamp with time zone": "TIMESTAMP WITH TIME ZONE",
    "timestamp without time zone": "TIMESTAMP",
    "text": "VARCHAR",
    "uuid": "VARCHAR",
    "jsonb": "VARCHAR",
}
_SPARK_TYPES = {
    "SMALLINT": "smallint",
    "INTEGER": "int",
    "FLOAT": "float",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "TIMESTAMP": "timestamp_ntz",
    "VARCHAR": "string",
}
# Little is computed here; most of the time goes into starting.
_QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"
_EVERY_TYPE = """
create schema marts;
create table marts.mart_types (
    id text primary key, yes boolean, small smallint, whole integer, large bigint, short real,
    long double precision, figure numeric, money numeric(9, 2), day date, moment timestamptz, local timestamp,
    key uuid, words jsonb
);
insert into marts.mart_types values
    ('1', true, -32768, -2147483648, 9007199254740993, 0.5, 0.1, 66.67, 1234567.89, '1582-10-15',
     '2026-03-29 02:30:00.123456+01', '2026-03-29 02:30:00.123456',
     '0198c0de-0000-7000-8000-000000000001', '{"a": [1, null, "é"]}'),
    ('2', false, 32767, 2147483647, -1, -0.25, 1e300, -0.005, -0.01, '2026-11-29', '1969-12-31 23:59:59Z',
     '1969-12-31 23:59:59', null, '[]'),
    ('=1+1', null, null, null, null, null, null, null, null, null, null, null, null, null),
    ('', true, 0, 0, 0, 0, 0, 0, 0, '1970-01-01', '1970-01-01Z', '1970-01-01', null, 'null'),
    (E'two\\nlines, "quoted" ẹ̀kọ́ 🎓', null, null, null, null, null, null, 99.5, null, null, null, null, null,
     '"x"');
"""


@pytest.fixture(scope="module")
def warehouse(uneven_settings: Settings) -> Iterator[Connection]:
    with connect(uneven_settings.database_url.get_secret_value()) as connection:
        yield connection


@pytest.fixture(scope="module")
def published(uneven_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a store, into which the schools' marts were published."""
    folder = tmp_path_factory.mktemp("published")
    publish(uneven_settings, open_store(folder.as_uri()))
    return folder


@pytest.fixture
def published_s3(bucket: str, uneven_settings: Settings) -> str:
    """The same in S3; returns the store's address."""
    address = f"{bucket}/laurel"
    publish(uneven_settings, open_store(address))
    return address


@pytest.fixture
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Spark as a cluster of this machine: a driver and two executors, each a process of its own."""
    if not shutil.which("java"):
        pytest.skip("Spark needs Java (Debian: apt-get install openjdk-17-jre-headless)")
    import pyspark
    from pyspark.sql import SparkSession

    # What executors work on lies below Spark's home, which must not be the installed package.
    home, package = tmp_path_factory.mktemp("spark"), Path(pyspark.__file__).parent
    for part in ("bin", "jars"):
        (home / part).symlink_to(package / part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_HOME", str(home))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("SPARK_LOCAL_HOSTNAME", "localhost")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("TZ", "UTC")
        builder = cast("Any", SparkSession.builder).master("local-cluster[2,1,512]").appName("laurel-test")
        session = (
            builder.config("spark.driver.extraJavaOptions", _QUICK_START)
            .config("spark.executor.extraJavaOptions", _QUICK_START)
            .config("spark.executor.memory", "512m")
            .config("spark.driver.memory", "512m")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.warehouse.dir", str(home / "warehouse"))
            .getOrCreate()
        )
        yield session
        session.stop()


@pytest.fixture
def every_type(settings: Settings, connection: Connection, store: Store) -> tuple[Path, Mart, Rows]:
    """A store with a mart of every type and awkward values; the mart; its rows."""
    connection.execute(_EVERY_TYPE)
    publish(settings, store)
    mart = describe_mart(connection, "mart_types")
    return settings.home / "store", mart, _rows(connection, mart)


def test_every_published_mart_is_in_duckdb_what_it_is_in_postgresql(
    published: Path, warehouse: Connection, duck: duckdb.DuckDBPyConnection
) -> None:
    marts = [mart for mart in list_marts(warehouse) if mart.name not in NEVER_PUBLISHED]
    manifest = read_manifest(open_store(published.as_uri()))["marts"]
    assert set(manifest) == {mart.name for mart in marts}
    assert sum(entry["rows"] for entry in manifest.values()) > 1_000
    for mart in marts:
        found = duck.read_parquet(_path(published, mart.name))
        assert found.columns == [column.name for column in mart.columns]
        assert list(map(str, found.types)) == _duckdb_types(mart), mart.name
        assert _comparable(mart, found.fetchall()) == _rows(warehouse, mart), mart.name


def test_every_type_and_awkward_value_is_the_same_in_duckdb(
    every_type: tuple[Path, Mart, Rows], duck: duckdb.DuckDBPyConnection
) -> None:
    folder, mart, rows = every_type
    found = duck.read_parquet(_path(folder, mart.name))
    assert list(map(str, found.types)) == _duckdb_types(mart)
    assert _comparable(mart, found.fetchall()) == rows
    figures = duck.sql("select moment, money, words ->> '$.a[2]' from found where id = '1'").fetchall()
    assert figures == [(datetime(2026, 3, 29, 1, 30, 0, 123456, UTC), Decimal("1234567.89"), "é")]


def test_duckdb_reads_a_folder_as_the_page_says(
    published: Path, warehouse: Connection, duck: duckdb.DuckDBPyConnection
) -> None:
    rows = duck.sql(_example("sql", "read_parquet", str(published))).fetchall()
    assert rows == _weakest_classes(warehouse)
    assert len(rows) == 10


def test_duckdb_reads_s3_as_the_page_says(
    published_s3: str, s3_endpoint: str, warehouse: Connection, duck: duckdb.DuckDBPyConnection
) -> None:
    _load_httpfs(duck)
    duck.execute(
        "create secret (type s3, key_id 'testing', secret 'testing', region 'us-east-1', "
        f"endpoint '{s3_endpoint.removeprefix('http://')}', url_style 'path', use_ssl false)"
    )
    assert duck.sql(_example("sql", "read_parquet", published_s3)).fetchall() == _weakest_classes(warehouse)


def test_duckdb_reads_s3_by_arrow(
    published_s3: str, s3_endpoint: str, warehouse: Connection, duck: duckdb.DuckDBPyConnection
) -> None:
    files = pyarrow.fs.S3FileSystem(access_key="testing", secret_key="testing", endpoint_override=s3_endpoint)
    mart = describe_mart(warehouse, "mart_student_terms")
    path = _path(published_s3.removeprefix("s3://"), mart.name)
    found = duck.from_arrow(pyarrow.dataset.dataset(path, filesystem=files))
    assert _comparable(mart, found.fetchall()) == _rows(warehouse, mart)


def test_spark_works_out_classes_as_dbt_does(published: Path, warehouse: Connection, spark: Any) -> None:
    """The page's example: from the published mart of students' terms to every column of that of classes."""
    names = {"spark": spark}
    exec(_example("python", "spark.sql", published.as_uri()), names)
    mart = describe_mart(warehouse, "mart_class_summary")
    wanted = _rows(warehouse, mart)
    assert len(wanted) == 24
    assert _from_spark(mart, names["classes"]) == wanted


def test_spark_works_out_subjects_from_facts_as_dbt_does(
    warehouse: Connection, spark: Any, tmp_path: Path
) -> None:
    """From core and a seed, written as marts are, to every column of the mart of subjects."""
    for schema, name in (("core", "fct_assessments"), ("staging", "terms")):
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(_as_parquet(warehouse, sql.Identifier(schema, name)))
        spark.read.parquet(str(path)).createOrReplaceTempView(name)
    mart = describe_mart(warehouse, "mart_subject_performance")
    wanted = _rows(warehouse, mart)
    assert len(wanted) > 40
    assert _from_spark(mart, spark.sql(_SUBJECTS)) == wanted


def test_spark_reads_every_type_on_its_executors(every_type: tuple[Path, Mart, Rows], spark: Any) -> None:
    folder, mart, rows = every_type
    found = spark.read.parquet(_path(folder, mart.name))
    assert [kind for _, kind in found.dtypes] == [
        _SPARK_TYPES.get(kind, kind.lower()) for kind in _duckdb_types(mart)
    ]
    assert _from_spark(mart, found.repartition(2)) == rows
    assert len(spark.sparkContext._jsc.sc().statusTracker().getExecutorInfos()) == 3  # with the driver


# Sums of decimals, as PostgreSQL's are.
_SUBJECTS = """
with assessments as (
    select
        school_id, school_year, term, grade_level, subject, teacher_id, is_pass,
        cast(test_score as decimal(9, 4)) as test_score,
        cast(exam_score as decimal(9, 4)) as exam_score,
        cast(total_score as decimal(9, 4)) as total_score,
        cast(attendance_pct as decimal(9, 4)) as attendance_pct
    from fct_assessments
),

subjects as (
    select
        school_id, school_year, term, grade_level, subject,
        cast(count(*) as int) as student_count,
        cast(count(distinct teacher_id) as int) as teacher_count,
        round(avg(total_score), 2) as average_score,
        round(stddev_samp(total_score), 2) as score_deviation,
        round(avg(test_score), 2) as average_test_score,
        round(avg(exam_score), 2) as average_exam_score,
        round(avg(attendance_pct), 2) as attendance_pct,
        cast(count_if(is_pass) as int) as passed_count,
        cast(count_if(not is_pass) as int) as failure_count,
        round(cast(count_if(is_pass) as decimal(10)) / count(*), 4) as pass_rate
    from assessments
    group by all
)

select
    subjects.*,
    terms.term_order,
    average_score - lag(average_score) over (
        partition by school_id, school_year, grade_level, subject order by terms.term_order
    ) as score_change
from subjects
inner join terms on terms.term = subjects.term
"""


def _path(store: Path | str, mart: str) -> str:
    return f"{store}/marts/{mart}.parquet"


def _as_parquet(connection: Connection, relation: sql.Identifier) -> bytes:
    """A relation that is no mart, written as marts are."""
    described = connection.execute(
        "select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute "
        "where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        (relation.as_string(),),
    ).fetchall()
    columns = [MartColumn(row["name"], row["type"], None, True) for row in described]
    with connection.cursor(row_factory=scalar_row) as cursor:
        cursor.execute(sql.SQL("select {} from {}").format(row_text(columns, "csv"), relation))
        return b"".join(write_parquet([cursor.fetchall()], columns))


def _example(language: str, word: str, store: str) -> str:
    """The page's example in which a word stands, for a store of the test."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", _PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if word in block]
    assert isinstance(found, str)
    assert _STORE_OF_THE_PAGE.search(found)
    return _STORE_OF_THE_PAGE.sub(store, found)


def _load_httpfs(duck: duckdb.DuckDBPyConnection) -> None:
    """Load DuckDB's extension for S3 from the package that brings it: tests fetch nothing."""
    ((version,),) = duck.sql("select library_version from pragma_version()").fetchall()
    package = importlib.util.find_spec("duckdb_extension_httpfs")
    for folder in (package and package.submodule_search_locations) or ():
        if (path := Path(folder, "extensions", version, "httpfs.duckdb_extension")).exists():
            duck.load_extension(str(path))
            return
    pytest.fail(f"duckdb-extension-httpfs is locked to another version than DuckDB {version}")


def _weakest_classes(connection: Connection) -> list[tuple[Any, ...]]:
    """What the page's example for DuckDB asks."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(
            "select school_id, grade_level, term, student_count, average_score::float8 "
            "from marts.mart_class_summary order by average_score, school_id, grade_level, term limit 10"
        ).fetchall()


def _duckdb_types(mart: Mart) -> list[str]:
    return [_DUCKDB_TYPES[column.type] for column in mart.columns]


def _from_spark(mart: Mart, frame: Any) -> Rows:
    """The frame's rows, its columns in the mart's order."""
    assert sorted(frame.columns) == sorted(column.name for column in mart.columns)
    return _comparable(mart, frame.select(*(column.name for column in mart.columns)).collect())


def _rows(connection: Connection, mart: Mart) -> Rows:
    """All rows as PostgreSQL's driver reads them, which is not the way in which they are published."""
    columns = [
        sql.SQL("{}::text" if column.type == "jsonb" else "{}").format(sql.Identifier(column.name))
        for column in mart.columns
    ]
    query = sql.SQL("select {} from {}").format(sql.SQL(", ").join(columns), mart.identifier)
    with connection.cursor(row_factory=tuple_row) as cursor:
        return _comparable(mart, cursor.execute(query).fetchall())


def _comparable(mart: Mart, rows: Iterable[Sequence[Any]]) -> Rows:
    """Rows in one order, each cell in the form in which all engines can tell it."""
    kinds = [column.type for column in mart.columns]
    return sorted((tuple(map(_cell, row, kinds)) for row in rows), key=repr)


def _cell(cell: Any, kind: str) -> Any:
    match kind, cell:
        case _, None:
            return None
        case "numeric", Decimal():
            # A figure of up to 15 digits is the same as a float: it prints alike.
            assert Decimal(repr(float(cell))) == cell
            return float(cell)
        case "timestamp with time zone", _:
            return cell.astimezone(UTC)
        case "uuid", _:
            return str(cell)
        case _:
            return cell
