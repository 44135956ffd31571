"""Another broker in the place of the one that the tests run with."""

from __future__ import annotations

from kombu.pools import producers

from rudderhub.celery import app


def use_broker(monkeypatch, url):
    """Have tasks sent to the broker at the URL; the connection to it."""
    broker = app.connection_for_write(url)
    monkeypatch.setattr(app.amqp, "_producer_pool", producers[broker])
    return broker


def take_broker_away(monkeypatch):
    """Nothing listens at its address."""
    use_broker(monkeypatch, "redis://127.0.0.1:1/0")
