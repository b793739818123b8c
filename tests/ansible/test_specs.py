# SPDX-License-Identifier: Apache-2.0
"""What a role takes, and what it describes, is the same."""

from pathlib import Path

import pytest
import yaml

from tests import ansible_env

ROLES = sorted(path.parent for path in ansible_env.FOLDER.glob("roles/*/meta"))


def _read(path: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(path.read_text())
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_each_variable_of_a_role_is_described_with_its_default(role: Path) -> None:
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    described = {
        name: option for spec in specs.values() for name, option in spec["options"].items()
    }
    defaults = _read(role / "defaults/main.yml")
    required = {name for name, option in described.items() if option.get("required")}
    assert set(described) - set(defaults) <= required
    assert set(defaults) - set(described) == set()
    told = {name: option["default"] for name, option in described.items() if "default" in option}
    fixed = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    assert {name: told[name] for name in fixed if name in told} == {
        name: value for name, value in fixed.items() if name in told
    }


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_variable_bears_the_name_of_its_role(role: Path) -> None:
    names = _read(role / "defaults/main.yml")
    assert [name for name in names if not name.startswith(f"{role.name}_")] == []
