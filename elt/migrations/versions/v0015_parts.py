"""Large files are loaded in parts: what each part is, what was found in it, and where its rows wait."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

PARTS = """
create schema parts;
comment on schema parts is 'Rows of files of which not all parts are loaded; see elt/loading/parts.py.';

create table ops.splits (
    split_id uuid primary key,
    upload_id uuid not null,
    version integer not null,
    basis text not null,
    detected jsonb not null,
    unique (upload_id, version),
    foreign key (upload_id, version) references ops.upload_versions on delete cascade
);
comment on table ops.splits is 'Versions that are being loaded in parts. Grain: a version that waits.';
comment on column ops.splits.basis is 'A digest of all that decides what becomes of a row.';

create table ops.split_parts (
    split_id uuid not null references ops.splits on delete cascade,
    part integer not null,
    start_byte bigint not null,
    length_bytes bigint not null,
    first_line bigint not null,
    sha256 text not null,
    found jsonb,
    primary key (split_id, part)
);
comment on table ops.split_parts is 'The parts of a version. Grain: a range of bytes of its object.';
comment on column ops.split_parts.found is
    'Counts of its rows; null until they are in the table of the split.';

create table ops.split_findings (
    split_id uuid not null,
    part integer not null,
    kind text not null check (kind in ('issues', 'hashes')),
    number integer not null,
    content bytea not null,
    primary key (split_id, kind, part, number),
    foreign key (split_id, part) references ops.split_parts on delete cascade
);
alter table ops.split_findings alter content set storage external;
comment on table ops.split_findings is
    'What is known of the rows of a part. Grain: a piece of findings about rows (CSV), or of hashes of rows.';
"""


# The code before knows of one table for a dataset: rows of files that were loaded in parts go there.
BACK = """
do $$
declare
    child record;
    columns text;
begin
    for child in
        select c.relname as name, i.inhparent::regclass as parent
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where c.relnamespace = 'raw'::regnamespace
    loop
        select string_agg(quote_ident(attname), ', ') into columns
        from pg_attribute where attrelid = child.parent and attnum > 0 and not attisdropped;
        execute format(
            'insert into %s (%s) select %s from raw.%I', child.parent, columns, columns, child.name
        );
        execute format('drop table raw.%I', child.name);
    end loop;
end $$;
drop schema parts cascade;
drop table ops.split_findings;
drop table ops.split_parts;
drop table ops.splits;
"""


def upgrade() -> None:
    op.execute(PARTS)


def downgrade() -> None:
    op.execute(BACK)
