"""How long the admin's pages take: `python -m tests.bench admin [events]`.

Starts servers of its own, fills them (admin_data.py), asks for every page (admin_pages.py) and
prints the slowest. It fails when the median of one is not below MOST_SECONDS.
"""

from __future__ import annotations

import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from rudderhub.supervisor import instance as instances
from tests.bench import processes

EVENTS = 5_000_000
MOST_SECONDS = 0.3
REQUESTS = 5
SHOWN = 40
MET = {200, 302, 403, 405}
"""A redirect, and what nobody may do to such an object, are no pages."""


class Took(NamedTuple):
    page: str
    status: int
    median: float
    longest: float
    cpu: float
    """Of this process and of Postgres, a request."""

    @property
    def is_slow(self) -> bool:
        return self.median > MOST_SECONDS


def main(events: int = EVENTS) -> None:
    with servers():
        import django  # noqa: PLC0415 - the servers have to be named first

        django.setup()
        fill(events)
        took = measure()
    _print(took)
    sys.exit(any(each.is_slow for each in took))


@contextmanager
def servers() -> Iterator[None]:
    """Postgres, Valkey and a worker to answer for itself."""
    folder = Path(tempfile.mkdtemp(prefix="rudderhub-bench-"))
    instance = instances.load(folder)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        postgres, valkey = instance.postgres(), instance.valkey()
        if postgres.home != folder:
            stack.callback(shutil.rmtree, postgres.home)
        for server in (postgres, valkey):
            stack.callback(server.stop)
            server.start()
        instance.remember_postgres(postgres)
        instance.remember_valkey(valkey)
        os.environ |= {f"RUDDERHUB_{name}": value for name, value in instance.values.items()}
        os.environ |= {"RUDDERHUB_VAR_DIR": str(folder)}
        os.environ |= {"DJANGO_SETTINGS_MODULE": "rudderhub.settings"}
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "--quiet", "-A", "rudderhub", "worker", "-c", "1"]
        )
        stack.callback(worker.wait, 30)
        stack.callback(worker.terminate)
        yield


def fill(events: int) -> None:
    from django.core.management import call_command  # noqa: PLC0415

    from tests.bench import admin_data  # noqa: PLC0415

    started = time.monotonic()
    call_command("migrate", verbosity=0)
    admin_data.fill(events)
    sys.stdout.write(f"filled in {time.monotonic() - started:.0f} s\n")


def measure() -> list[Took]:
    from tests.bench import admin_pages  # noqa: PLC0415

    logging.getLogger("django.request").setLevel(logging.ERROR)
    newcomer, admin = admin_pages.clients()
    pages = {str(page): page for page in admin_pages.pages(admin)}
    set_up = _time(newcomer, admin_pages.SET_UP)
    return [set_up, *(_time(admin, page) for page in pages.values())]


def _time(client, page) -> Took:
    def ask() -> int:
        if page.posted is None:
            return client.get(page.path, page.query).status_code
        return client.post(page.path, page.posted).status_code

    status = ask()
    if status not in MET:
        raise RuntimeError(f"{page} answered {status}")
    seconds, before = [], _cpu()
    for _ in range(REQUESTS if status == 200 else 1):
        begun = time.monotonic()
        ask()
        seconds.append(time.monotonic() - begun)
    cpu = (_cpu() - before) / len(seconds)
    return Took(str(page), status, statistics.median(seconds), max(seconds), cpu)


def _cpu() -> float:
    used = processes.cpu_seconds(os.getpid())
    return used["postgres"] + used["supervisor"]


def _print(took: list[Took]) -> None:
    pages = [each for each in took if each.status == 200]
    sys.stdout.write(f"{'median':>8} {'slowest':>8} {'CPU':>8}\n")
    for each in sorted(pages, key=lambda each: -each.median)[:SHOWN]:
        figures = (each.median, each.longest, each.cpu)
        texts = " ".join(f"{figure * 1000:>5.0f} ms" for figure in figures)
        sys.stdout.write(f"{texts}  {each.page}\n")
    slow = sum(each.is_slow for each in pages)
    sys.stdout.write(
        f"{len(pages)} pages, {slow} slower than {MOST_SECONDS * 1000:.0f} ms;"
        f" {len(took) - len(pages)} more addresses lead elsewhere or are not allowed\n"
    )
