"""The server: where it listens, and that it ends quietly.

Goes in: an index and an address. Comes out: nothing, until it is ended.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.web.limits import Limits, host_check, is_loopback


def serve(
    index: Path,
    model: Path | None,
    host: str,
    port: int,
    limits: Limits,
    open_to_network: bool = False,
    device: str = "auto",
    names: Sequence[str] = (),
) -> None:
    """Serves until it is interrupted. ``index``: its folder; ``model``: None where it lies beside. ``port`` 0: any.
    ``names``: by which it is asked for beside its own, as through a proxy.

    Raises :class:`BioHiCLError` where ``host`` can be reached from elsewhere and that was not asked for, where the
    address cannot be had, and where there is no index.
    """
    if not open_to_network and not is_loopback(host):
        raise BioHiCLError(
            f"{host} can be reached from other machines, and whoever reaches it can search here; "
            "if that is meant, say --open-to-network"
        )
    with _listening(host, port) as listening:
        from biohicl.web.application import application
        from biohicl.web.live import Live

        live = Live(index, model, device)
        of_machine = {socket.gethostname(), socket.getfqdn()} if open_to_network else set()
        is_known = host_check(host, frozenset({*names, *of_machine}))
        said = live.now().retriever.index.about
        shown = f"[{host}]" if ":" in host else host
        say(f"{said['citations']:,} citations, encoded by {said['model']}; {limits}")
        say(f"http://{shown}:{listening.getsockname()[1]}/ until it is interrupted (Ctrl-C)")
        _run(application(live, limits, is_known), listening, limits)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        # UnicodeError: a label of no or too many characters, or none that a name may have.
        reason = error.strerror if isinstance(error, socket.gaierror) else "no name of a machine is written so"
        raise BioHiCLError(f"{ascii(host)[1:-1]}: is no address of a machine ({reason})") from None
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise BioHiCLError(
            f"cannot listen at {host}, port {port}: {error.strerror}; another server may be there: "
            "choose another --port, or 0 for any that is free"
        ) from None
    return listening


def _run(app: object, listening: socket.socket, limits: Limits) -> None:
    import uvicorn

    from biohicl.web.connections import Connection

    logging.basicConfig(format="biohicl serve: %(message)s", level=logging.WARNING)
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=partial(Connection, patience=limits.patience),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        h11_max_incomplete_event_size=limits.address + 64 * 1024,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])
