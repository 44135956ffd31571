from __future__ import annotations

import gc
import os

from celery import Celery
from celery.signals import worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rudderhub.settings")

app = Celery("rudderhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def share_memory(**_: object) -> None:
    """What was imported stays shared by the worker's processes: no collection touches it."""
    gc.collect()
    gc.freeze()
