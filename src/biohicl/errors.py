"""The error that a person reads: what was wrong, where, and what to do."""


class BioHiCLError(Exception):
    """Bad input or a surrounding that does not serve; its message is meant for people.

    The command line prints the message on one line, without a traceback, and exits with 2.
    """
