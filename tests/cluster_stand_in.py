"""A stand-in of a Kubernetes cluster on loopback: takes jobs as its API server does, and runs each container here."""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

PATHS = re.compile(r"/(api/v1|apis/batch/v1)/namespaces/([^/]+)/(\w+)(?:/([^/]+))?(?:/(\w+))?")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VERBS = {"POST": "create", "DELETE": "delete"}
SUFFIXES = {"": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def quantity(text):
    """A number by Kubernetes' suffixes."""
    number, suffix = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", text).groups()
    return Decimal(number) * SUFFIXES[suffix]


def unknown_to(body, kind):
    """What the client's model of this kind has no field for or lacks, in words; nothing if all is right."""
    import kubernetes

    client = kubernetes.client.ApiClient()
    try:
        model = client.deserialize(SimpleNamespace(data=json.dumps(body)), kind)
    except ValueError as error:
        return str(error)
    again = client.sanitize_for_serialization(model)
    return "" if again == body else f"{body} is read as {again}"


def wrong_with(body, claims):
    """Why an API server would refuse this job, as far as that is known here."""
    if wrong := unknown_to(body, "V1Job"):
        yield wrong
        return
    if not NAME.fullmatch(body["metadata"]["name"]):
        yield "metadata.name is no label"
    pod = body["spec"]["template"]["spec"]
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        yield "restartPolicy: Required value"
    volumes = [volume["name"] for volume in pod["volumes"]]
    if len(set(volumes)) < len(volumes) or not all(map(NAME.fullmatch, volumes)):
        yield "volumes: Duplicate or invalid name"
    for volume in pod["volumes"]:
        if (claim := volume.get("persistentVolumeClaim")) and claim["claimName"] not in claims:
            yield f"persistentvolumeclaim {claim['claimName']} not found"
    for container in pod["containers"]:
        mounts = container["volumeMounts"]
        if not container.get("image"):
            yield "image: Required value"
        if len({mount["mountPath"] for mount in mounts}) < len(mounts):
            yield "mountPath: must be unique"
        if missing := {mount["name"] for mount in mounts} - set(volumes):
            yield f"volumeMounts: not found: {missing}"
        requests, limits = (container["resources"].get(kind) or {} for kind in ("requests", "limits"))
        for name, wanted in requests.items():
            if "/" in name and limits.get(name) != wanted:
                yield f"{name}: Limit must be set for non overcommitable resources"
            elif name in limits and quantity(wanted) > quantity(limits[name]):
                yield f"{name}: must be less than or equal to the limit"


@dataclass
class Job:
    """One that was posted: its container, and the process that this is here."""

    body: dict
    environment: dict = field(default_factory=dict)
    process: subprocess.Popen | None = None
    said: Path | None = None

    @property
    def container(self):
        return self.body["spec"]["template"]["spec"]["containers"][0]

    @property
    def volumes(self):
        return self.body["spec"]["template"]["spec"]["volumes"]

    @property
    def command(self):
        return self.container["args"][-1]

    @property
    def rule(self):
        return re.search(r"--allowed-rules (\S+)", self.command)[1]

    @property
    def code(self):
        """The exit status; None while it runs. One that is not run has failed."""
        return 1 if self.process is None else self.process.poll()


class Cluster:
    """With ``runs`` false jobs are taken, and reported as failed.

    ``refusals``: (request, status), each once, such as ("get jobs/status", 503); with 504 the request is heeded, and its
    answer lost. ``deleted``: of these rules' jobs nothing is known once they were posted.
    """

    def __init__(self, folder, claims=("biohicl",), runs=True, refusals=(), deleted=()):
        self.folder = Path(folder)
        self.claims, self.runs, self.refusals, self.deleted = claims, runs, list(refusals), deleted
        self.jobs, self.secrets, self.asked, self.refused, self.removed = {}, {}, set(), [], []
        self.lock = threading.Lock()

    def __enter__(self):
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with cluster.lock:
                    code, content = cluster.answer(self.command, self.path, json.loads(sent or "{}"))
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *words): ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{self.server.server_port}"
        self.kubeconfig = self.folder / "kubeconfig.json"
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "here", "cluster": {"server": address}}],
                    "users": [{"name": "somebody", "user": {}}],
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "somebody"}}],
                    "current-context": "here",
                }
            )
        )
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()
        for job in self.jobs.values():
            if job.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(job.process.pid, signal.SIGKILL)
                job.process.wait()

    def answer(self, method, address, sent):
        """Status and content of one answer."""
        parts = urlsplit(address)
        group, namespace, kind, name, beneath = PATHS.fullmatch(parts.path).groups()
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        verb = VERBS.get(method) or ("get" if name else "list")
        resource = f"{kind}/{beneath}" if beneath else kind
        self.asked.add((verb, "batch" if "batch" in group else "", resource))
        assert namespace == "default"
        for refusal in self.refusals:
            if refusal[0] == f"{verb} {resource}":
                self.refusals.remove(refusal)
                if refusal[1] == 504:
                    assert self.heed(verb, resource, name, query, sent)[0] < 300
                return failure(refusal[1], "not now")
        return self.heed(verb, resource, name, query, sent)

    def heed(self, verb, resource, name, query, sent):
        """Does what is asked; status and content of the answer."""
        match verb, resource:
            case "create", "secrets":
                self.secrets[sent["metadata"]["name"]] = sent["data"]
                return 201, sent
            case "delete", "secrets":
                self.secrets.pop(name)
                return 200, {"kind": "Status", "status": "Success"}
            case "create", "jobs":
                return self.take(sent)
            case "list", "pods":
                name = query["labelSelector"].removeprefix("job-name=")
                known = name in self.jobs and name not in self.removed
                return 200, {"kind": "PodList", "items": [self.pod(name)] if known else []}
            case "get", "pods/log":
                if query.get("previous", "").lower() == "true":
                    return failure(400, f'previous terminated container "snakemake" in pod "{name}" not found')
                said = self.jobs[name.removesuffix("-abcde")].said
                return 200, said.read_text() if said else "not run here\n"
            case "get", "jobs/status":
                job = self.jobs[name]
                if name in self.removed or job.rule in self.deleted:
                    return failure(404, f'jobs.batch "{name}" not found')
                state = {None: {"active": 1}, 0: {"succeeded": 1}}.get(job.code, {"failed": 1})
                return 200, job.body | {"status": state}
            case "delete", "pods":
                return 200, self.pod(name.removesuffix("-abcde"))
            case "delete", "jobs":
                self.removed.append(name)
                return 200, {"kind": "Status", "status": "Success"}
        raise AssertionError(f"{verb} {resource}")

    def take(self, body):
        """Refuses a job, or starts its container."""
        if wrong := list(wrong_with(body, self.claims)):
            self.refused += wrong
            return failure(422, "; ".join(wrong))
        if body["metadata"]["name"] in self.jobs:
            return failure(409, "already exists")
        job = self.jobs[body["metadata"]["name"]] = Job(body)
        for entry in job.container["env"]:
            secret = entry["valueFrom"]["secretKeyRef"]
            job.environment[entry["name"]] = base64.b64decode(self.secrets[secret["name"]][secret["key"]]).decode()
        if self.runs and job.rule not in self.deleted:
            self.start(job)
        return 201, body

    def start(self, job):
        """As a node would: in the container's own folder, with what the image and the job say of the environment."""
        [empty] = [volume["name"] for volume in job.volumes if "emptyDir" in volume]
        assert {"name": empty, "mountPath": job.container["workingDir"]} in job.container["volumeMounts"]
        inside = Path(tempfile.mkdtemp(dir=self.folder))
        job.said = inside / "said.txt"
        image = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(inside), "OMP_NUM_THREADS": "1"}
        with job.said.open("w") as said:
            job.process = subprocess.Popen(
                [*job.container["command"], *job.container["args"]],
                cwd=inside,
                env=image | job.environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def pod(self, name):
        """The pod of a job, as a list of pods has it."""
        job = self.jobs[name]
        state = {"running": {}} if job.code is None else {"terminated": {"exitCode": job.code}}
        container = {"name": "snakemake", "image": job.container["image"], "imageID": "", "ready": True}
        return {
            "metadata": {"name": f"{name}-abcde", "labels": {"job-name": name}},
            "spec": job.body["spec"]["template"]["spec"],
            "status": {"phase": "Running", "containerStatuses": [container | {"restartCount": 0, "state": state}]},
        }


def failure(code, message):
    return code, {"kind": "Status", "status": "Failure", "message": message, "code": code}
