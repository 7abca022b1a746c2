"""What a search for an erased person has found; see `elt.privacy.erasure`."""

from __future__ import annotations

from alembic import op

from elt.migrations.losses import Loss

revision = "0007"
down_revision = "0006"

FINDINGS = """
alter table ops.erasures add column found text[] not null default '{}';
comment on column ops.erasures.found is
    'What a search that knew the person last found of them: identifier, name. Only another that knows it, and
finds nothing, finishes the erasure.';
"""

LOSES = (Loss("ops.erasures", "values of found", "found <> '{}'"),)

BACK = """
alter table ops.erasures drop column found;
"""


def upgrade() -> None:
    op.execute(FINDINGS)


def downgrade() -> None:
    op.execute(BACK)
