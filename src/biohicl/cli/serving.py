"""The subcommand that answers searches over HTTP."""

from __future__ import annotations

import argparse

from biohicl.cli.arguments import Subcommands, command, limit_threads, positive
from biohicl.cli.search import index_of, index_options

HIGHEST_PORT = 65_535


def add_commands(commands: Subcommands) -> None:
    """Adds serve."""

    def serve(options: argparse.Namespace) -> None:
        # Searches share the cores; threads within each would wait for one another, and do nothing else meanwhile.
        limit_threads(options.threads or 1)
        from biohicl.web.limits import Limits
        from biohicl.web.serving import serve as serve_index

        limits = Limits(queue=options.queue, **({"at_a_time": options.searches} if options.searches else {}))
        where = index_of(options), options.model, options.host, options.port
        serve_index(*where, limits, options.open_to_network, options.device, options.name)

    parser = command(
        commands,
        "serve",
        serve,
        "Search in a browser: a page, and a JSON interface for programs",
        "Says its address when it is ready, and answers until it is interrupted (Ctrl-C). The interface is described "
        "at /openapi.json. An index that is made again meanwhile is taken up without a restart.",
    )
    index_options(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, for this machine alone)"
    )
    parser.add_argument("--port", type=_port, default=8000, help="0 takes any that is free (default: 8000)")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="a name by which it is asked for beside its own, as through a proxy that encrypts",
    )
    parser.add_argument(
        "--searches",
        type=positive,
        metavar="N",
        help="searches computed at a time (default: 8 a core, so that queries are encoded several at a time)",
    )
    parser.add_argument(
        "--queue", type=positive, default=200, metavar="N", help="searches that may wait for that (default: 200)"
    )
    parser.add_argument(
        "--open-to-network",
        action="store_true",
        help="allow a --host that other machines reach: whoever reaches it may search, and nothing is encrypted",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port, from 0 to {HIGHEST_PORT:,}")
    return int(text)
