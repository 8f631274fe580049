"""The command line: one subcommand a stage, each of which the workflow calls and a person can run by hand.

Stages are imported only when called: polars, torch and transformers take seconds to load.
"""
