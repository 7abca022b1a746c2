"""Predictions of all students for one day are read in one go: what the summary counts."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

# The columns that it includes are all that is read, so the wide rows are not.
INDEX = """
create index predictions_of_a_day on ml.predictions
    (target, as_of_date, school_id, student_id, prediction_id desc)
    include (method, is_at_risk, probability)
    where subject = '';
"""

BACK = """
drop index ml.predictions_of_a_day;
"""


def upgrade() -> None:
    op.execute(INDEX)


def downgrade() -> None:
    op.execute(BACK)
