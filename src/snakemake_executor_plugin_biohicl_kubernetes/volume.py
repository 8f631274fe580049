"""The executor: the plugin's, for pods that share a volume, and for a server that is not always there."""

import shlex
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes
import snakemake_executor_plugin_kubernetes as plugin
from snakemake_interface_common.exceptions import WorkflowError
from urllib3.util import Retry

Refusal = kubernetes.client.rest.ApiException
ExecutorSettings = plugin.ExecutorSettings
common_settings = replace(
    plugin.common_settings,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    # A pod installs nothing when it starts: the image has all there is.
    auto_deploy_default_storage_provider=False,
)


def settle_gpus(pod: Any) -> None:
    """Asks for GPUs in the one form that a server takes: a limit and a request of the same number, or neither.

    By the plugin it is a request alone unless ``scale=0`` limits CPU and memory too, and one of 0 where ``gpu`` is 0.
    """
    resources = pod.containers[0].resources
    limits = dict(resources.limits or {})
    for name in [name for name in resources.requests if "/" in name]:
        if int(resources.requests[name]):
            limits[name] = resources.requests[name]
        else:
            del resources.requests[name]
            limits.pop(name, None)
            # Nodes with GPUs are for others.
            pod.tolerations = None
    resources.limits = limits or None


class Pods(kubernetes.client.CoreV1Api):
    """The server's pods: each is started once, and what it said is no log of a previous container."""

    def read_namespaced_pod_log(self, name: str, namespace: str, *, previous: object = None, **options: Any) -> Any:
        """What the container has said; why that cannot be read any more, where it cannot.

        With ``previous``, which the plugin asks for, a server answers 400 here, and the plugin then ends the run
        without naming the rule that failed.
        """
        try:
            return super().read_namespaced_pod_log(name, namespace, **options)
        except Refusal as error:
            if error.status == 401:
                raise
            return f"The pod's log cannot be read: {error.status} {error.reason}"


class Jobs(kubernetes.client.BatchV1Api):
    """The server's jobs, which somebody may delete; and an answer may be lost."""

    def create_namespaced_job(self, namespace: str, body: Any, **options: Any) -> Any:
        """Posts a job; one that is there already is this one, whose answer was lost: names are of one run."""
        settle_gpus(body.spec.template.spec)
        try:
            return super().create_namespaced_job(namespace, body, **options)
        except Refusal as error:
            if error.status == 409:
                return body
            raise

    def read_namespaced_job_status(self, name: str, namespace: str, **options: Any) -> Any:
        """The job; None where it is gone, which the plugin takes for a failure."""
        try:
            return super().read_namespaced_job_status(name, namespace, **options)
        except Refusal as error:
            if error.status == 404:
                return None
            raise


def client() -> Any:
    """A client by the loaded configuration that asks again, for half a minute, where the server is busy or restarts."""
    configuration = kubernetes.client.Configuration.get_default_copy()
    configuration.retries = Retry(
        total=6,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "POST", "DELETE"),
        raise_on_status=False,
    )
    return kubernetes.client.ApiClient(configuration)


class Executor(plugin.Executor):
    """Each job is a pod that goes into this folder, on a volume that is mounted there at the same path."""

    def __post_init__(self) -> None:
        volumes = [volume.path for volume in self.workflow.executor_settings.persistent_volumes]
        for path in (Path.cwd(), self.workflow.main_snakefile, *self.workflow.overwrite_configfiles):
            if not any(Path(path).is_relative_to(volume) for volume in volumes):
                raise WorkflowError(
                    f"{path} is on no volume that jobs mount ({', '.join(map(str, volumes)) or 'none is named'}). Run "
                    "snakemake in a pod with the volume, and name it by "
                    "--biohicl-kubernetes-persistent-volumes CLAIM:PATH."
                )
        self._ended: set[str] = set()
        super().__post_init__()

    # The plugin makes its clients in two places.
    @property
    def kubeapi(self) -> Pods:
        return self._pods

    @kubeapi.setter
    def kubeapi(self, made: object) -> None:
        self._pods = Pods(client())

    @property
    def batchapi(self) -> Jobs:
        return self._jobs

    @batchapi.setter
    def batchapi(self, made: object) -> None:
        self._jobs = Jobs(client())

    def get_job_exec_prefix(self, job: Any) -> str:
        # The plugin starts every container in an empty folder.
        return f"cd {shlex.quote(str(Path.cwd()))}"

    def report_job_success(self, job_info: Any) -> None:
        self._ended.add(job_info.external_jobid)
        super().report_job_success(job_info)

    def report_job_error(self, job_info: Any, msg: str | None = None, **options: Any) -> None:
        self._ended.add(job_info.external_jobid)
        super().report_job_error(job_info, msg, **options)

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
        """Those that run on.

        One whose state could not be asked for is not among the plugin's: it would be forgotten, and waited for.
        """
        async for _ in super().check_active_jobs(active_jobs):
            pass
        for job in active_jobs:
            if job.external_jobid not in self._ended:
                yield job
