"""The schema `served`: what each person may see of the marts. `elt.serving.sessions` makes its views."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

SERVED = """
create schema served;

truncate ops.scopes;              -- sessions that are open: each is asked for anew
alter table ops.scopes add column backend_pid integer not null;
comment on column ops.scopes.backend_pid is
    'The server process of the session: the token of another session is worth nothing.';

create function served.scope() returns table (role text, school_id text, assignments jsonb)
    language sql stable security definer rows 1 set search_path = pg_catalog, pg_temp
    as $$
        select scopes.role, scopes.school_id, scopes.assignments from ops.scopes
        where scopes.token_sha256 = sha256(convert_to(current_setting('laurel.scope', true), 'UTF8'))
            and scopes.backend_pid = pg_backend_pid() and scopes.expires_at > now()
    $$;
comment on function served.scope is
    'What the reading session may see, by the hash of its token: so no session can choose what it sees.';

create function served.age_band(born date) returns text language sql stable
    return (select (years / 3 * 3) || ' to ' || (years / 3 * 3 + 2)
            from (select (extract(year from current_date) - extract(year from born))::int as years) as aged);
comment on function served.age_band is
    'Three years that the age of this calendar year lies in, instead of a date of birth. It changes at New
Year only: a band that changed on birthdays would tell them to whoever asks every day.';

create function served.run(statement text, row_limit integer, size_limit bigint) returns setof text
    language plpgsql security definer set search_path = served, pg_temp
    as $$
    declare
        answer refcursor;
        line record;
        size bigint := 0;
    begin
        open answer no scroll for execute statement;
        for number in 1 .. row_limit loop
            fetch answer into line;
            exit when not found;
            size := size + octet_length(row_to_json(line)::text);
            if size > size_limit then
                raise exception using errcode = 'program_limit_exceeded', message = 'the answer is too large';
            end if;
            return next row_to_json(line)::text;
        end loop;
    end $$;
comment on function served.run is
    'Runs a statement that a person has typed, as laurel_query. Within a function that changes the user no
statement can change it back; so it has the rights of that role, whatever it tries.';

revoke execute on all functions in schema served from public;
"""

BACK = """
drop function served.run;
drop function served.age_band;
drop function served.scope;
drop schema served;
truncate ops.scopes;
alter table ops.scopes drop column backend_pid;
"""


def upgrade() -> None:
    op.execute(SERVED)


def downgrade() -> None:
    op.execute(BACK)
