"""E-mail, sent to a real mail server: what goes out, how it is protected, and alerts by two ways."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from structlog.testing import CapturingLogger

from elt import notify
from elt.mail import Mail, NotMailedError, send_mail
from elt.settings import Settings
from elt.warehouse import Connection
from tests.mail_server import PASSWORD, USER, mail_server, text_of
from tests.webhook import told

WRONG = "for-tests-pw"
EVIL = "x\r\nX-Evil: 1\r\n\r\n<b>body</b>"
HELLO = Mail(("ada@school.example",), "Ẹ kú àárọ̀", "Ọ̀rọ̀\nsecond line\n", "42")


@pytest.fixture
def quick_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    logger = CapturingLogger()
    monkeypatch.setattr(notify, "_log", logger)
    return logger


def test_a_mail_arrives_as_it_was_written(settings: Settings) -> None:
    with mail_server(settings) as (here, server):
        send_mail(here, HELLO)
    (mail,) = server.mails
    assert (mail["From"], mail["To"], mail["Subject"]) == (
        "Laurel <laurel@school.example>", "ada@school.example", "Ẹ kú àárọ̀",
    )  # fmt: skip
    assert (mail["Message-ID"], mail["Auto-Submitted"]) == ("<42@school.example>", "auto-generated")
    assert text_of(mail) == "Ọ̀rọ̀\nsecond line\n"
    assert server.signed_in == [USER]
    assert server.recipients == [["ada@school.example"]]


@pytest.mark.parametrize(
    "evil",
    [
        EVIL,
        f"=?utf-8?b?{base64.b64encode(EVIL.encode()).decode()}?=",
        "=?utf-8?q?x=0D=0AX-Evil:_1?=",
        "x\u2028X-Evil: 1\x85X-Evil: 2",
    ],
)
def test_neither_a_subject_nor_the_name_of_a_file_adds_headers(settings: Settings, evil: str) -> None:
    with mail_server(settings) as (here, server):
        send_mail(here, Mail(("ada@school.example",), f"Laurel: {evil}", evil, "42", (evil, b"pdf")))
    head, _, _ = server.contents[0].partition(b"\r\n\r\n")
    names = [line.split(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")]
    assert names == [
        b"Content-Type", b"MIME-Version", b"From", b"To", b"Subject", b"Date", b"Auto-Submitted",
        b"Message-ID",
    ]  # fmt: skip
    (mail,) = server.mails
    assert mail["Subject"] == f"Laurel: {' '.join(evil.split())}"  # as it was written, not as it reads
    (attached,) = mail.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == (" ".join(evil.split()), b"pdf")


@pytest.mark.parametrize(
    "address", ["=?utf-8?b?!!?=@x.example", "a@x.example\r\nX-Evil: 1", "a b@x", "ada", ""]
)
def test_an_address_that_no_header_can_hold_is_final_and_not_named(settings: Settings, address: str) -> None:
    with mail_server(settings) as (here, server), pytest.raises(NotMailedError) as found:
        send_mail(here, Mail((address,), "x", "x"))
    assert found.value.is_final
    assert str(found.value) == "no address that mail can be sent to"
    assert server.mails == []


def test_a_wrong_address_of_ours_is_told_and_not_final(settings: Settings) -> None:
    with mail_server(settings) as (here, _), pytest.raises(NotMailedError, match="LAUREL_MAIL_FROM") as found:
        send_mail(here.model_copy(update={"mail_from": "Laurel"}), HELLO)
    assert not found.value.is_final


def test_our_own_network_is_reached_only_where_it_is_permitted(settings: Settings) -> None:
    with mail_server(settings) as (here, server):
        closed = here.model_copy(update={"outgoing_allow": ""})
        with pytest.raises(NotMailedError, match="LAUREL_OUTGOING_ALLOW"):
            send_mail(closed, HELLO)
    assert server.mails == []


@pytest.mark.parametrize(
    "address", ["nonsense", f"https://u:{WRONG}@h:1", f"smtp://u:{WRONG}@h:port", "smtp://"]
)
def test_an_address_that_is_none_is_not_repeated(settings: Settings, address: str) -> None:
    here = settings.model_copy(update={"smtp_url": SecretStr(address), "mail_from": "l@s.example"})
    with pytest.raises(NotMailedError, match="expected smtp://") as found:
        send_mail(here, HELLO)
    assert WRONG not in str(found.value)
    assert found.value.__cause__ is None


def test_a_wrong_password_is_told_without_it(settings: Settings) -> None:
    with mail_server(settings) as (here, server):
        url = SecretStr(f"smtp://{server.host}:{server.port}".replace("//", "//u:for-tests-wrong@"))
        with pytest.raises(NotMailedError, match=r"^SMTP 535$"):
            send_mail(here.model_copy(update={"smtp_url": url}), HELLO)
    assert server.mails == []


def test_elsewhere_than_on_this_machine_it_is_encrypted_or_not_sent(settings: Settings) -> None:
    host = _address_of_this_machine()
    with mail_server(settings, host=host) as (here, server), pytest.raises(NotMailedError, match="STARTTLS"):
        send_mail(here, HELLO)
    assert (server.mails, server.signed_in) == ([], [])


def test_starttls_checks_the_certificate(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = _address_of_this_machine()
    context = _certificate(tmp_path, host)
    with mail_server(settings, host=host, tls_context=context, require_starttls=True) as (here, server):
        with pytest.raises(NotMailedError, match="SSLCertVerificationError") as found:
            send_mail(here, HELLO)
        assert not found.value.is_final  # whoever runs the server may mend it
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        send_mail(here, HELLO)
    assert (len(server.mails), server.signed_in) == (1, [USER])


def test_smtps_is_encrypted_from_the_first_byte(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = _certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with mail_server(settings, tls=context) as (here, server):
        send_mail(here, HELLO)
    assert len(server.mails) == 1


def test_an_unknown_mailbox_is_final_and_not_named(settings: Settings) -> None:
    with mail_server(settings) as (here, _), pytest.raises(NotMailedError) as found:
        send_mail(here, Mail(("unknown-ada@school.example",), "x", "x"))
    assert found.value.is_final
    assert str(found.value) == "SMTP 550: recipient refused"


def test_alerts_go_by_both_ways_once_each(settings: Settings) -> None:
    with told(settings) as (first, messages), mail_server(first) as (here, server):
        both = here.model_copy(update={"alert_mail_to": "it@school.example, head@school.example"})
        for detail in ("first", "within the hour"):
            assert notify.alert(both, "run_failed", detail)
        assert notify.all_clear(both, "run_failed", "it runs")
        assert notify.all_clear(both, "run_failed", "it still runs")
    assert [message["text"] for message in messages] == [
        "Laurel: run_failed. first", "Laurel: run_failed is over. it runs",
    ]  # fmt: skip
    assert server.texts() == [f"{message['text']}\n" for message in messages]
    assert [mail["Subject"] for mail in server.mails] == ["Laurel: run_failed", "Laurel: run_failed is over"]
    assert server.recipients == [["it@school.example", "head@school.example"]] * 2


def test_one_way_that_fails_neither_silences_nor_repeats_the_other(
    settings: Settings, quick_retries: None, log: CapturingLogger, connection: Connection
) -> None:
    with told(settings) as (first, messages), mail_server(first) as (here, server):
        both = here.model_copy(update={"alert_mail_to": "it@school.example"})
        server.refusals = ["451 later"] * 2
        assert not notify.alert(both, "run_failed", "first")
        assert (len(messages), len(server.mails)) == (1, 0)
        assert notify.alert(both, "run_failed", "second")
        assert (len(messages), len(server.mails)) == (1, 1)
        assert "second" in server.texts()[0]
        deaf = both.model_copy(update={"alert_webhook_url": SecretStr("http://127.0.0.1:9/secret-hook")})
        assert not notify.all_clear(deaf, "run_failed", "over")
        assert notify.all_clear(both, "run_failed", "over")
        assert (len(messages), len(server.mails)) == (2, 2)
    assert {row["way"] for row in connection.execute("select way from ops.alerts")} == {"mail", "webhook"}
    said = str(log.calls)
    assert "alert_not_sent" in said
    assert not any(secret in said for secret in ("secret-hook", "it@school.example", PASSWORD))


def test_a_mail_server_alone_is_enough(settings: Settings) -> None:
    with mail_server(settings) as (here, server):
        notify.alert(here, "run_failed", "nobody is named")
        assert server.mails == []
        notify.alert(here.model_copy(update={"alert_mail_to": "it@school.example"}), "run_failed", "x")
    assert server.texts() == ["Laurel: run_failed. x\n"]


def _address_of_this_machine() -> str:
    """One that is not of the loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but the loopback's")
        address = str(probe.getsockname()[0])
    if ipaddress.ip_address(address).is_loopback:
        pytest.skip("this machine has no address but the loopback's")
    return address


def _certificate(folder: Path, host: str) -> ssl.SSLContext:
    """A server's context with a certificate for the address, which is in the folder, too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail of a test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    chain = folder / "chain.pem"
    public = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "certificate.pem").write_bytes(public)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(private + public)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context
