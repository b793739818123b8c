# SPDX-License-Identifier: Apache-2.0
"""What is random in the client is fixed in these tests."""

import pytest


@pytest.fixture(autouse=True)
def fixed_sequence_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda limit: 0x42)
