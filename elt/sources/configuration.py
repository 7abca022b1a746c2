"""Which sources there are: one YAML file per source in the folder of `LAUREL_SOURCES_DIR`.

A file names a kind (`elt/sources/kinds/*.yaml`: which tables or requests become which datasets) or lists
tables or requests itself. Addresses and keys are secrets: the file names the environment variables that hold
them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic
import yaml
from dotenv import dotenv_values
from pydantic import ConfigDict, SecretStr, ValidationError, model_validator

from elt.contracts import Contract, load_contracts
from elt.errors import ConfigurationError, NotFound
from elt.settings import Settings, env_file
from elt.sources.tables import DELETED, TableSpec

KINDS_DIR = Path(__file__).with_name("kinds")
SOURCES_FOLDER = "sources"

_Model = TypeVar("_Model", bound=pydantic.BaseModel)

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


class _Part(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Table(_Part):
    """A table of a database and the dataset that its rows become; see `elt.sources.tables.TableSpec`."""

    table: str
    dataset: str
    cursor: str | None = None
    columns: dict[str, str] = {}
    ignore: tuple[str, ...] = ()


class Paging(_Part):
    """How an API gives its records page by page: the names of two parameters, and how many records a page
    has.
    """

    offset: str
    size: str
    rows: int = pydantic.Field(default=500, gt=0, le=10_000)


class Request(_Part):
    """One question to an API and the dataset that the answers become.

    `query` holds parameters; `{name}` in a value stands for one of the source's `parameters`. The question is
    asked once for every year from `years_from` to the present one, under the parameter `year`. `records` and
    `total` are names in the answer; the status `nothing` says that there are no records. `columns` give the
    API's name of a contract's column where it is another one, `constants` what all rows have in common,
    `ignore` what nobody need hear of.
    """

    path: str
    dataset: str
    query: dict[str, str] = {}
    year: str | None = None
    years_from: int = pydantic.Field(default=2000, ge=1900, le=2100)
    paging: Paging | None = None
    records: str = "data"
    total: str | None = None
    nothing: int = 404
    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    ignore: tuple[str, ...] = ()


class Kind(_Part):
    """What a system has to give. `columns` hold for all its tables."""

    title: str
    description: str = ""
    columns: dict[str, str] = {}
    tables: tuple[Table, ...] = ()
    requests: tuple[Request, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Kind:
        if bool(self.tables) == bool(self.requests):
            raise ValueError("list either tables (of a database) or requests (to an API)")
        for table in self.tables:
            _check_dataset(table)
        for request in self.requests:
            _check_dataset(request)
        names = [*(table.table for table in self.tables), *(request.path for request in self.requests)]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"listed twice: {', '.join(doubled)}")
        return self

    def table_specs(self) -> list[TableSpec]:
        """The tables, each with the columns that hold for all."""
        return [
            TableSpec(part.table, part.dataset, part.cursor, {**self.columns, **part.columns}, part.ignore)
            for part in self.tables
        ]


def _check_dataset(part: Table | Request) -> None:
    known = load_contracts()
    if part.dataset not in known:
        raise ValueError(f"{part.dataset!r} is no dataset; one of: {', '.join(sorted(known))}")
    contract = known[part.dataset]
    if not contract.is_keyed or DELETED not in contract.columns:
        raise ValueError(
            f"dataset {part.dataset} needs a primaryKey and a field {DELETED}, so that changed and "
            f"deleted rows "
            "of a source can be told"
        )
    constants = part.constants if isinstance(part, Request) else {}
    if unknown := sorted({*part.columns, *constants} - set(contract.columns)):
        raise ValueError(f"dataset {part.dataset} has no column {', '.join(unknown)}")
    _check_key(contract)


def _check_key(contract: Contract) -> None:
    for name in contract.primary_key:
        if contract.field(name).type not in ("string", "integer", "year", "date"):
            raise ValueError(
                f"dataset {contract.name}: key column {name} is a {contract.field(name).type}; rows of a "
                f"source "
                "are named by texts, whole numbers, years or dates"
            )


class SourceFile(_Part):
    """One source, or several that differ in a word (`each`): a source for every combination of the values.

    `address` and `key` name environment variables; `{word}` in them, and in `school_id`, stands for a value
    of `each`. `utc_offset` is for times of day that the source keeps without a zone. `private_network` lets
    an API be called that is inside our own network. `compare_minutes`: how often a table with a cursor is
    compared as a whole all the same.
    """

    name: str
    kind: str | Kind
    address: str
    key: str | None = None
    school_id: str | None = None
    parameters: dict[str, str] = {}
    each: dict[str, tuple[str, ...]] = {}
    utc_offset: str = pydantic.Field(default="+00:00", pattern=r"[+-][0-9]{2}:[0-9]{2}")
    private_network: bool = False
    compare_minutes: int = pydantic.Field(default=60, ge=0)
    timeout_seconds: int = pydantic.Field(default=600, gt=0)
    enabled: bool = True

    @pydantic.field_validator("parameters", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return {name: str(each) for name, each in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _is_consistent(self) -> SourceFile:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name {self.name!r}: lower-case letters, digits and hyphens, such as zacrac-rosariosis"
            )
        for variable in filter(None, (self.address, self.key)):
            if not _VARIABLE.fullmatch(re.sub(r"\{[a-z_]+\}", "X", variable)):
                raise ValueError(
                    "address and key are names of environment variables, such as ROSARIOSIS_URL; what "
                    "they hold "
                    "is secret and does not belong in this file"
                )
        return self


class Source(_Part):
    """A source that is ready to be asked."""

    name: str
    kind_name: str
    kind: Kind
    address_variable: str
    key_variable: str | None
    school_id: str
    parameters: dict[str, str]
    utc_offset: str
    private_network: bool
    compare_minutes: int
    timeout_seconds: int

    @property
    def principal_id(self) -> str:
        """Who hands in what comes from it."""
        return f"source:{self.name}"

    def address(self, environment: Mapping[str, str]) -> SecretStr:
        """Where it is; `environment` as `environment_of` gives it.

        Raises:
            ConfigurationError: names the variable that is not set.
        """
        return self._secret(self.address_variable, environment)

    def key(self, environment: Mapping[str, str]) -> SecretStr | None:
        """What lets us in, where that is not part of the address; raises as `address` does."""
        return self._secret(self.key_variable, environment) if self.key_variable else None

    def _secret(self, variable: str, environment: Mapping[str, str]) -> SecretStr:
        value = environment.get(variable, "")
        if file := environment.get(f"{variable}_FILE", ""):
            value = Path(file).read_text("utf-8").strip()
        if not value:
            raise ConfigurationError(
                f"Source {self.name}: {variable} is not set. Put the address into the environment of the "
                f"services "
                f"(.env), or the path of a file with it into {variable}_FILE."
            )
        return SecretStr(value)


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment, with what the file of settings and `*.env` beside the sources add."""
    files = [env_file(settings.home), *sorted(sources_dir(settings).glob("*.env"))]
    written = {name: value or "" for file in files for name, value in dotenv_values(file).items()}
    return {**written, **os.environ}


def sources_dir(settings: Settings) -> Path:
    """The folder with the files."""
    return settings.sources_dir or settings.home / SOURCES_FOLDER


def load_sources(settings: Settings) -> list[Source]:
    """All sources that are switched on, by name.

    Raises:
        ConfigurationError: a file is wrong; names the file, the key and what was expected.
    """
    folder = sources_dir(settings)
    found: dict[str, Source] = {}
    for path in sorted(folder.glob("*.yaml")):
        for source in read_source_file(path, settings.default_school_id):
            if source.name in found:
                raise ConfigurationError(f"{path.name}: there is another source of the name {source.name!r}.")
            found[source.name] = source
    return [found[name] for name in sorted(found)]


def find_source(settings: Settings, name: str) -> Source:
    """The source of this name.

    Raises:
        NotFound: lists the names there are.
    """
    sources = load_sources(settings)
    for source in sources:
        if source.name == name:
            return source
    names = ", ".join(source.name for source in sources) or "none"
    raise NotFound(f"There is no source {name[:80]!r} in {sources_dir(settings)}; there are: {names}.")


def read_source_file(path: Path, default_school: str) -> list[Source]:
    """The sources of one file; raises as `load_sources` does."""
    described = _parse(SourceFile, path)
    if not described.enabled:
        return []
    kind = described.kind if isinstance(described.kind, Kind) else _kind(path, described.kind)
    kind_name = "own" if isinstance(described.kind, Kind) else described.kind
    try:
        return [
            _source(described, kind, kind_name, words, default_school)
            for words in _combinations(described.each)
        ]
    except KeyError as error:
        raise ConfigurationError(
            f"{path.name}: {{{error.args[0]}}} stands for nothing; `each` has "
            f"{', '.join(described.each) or 'no words'}."
        ) from None


def _source(
    described: SourceFile, kind: Kind, kind_name: str, words: dict[str, str], default_school: str
) -> Source:
    suffix = "".join(f"-{word.lower()}" for word in words.values())
    return Source(
        name=f"{described.name}{suffix}",
        kind_name=kind_name,
        kind=kind,
        address_variable=described.address.format(**words),
        key_variable=described.key.format(**words) if described.key else None,
        school_id=(described.school_id or default_school).format(**words),
        parameters={**described.parameters, **words},
        utc_offset=described.utc_offset,
        private_network=described.private_network,
        compare_minutes=described.compare_minutes,
        timeout_seconds=described.timeout_seconds,
    )


def _combinations(each: dict[str, tuple[str, ...]]) -> Iterable[dict[str, str]]:
    return (dict(zip(each, values, strict=True)) for values in product(*each.values()))


@cache
def kinds() -> dict[str, Kind]:
    """The kinds that Laurel knows, by name."""
    return {path.stem: _parse(Kind, path) for path in sorted(KINDS_DIR.glob("*.yaml"))}


def _kind(path: Path, name: str) -> Kind:
    if name not in kinds():
        raise ConfigurationError(
            f"{path.name}: kind: there is no {name!r}; one of: {', '.join(kinds())}; or list tables or "
            f"requests here."
        )
    return kinds()[name]


def _parse(model: type[_Model], path: Path) -> _Model:
    try:
        return model.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name}: this is no YAML: {str(error).splitlines()[0]}.") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'] if part != model.__name__) or 'file'}: "
            f"{fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"{path.name}: {faults}.") from None


LivesIn = Literal["mysql", "postgres", "http"]


def lives_in(source: Source, address: SecretStr) -> LivesIn:
    """Which of the readers can ask it, by the first word of its address.

    Raises:
        ConfigurationError: none can; does not show the address.
    """
    scheme = address.get_secret_value().partition(":")[0].lower()
    known: dict[str, LivesIn] = {
        "mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "postgres": "postgres",
        "http": "http", "https": "http",
    }  # fmt: skip
    place = known.get(scheme)
    if place is None or (place == "http") != bool(source.kind.requests):
        expected = "http:// or https://" if source.kind.requests else "mysql:// or postgresql://"
        raise ConfigurationError(
            f"Source {source.name}: {source.address_variable} must begin with {expected}."
        )
    return place
