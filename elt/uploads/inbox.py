"""CSV files that were put into the store by other means than the API.

Any object that ends in `.csv` outside Laurel's own folders is one. Its bytes are copied under a key of our
own, since whoever dropped it may change it; from then on it is an upload like any other, by `inbox`. The same
name with other bytes is a new version of that upload. What cannot be adopted is reported once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from uuid import UUID

from uuid6 import uuid7

from elt.contracts import fold, guess_dataset, load_contracts
from elt.errors import Conflict, NotFound, TransientError, UploadRejected
from elt.log import get_logger
from elt.people.principals import INBOX
from elt.reading.dialect import ReadOptions
from elt.reading.reader import read_blocks
from elt.settings import Settings
from elt.store.base import ObjectInfo, Store, StoredObject
from elt.store.object_keys import OWN_FOLDERS, new_object_key
from elt.uploads.accept import NewUpload, accept_upload
from elt.uploads.lifecycle import replace_upload
from elt.warehouse import Connection

_BATCH = 500
_CHUNK = 1 << 20

log = get_logger(__name__)


def adopt_inbox(settings: Settings, connection: Connection, store: Store) -> int:
    """Adopt what was dropped since the last time; returns how many files became uploads or versions."""
    adopted = 0
    batch: list[ObjectInfo] = []
    for item in inbox_objects(store):
        batch.append(item)
        if len(batch) == _BATCH:
            adopted += _adopt_new(settings, connection, store, batch)
            batch = []
    return adopted + _adopt_new(settings, connection, store, batch)


def inbox_objects(store: Store) -> Iterator[ObjectInfo]:
    """All inbox objects, without walking through our own folders."""
    after: str | None = None
    while True:
        for item in store.list("", after=after):
            own = next((folder for folder in OWN_FOLDERS if item.key.startswith(folder)), None)
            if own is not None:
                after = own.removesuffix("/") + "0"  # the first name behind the folder: "0" follows "/"
                break
            if item.key.lower().endswith(".csv"):
                yield item
        else:
            return


def _adopt_new(settings: Settings, connection: Connection, store: Store, batch: list[ObjectInfo]) -> int:
    # What was seen last: on S3 a file that is set back to earlier bytes has its earlier mark again.
    rows = connection.execute(
        """
        select distinct on (object_key) object_key, etag from ops.inbox_objects where object_key = any(%s)
        order by object_key, seen_at desc
        """,
        ([item.key for item in batch],),
    )
    known = {(row["object_key"], row["etag"]) for row in rows}
    adopted = 0
    for item in batch:
        if (item.key, item.etag) in known:
            continue
        try:
            adopted += _adopt(settings, connection, store, item)
        except (NotFound, TransientError) as error:
            # One unreadable object must not keep the others waiting; the next run tries it again.
            log.warning("inbox_object_skipped", key=item.key, reason=error.detail)
    return adopted


def _adopt(settings: Settings, connection: Connection, store: Store, item: ObjectInfo) -> bool:
    dataset, reason = _find_dataset(store, item)
    if dataset is None:
        _remember(connection, item, None, reason)
        log.warning("inbox_object_refused", key=item.key, reason=reason)
        return False
    upload_id = _earlier_upload(connection, item, dataset)
    is_new = upload_id is None
    upload_id = upload_id or UUID(int=uuid7().int)
    filename = PurePosixPath(item.key).name
    stored = _copy(store, item, new_object_key(upload_id, 1 if is_new else 2, filename))
    if stored is None:
        log.info("inbox_object_skipped", key=item.key, reason="it is still being written")
        return False
    if last := _last_adopted_as(connection, item, stored.sha256):
        store.delete(stored.key)
        _remember(connection, item, last, None)
        return False
    try:
        if is_new:
            request = NewUpload(
                dataset, filename, settings.default_school_id, "text/csv", title=item.key, origin="inbox"
            )
            accepted = accept_upload(connection, store, upload_id, request, stored, INBOX, inbox=item)
            upload_id, is_new = accepted.upload_id, accepted.created
        else:
            replace_upload(
                connection, store, upload_id, stored, filename, "text/csv", ReadOptions(), INBOX, inbox=item
            )
    except Conflict as error:
        _remember(connection, item, None, error.detail)
        return False
    _remember(connection, item, upload_id, None)
    log.info("inbox_object_adopted", key=item.key, upload_id=str(upload_id), dataset=dataset)
    return True


def _find_dataset(store: Store, item: ObjectInfo) -> tuple[str | None, str]:
    """The dataset by folder name, header or file name; else None and why not."""
    path = PurePosixPath(item.key)
    names = {fold(name): name for name in load_contracts()}
    for folder in reversed(path.parent.parts):
        if fold(folder) in names:
            return names[fold(folder)], ""
    try:
        with store.open(item.key) as stream:
            detected, _ = read_blocks(stream, ReadOptions())
    except UploadRejected as error:
        return _by_filename(path), error.detail
    dataset = guess_dataset(detected.header, item.key) or _by_filename(path)
    return dataset, (
        "Neither folder, file name nor header tell the dataset. Put it into a folder of the dataset's name: "
        f"{', '.join(load_contracts())}."
    )


def _by_filename(path: PurePosixPath) -> str | None:
    for contract in load_contracts().values():
        if fold(path.stem) in {fold(contract.name), *(fold(PurePosixPath(n).stem) for n in contract.files)}:
            return contract.name
    return None


def _earlier_upload(connection: Connection, item: ObjectInfo, dataset: str) -> UUID | None:
    """The upload that this name made before, if it is of the same dataset and not withdrawn.

    Not one that an equal file of another name made: that is the other name's to replace.
    """
    row = connection.execute(
        """
        select u.upload_id
        from ops.inbox_objects i
        join ops.uploads u using (upload_id)
        join ops.events e on e.upload_id = i.upload_id and e.body -> 'inbox' ->> 'key' = i.object_key
        where i.object_key = %s and u.dataset = %s and u.withdrawn_at is null
        order by e.event_id desc limit 1
        """,
        (item.key, dataset),
    ).fetchone()
    return row["upload_id"] if row else None


def _last_adopted_as(connection: Connection, item: ObjectInfo, sha256: str) -> UUID | None:
    """The upload, also a withdrawn one, that this name last became, if its bytes are still the same.

    Then only its time has changed, as it does when the store is copied. Only the last one: a file that is set
    back to earlier bytes has changed.
    """
    row = connection.execute(
        """
        select e.upload_id, coalesce(v.sha256, e.body -> 'object' ->> 'sha256') as sha256
        from ops.inbox_objects i
        join ops.events e on e.upload_id = i.upload_id and e.body -> 'inbox' ->> 'key' = i.object_key
        left join ops.upload_versions v  -- it has lost rows where a person was erased
          on v.upload_id = e.upload_id and v.version = coalesce((e.body ->> 'version')::integer, 1)
        where i.object_key = %s
        order by e.event_id desc limit 1
        """,
        (item.key,),
    ).fetchone()
    return row["upload_id"] if row and row["sha256"] == sha256 else None


def _copy(store: Store, item: ObjectInfo, key: str) -> StoredObject | None:
    """Copy the bytes; None if the object changed meanwhile."""
    with store.open(item.key) as stream:
        stored = store.put(key, iter(lambda: stream.read(_CHUNK), b""), media_type="text/csv")
    if store.stat(item.key).etag == item.etag and stored.size == item.size:
        return stored
    store.delete(key)
    return None


def _remember(connection: Connection, item: ObjectInfo, upload_id: UUID | None, reason: str | None) -> None:
    connection.execute(
        """
        insert into ops.inbox_objects (object_key, etag, upload_id, reason) values (%s, %s, %s, %s)
        on conflict (object_key, etag)
        do update set upload_id = excluded.upload_id, reason = excluded.reason, seen_at = now()
        """,
        (item.key, item.etag, upload_id, reason),
    )
