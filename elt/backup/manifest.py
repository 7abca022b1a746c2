"""What a backup is: `backups/<UTC time>/` with a dump per database, and a manifest of what is in them.

The manifest is written last: a folder without one is the rest of a backup that was cut off. `verified.json`
beside it says when the backup was last restored and found equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Literal, get_args

from elt.errors import BackupError, NotFound
from elt.settings import Settings
from elt.store.base import ObjectInfo, Store
from elt.store.object_keys import BACKUPS

FORMAT = 1
DatabaseName = Literal["elt", "airflow"]
BACKED_UP = "backup"
"""The mark in `ops.marks` up to which everything is in a backup that was tried."""
DATABASES: tuple[DatabaseName, ...] = get_args(DatabaseName)

_NAME = "%Y-%m-%dT%H-%M-%SZ"
_MANIFEST = "manifest.json"
_VERIFIED = "verified.json"


@dataclass(frozen=True, slots=True)
class TableSum:
    """A table's content in a form that can be compared. `checksum`: see `elt.backup.contents`."""

    name: str
    rows: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Dump:
    """The dump of one database. `revision`: of its tables, None where there are none yet.

    `server` and `program` are versions as PostgreSQL says them (`18.4`); `size` is in bytes, `sha256` in hex.
    `roles`: those that have rights in it; empty in backups of before they were noted.
    """

    database: DatabaseName
    revision: str | None
    server: str
    program: str
    key: str
    size: int
    sha256: str
    tables: tuple[TableSum, ...]
    roles: tuple[str, ...] = ()

    @property
    def server_major(self) -> int:
        """PostgreSQL's major version that the dump was taken of."""
        return int(self.server.partition(".")[0])


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole backup."""

    name: str
    dumps: tuple[Dump, ...]

    @property
    def taken_at(self) -> datetime:
        """When it was begun, to the second."""
        return _time_of(self.name)

    def dump(self, database: DatabaseName) -> Dump:
        """The dump of a database.

        Raises:
            NotFound: the backup has none of it.
        """
        for dump in self.dumps:
            if dump.database == database:
                return dump
        raise NotFound(f"The backup {self.name} has no dump of the database {database}.")

    def to_bytes(self) -> bytes:
        """The manifest's object."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> Manifest:
        """Read a manifest's object.

        Raises:
            BackupError: it is none that this version can read, or that of another backup.
        """
        try:
            document = json.loads(content)
            if document["format"] != FORMAT or document["name"] != name:
                raise ValueError("unknown format, or another backup's")
            return cls(name, tuple(_read_dump(dump) for dump in document["dumps"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError(
                f"{manifest_key(name)} is not a manifest that this version of Laurel can read. Use another "
                "backup (laurel backup list)."
            ) from error


@dataclass(frozen=True, slots=True)
class ListedBackup:
    """A backup in the store, `size` bytes of it. Not whole: being taken right now, or cut off."""

    name: str
    size: int
    is_whole: bool
    verified_at: datetime | None

    @property
    def taken_at(self) -> datetime:
        """When it was begun, to the second."""
        return _time_of(self.name)


def new_name(now: datetime) -> str:
    """The name of a backup that begins now; names sort as times do."""
    return now.astimezone(UTC).strftime(_NAME)


def dump_key(name: str, database: DatabaseName) -> str:
    """Where a database's dump stands."""
    return f"{BACKUPS}{name}/{database}.dump"


def manifest_key(name: str) -> str:
    """Where a backup's manifest stands."""
    return f"{BACKUPS}{name}/{_MANIFEST}"


def address_of(settings: Settings, database: DatabaseName) -> str | None:
    """The address of a database, as libpq understands it; None where no database was named for Airflow."""
    secret = settings.database_url if database == "elt" else settings.airflow_database_url
    if secret is None:
        return None
    scheme, found, rest = secret.get_secret_value().partition("://")
    return f"{scheme.partition('+')[0]}{found}{rest}"  # SQLAlchemy writes postgresql+psycopg2://


def list_backups(store: Store) -> list[ListedBackup]:
    """All backups, newest first. Folders whose names are no times are not ours, and left out."""
    found = groupby(store.list(BACKUPS), key=lambda item: item.key.removeprefix(BACKUPS).partition("/")[0])
    listed = [_list(name, list(items)) for name, items in found if _is_name(name)]
    return sorted(listed, key=lambda backup: backup.name, reverse=True)


def find_manifest(store: Store, name: str) -> Manifest:
    """A whole backup by its name, or the `latest`.

    Raises:
        NotFound: there is none, or it was cut off.
    """
    if name == "latest":
        name = next((backup.name for backup in list_backups(store) if backup.is_whole), "")
    if not _is_name(name) or not store.exists(manifest_key(name)):
        raise NotFound(
            f"There is no whole backup {name!r}."
            if name
            else "There is no backup yet: laurel backup takes one."
        )
    with store.open(manifest_key(name)) as stream:
        return Manifest.from_bytes(stream.read(), name)


def write_manifest(store: Store, manifest: Manifest) -> None:
    """Make a backup whole."""
    store.put(manifest_key(manifest.name), [manifest.to_bytes()], media_type="application/json")


def note_verified(store: Store, name: str, now: datetime) -> None:
    """Write down that a backup was restored and found equal."""
    content = json.dumps({"verified_at": now.astimezone(UTC).isoformat()}).encode()
    store.put(f"{BACKUPS}{name}/{_VERIFIED}", [content], media_type="application/json", replace=True)


def objects_of(store: Store, name: str) -> Iterator[str]:
    """The keys of a backup's objects, the manifest first: without it no half backup looks whole."""
    keys = [item.key for item in store.list(f"{BACKUPS}{name}/")]
    yield from sorted(keys, key=lambda key: key != manifest_key(name))


def _list(name: str, items: list[ObjectInfo]) -> ListedBackup:
    by_name = {item.key.rpartition("/")[2]: item for item in items}
    verified = by_name.get(_VERIFIED)
    return ListedBackup(
        name,
        sum(item.size for item in items),
        _MANIFEST in by_name,
        verified.modified if verified else None,
    )


def _read_dump(document: dict[str, Any]) -> Dump:
    tables = tuple(TableSum(**table) for table in document.pop("tables"))
    roles = tuple(document.pop("roles", ()))
    return Dump(**document, tables=tables, roles=roles)


def _is_name(name: str) -> bool:
    try:
        return new_name(_time_of(name)) == name
    except ValueError:
        return False


def _time_of(name: str) -> datetime:
    return datetime.strptime(name, _NAME).replace(tzinfo=UTC)
