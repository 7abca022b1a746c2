"""${message}"""

from __future__ import annotations

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

UP = """
"""

# Puts the schema back exactly as it was. What is lost by it for good is named in LOSES (elt.migrations.losses).
BACK = """
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(BACK)
