"""The ledger, keys, runs, and the tables of the model."""

from __future__ import annotations

from alembic import op

from elt.migrations.losses import losses

revision = "0001"
down_revision = None

LEDGER = """
create function ops.row_key(variadic parts text[]) returns uuid
    -- Stable, as array_to_string is: otherwise it is not inlined and costs three times as much.
    language sql stable parallel safe
    return md5(array_to_string(parts, chr(31), ''))::uuid;
comment on function ops.row_key is
    'The one definition of a row''s key: its primary-key columns as text, in the order of the contract.';

create function ops.loading_upload_id() returns uuid language sql immutable
    return nullif(current_setting('laurel.upload_id', true), '')::uuid;
comment on function ops.loading_upload_id is
    'The upload that this transaction loads. Called immutable so that a COPY works it out once, not for each
row: that is a tenth of a load. For column defaults of raw only.';

create table ops.keys (
    key_id        uuid primary key,
    name          text not null,
    role          text not null check (role in ('researcher', 'teacher', 'analyst', 'admin')),
    school_id     text,
    prefix        text not null,
    key_sha256    bytea not null unique,
    created_at    timestamptz not null default now(),
    created_by    text not null,
    expires_at    timestamptz,
    last_used_at  timestamptz,
    revoked_at    timestamptz
);
comment on table ops.keys is 'API keys of programs. Only the SHA-256 of a key is stored.';

create table ops.uploads (
    upload_id     uuid primary key,          -- version 7: in order of time
    dataset       text not null,
    school_id     text not null,             -- for rows that name no school
    uploader      text not null,             -- principal, e.g. key:<key_id>
    origin        text not null default 'api' check (origin in ('api', 'inbox', 'source', 'demo')),
    title         text,
    note          text,
    parent_id     uuid references ops.uploads, -- this upload fixes rejected rows of that one,
    parent_version integer,                    -- namely of this version
    version       integer not null default 1,  -- the newest version
    live_version  integer,                     -- the version whose rows are in raw; null: none
    created_at    timestamptz not null,
    withdrawn_at  timestamptz,
    withdrawn_by  text
);
create index on ops.uploads (uploader, upload_id desc);
create index on ops.uploads (parent_id) where parent_id is not null;

create table ops.upload_versions (
    upload_id     uuid not null references ops.uploads,
    version       integer not null,
    object_key    text not null unique,
    filename      text not null,
    media_type    text,
    size_bytes    bigint not null,
    sha256        text not null,
    options       jsonb not null default '{}',
    uploader      text not null,
    received_at   timestamptz not null,
    ranked_at     timestamptz not null,       -- the newest row per key wins by (ranked_at, line)
    status        text not null default 'stored'
        check (status in ('stored', 'loading', 'loaded', 'rejected', 'held', 'withdrawn', 'failed')),
    reason        text,                       -- why it is rejected, held or failed, for people
    issues        jsonb not null default '[]', -- findings about the file as a whole
    detected      jsonb,                      -- encoding, delimiter, header as understood
    rows_read     bigint,
    rows_accepted bigint,
    rows_rejected bigint,
    rows_repeated bigint,
    rows_loaded   bigint,
    warnings      bigint,
    attempts      integer not null default 0,
    approved_at   timestamptz,
    approved_by   text,
    loading_at    timestamptz,
    loaded_at     timestamptz,
    run_id        uuid,
    primary key (upload_id, version),
    constraint every_row_is_counted check (rows_read = rows_accepted + rows_rejected + rows_repeated),
    constraint a_loaded_version_is_counted check (status <> 'loaded' or rows_read is not null)
);
create index on ops.upload_versions (status) where status in ('stored', 'loading');
create index on ops.upload_versions (sha256);

create table ops.row_issues (
    upload_id     uuid not null,
    version       integer not null,
    line          bigint not null,
    column_name   text,                       -- null: the row as a whole
    rule          text not null,
    severity      text not null check (severity in ('error', 'warning'))
    -- no foreign key: checking it row by row would cost more than the rows
);
create index on ops.row_issues (upload_id, version, line);
comment on table ops.row_issues is
    'Why rows were rejected (error) or loaded with a finding (warning). The object has the cells.';

create table ops.fixed_lines (
    parent_id      uuid not null,
    parent_version integer not null,
    line           bigint not null,
    upload_id      uuid not null,             -- the live fix that brought the line
    primary key (parent_id, parent_version, line)
);
create index on ops.fixed_lines (upload_id);
comment on table ops.fixed_lines is 'Rejected lines that a live fix has since brought; each at most once.';

create table ops.loads (
    load_id       bigint generated always as identity primary key,
    upload_id     uuid not null references ops.uploads,
    version       integer not null,
    dataset       text not null,
    kind          text not null check (kind in ('load', 'withdraw', 'erase')),
    rows          bigint not null,
    created_at    timestamptz not null default now(),
    build_run_id  uuid,                       -- the run that is building it into the marts
    built_at      timestamptz,                -- null: the marts do not show it yet
    unique (upload_id, version, kind)
);
create index on ops.loads (load_id) where built_at is null;
comment on table ops.loads is
    'The ledger: one line per change of raw, written in the transaction that made the change.';

create table ops.events (
    event_id      uuid primary key,           -- version 7; also the name of the object in the store
    upload_id     uuid not null,
    kind          text not null,
    occurred_at   timestamptz not null,
    principal     text not null,
    body          jsonb not null
);
create index on ops.events (upload_id, event_id);

create table ops.marks (
    name          text primary key,
    reached       timestamptz not null
);
comment on table ops.marks is
    'How far something has been worked through. events: discover knows what the store held up to then.';

create table ops.inbox_objects (
    object_key    text not null,
    etag          text not null,
    upload_id     uuid,
    reason        text,                       -- why it could not be adopted
    seen_at       timestamptz not null default now(),
    primary key (object_key, etag)
);
create index on ops.inbox_objects (upload_id) where upload_id is not null;

create table ops.idempotency_keys (
    principal     text not null,
    key           text not null,
    fingerprint   text not null,
    upload_id     uuid not null,
    created_at    timestamptz not null default now(),
    primary key (principal, key)
);

create table ops.runs (
    run_id        uuid primary key,           -- version 7
    trigger       text not null,              -- schedule, event, cli, api
    airflow_run   text,
    status        text not null check (status in ('running', 'succeeded', 'failed')),
    started_at    timestamptz not null default now(),
    finished_at   timestamptz,
    stages        jsonb not null default '{}',
    error         text
);
create index on ops.runs (run_id) where status = 'running';

create table ops.unpublished_marts (
    mart          text primary key,
    changed_at    timestamptz not null
);
comment on table ops.unpublished_marts is
    'Marts that a build has changed and that are not yet scored from and written to the store.';

create table ops.alerts (
    event         text primary key,
    sent_at       timestamptz not null
);
comment on table ops.alerts is
    'When people were last told of an event, so that the same one is told once an hour.';
"""

MODEL = """
create table ml.models (
    model_id      uuid primary key,           -- version 7
    target        text not null,
    version       integer not null,
    algorithm     text not null,
    created_at    timestamptz not null default now(),
    code_version  text not null,
    data_window   jsonb not null,             -- first and last as-of date, rows, students
    features      jsonb not null,
    metrics       jsonb not null,
    gate          jsonb not null,             -- each condition, what was found, passed or not
    is_published  boolean not null,
    object_key    text,                       -- the fitted pipeline in the store
    unique (target, version)
);

create table ml.predictions (
    prediction_id   bigint generated always as identity primary key,
    target          text not null,
    model_id        uuid references ml.models, -- null where the plain rule spoke
    method          text not null check (method in ('model', 'rule')),
    school_id       text not null,
    student_id      text not null,
    as_of_date      date not null,
    probability     double precision check (probability between 0 and 1), -- null for the rule
    score           double precision not null, -- orders the worklist; higher is more urgent
    is_at_risk      boolean not null,
    reasons         jsonb not null,            -- [{feature, value, effect, text}]
    recommendations jsonb not null,            -- [{code, text}]
    data_version    text not null,
    scored_at       timestamptz not null default now(),
    run_id          uuid
);
create index on ml.predictions (target, school_id, student_id, prediction_id desc);

create function ml.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'ml.predictions is append only';
end $$;
create trigger append_only before update on ml.predictions
    for each statement execute function ml.refuse_change();
"""

LOSES = losses(
    "ops.keys", "ops.uploads", "ops.upload_versions", "ops.row_issues", "ops.fixed_lines", "ops.loads",
    "ops.events", "ops.runs", "ml.models", "ml.predictions",
)  # fmt: skip

BACK = """
drop schema if exists staging, intermediate, core, marts cascade;
drop schema raw, ml cascade;
drop table ops.alerts, ops.unpublished_marts, ops.runs, ops.idempotency_keys, ops.inbox_objects, ops.marks,
    ops.events, ops.loads, ops.fixed_lines, ops.row_issues, ops.upload_versions, ops.uploads, ops.keys;
drop function ops.loading_upload_id;
drop function ops.row_key;
"""


def upgrade() -> None:
    op.execute("create schema raw; create schema ml;")
    op.execute(LEDGER)
    op.execute(MODEL)


def downgrade() -> None:
    op.execute(BACK)
