"""A SLURM of one node in a temporary folder: serves the tests of the batch scripts.

In: the programs of Debian's packages slurmctld, slurmd, munge and slurm-client. Out: a cluster that
runs as ordinary processes of this user, on free ports of this machine only, without systemd,
cgroups or a database, and of which nothing remains.

    python tests/engines/one_node_slurm.py COMMAND ...    run a command with such a cluster
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = (
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "squeue",
    "scontrol",
    "scancel",
    "srun",
    "setpriv",
)
PACKAGES = "slurmctld slurmd munge slurm-client"
PATIENCE_S = 60.0
"""How long a daemon may take to begin before we give up (chosen; it takes about a second)."""
FAREWELL_S = 5.0
"""How long it may take to end by itself; slurmctld takes minutes after a node has failed."""
LARGEST_ARRAY = 5
"""Elements of an array job: small, so that a test can have more jobs than that."""

CONFIG = """\
ClusterName=onenode
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
CredType=cred/munge
# A job that is put back waits cred_expire + 1 seconds; the default of 120 is long for a test.
AuthInfo=socket={place}/munge.socket,cred_expire=5
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0
EnforcePartLimits=ALL
MaxArraySize={elements}
KillWait=3
SlurmdTimeout=10
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=48:00:00 State=UP
PartitionName=paid Nodes={host} AllowAccounts=others State=UP
"""


class CannotStartError(Exception):
    """There is no SLURM here, or it does not start; says why."""


class OneNodeSlurm:
    """A running cluster; as a context manager it is stopped at the end.

    Attributes
    ----------
    place : Path
        Folder of configuration, logs and state; deleted at the end.
    env : dict of str to str
        What a command needs to talk to this cluster.
    """

    def __init__(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: sockets lie in it
        self.host = socket.gethostname().partition(".")[0]
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        sbin = f"{outer.get('PATH', '')}:/usr/sbin:/sbin"
        self.mark = f"AGD_ONE_NODE_SLURM={secrets.token_hex(8)}"
        name, _, value = self.mark.partition("=")
        self.env = {**outer, "PATH": sbin, "SLURM_CONF": f"{self.place}/slurm.conf", name: value}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> OneNodeSlurm:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Write the configuration and begin munged, slurmctld and slurmd.

        Raises
        ------
        CannotStartError
        """
        missing = [p for p in PROGRAMS if shutil.which(p, path=self.env["PATH"]) is None]
        if missing:
            raise CannotStartError(f"not installed: {' '.join(missing)} (apt install {PACKAGES})")
        for name in ("state", "spool"):
            (self.place / name).mkdir()
        (self.place / "slurm.conf").write_text(
            CONFIG.format(
                place=self.place,
                host=self.host,
                user=getpass.getuser(),
                ports=free_ports(2),
                elements=LARGEST_ARRAY + 1,
            )
        )
        (self.place / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.place / "munge.key").chmod(0o600)
        own = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
        files = [f"--{k}={self.place}/munge.{v}" for k, v in {**own, "seed-file": "seed"}.items()]
        self._begin("munged", "--foreground", "--force", *files)
        self._await("munged", lambda: (self.place / "munge.socket").exists())
        self._begin("slurmctld", "-D")
        self._await("slurmctld", lambda: self._answers("scontrol", "ping"))
        self.boot_node()

    def stop(self) -> None:
        """End all jobs and daemons, then whatever carries our mark, and delete the folder."""
        if "slurmd" in self._daemons:
            with contextlib.suppress(OSError):
                self.clear()
        for name in ("slurmd", "slurmctld", "munged"):
            if name in self._daemons:
                self._end(name, signal.SIGTERM)
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.place, ignore_errors=True)

    def clear(self) -> None:
        """Cancel all jobs and wait until they are gone."""
        self.ask("scancel", "--user", getpass.getuser())
        patience = time.monotonic() + PATIENCE_S
        while self.ask("squeue", "--noheader") and time.monotonic() < patience:
            time.sleep(0.1)

    def boot_node(self) -> None:
        """Begin slurmd and wait until jobs can run."""
        self._begin("slurmd", "-D")
        self._await("slurmd", lambda: self.node_state() in ("idle", "mixed", "allocated"))

    def crash_node(self) -> None:
        """End slurmd and everything that it runs without a word, as a power cut does.

        All are stopped before any is killed: none may see another die and write about it.
        """
        others = {d.pid for name, d in self._daemons.items() if name != "slurmd"}
        living = set(self.processes()) - others
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in living:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
        self._end("slurmd", signal.SIGKILL)

    def mend_node(self) -> None:
        """Begin slurmd again if it is not running."""
        if "slurmd" not in self._daemons:
            self.boot_node()

    def node_state(self) -> str:
        """Return the state that SLURM shows for the node."""
        return self.ask("sinfo", "--noheader", "--partition=main", "--format=%T").strip("*\n ")

    def ask(self, *command: str) -> str:
        """Return what a command of SLURM prints; an error where it fails."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def processes(self) -> list[int]:
        """Return the processes of this cluster: those that inherited our mark, save this one."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"\0{self.mark}\0".encode() in b"\0" + (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        return found

    def _answers(self, *command: str) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ask(*command))
        return False

    def _begin(self, name: str, *options: str) -> None:
        with (self.place / f"{name}.out").open("ab") as out:
            # The daemons end with this process, however that ends.
            command = ["setpriv", "--pdeathsig", "TERM", name, *options]
            self._daemons[name] = subprocess.Popen(
                command, env=self.env, stdout=out, stderr=out, start_new_session=True
            )

    def _await(self, name: str, ready: Callable[[], bool]) -> None:
        patience = time.monotonic() + PATIENCE_S
        while not ready():
            if self._daemons[name].poll() is not None or time.monotonic() > patience:
                said = (self.place / f"{name}.out").read_text(errors="replace").splitlines()
                raise CannotStartError(f"{name} does not start here: {' / '.join(said[-3:])}")
            time.sleep(0.1)

    def _end(self, name: str, number: signal.Signals) -> None:
        daemon = self._daemons.pop(name)
        daemon.send_signal(number)
        try:
            daemon.wait(FAREWELL_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def free_ports(number: int) -> list[int]:
    """Return ports of this machine that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def main(command: list[str]) -> int:
    """Run a command, or a shell, with a cluster around it."""
    try:
        with OneNodeSlurm() as cluster:
            return subprocess.run(command or ["sh"], env=cluster.env).returncode
    except CannotStartError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
