"""The Celery app, which workers and beat run."""

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
def collect_garbage_rarely(**_: Any) -> None:
    """Loads create millions of values but no cycles, so frequent collections cost time only."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@worker_ready.connect
def enqueue_interrupted_work(**_: Any) -> None:
    """Queue the work again that an earlier worker had taken when it was killed."""
    from events.tasks import enqueue_waiting_work  # noqa: PLC0415 - Django's apps are ready by now

    enqueue_waiting_work.delay(is_worker_start=True)
