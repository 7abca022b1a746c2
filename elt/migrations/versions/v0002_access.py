"""People, sessions, what each may see, pseudonyms, erasures and the audit trail."""

from __future__ import annotations

from alembic import op

from elt.migrations.losses import Loss, losses

revision = "0002"
down_revision = "0001"

PEOPLE = """
create table ops.users (
    user_id         uuid primary key,          -- version 7
    email           text not null,             -- the name to sign in with
    name            text not null,
    role            text not null check (role in ('researcher', 'teacher', 'analyst', 'admin')),
    school_id       text,                      -- null: any school
    password_hash   text,                      -- argon2id; null: signs in by OpenID Connect only
    password_expires_at timestamptz,           -- of one made for them; null: they chose it themselves
    oidc_issuer     text,
    oidc_subject    text,
    created_at      timestamptz not null default now(),
    created_by      text not null,
    last_sign_in_at timestamptz,
    disabled_at     timestamptz,
    unique (oidc_issuer, oidc_subject)
);
create unique index on ops.users (lower(email));

create table ops.assignments (
    user_id         uuid not null references ops.users on delete cascade,
    school_id       text not null,
    grade_level     text,                      -- null: every class of the school
    subject         text,                      -- null: every subject of the class
    created_at      timestamptz not null default now(),
    created_by      text not null,
    unique nulls not distinct (user_id, school_id, grade_level, subject)
);
comment on table ops.assignments is 'The classes and subjects of a teacher: what they may see.';

create table ops.sessions (
    session_sha256  bytea primary key,         -- of the cookie's value, which is kept nowhere
    user_id         uuid not null references ops.users on delete cascade,
    created_at      timestamptz not null default now(),
    last_seen_at    timestamptz not null default now(),
    expires_at      timestamptz not null
);
create index on ops.sessions (user_id);

create unlogged table ops.rates (              -- a crash may forget it
    key             text primary key,
    count           bigint not null,
    expires_at      timestamptz not null
);
comment on table ops.rates is 'How often something was asked lately, for limits that all workers share.';
"""

SIGHT = """
create table ops.scopes (
    token_sha256    bytea primary key,         -- of a random token that only the reading session holds
    principal       text not null,
    role            text not null check (role in ('researcher', 'teacher', 'analyst', 'admin')),
    school_id       text,                      -- null: any school
    assignments     jsonb not null default '[]', -- of a teacher: [{school_id, grade_level, subject}]
    expires_at      timestamptz not null
);
comment on table ops.scopes is
    'What a reading session may see. Views find it by the hash of the token, which typed SQL cannot guess.';

create table ops.pseudonyms (
    kind            text not null check (kind in ('student', 'guardian', 'teacher')),
    school_id       text not null,
    source_id       text not null,
    pseudonym       text not null,
    key_version     integer not null,
    primary key (kind, school_id, source_id)
);
create unique index on ops.pseudonyms (kind, pseudonym);
comment on table ops.pseudonyms is
    'HMAC of identifiers, with a key kept outside. Only the owner of the served views reads this.';
"""

BOUNDS = """
alter table ops.keys add column scopes text[];
comment on column ops.keys.scopes is 'The actions that the key is narrowed to; null: all of its role.';

alter table ops.upload_versions add column bound_school_id text;
comment on column ops.upload_versions.bound_school_id is
    'The one school whose rows the sender may bring; null: any.';
"""

ERASURE = """
create table ops.erasures (
    erasure_id      uuid primary key,          -- version 7
    kind            text not null check (kind in ('student', 'guardian', 'teacher')),
    school_id       text not null,
    tombstone       text not null,             -- keyed hash of school and identifier: keeps later rows out
    person_tombstones text[] not null default '{}', -- of name and birth date: for rows without identifier
    reason          text not null,
    requested_by    text not null,
    requested_at    timestamptz not null default now(),
    finished_at     timestamptz,               -- null: copies may be left; to be done, or done again
    reopened_at     timestamptz,               -- when a load last met the person in a new file
    counts          jsonb not null default '{}', -- what was removed where
    unique (kind, school_id, tombstone)
);
comment on table ops.erasures is 'People who were erased, by keyed hashes only.';

create table ops.erasure_lines (
    upload_id       uuid not null,
    version         integer not null,
    line            bigint not null,
    erasure_id      uuid not null references ops.erasures,
    confirmed_by    text not null,
    confirmed_at    timestamptz not null default now(),
    primary key (upload_id, version, line)
);
comment on table ops.erasure_lines is
    'Rows that name nobody by an identifier, and that a person said are of somebody who was erased.';

alter table ops.upload_versions
    add column rows_erased bigint not null default 0,
    add column erased jsonb not null default '{}',
    add column bytes_removed_at timestamptz;
comment on column ops.upload_versions.rows_erased is
    'How many of the rows read are of people who were erased. The other counts stay as they were.';
comment on column ops.upload_versions.erased is
    'Rows taken out of the object since it was read, by what had become of them (elt.privacy.erased_counts).';
comment on column ops.upload_versions.bytes_removed_at is 'When retention removed the object.';

-- Several people may be erased from one version, each at a time of their own.
alter table ops.loads drop constraint loads_upload_id_version_kind_key;
create unique index on ops.loads (upload_id, version, kind) where kind <> 'erase';

create or replace function ml.refuse_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('laurel.erasing', true) = 'on' then
        return null;
    end if;
    raise exception 'ml.predictions is append only';
end $$;
drop trigger append_only on ml.predictions;
create trigger append_only before update or delete or truncate on ml.predictions
    for each statement execute function ml.refuse_change();
"""

AUDIT = """
create table ops.audit (
    audit_id        bigint primary key,        -- 1, 2, 3 … without gaps
    occurred_at     timestamptz not null,
    actor           text not null,             -- principal, e.g. user:<user_id>
    action          text not null,             -- e.g. students:read
    subject         text not null default '',  -- what it was done to; of people a keyed hash, never a name
    detail          jsonb not null default '{}',
    previous_sha256 bytea not null,
    sha256          bytea not null
);
create index on ops.audit (actor, audit_id desc);
create index on ops.audit (subject, audit_id desc) where subject <> '';
comment on table ops.audit is 'Who did what, when and why. Each line holds the hash of the line before.';

create table ops.audit_turn (
    is_only boolean primary key default true check (is_only)
);
insert into ops.audit_turn default values;
comment on table ops.audit_turn is
    'Its row is locked by whoever adds a line. SQL that people type could take an advisory lock, not this.';

create table ops.interventions (
    intervention_id uuid primary key,          -- version 7
    school_id       text not null,
    student_id      text not null,
    done_on         date not null,
    done_by         text not null,             -- principal who wrote it down
    action          text not null,             -- what was done, in a few words
    note            text,
    corrects        uuid unique references ops.interventions, -- this line stands in place of that one
    created_at      timestamptz not null default now()
);
create index on ops.interventions (school_id, student_id, intervention_id desc);
comment on table ops.interventions is
    'What was done to help a student. Lines are only added; a correction names the line it replaces.';

create function ops.refuse_change() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'interventions' and current_setting('laurel.erasing', true) = 'on' then
        return null;               -- notes that name somebody who was erased are replaced
    end if;
    raise exception '% is append only', tg_table_name;
end $$;
create trigger append_only before update or delete or truncate on ops.audit
    for each statement execute function ops.refuse_change();
create trigger append_only before update on ops.interventions
    for each statement execute function ops.refuse_change();
"""

LOSES = (
    *losses(
        "ops.users", "ops.assignments", "ops.sessions", "ops.pseudonyms", "ops.erasures", "ops.erasure_lines",
        "ops.audit", "ops.interventions",
    ),
    Loss("ops.keys", "keys narrowed to some actions, which are revoked", "scopes is not null"),
    Loss("ops.upload_versions", "bounds to one school", "bound_school_id is not null"),
    Loss(
        "ops.upload_versions",
        "notes of what was erased or removed",
        "rows_erased > 0 or erased <> '{}' or bytes_removed_at is not null",
    ),
    Loss(
        "ops.loads",
        "erasures of a version that was erased from before, which become one line",
        "kind = 'erase' and exists (select from ops.loads as later where later.kind = 'erase'"
        " and (later.upload_id, later.version) = (loads.upload_id, loads.version)"
        " and later.load_id > loads.load_id)",
    ),
)  # fmt: skip

BACK = """
drop table ops.interventions, ops.audit_turn, ops.audit;
drop function ops.refuse_change;

drop trigger append_only on ml.predictions;
create trigger append_only before update on ml.predictions
    for each statement execute function ml.refuse_change();
create or replace function ml.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'ml.predictions is append only';
end $$;

with newest as (
    select upload_id, version, max(load_id) as load_id, sum(rows) as rows
    from ops.loads where kind = 'erase' group by upload_id, version
),
merged as (
    update ops.loads set rows = newest.rows from newest where newest.load_id = loads.load_id
)
delete from ops.loads using newest
where loads.kind = 'erase' and (loads.upload_id, loads.version) = (newest.upload_id, newest.version)
    and loads.load_id <> newest.load_id;
drop index ops.loads_upload_id_version_kind_idx;
alter table ops.loads add unique (upload_id, version, kind);

alter table ops.upload_versions
    drop column rows_erased, drop column erased, drop column bytes_removed_at, drop column bound_school_id;
drop table ops.erasure_lines, ops.erasures;

drop table ops.pseudonyms, ops.scopes, ops.rates, ops.sessions, ops.assignments, ops.users;

-- Without its bounds a key would open more than it was made for.
update ops.keys set revoked_at = now() where scopes is not null and revoked_at is null;
alter table ops.keys drop column scopes;
"""


def upgrade() -> None:
    op.execute(BOUNDS)
    op.execute(PEOPLE)
    op.execute(SIGHT)
    op.execute(ERASURE)
    op.execute(AUDIT)


def downgrade() -> None:
    op.execute(BACK)
