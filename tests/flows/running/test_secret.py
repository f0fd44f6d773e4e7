"""The secret of the project's Prefect server: its file, and who is told."""

from __future__ import annotations

import os
import socket
import stat
import sys

import pytest

from flows import prefect_plugin
from flows.running import secret, services
from structure.errors import CampaignError

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
NOBODY = 65534


@pytest.fixture
def home(tmp_path):
    return secret.private(tmp_path / ".prefect")


@pytest.fixture
def listening():
    """A socket of ours, as a server has one; its address as that of an API."""
    with socket.socket() as one:
        one.bind((secret.HOST, 0))
        one.listen()
        yield f"http://{secret.HOST}:{one.getsockname()[1]}/api"


@pytest.fixture
def up(home, listening):
    """A folder as a server that is up leaves it."""
    secret.made(home)
    with services.FileLock(home / services.LOCK):
        services.write_json(home / services.RECORD, {"url": listening, "ui": True})
        yield home


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_the_owner_reads_the_folder_and_the_secret_whatever_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        home = secret.private(tmp_path / ".prefect")
        secret.made(home)
    finally:
        os.umask(before)
    assert mode(home) == 0o700
    assert mode(home / secret.FILE) == 0o600
    assert [one.name for one in home.iterdir()] == [secret.FILE]


def test_a_folder_that_an_earlier_release_left_open_is_closed(tmp_path):
    (tmp_path / ".prefect").mkdir(mode=0o755)
    assert mode(secret.private(tmp_path / ".prefect")) == 0o700


def test_the_secret_stays_from_one_server_to_the_next_and_no_two_projects_share_it(home, tmp_path):
    first = secret.made(home)
    assert secret.made(home) == secret.known(home) == first
    assert secret.made(secret.private(tmp_path / "other")) != first


@pytest.mark.parametrize("content", ["", "agd:", "agd:short\n", "agd:" + 43 * "\0", 99 * "x"])
def test_a_damaged_secret_is_refused_and_replaced_by_the_next_server(home, content):
    path = home / secret.FILE
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(CampaignError, match="is damaged"):
        secret.known(home)
    assert secret.FORM.fullmatch(secret.made(home))


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o666])
def test_a_secret_that_others_may_have_read_is_refused_and_replaced(home, bits):
    before = secret.made(home)
    (home / secret.FILE).chmod(bits)
    with pytest.raises(CampaignError, match="by others"):
        secret.known(home)
    assert secret.made(home) != before
    assert mode(home / secret.FILE) == 0o600


@ROOT_ONLY
def test_a_secret_or_folder_of_another_user_is_refused(home):
    secret.made(home)
    os.chown(home / secret.FILE, NOBODY, NOBODY)
    with pytest.raises(CampaignError, match="belongs to another user"):
        secret.known(home)
    os.chown(home, NOBODY, NOBODY)
    with pytest.raises(CampaignError, match="belongs to another user"):
        secret.private(home)


def test_a_link_or_a_pipe_in_place_of_the_secret_is_not_followed(home):
    path = home / secret.FILE
    secret.made(home)
    path.rename(home / "elsewhere")
    path.symlink_to(home / "elsewhere")
    with pytest.raises(CampaignError, match="cannot be read"):
        secret.known(home)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(CampaignError, match="is damaged"):
        secret.known(home)


def test_a_secret_that_is_gone_says_what_to_do(home):
    with pytest.raises(CampaignError, match="start it again"):
        secret.known(home)


def test_our_own_socket_is_not_foreign_and_an_address_nobody_listens_at_neither(listening):
    assert not secret.foreign(listening)
    assert not secret.foreign(f"http://{secret.HOST}:1/api")


@ROOT_ONLY
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells whose a socket is")
def test_a_server_of_another_user_at_our_address_is_told_nothing(up):
    """Somebody who takes the port while no server of ours has it would be shown the secret."""
    os.seteuid(NOBODY)  # the socket belongs to who made it
    try:
        impostor = socket.create_server((secret.HOST, 0))
    finally:
        os.seteuid(0)
    with impostor:
        url = f"http://{secret.HOST}:{impostor.getsockname()[1]}/api"
        assert secret.foreign(url)
        services.write_json(up / services.RECORD, {"url": url, "ui": True})
        assert prefect_plugin.credentials(up, url) == {}


def test_the_plugin_gives_the_secret_to_the_project_s_own_server(up, listening):
    for url in (listening, f"{listening}/"):
        given = prefect_plugin.credentials(up, url)
        assert given["PREFECT_API_AUTH_STRING"] == secret.known(up)


@pytest.mark.parametrize(
    "other",
    [
        None,
        "http://127.0.0.1:1/api",
        "http://group.example:4200/api",
        "https://api.prefect.cloud/api/accounts/1/workspaces/1",
    ],
)
def test_the_plugin_gives_the_secret_to_no_other_server(up, other):
    assert prefect_plugin.credentials(up, other) == {}


def test_the_plugin_gives_the_secret_to_nobody_once_the_server_has_ended(home, listening):
    secret.made(home)
    services.write_json(home / services.RECORD, {"url": listening, "ui": True})
    assert prefect_plugin.credentials(home, listening) == {}


def test_the_plugin_says_why_the_secret_cannot_be_used(up, listening):
    (up / secret.FILE).chmod(0o644)
    with pytest.raises(CampaignError, match="by others"):
        prefect_plugin.credentials(up, listening)


def test_processes_that_agd_started_keep_what_they_were_given(up, listening, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(up))
    assert prefect_plugin.credentials(up, listening) == {}


@pytest.mark.parametrize(
    ("names", "after"),
    [("", "127.0.0.1"), ("10.0.0.1,.lab", "10.0.0.1,.lab,127.0.0.1"), ("127.0.0.1", None)],
)
def test_no_proxy_is_asked_for_our_server(names, after):
    added = secret.without_proxy({"NO_PROXY": names} if names else {})
    assert added == ({} if after is None else {"no_proxy": after, "NO_PROXY": after})


def test_the_environment_of_our_processes_overrides_that_of_another_server(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "the group's")
    monkeypatch.setenv("PREFECT_API_URL", "http://group.example:4200/api")
    database = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
    for name in (database, "PREFECT_API_KEY", "PREFECT_SERVER_API_BASE_PATH"):
        monkeypatch.setenv(name, "the group's")
    env = services.environment(tmp_path, "http://127.0.0.1:4200/api", "ours")
    assert env["PREFECT_API_AUTH_STRING"] == "ours"
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert "the group's" not in env.values()
