"""The Celery app of beat, which sends the names of scheduled tasks and imports no task.

Without Django and the tasks beat needs a third of the memory.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rudderhub.settings")

app = Celery("rudderhub", fixups=[])
app.config_from_object("django.conf:settings", namespace="CELERY")
