"""``--executor biohicl-kubernetes``: jobs as pods that mount the volume on which the project lies.

It is snakemake-executor-plugin-kubernetes (0.5.1) with what that lacks for such a volume. The plugin takes it that pods
share no files, whatever ``shared-fs-usage`` says, and asks for an object store; this workflow goes on from files that
no rule names (checkpoints of a training, ``resources/lock.json``), which no object store would carry from job to job.
Snakemake finds executors by the names of packages, and imports each of them whenever it starts: so this one stands
beside ``biohicl``, and imports without the plugin too.
"""

import shlex
from dataclasses import replace
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

try:
    import kubernetes
    import snakemake_executor_plugin_kubernetes as plugin
    from urllib3.util import Retry
except ImportError:
    plugin = None

if plugin is None:
    common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False)

    class Executor(RemoteExecutor):
        """Says what is missing."""

        def __post_init__(self):
            raise WorkflowError("--executor biohicl-kubernetes needs the package snakemake-executor-plugin-kubernetes.")

        def run_job(self, job): ...

        async def check_active_jobs(self, active_jobs):
            for job in active_jobs:
                yield job

        def cancel_jobs(self, active_jobs): ...

else:
    common_settings = replace(
        plugin.common_settings,
        implies_no_shared_fs=False,
        job_deploy_sources=False,
        # A pod installs nothing when it starts: the image has all there is.
        auto_deploy_default_storage_provider=False,
    )

    ExecutorSettings = plugin.ExecutorSettings

    class Pods(kubernetes.client.CoreV1Api):
        """Pods that are started once: what one said is no log of a previous container."""

        def read_namespaced_pod_log(self, name, namespace, *, previous=None, **options):
            """What the container has said; why that cannot be read any more, where it cannot.

            With ``previous``, which the plugin asks for, a server answers 400 here, and the plugin then ends the run
            without naming the rule that failed.
            """
            try:
                return super().read_namespaced_pod_log(name, namespace, **options)
            except kubernetes.client.rest.ApiException as error:
                if error.status == 401:
                    raise
                return f"The pod's log cannot be read: {error.status} {error.reason}"

    class Jobs(kubernetes.client.BatchV1Api):
        """Jobs that somebody may delete."""

        def read_namespaced_job_status(self, name, namespace, **options):
            """The job; None where it is gone, which the plugin takes for a failure."""
            try:
                return super().read_namespaced_job_status(name, namespace, **options)
            except kubernetes.client.rest.ApiException as error:
                if error.status == 404:
                    return None
                raise

    def client():
        """A client by the loaded configuration that asks again where the server is busy or about to restart."""
        configuration = kubernetes.client.Configuration.get_default_copy()
        # A job that was posted is not posted again: it may be there.
        configuration.retries = Retry(
            total=6,
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET", "DELETE"),
            raise_on_status=False,
        )
        return kubernetes.client.ApiClient(configuration)

    class Executor(plugin.Executor):
        """Each job is a pod that goes into this folder, on a volume that is mounted there at the same path."""

        def __post_init__(self):
            settings = self.workflow.executor_settings
            volumes = [volume.path for volume in settings.persistent_volumes]
            needed = [Path.cwd(), self.workflow.main_snakefile, *self.workflow.overwrite_configfiles]
            for path in needed:
                if not any(Path(path).is_relative_to(volume) for volume in volumes):
                    mounted = ", ".join(map(str, volumes)) or "none is"
                    raise WorkflowError(
                        f"{path} is on no volume that jobs mount (mounted: {mounted}). Run in a pod with the volume, "
                        "and say which by --biohicl-kubernetes-persistent-volumes NAME:PATH."
                    )
            self._ended = set()
            super().__post_init__()

        # The plugin makes its clients in two places.
        @property
        def kubeapi(self):
            return self._pods

        @kubeapi.setter
        def kubeapi(self, made):
            self._pods = Pods(client())

        @property
        def batchapi(self):
            return self._jobs

        @batchapi.setter
        def batchapi(self, made):
            self._jobs = Jobs(client())

        def get_job_exec_prefix(self, job):
            # The plugin starts every container in an empty folder.
            return f"cd {shlex.quote(str(Path.cwd()))}"

        def report_job_success(self, job_info):
            self._ended.add(job_info.external_jobid)
            super().report_job_success(job_info)

        def report_job_error(self, job_info, msg=None, **options):
            self._ended.add(job_info.external_jobid)
            super().report_job_error(job_info, msg, **options)

        async def check_active_jobs(self, active_jobs):
            """Those that run on.

            One whose state could not be asked for is not among the plugin's; it would be forgotten, and waited for.
            """
            async for _ in super().check_active_jobs(active_jobs):
                pass
            for job in active_jobs:
                if job.external_jobid not in self._ended:
                    yield job
