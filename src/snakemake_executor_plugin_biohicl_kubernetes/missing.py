"""What stands for the executor where the plugin that it is made of is not installed."""

from collections.abc import AsyncIterator
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False)


class Executor(RemoteExecutor):
    """Says what is missing."""

    def __post_init__(self) -> None:
        raise WorkflowError("--executor biohicl-kubernetes needs the package snakemake-executor-plugin-kubernetes.")

    def run_job(self, job: Any) -> None: ...

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
        for job in active_jobs:
            yield job

    def cancel_jobs(self, active_jobs: list[Any]) -> None: ...
