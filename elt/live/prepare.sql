-- What Laurel keeps in a country database, so that it hears of changes at once. Run by the table's owner; safe
-- to repeat. It only notes which rows were written, in a small table, and calls whoever listens.
-- {table}, {key}, {reader}: the followed table, its column with the response's number, Laurel's role.

create schema if not exists laurel_live;

-- Unlogged: no WAL, no part of file copies or publications. A crash empties all of it, `floor` too, which is
-- how Laurel knows that it must compare.
create unlogged table if not exists laurel_live.changes (
    change_id bigint generated always as identity, -- how many lines lie between two of them
    xid       xid8 not null default pg_current_xact_id(),
    id        text,   -- of a row that was written, '' if it has none; null: a canary, or all rows are gone
    beat      bigint  -- a canary's number
);
create index if not exists changes_xid on laurel_live.changes (xid);
create unlogged table if not exists laurel_live.floor (
    only_one boolean primary key default true check (only_one),
    seen     pg_snapshot not null -- lines of transactions that it shows may be gone
);

create or replace function laurel_live.shows_all_of(newer pg_snapshot, older pg_snapshot) returns boolean
language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
    select pg_snapshot_xmax(newer) >= pg_snapshot_xmax(older)
       and not exists (
           select from pg_snapshot_xip(newer) as running where pg_visible_in_snapshot(running, older)
       )
$$;

-- After a crash, while nobody follows: from now on lines may be dropped. An insert waits for one that is not
-- committed, hence the lock.
create or replace function laurel_live.begin_anew() returns void
language sql set search_path = pg_catalog, pg_temp as $$
    insert into laurel_live.floor (seen) select pg_current_snapshot()
    where pg_try_advisory_xact_lock('laurel_live.floor'::regclass::oid::bigint)
    on conflict do nothing
$$;

-- Keeps the table small where nobody follows: looked at about every 1 000 lines. It must not disturb whoever
-- writes responses, so it never waits, and whatever goes wrong is left for the next time.
create or replace function laurel_live.stay_small(written bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    newest bigint := currval('laurel_live.changes_change_id_seq');
    oldest record;
    known  pg_snapshot;
begin
    select change_id, xid into oldest from laurel_live.changes order by xid limit 1;
    if newest - oldest.change_id < {most_lines} then return; end if;
    if not exists (select from laurel_live.floor) then
        perform laurel_live.begin_anew();
        return;
    end if;
    select seen into known from laurel_live.floor for update skip locked;
    if not found then return; end if;
    if pg_visible_in_snapshot(oldest.xid, known) then
        delete from laurel_live.changes where ctid = any (array(
            select ctid from laurel_live.changes where pg_visible_in_snapshot(xid, known)
            order by xid limit 2 * (written + 1000)
        ));
    elsif laurel_live.shows_all_of(pg_current_snapshot(), known) then
        update laurel_live.floor set seen = pg_current_snapshot();
    end if;
exception when others then
    null;
end
$$;

-- A full queue of notifications would make the commit fail that wanted to send one.
create or replace function laurel_live.call() returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select case when pg_notification_queue_usage() < 0.5 then pg_notify({channel}, '') end
$$;

create or replace function laurel_live.note() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    written bigint;
begin
    if to_regclass('laurel_live.changes') is null then return null; end if;
    if tg_op = 'INSERT' then
        insert into laurel_live.changes (id) select distinct coalesce({key}::text, '') from new_rows;
    elsif tg_op = 'DELETE' then
        insert into laurel_live.changes (id) select distinct coalesce({key}::text, '') from old_rows;
    elsif tg_op = 'UPDATE' then
        insert into laurel_live.changes (id)
        select coalesce({key}::text, '') from old_rows union select coalesce({key}::text, '') from new_rows;
    else
        insert into laurel_live.changes (id) values (null);
    end if;
    get diagnostics written = row_count;
    if written > 0 then
        if currval('laurel_live.changes_change_id_seq') % 1000 < written then
            perform laurel_live.stay_small(written);
        end if;
        perform laurel_live.call();
    end if;
    return null;
end
$$;

-- Laurel's canary, to measure how long a change takes.
create or replace function laurel_live.beat(number bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into laurel_live.changes (beat) values (number);
    select laurel_live.call();
$$;

-- Drops lines that Laurel has read some time ago. After a crash it says from when on lines are complete; also
-- where a dump of another server was restored, whose transactions are still to come here.
create or replace function laurel_live.forget(known pg_snapshot) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not laurel_live.shows_all_of(pg_current_snapshot(), known) then return; end if;
    insert into laurel_live.floor (seen) values (known) on conflict do nothing;
    perform from laurel_live.floor for update skip locked;
    if not found then return; end if;
    update laurel_live.floor set seen = known
    where laurel_live.shows_all_of(known, seen) or not laurel_live.shows_all_of(pg_current_snapshot(), seen);
    delete from laurel_live.changes
    where (xid < pg_snapshot_xmax(known) and pg_visible_in_snapshot(xid, known))
       or xid >= pg_snapshot_xmax(pg_current_snapshot());
end
$$;

-- Whoever writes responses is waited for, briefly; then all that was not noted is committed and in the floor.
create or replace trigger laurel_inserted after insert on {table}
    referencing new table as new_rows for each statement execute function laurel_live.note();
create or replace trigger laurel_updated after update on {table}
    referencing old table as old_rows new table as new_rows for each statement execute function laurel_live.note();
create or replace trigger laurel_deleted after delete on {table}
    referencing old table as old_rows for each statement execute function laurel_live.note();
create or replace trigger laurel_truncated after truncate on {table}
    for each statement execute function laurel_live.note();
alter table {table} enable always trigger laurel_inserted;
alter table {table} enable always trigger laurel_updated;
alter table {table} enable always trigger laurel_deleted;
alter table {table} enable always trigger laurel_truncated;
insert into laurel_live.floor (seen) values (pg_current_snapshot())
    on conflict (only_one) do update set seen = excluded.seen;

revoke all on all functions in schema laurel_live from public;
grant usage on schema laurel_live to {reader};
grant select on laurel_live.changes, laurel_live.floor to {reader};
grant execute on function laurel_live.shows_all_of(pg_snapshot, pg_snapshot) to {reader};
grant execute on function laurel_live.beat(bigint), laurel_live.forget(pg_snapshot) to {reader};
