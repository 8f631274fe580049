"""``--executor biohicl-kubernetes``: jobs as pods that mount the volume on which the project lies.

It is snakemake-executor-plugin-kubernetes (0.5.1) with what that lacks for such a volume. The plugin takes it that pods
share no files, whatever ``shared-fs-usage`` says, and asks for an object store; this workflow goes on from files that
no rule names (checkpoints of a training, ``resources/lock.json``), which no object store would carry from job to job.

Snakemake finds executors by the names of packages, and imports each of them whenever it starts: so this one stands
beside ``biohicl``, and can be imported where the plugin is not installed.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("snakemake_executor_plugin_kubernetes"):
    from .volume import Executor, ExecutorSettings, common_settings

    __all__ = ["Executor", "ExecutorSettings", "common_settings"]
else:
    from .missing import Executor, common_settings

    __all__ = ["Executor", "common_settings"]
