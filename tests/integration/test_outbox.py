"""Who hands in a file hears by e-mail what became of it: once, also where a run or the mail server dies."""

from __future__ import annotations

import base64
from collections.abc import Callable
from uuid import UUID

import pytest
from structlog.testing import CapturingLogger

from elt import outbox, pipeline
from elt.outbox import put_mail
from elt.people.principals import Principal
from elt.people.users import change_user, choose_mails, create_user
from elt.settings import Settings
from elt.uploads.telling import queue_outcomes, write_outcome
from elt.warehouse import Connection
from tests.conftest import Sender
from tests.mail_server import mail_server

GOOD, BAD = "good scores.csv", "bad.csv"
WRITERS = {"upload": write_outcome}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    logger = CapturingLogger()
    monkeypatch.setattr(outbox, "_log", logger)
    return logger


@pytest.fixture
def ada(connection: Connection) -> UUID:
    return create_user(connection, "ada@school.example", "Ada", "researcher", "test")


@pytest.fixture
def handed_in(sender: Sender, ada: UUID, history: Callable[..., str]) -> None:
    """A file that will load, and one without a column that is required."""
    person = Principal(f"user:{ada}", "researcher")
    sender.send(history(range(3)), principal=person, filename=GOOD)
    sender.send("Student ID,Term\nSTU1,First Term\n", principal=person, filename=BAD)


def load(settings: Settings) -> UUID:
    """A run up to the load of what waits."""
    plan = pipeline.begin(settings, trigger="cli")
    for group in plan.groups:
        pipeline.load(settings, plan.run_id, group)
    return plan.run_id


def subjects(server: object) -> list[str]:
    return [str(mail["Subject"]) for mail in server.mails]  # type: ignore[attr-defined]


def test_a_rejected_file_is_told_once_and_a_loaded_one_to_who_wants_it(
    settings: Settings, connection: Connection, ada: UUID, handed_in: None
) -> None:
    with mail_server(settings) as (here, server):
        pipeline.fail(here, load(here), "transform", "x")
        pipeline.begin(here, trigger="cli")
        assert subjects(server) == ["Laurel: bad.csv was rejected"]
        assert server.recipients == [["ada@school.example"]]
        upload = connection.execute(
            "select upload_id from ops.upload_versions where filename = %s", (BAD,)
        ).fetchone()
        assert upload is not None
        assert f"https://laurel.school.example/uploads/{upload['upload_id']}\n" in server.texts()[0]
        assert "https://laurel.school.example/account\n" in server.texts()[0]
        # Who asks for it now hears of files to come, not of those that were.
        choose_mails(connection, ada, loaded=True, troubled=True)
        pipeline.begin(here, trigger="cli")
        assert len(server.mails) == 1


@pytest.mark.usefixtures("built_marts")
def test_a_whole_run_tells_what_it_loaded_with_counts(
    settings: Settings, connection: Connection, ada: UUID, handed_in: None
) -> None:
    choose_mails(connection, ada, loaded=True, troubled=False)
    with mail_server(settings) as (here, server):
        pipeline.run(here, trigger="cli", score=lambda _settings, _run: {})
        assert subjects(server) == ["Laurel: good scores.csv was loaded"]
        assert "Rows: 3 read, 3 accepted, 0 rejected, 0 repeated." in server.texts()[0]


def test_what_a_killed_run_left_is_told_by_the_next(
    settings: Settings, connection: Connection, handed_in: None
) -> None:
    with mail_server(settings) as (here, server):
        load(here)  # and no more of that run
        assert server.mails == []
        pipeline.begin(here, trigger="cli")
        assert len(server.mails) == 1


def test_programs_and_those_who_left_are_not_told(
    settings: Settings, connection: Connection, sender: Sender, ada: UUID, handed_in: None
) -> None:
    sender.send("Student ID,Term\nSTU2,First Term\n", filename="of a program.csv")
    change_user(connection, ada, "test", disabled=True)
    with mail_server(settings) as (here, server):
        pipeline.fail(here, load(here), "transform", "x")
        assert server.mails == []
    assert _states(connection) == [(1, False, True), (1, False, True)]


def test_a_mail_server_that_is_away_is_tried_again_and_nothing_is_doubled(
    settings: Settings, connection: Connection, handed_in: None, log: CapturingLogger
) -> None:
    with mail_server(settings) as (here, server):
        load(here)
        server.refusals = ["451 later"]
        pipeline.begin(here, trigger="cli")
        assert server.mails == []
        assert outbox.send_due(here, WRITERS) == 0  # not yet due again
        connection.execute("update ops.mails set due_at = now()")
        assert outbox.send_due(here, WRITERS) == 1
        assert outbox.send_due(here, WRITERS) == 0
        assert len(server.mails) == 1
    assert (2, True, False) in _states(connection)
    (put_off,) = [call.kwargs for call in log.calls if call.args == ("mail_put_off",)]
    assert (put_off["reason"], put_off["attempts"]) == ("SMTP 451", 1)


def test_it_is_given_up_in_the_end_with_a_line_in_the_log(
    settings: Settings, connection: Connection, handed_in: None, log: CapturingLogger
) -> None:
    with mail_server(settings) as (here, server):
        load(here)
        queue_outcomes(connection)
        server.refusals = ["451 later"] * outbox.ATTEMPTS
        for _ in range(outbox.ATTEMPTS + 1):
            connection.execute("update ops.mails set due_at = now()")
            outbox.send_due(here, WRITERS)
        assert server.refusals == []
        assert server.mails == []
    assert (outbox.ATTEMPTS, False, True) in _states(connection)
    (given_up,) = [call.kwargs for call in log.calls if call.args == ("mail_given_up",)]
    assert given_up["attempts"] == outbox.ATTEMPTS
    assert "ada@school.example" not in str(log.calls)


def test_an_address_that_is_refused_for_good_is_not_tried_again(
    settings: Settings, connection: Connection, ada: UUID, handed_in: None, log: CapturingLogger
) -> None:
    change_user(connection, ada, "test", email="unknown-ada@school.example")
    with mail_server(settings) as (here, _):
        load(here)
        pipeline.begin(here, trigger="cli")
    assert (1, False, True) in _states(connection)
    assert [call.args[0] for call in log.calls] == ["mail_not_wanted", "mail_given_up"]  # of the loaded one
    assert "unknown-ada" not in str(log.calls)


def test_a_mail_that_cannot_be_written_stops_neither_runs_nor_the_others(
    settings: Settings, connection: Connection, ada: UUID, handed_in: None, log: CapturingLogger
) -> None:
    put_mail(connection, "first", "upload", ada, {"status": "rejected"})  # of which file is not said
    connection.execute("update ops.mails set due_at = now() - interval '1 day'")
    with mail_server(settings) as (here, server):
        load(here)  # begins with telling
        pipeline.begin(here, trigger="cli")
        assert subjects(server) == ["Laurel: bad.csv was rejected"]
        assert (1, False, False) in _states(connection)
        for _ in range(outbox.ATTEMPTS):
            connection.execute("update ops.mails set due_at = now()")
            pipeline.begin(here, trigger="cli")
        assert len(server.mails) == 1
    assert (outbox.ATTEMPTS, False, True) in _states(connection)
    said = {(call.args[0], call.kwargs.get("reason")) for call in log.calls}
    assert said >= {("mail_put_off", "KeyError"), ("mail_given_up", "KeyError")}


def test_an_address_that_was_let_in_before_stops_nobody_s_mail(
    settings: Settings, connection: Connection, ada: UUID, handed_in: None, log: CapturingLogger
) -> None:
    connection.execute("update ops.users set email = '=?utf-8?b?!!?=@x.example'")
    with mail_server(settings) as (here, server):
        load(here)
        pipeline.begin(here, trigger="cli")
        assert server.mails == []
    assert (1, False, True) in _states(connection)
    assert "mail_given_up" in [call.args[0] for call in log.calls]
    assert "x.example" not in str(log.calls)
    disabled = change_user(connection, ada, "test", disabled=True)  # is still possible
    assert disabled.state == "disabled"


def test_who_may_not_hand_in_any_more_hears_nothing(
    settings: Settings, connection: Connection, ada: UUID, handed_in: None, log: CapturingLogger
) -> None:
    with mail_server(settings) as (here, server):
        load(here)
        change_user(connection, ada, "test", role="teacher")
        pipeline.begin(here, trigger="cli")
        assert server.mails == []
    assert {call.args[0] for call in log.calls} == {"mail_not_wanted"}


def test_the_name_of_a_file_is_only_a_name(
    settings: Settings, connection: Connection, sender: Sender, ada: UUID
) -> None:
    hidden = base64.b64encode(b"x\r\nX-Evil: 1\r\n\r\nbody").decode()
    name = f"=?utf-8?b?{hidden}?="
    sender.send(
        "Student ID,Term\nSTU1,First Term\n", principal=Principal(f"user:{ada}", "researcher"), filename=name
    )
    with mail_server(settings) as (here, server):
        load(here)
        pipeline.begin(here, trigger="cli")
    assert subjects(server) == [f"Laurel: {name} was rejected"]
    assert b"X-Evil" not in server.contents[0]


def test_a_sender_that_dies_leaves_it_to_the_next_under_the_same_id(
    settings: Settings, connection: Connection, handed_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(settings) as (here, server):
        load(here)
        queue_outcomes(connection)
        with monkeypatch.context() as dying:
            dying.setattr(outbox, "_end", _die)
            with pytest.raises(SystemExit):
                outbox.send_due(here, WRITERS)
        outbox.send_due(here, WRITERS)
        assert len({mail["Message-ID"] for mail in server.mails}) == 1
    assert (1, True, False) in _states(connection)


def test_what_one_sender_is_at_another_leaves_alone(
    settings: Settings, connection: Connection, handed_in: None
) -> None:
    with mail_server(settings) as (here, server):
        load(here)
        queue_outcomes(connection)
        with connection.transaction():
            connection.execute("select from ops.mails for update")
            assert outbox.send_due(here, WRITERS) == 0
        assert outbox.send_due(here, WRITERS) == 1
        assert len(server.mails) == 1


def test_without_a_mail_server_nothing_waits(
    settings: Settings, connection: Connection, handed_in: None
) -> None:
    pipeline.fail(settings, load(settings), "transform", "x")
    assert _states(connection) == []


def _die(*_: object) -> None:
    raise SystemExit


def _states(connection: Connection) -> list[tuple[int, bool, bool]]:
    """Of each mail: attempts, whether it was sent, whether it is given up."""
    rows = connection.execute(
        "select attempts, sent_at is not null as sent, given_up_at is not null as gone from ops.mails"
    )
    return sorted((row["attempts"], row["sent"], row["gone"]) for row in rows)
