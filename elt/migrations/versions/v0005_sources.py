"""What was taken from sources last; see `elt.sources`."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

SOURCES = """
create table ops.sources (
    source text primary key,
    status text not null check (status in ('running', 'succeeded', 'failed')),
    started_at timestamptz not null,
    finished_at timestamptz,
    succeeded_at timestamptz,
    error text
);
comment on table ops.sources is 'How the last reading of each source went.';

create table ops.source_tables (
    source text not null,
    table_name text not null,
    dataset text not null,
    layout text not null,
    source_clock double precision,
    compared_at timestamptz,
    cursor_mark text,
    synced_at timestamptz,
    error text,
    findings jsonb not null default '[]',
    primary key (source, table_name)
);
comment on table ops.source_tables is
    'What is known of each table of a source. It can be lost: then raw is compared with the source.';
comment on column ops.source_tables.layout is 'Hash of how rows are written; if another, all are sent.';
comment on column ops.source_tables.source_clock is 'The source''s time at the last reading, in seconds.';
comment on column ops.source_tables.cursor_mark is 'The largest value of the cursor that was read.';

create table ops.source_ranges (
    source text not null,
    table_name text not null,
    range_no bigint not null,
    row_count bigint not null,
    digest numeric,
    marks bytea not null,
    primary key (source, table_name, range_no),
    foreign key (source, table_name) references ops.source_tables on delete cascade
);
comment on table ops.source_ranges is 'The rows of each range of a table''s keys when they were read last.';
comment on column ops.source_ranges.digest is 'Sum of the rows'' hashes; null: to be read again.';
comment on column ops.source_ranges.marks is
    'For each row 16 bytes: a keyed hash of its key, and its hash. Nobody can read a key from it.';
"""

BACK = """
drop table ops.source_ranges, ops.source_tables, ops.sources;
"""


def upgrade() -> None:
    op.execute(SOURCES)


def downgrade() -> None:
    op.execute(BACK)
