"""The subcommands from MeSH's XML to the hierarchy, and a look at it."""

from __future__ import annotations

import argparse
from pathlib import Path

from biohicl.cli.arguments import Subcommands, command, positive, print_json, project_path


def add_commands(commands: Subcommands) -> None:
    """Adds parse-mesh, hierarchy, mesh show."""

    def parse_mesh(options: argparse.Namespace) -> None:
        from biohicl.mesh.parse import parse_mesh_file

        parse_mesh_file(options.file, options.output)

    parser = command(commands, "parse-mesh", parse_mesh, "MeSH descriptor XML to Parquet tables")
    parser.add_argument("file", type=Path, metavar="FILE", help="descYYYY.gz, or plain XML")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="for descriptors, concepts, scope_notes, terms, tree_numbers and allowed_qualifiers .parquet",
    )

    def hierarchy(options: argparse.Namespace) -> None:
        from biohicl.mesh.hierarchy import write_hierarchy

        write_hierarchy(options.mesh, options.output, options.anomalies, options.graph)

    parser = command(
        commands, "hierarchy", hierarchy, "Parents, ancestors, depth and information content of each MeSH descriptor"
    )
    parser.add_argument(
        "--mesh", type=Path, required=True, metavar="DIR", help="folder of the tables that parse-mesh made"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--anomalies", type=Path, required=True, help="what is odd in the tree, also said in the log")
    parser.add_argument("--graph", type=Path, required=True, help="the graph of descriptors as GraphML")

    def mesh_show(options: argparse.Namespace) -> None:
        from biohicl.mesh.show import portrait, portrait_text

        mesh = options.mesh or project_path(Path("results/mesh"), "snakemake --cores 2 mesh, or use --mesh")
        one = portrait(mesh, options.descriptor, options.relatives)
        if options.json:
            print_json(one.as_json())
        else:
            print(portrait_text(one))

    group = command(commands, "mesh", mesh_show, "Look at MeSH", "biohicl mesh show --help tells what of.")
    of_mesh = group.add_subparsers(dest="what", required=True, metavar="WHAT")
    parser = command(of_mesh, "show", mesh_show, "A descriptor's paths, depth, IC, children and nearest relatives")
    parser.add_argument(
        "descriptor",
        metavar="NAME",
        help='a name, a synonym, a UI or a tree number: "Breast Neoplasms", D001943, C04.588.180',
    )
    parser.add_argument("--mesh", type=Path, metavar="DIR", help="folder of the MeSH tables (default: this project's)")
    parser.add_argument(
        "--relatives", type=positive, default=10, metavar="N", help="how many relatives to show (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="everything, for a program")
