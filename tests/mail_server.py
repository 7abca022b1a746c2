"""A mail server that keeps what it takes."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session
from pydantic import SecretStr

from elt.settings import Settings
from local.ports import find_free_port

USER, PASSWORD = "laurel@school.example", "for-tests-p@ss/word"


@dataclass
class MailServer:
    """What it took, in order; `refusals` are answered first, before anything is taken."""

    host: str = "127.0.0.1"
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    signed_in: list[str] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.refusals:
            return self.refusals.pop(0)
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        self.contents.append(envelope.content)
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address.startswith("unknown"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def texts(self) -> list[str]:
        """The plain texts of the mails."""
        return [text_of(mail) for mail in self.mails]


def text_of(mail: EmailMessage) -> str:
    """What is read of a mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@contextmanager
def mail_server(
    settings: Settings, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, **how: Any
) -> Iterator[tuple[Settings, MailServer]]:
    """Settings whose mail goes to a server here, and the server. `tls`: encrypted from the first byte."""
    kept = MailServer(host)

    def sign_in(_server: Any, _session: Any, _envelope: Any, _mechanism: str, sent: Any) -> AuthResult:
        kept.signed_in.append(sent.login.decode())
        return AuthResult(success=sent.password == PASSWORD.encode(), handled=False)

    kept.port = find_free_port()
    controller = Controller(
        kept,
        hostname=host,
        port=kept.port,
        authenticator=sign_in,
        auth_require_tls=False,
        ssl_context=tls,
        ready_timeout=60,
        **how,
    )
    controller.start()
    try:
        scheme = "smtps" if tls else "smtp"
        address = f"{scheme}://laurel%40school.example:for-tests-p%40ss%2Fword@{host}:{kept.port}"
        update = {
            "smtp_url": SecretStr(address),
            "mail_from": "Laurel <laurel@school.example>",
            "outgoing_allow": f"{host},127.0.0.0/8",
            "public_url": "https://laurel.school.example",
        }
        yield settings.model_copy(update=update), kept
    finally:
        controller.stop()
