from __future__ import annotations

from django.apps import AppConfig


class RudderhubConfig(AppConfig):
    name = "rudderhub"

    def ready(self) -> None:
        """Tasks that the web sends go to our broker.

        Not in rudderhub/__init__.py, where Celery's own guide has it: the supervisor of
        `make run` would carry Celery, too.
        """
        from rudderhub import celery  # noqa: F401, PLC0415
