"""The country databases to the second."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

SOURCES = """
create schema live;

create table live.sources (
    source       text primary key,
    country      text,                 -- that all its rows must have; null: any known one
    way          text not null check (way in ('notify', 'poll')),
    identity     text,                 -- of server, database and table; another one is compared
    snapshot     text,                 -- pg_snapshot of the source: what it showed is in live.responses;
                                       -- null: the source is to be compared as a whole
    reading      bigint not null default 0, -- grows with every reading that was applied
    read_at      timestamptz,          -- when it was last known that nothing newer is there
    compared_at  timestamptz,          -- when it was last compared as a whole
    lag_seconds  double precision,     -- of its last canary: from commit at the source to pushed
    lag_at       timestamptz,          -- when that canary arrived
    problem      text,                 -- why it is not followed now; null: it is
    problem_at   timestamptz
);
comment on table live.sources is 'How far each country database has been followed.';

create table live.responses (
    source       text not null references live.sources on delete cascade,
    id           text not null,        -- the response's number at its source
    range_no     bigint not null,      -- the range of keys it lies in, as elt.sources.tables cuts them
    row_hash     bigint not null,      -- of the row at its source
    country      text not null,
    escs         numeric,
    tmins        numeric,
    belong       numeric,
    durecec      numeric,
    weight       numeric,
    submitted_at timestamptz not null, -- the source's time, or when it was first seen
    primary key (source, id)
);
create index on live.responses (source, range_no);
comment on table live.responses is 'The responses that the country databases hold now.';

create table live.rejects (
    source   text not null references live.sources on delete cascade,
    id       text not null,            -- '' where the row has none
    place    integer not null default 1, -- among rows with the same id
    range_no bigint not null,
    row_hash bigint not null,
    issues   jsonb not null,           -- [{column, rule}], never values
    seen_at  timestamptz not null default now(),
    primary key (source, id, place)
);
create index on live.rejects (source, range_no);
comment on table live.rejects is 'Rows of the country databases that are not counted, and why.';
"""

SUMS = """
create table live.countries (
    source      text not null references live.sources on delete cascade,
    country     text not null,
    responses   bigint not null,
    escs_n      bigint not null,
    escs_sum    numeric not null,
    tmins_n     bigint not null,
    tmins_sum   numeric not null,
    belong_n    bigint not null,
    belong_sum  numeric not null,
    durecec_n   bigint not null,
    durecec_sum numeric not null,
    both_n      bigint not null,       -- with both durecec and belong
    primary key (source, country)
);
comment on table live.countries is 'Running sums of live.responses, changed in the same transaction. Exact.';

create table live.hours (
    source    text not null references live.sources on delete cascade,
    country   text not null,
    hour      timestamptz not null,    -- the hour of submitted_at, UTC
    responses bigint not null,
    primary key (source, country, hour)
);
create index on live.hours (hour);
comment on table live.hours is 'How many of live.responses were submitted in each hour.';

create table live.version (
    only_one   boolean primary key default true check (only_one),
    version    bigint not null,        -- grows with every change; its lock keeps them in order
    changed_at timestamptz not null
);
insert into live.version (version, changed_at) values (0, now());
"""

BACK = """
drop table live.version, live.hours, live.countries, live.rejects, live.responses, live.sources;
drop schema live;
"""


def upgrade() -> None:
    op.execute(SOURCES)
    op.execute(SUMS)


def downgrade() -> None:
    op.execute(BACK)
