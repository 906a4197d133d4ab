"""Validates TOML as an editor does: {"schema": …, "texts": […]} on stdin; on stdout, for each text, what is wrong or null."""

import json
import sys
import tomllib

import jsonschema


def plain(value):
    """To JSON there are no dates: an editor hands them over as texts."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value if isinstance(value, (str, int, float, bool)) else str(value)


asked = json.load(sys.stdin)
jsonschema.Draft7Validator.check_schema(asked["schema"])
validator = jsonschema.Draft7Validator(asked["schema"])


def wrong(text):
    try:
        value = plain(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        return f"not TOML: {error}"
    error = next(validator.iter_errors(value), None)
    return error and f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"


json.dump([wrong(text) for text in asked["texts"]], sys.stdout)
