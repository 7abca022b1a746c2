"""E-mail: what waits to be sent and who wants what; and who looks after which student."""

from __future__ import annotations

from alembic import op

from elt.migrations.losses import Loss, losses

revision = "0012"
down_revision = "0011"

ALERTS = """
alter table ops.alerts add column way text not null default 'webhook' check (way in ('webhook', 'mail'));
alter table ops.alerts drop constraint alerts_pkey, add primary key (event, way);
comment on column ops.alerts.way is 'How people were told; each way is told for itself.';
"""

MAIL = """
alter table ops.users
    add column mails_loaded boolean not null default false,
    add column mails_troubled boolean not null default true;
comment on column ops.users.mails_loaded is 'Wants to hear by e-mail of own files that were loaded.';
comment on column ops.users.mails_troubled is
    'Wants to hear by e-mail of own files that were rejected, are held or failed.';

create table ops.mails (
    mail_id         uuid primary key,          -- version 7
    about           text not null unique,      -- what happened; each is told once
    kind            text not null check (kind in ('upload', 'report')),
    user_id         uuid not null references ops.users on delete cascade,
    detail          jsonb not null,            -- identifiers only: the text is written when it is sent
    created_at      timestamptz not null default now(),
    attempts        integer not null default 0,
    due_at          timestamptz not null default now(), -- not tried before
    sent_at         timestamptz,
    given_up_at     timestamptz,
    check (sent_at is null or given_up_at is null)
);
create index on ops.mails (due_at) where sent_at is null and given_up_at is null;
comment on table ops.mails is 'E-mails to people, sent and to be sent.';

create table ops.report_subscriptions (
    subscription_id uuid primary key,          -- version 7
    user_id         uuid not null references ops.users on delete cascade,
    school_id       text not null,
    grade_level     text not null,
    created_at      timestamptz not null default now(),
    due_on          date not null,             -- when the next report is due
    unique (user_id, school_id, grade_level)
);
create index on ops.report_subscriptions (due_on);
comment on table ops.report_subscriptions is 'Who gets the report of which class each week.';
"""

CARE = """
create table ops.student_assignments (
    assignment_id   uuid primary key,          -- version 7
    school_id       text not null,
    student_id      text not null,
    user_id         uuid not null references ops.users on delete cascade,
    assigned_by     text not null,             -- principal
    assigned_at     timestamptz not null default now(),
    ended_by        text,                      -- principal
    ended_at        timestamptz,
    check (num_nulls(ended_by, ended_at) in (0, 2))
);
create unique index on ops.student_assignments (school_id, student_id) where ended_at is null;
create index on ops.student_assignments (user_id) where ended_at is null;
comment on table ops.student_assignments is
    'Who looks after which student, now (not ended) and before.';
"""

LOSES = (
    *losses("ops.mails", "ops.report_subscriptions", "ops.student_assignments"),
    Loss("ops.users", "choices of what to hear by e-mail", "mails_loaded or not mails_troubled"),
    Loss("ops.alerts", "alerts by e-mail", "way = 'mail'"),
)

BACK = """
drop table ops.student_assignments;
drop table ops.report_subscriptions;
drop table ops.mails;
alter table ops.users drop column mails_loaded, drop column mails_troubled;
delete from ops.alerts where way = 'mail';
alter table ops.alerts drop constraint alerts_pkey;
alter table ops.alerts drop column way, add primary key (event);
"""


def upgrade() -> None:
    op.execute(ALERTS)
    op.execute(MAIL)
    op.execute(CARE)


def downgrade() -> None:
    op.execute(BACK)
