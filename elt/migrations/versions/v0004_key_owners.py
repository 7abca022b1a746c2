"""Who is behind a key."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

OWNERS = """
alter table ops.keys add column owner text;
comment on column ops.keys.owner is
    'The account that made the key, itself or by a key of its own: user:<id>. Else the first of the keys by
which it was made, itself where none: key:<id>. No foreign key: if the account is gone,
the key is there still, and worthless.';

with recursive owned as (
    select key_id, case when created_by like 'user:%' then created_by else 'key:' || key_id end as owner
    from ops.keys as k
    where not exists (select from ops.keys as maker where 'key:' || maker.key_id = k.created_by)
    union all
    select k.key_id, owned.owner from owned join ops.keys as k on k.created_by = 'key:' || owned.key_id
)
update ops.keys as k set owner = owned.owner from owned where owned.key_id = k.key_id;

alter table ops.keys alter column owner set not null;
"""

BACK = """
alter table ops.keys drop column owner;
"""


def upgrade() -> None:
    op.execute(OWNERS)


def downgrade() -> None:
    op.execute(BACK)
