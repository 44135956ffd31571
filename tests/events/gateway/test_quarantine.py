from __future__ import annotations

import pytest
from django.test import override_settings

from events.models import Quarantined
from tests.support.factories import make_write_key
from tests.support.http import send_event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fresh_process")]


@override_settings(QUARANTINE_ROW_BYTES=5, QUARANTINE_ROWS=3)
def test_the_quarantine_has_bounds(client):
    key = make_write_key()

    for number in range(6):
        send_event(client, key.key, b"{refused %d" % number)

    kept = Quarantined.objects.all()
    assert [row.reason for row in kept] == ["Invalid JSON: invalid json at character 2"] * 3
    assert {(bytes(row.body), row.body_bytes) for row in kept} == {(b"{refu", 10)}


def test_one_source_does_not_push_out_another(client):
    other, noisy = make_write_key(), make_write_key()
    send_event(client, other.key, b"{")

    with override_settings(QUARANTINE_BYTES=10):
        for _ in range(5):
            send_event(client, noisy.key, b"{refused")

    assert Quarantined.objects.filter(source=other.source).count() == 1
    assert Quarantined.objects.filter(source=noisy.source).count() == 1
