"""A real PostgreSQL server for tests: started on a socket of its own, stopped, killed, asked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa


class Postgres:
    """A server whose data lie in a folder; it refuses to run as root.

    Attributes
    ----------
    url : str
        Of its database ``postgres``.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._user = "nobody" if os.geteuid() == 0 else None
        self._clean = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}
        if self._user:
            shutil.chown(folder, self._user)
        made = subprocess.run(
            [program("initdb"), "-D", f"{folder}/data", "-U", "agd", "-E", "UTF8", "--auth=trust",
             "--no-sync"],
            user=self._user, env=self._clean, cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"initdb does not run here: {made.stderr.strip()[:200]}")
        self.url = self.url_of("postgres")
        self.start()

    def url_of(self, database: str, user: str = "agd") -> str:
        """Return the URL of a database."""
        return f"postgresql+psycopg://{user}@/{database}?host={self._folder}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._running = subprocess.Popen(
            [program("postgres"), "-D", f"{self._folder}/data", "-k", str(self._folder), "-c",
             "listen_addresses=", "-c", "fsync=off"],
            user=self._user, env=self._clean, cwd=self._folder, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while True:
            try:
                self.ask("select 1")
                return
            except psycopg.OperationalError:
                assert self._running.poll() is None, "the PostgreSQL server stopped while starting"
                time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and all its connections; SIGQUIT ends it as a crash would."""
        self._running.send_signal(how)
        self._running.wait()

    def demand_password(self, user: str) -> None:
        """Let a user in with a password only."""
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text()}")
        self.ask("select pg_reload_conf()")
        while True:
            try:
                psycopg.connect(host=str(self._folder), user=user, dbname="postgres").close()
                time.sleep(0.05)
            except psycopg.OperationalError:
                return

    def end_connections(self, url: str) -> None:
        """End every connection to a database, as a restart of the server would."""
        among = f"from pg_stat_activity where datname = '{sa.make_url(url).database}'"
        self.ask(f"select pg_terminate_backend(pid) {among}")
        while self.ask(f"select 1 {among}"):
            time.sleep(0.05)

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the owner; return its rows."""
        with psycopg.connect(
            host=str(self._folder), user="agd", dbname=database, autocommit=True
        ) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []


def program(name: str) -> str:
    """Return the path of a program of PostgreSQL, which Debian keeps apart; skip without it."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *map(str, places)]))
    return found or pytest.skip(f"no PostgreSQL: {name} is not installed")
