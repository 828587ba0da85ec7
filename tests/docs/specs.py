# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of tasks and variables of roles, held to the real argument specs."""

from __future__ import annotations

import ast
import functools
import importlib.util
import typing as t
from pathlib import Path

import pages
import yaml
from ansible.module_utils import basic
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

PREFIX = "nixmac.linux_builder."
_CONSTRAINTS = ("mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by")

# From the fragments of template and copy.
_FILE_OPTIONS = frozenset({"src", "dest", "owner", "group", "mode", "backup", "validate"})


class _Caught(Exception):
    pass


@functools.cache
def module_spec(name: str) -> dict[str, t.Any]:
    """What the module hands to AnsibleModule; of what is an action only, what its documentation says."""
    module = importlib.import_module(f"ansible_collections.nixmac.linux_builder.plugins.modules.{name}")
    if not hasattr(module, "main"):
        return {
            "argument_spec": {key: _documented(option) for key, option in documentation(pages.MODULES[name])["options"].items()}
        }

    def catch(_self: t.Any, **options: t.Any) -> t.NoReturn:
        raise _Caught(options)

    real = basic.AnsibleModule.__init__
    basic.AnsibleModule.__init__ = catch
    try:
        module.main()
    except _Caught as caught:
        return dict(caught.args[0])
    finally:
        basic.AnsibleModule.__init__ = real
    raise AssertionError(f"{name}: main() made no AnsibleModule")


def documentation(path: Path) -> dict[str, t.Any]:
    """The DOCUMENTATION of a module, without its fragments."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            return dict(yaml.safe_load(ast.literal_eval(node.value)))
    raise AssertionError(f"{path}: has no DOCUMENTATION")


def _documented(option: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in option.items() if key in ("type", "elements", "choices", "required", "default")}


def option_errors(name: str, options: dict[str, t.Any], alone: bool = True) -> list[str]:
    """What the module would refuse of these options before it does anything. alone: no others are added to them."""
    spec = module_spec(name)
    validator = ArgumentSpecValidator(spec["argument_spec"], **{key: spec.get(key) for key in _CONSTRAINTS if alone})
    return list(validator.validate(options).error_messages)


@functools.cache
def foreign_options(name: str) -> frozenset[str]:
    """The options that Ansible documents for one of its own modules."""
    found = importlib.util.find_spec(f"ansible.modules.{name.removeprefix('ansible.builtin.')}")
    assert found is not None, f"there is no module {name}"
    assert found.origin is not None
    options = documentation(Path(found.origin))["options"]
    return frozenset(options) | {alias for option in options.values() for alias in option.get("aliases", [])} | _FILE_OPTIONS


def variable_errors(variables: t.Mapping[str, t.Any]) -> list[str]:
    """What is wrong with these variables: no such variable, or not of its type or choices."""
    options = pages.role_options()
    known = pages.variables()
    faults = [f"there is no variable {name}" for name in variables if name.startswith("linux_builder_") and name not in known]
    given = {name: value for name, value in variables.items() if name in options}
    validator = ArgumentSpecValidator({name: dict(options[name], required=False) for name in given})
    return faults + list(validator.validate(given).error_messages)


def result_of(name: str) -> dict[str, t.Any]:
    """A result of the module, made of its RETURN block: a field that is not there cannot be used in an example."""
    text = pages.MODULES[name].read_text().split('RETURN = r"""', 1)[1].split('"""', 1)[0]
    fields = {key: _value(field) for key, field in (yaml.safe_load(text) or {}).items()}
    return {"changed": True, "failed": False, **fields}


def _value(field: dict[str, t.Any]) -> t.Any:
    if "sample" in field:
        return field["sample"]
    contains = {key: _value(value) for key, value in field.get("contains", {}).items()}
    kinds = {"dict": contains, "list": [contains] if contains else [], "int": 1, "float": 1.0, "bool": True}
    return kinds.get(field["type"], "some text")


def rendered(value: t.Any, variables: dict[str, t.Any]) -> t.Any:
    """The value with its templates resolved, by Ansible's own engine; an unknown variable is an error."""
    if isinstance(value, dict):
        return {key: rendered(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [rendered(item, variables) for item in value]
    if isinstance(value, str) and "{{" in value:
        return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(value))
    return value
