"""The project as a Django app."""

from __future__ import annotations

from django.apps import AppConfig


class RudderhubConfig(AppConfig):
    name = "rudderhub"

    def ready(self) -> None:
        """Register the admin's pages, and connect the tasks that the web sends with our broker.

        Not in rudderhub/__init__.py, where Celery's own guide has it: the supervisor of
        `make run` would load Celery as well.
        """
        from rudderhub import celery  # noqa: F401, PLC0415
        from rudderhub.admin import pages  # noqa: F401, PLC0415
