"""A SLURM cluster of one node on this machine: munge, slurmctld and slurmd on loopback, in a folder of its own.

For the tests, and by hand: `python tests/slurm_cluster.py snakemake --profile profiles/slurm ...` starts one, runs the
command with it, and ends it. Debian's packages slurm-wlm and munge are needed, and root: slurmd runs jobs as their owner.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scancel")
START_SECONDS = 30

# Jobs are looked for among finished ones for a while (MinJobAge), as no database keeps them. GPUs are character devices
# that every machine has: SLURM only counts them, and sets CUDA_VISIBLE_DEVICES.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SrunPortRange={ports[2]}-{last}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser={user}
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
MinJobAge=600
KillWait=3
ReturnToService=2
# What the node is said to have counts, not what it has.
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def lacking():
    """Why no cluster can be started here; None where one can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"SLURM is not installed ({', '.join(missing)}); on Debian: apt-get install slurm-wlm munge"
    if os.getuid() != 0:
        return "slurmd runs jobs as their owner, and needs root for it"
    return None


def _free_ports(count):
    """Neighbouring ports that nobody listens on."""
    for first in range(20_000 + os.getpid() % 20_000, 60_000, count):
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
            return list(range(first, first + count))
    raise RuntimeError("no free ports")


def _until(condition, what, log):
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            said = log.read_text()[-2000:] if log.is_file() else "no log"
            raise RuntimeError(f"{what} did not come up in {START_SECONDS} s: {said}")
        time.sleep(0.1)


@contextmanager
def cluster(cpus=2, memory=16_000, gpus=2):
    """The environment in which SLURM's commands, and Snakemake's executor, find a cluster of one node.

    ``cpus``, ``memory`` (MB) and ``gpus`` are what it offers, whatever the machine has. Ends all jobs and daemons behind it.
    """
    if reason := lacking():
        raise RuntimeError(reason)
    # Munge wants to be reached through folders that everybody may enter.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    started = []

    def start(*command):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        started.append(process)
        return process

    ports = _free_ports(40)
    environment = dict(
        os.environ, PATH=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", SLURM_CONF=f"{folder}/slurm.conf"
    )
    values = {"folder": folder, "ports": ports, "last": ports[-1], "user": getpass.getuser()}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(cpus=cpus, memory=memory, gpus=gpus, **values))
    devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random"][:gpus]
    (folder / "gres.conf").write_text(
        "AutoDetect=off\n" + "".join(f"NodeName=localhost Name=gpu File={device}\n" for device in devices)
    )
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    # Jobs' steps lose SLURM_CONF: the executor takes everything of SLURM's out of their environment.
    wrapper = folder / "bin/srun"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=environment["PATH"])} "$@"\n'
    )
    wrapper.chmod(0o755)
    environment["PATH"] = f"{wrapper.parent}:{environment['PATH']}"
    try:
        munge = ("--socket", f"{folder}/munge.socket", "--key-file", str(key), "--pid-file", f"{folder}/munged.pid")
        start(
            "munged",
            "--foreground",
            "--force",
            *munge,
            "--log-file",
            f"{folder}/munged.log",
            "--seed-file",
            f"{folder}/seed",
        )
        _until((folder / "munge.socket").exists, "munged", folder / "munged.log")
        start("slurmctld", "-D")
        start("slurmd", "-D", "-N", "localhost")
        _until(lambda: "idle" in _asked(environment), "SLURM", folder / "slurmctld.log")
        yield environment
    finally:
        with suppress(Exception):
            subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, timeout=10)
            _until(lambda: not _asked(environment, "squeue"), "scancel", folder / "slurmctld.log")
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _asked(environment, program="sinfo"):
    command = [program, "--noheader", "--format", "%T"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20).stdout


if __name__ == "__main__":
    with cluster() as found:
        sys.exit(subprocess.run(sys.argv[1:], env=found).returncode)
