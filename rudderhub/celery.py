from __future__ import annotations

import gc
import os
import warnings
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import worker_process_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rudderhub.settings")

# Celery warns root of pickled messages; ours are JSON
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("rudderhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def collect_rarely(**_: Any) -> None:
    """A load makes millions of short-lived values and no cycles: less searching for them."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@worker_ready.connect
def ring_anew(**_: Any) -> None:
    """A worker that was killed took rings with it: nobody waits for those."""
    from events.tasks import ring_connections  # noqa: PLC0415 - Django's apps are ready by now

    ring_connections.delay(anew=True)
