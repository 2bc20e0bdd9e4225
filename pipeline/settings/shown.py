"""The views of a whole configuration: as TOML that can be read back, and as JSON schema."""

from typing import Any

from pipeline.settings.problems import WINDOWS
from pipeline.settings.routes import NAME_PATTERN, PROCESS_SECTIONS
from pipeline.settings.sections.notify import with_masked_urls
from pipeline.settings.settings import ROUTES, Settings, as_toml, schema, show, shown_windows
from pipeline.settings.tenants import DEFAULT_ROUTE, Configuration


def show_configuration(configuration: Configuration) -> str:
    """The effective configuration as TOML that `load_configuration` can read back; each route is shown in full."""
    if not configuration.has_routes:
        return show(configuration.tenants[0].settings)
    top = configuration.routes.get(DEFAULT_ROUTE)
    texts = [show(top)] if top else [_show_process(configuration)]
    for name, settings in configuration.routes.items():
        if name != DEFAULT_ROUTE:
            texts.append(_show_route(name, settings))
    return "\n".join(texts)


def _show_process(configuration: Configuration) -> str:
    sections = configuration.tenants[0].settings.model_dump(mode="json")
    sections["state"]["directory"] = str(configuration.root)
    texts = [
        f"[{section}]\n" + "".join(f"{key} = {as_toml(value)}\n" for key, value in sections[section].items())
        for section in PROCESS_SECTIONS
    ]
    # Without id_column the top level is no route, but its client code has [state] directory itself.
    texts += [
        f"[target]\nclient_code = {as_toml(tenant.client_code)}\n"
        for tenant in configuration.tenants
        if tenant.directory == configuration.root
    ]
    return "\n".join(texts)


def _show_route(name: str, settings: Settings) -> str:
    sections = with_masked_urls(settings.model_dump(mode="json", exclude={*PROCESS_SECTIONS, WINDOWS}))
    where = f"# Its ledger: {settings.state.directory}\n"
    windows = f"{WINDOWS} = {as_toml(shown_windows(settings))}\n" if settings.windows else ""
    return f"[[{ROUTES}]]\n{where}name = {as_toml(name)}\n{windows}" + "".join(
        f"{section}.{key} = {as_toml(value)}\n" for section, keys in sections.items() for key, value in keys.items()
    )


def configuration_schema() -> dict[str, Any]:
    """The JSON schema of the whole configuration. With routes, the top level may lack keys that each route has."""
    whole = schema()
    names = {
        section: reference["$ref"].rpartition("/")[2]
        for section, reference in whole["properties"].items()
        if "$ref" in reference
    }
    required = {section: whole["$defs"][name].pop("required", []) for section, name in names.items()}
    route = {
        "type": "object",
        "description": "A drop directory with keys of its own, laid over those of the top level.",
        "properties": {
            "name": {"type": "string", "pattern": NAME_PATTERN},
            **{
                section: {"$ref": f"#/$defs/{names[section]}"} if section in names else content
                for section, content in whole["properties"].items()
                if section not in PROCESS_SECTIONS
            },
        },
        "required": ["name", "drop"],
        "additionalProperties": False,
    }
    process = [section for section in names if section in PROCESS_SECTIONS]
    whole["required"] = [section for section in process if required[section]]
    for section in whole["required"]:
        whole["$defs"][names[section]]["required"] = required[section]
    needed = {section: keys for section, keys in required.items() if keys and section not in process}
    complete = {
        "required": list(needed),
        "properties": {section: {"required": keys} for section, keys in needed.items()},
    }
    whole["anyOf"] = [complete, {"required": [ROUTES]}]
    whole["properties"][ROUTES] = {"type": "array", "items": route}
    return whole
