"""What leads to a student who was erased; see `elt.privacy.traces`."""

from __future__ import annotations

from alembic import op

from elt.migrations.losses import Loss

revision = "0006"
down_revision = "0005"

TRACES = """
alter table ops.erasures add column traces text[] not null default '{}';
comment on column ops.erasures.traces is
    'Keyed hashes of what leads to the person: courses that they took, numbers under which they sat exams.';
"""

LOSES = (Loss("ops.erasures", "values of traces", "traces <> '{}'"),)

BACK = """
alter table ops.erasures drop column traces;
"""


def upgrade() -> None:
    op.execute(TRACES)


def downgrade() -> None:
    op.execute(BACK)
