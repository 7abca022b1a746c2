"""What was written about students stays as it was written: it is taken back, settled or corrected."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"

# What a line is ended by is written once. Erasing a person alone may do more.
GUARD = """
create function ops.keep_what_was_written() returns trigger language plpgsql as $$
begin
    if current_setting('laurel.erasing', true) = 'on' then
        return case when tg_op = 'DELETE' then old else new end;
    end if;
    if tg_op = 'DELETE' then
        raise exception '% are kept', tg_table_name;
    end if;
    if to_jsonb(new) - tg_argv <> to_jsonb(old) - tg_argv
        or to_jsonb(old) ->> tg_argv[0] is not null
    then
        raise exception '% are kept as they were written', tg_table_name;
    end if;
    return new;
end $$;
create trigger kept before update or delete on ops.student_notes
    for each row execute function ops.keep_what_was_written('taken_back_by', 'taken_back_at');
create trigger kept before update or delete on ops.disputes
    for each row execute function
        ops.keep_what_was_written('outcome', 'settled_by', 'settled_why', 'settled_at');
create trigger kept before delete on ops.interventions
    for each row execute function ops.keep_what_was_written();
"""

BACK = """
drop trigger kept on ops.student_notes;
drop trigger kept on ops.disputes;
drop trigger kept on ops.interventions;
drop function ops.keep_what_was_written;
"""


def upgrade() -> None:
    op.execute(GUARD)


def downgrade() -> None:
    op.execute(BACK)
