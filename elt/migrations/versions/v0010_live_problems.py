"""Why a country database is not followed: a few words for viewers, and all of it for administrators."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

# What stands there names hosts and roles. Whatever is still wrong is noted again by the next try.
PROBLEMS = """
alter table live.sources add column problem_detail text;
update live.sources set problem = null, problem_at = null;
comment on column live.sources.problem is 'Why it is not followed now, for all viewers; null: it is.';
comment on column live.sources.problem_detail is 'The same with host, port and role, for administrators.';
"""

BACK = """
alter table live.sources drop column problem_detail;
comment on column live.sources.problem is null;
"""


def upgrade() -> None:
    op.execute(PROBLEMS)


def downgrade() -> None:
    op.execute(BACK)
