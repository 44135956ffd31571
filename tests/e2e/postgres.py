"""Servers of other versions of Postgres, to load into: those that this machine has."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg

from rudderhub.env import ROOT
from rudderhub.supervisor.server import free_port

START_SECONDS = 30
HBA = "local all all scram-sha-256\n{kind} all all 127.0.0.1/32 scram-sha-256\n"


@dataclass(frozen=True)
class Programs:
    """A folder with bin/postgres and its version, such as "15.18"."""

    folder: Path
    version: str

    @property
    def major(self):
        return int(self.version.split(".")[0])

    @property
    def knows_tls(self):
        """Whether the server was linked with OpenSSL."""
        return b"SSL_CTX_new" in (self.folder / "bin" / "postgres").read_bytes()

    def __str__(self):
        return f"PostgreSQL {self.version}"


@cache
def found():
    """One of each major version: of Debian, of wheels, and of POSTGRES_FOLDERS."""
    given = [Path(each) for each in os.environ.get("POSTGRES_FOLDERS", "").split(":") if each]
    wheels = [*(ROOT / ".venv-e2e").glob(PACKAGES), *(ROOT / ".venv").glob(PACKAGES)]
    debian = sorted(Path("/usr/lib/postgresql").glob("*"))
    programs = {}
    for folder in [*given, *debian, *wheels]:
        postgres = folder / "bin" / "postgres"
        if postgres.exists() and (folder / "bin" / "initdb").exists():
            each = Programs(folder, _version(postgres))
            programs.setdefault(each.major, each)
    return [programs[major] for major in sorted(programs)]


PACKAGES = "lib/python3*/site-packages/*/pginstall"


def _version(postgres):
    said = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    return re.search(r"[0-9]+(\.[0-9]+)?", said.stdout)[0]


@dataclass(frozen=True)
class Server:
    programs: Programs
    port: int
    password: str
    certificate: Path | None
    """Of its TLS, self-signed for localhost; none when it was built without."""

    def url(self, database, user="postgres", password=None):
        return (
            f"postgresql://{user}:{password or self.password}@localhost:{self.port}/{database}"
            "?sslmode=prefer"
        )


@contextmanager
def running(programs):
    """A server of these programs on localhost with TLS where it can, gone afterwards.

    Postgres refuses to run as root, and `nobody` may not enter the clone: so it runs from a copy.
    """
    folder = Path(tempfile.mkdtemp(prefix="rudderhub-postgres-"))
    folder.chmod(0o755)
    process = None
    try:
        if not str(programs.folder).startswith("/usr/"):
            programs = Programs(_copy(programs.folder, folder / "programs"), programs.version)
        server, process = _start(programs, folder)
        yield server
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder)


def _copy(programs, target):
    shutil.copytree(programs, target / programs.name, symlinks=True)
    for libraries in programs.parent.parent.glob(f"{programs.parent.name}.libs"):
        shutil.copytree(libraries, target.parent / libraries.name)  # beside, as in site-packages
    return target / programs.name


def _start(programs, folder):
    data, port, password = folder / "data", free_port(), secrets.token_hex(8)
    own = _account()
    data.mkdir(mode=0o700)
    (folder / "password").write_text(password)
    if own:
        shutil.chown(data, own["user"], own["group"])
    _run(
        programs,
        own,
        *("initdb", "--pgdata", data, "--username=postgres", "--auth=scram-sha-256"),
        *("--encoding=UTF8", "--locale=C", f"--pwfile={folder / 'password'}"),
    )
    certificate = _certificate(data, own) if programs.knows_tls else None
    options = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "ssl": "on" if certificate else "off",
    }
    hba = data / "pg_hba.conf"
    hba.write_text(HBA.format(kind="hostssl" if certificate else "host"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            [programs.folder / "bin" / "postgres", "-D", data]
            + [part for key, value in options.items() for part in ("-c", f"{key}={value}")],
            stdout=log,
            stderr=subprocess.STDOUT,
            **own,
        )
    server = Server(programs, port, password, certificate)
    _wait(server, process, folder / "log")
    return server, process


def _account():
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _run(programs, own, program, *arguments):
    done = subprocess.run(  # noqa: S603
        [programs.folder / "bin" / program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **own,
    )
    assert done.returncode == 0, done.stderr


def _certificate(data, own):
    """Self-signed, so it is its own issuer."""
    key, certificate = data / "server.key", data / "server.crt"
    subprocess.run(  # noqa: S603
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o600)
    if own:
        shutil.chown(key, own["user"], own["group"])
        shutil.chown(certificate, own["user"], own["group"])
    return Path(shutil.copy(certificate, data.parent / "root.crt"))


def _wait(server, process, log):
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        with suppress(psycopg.OperationalError), psycopg.connect(server.url("postgres")):
            return
        time.sleep(0.1)
    process.kill()
    process.wait()
    raise AssertionError(f"{server.programs} does not start: {log.read_text()}")
