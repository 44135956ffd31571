from __future__ import annotations

import pytest

from sources.authentication import source_of_key
from tests.support.factories import make_write_key


@pytest.mark.django_db(transaction=True)
def test_the_use_of_a_key_is_recorded_once_a_minute(django_assert_num_queries):
    key = make_write_key()

    source_of_key(key.key, {})
    with django_assert_num_queries(0):
        source_of_key(key.key, {})

    key.refresh_from_db()
    assert key.last_used_at is not None
