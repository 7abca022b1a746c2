"""`laurel exam-server`: examination results as the boards' API gives them, of candidates who do not exist."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import click

from elt.errors import ConfigurationError


@click.command(
    "exam-server",
    epilog="Example: laurel demo-school /tmp/school && laurel exam-server --records /tmp/school/exam_board",
)
@click.option(
    "--records",
    required=True,
    type=click.Path(path_type=Path),
    help="A CSV file of records, or a folder of them; read again when they change.",
)
@click.option(
    "--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="0: any free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the key that callers must send in the header X-API-Key.",
)
@click.option("--allow-faults", is_flag=True, help="Let callers of /faults say what is to go wrong.")
def exam_server(records: Path, port: int, host: str, api_key_file: Path | None, allow_faults: bool) -> None:
    """Serve examination results as the boards' API does, for tests and the demo, until Ctrl-C.

    /docs on the server tells what it answers.
    """
    from demo.exam_server import (
        create_exam_app,
        open_server,
    )  # Flask, which `laurel --help` should not wait for
    from local.ports import is_free

    api_key = _read_key(api_key_file) if api_key_file else None
    if api_key is None and not _is_loopback(host):
        raise click.UsageError("Others could ask this server; set a key with --api-key-file.")
    app = create_exam_app(records, api_key=api_key, allow_faults=allow_faults)
    if port and not is_free(host, port):
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on. Choose another port: --port {port + 1}"
        )
    server = open_server(app, host, port)
    click.echo(f"Examination results: http://{host}:{server.port}/docs   (Ctrl-C ends it)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


def _read_key(file: Path) -> str:
    try:
        key = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The key cannot be read from {file} ({type(error).__name__}).") from None
    if not key:
        raise ConfigurationError(f"{file} is empty; expected a key.")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
