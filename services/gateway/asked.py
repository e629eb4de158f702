"""What a request asks for, as far as its path tells: before the router, which comes after the layers that refuse."""

FOLDER, PREDICTIONS = "/v1/systems/", "/predictions"


def system_of(path: str) -> str:
    """The system that is asked, in the client's own words; "" where none is."""
    return path.removeprefix(FOLDER).partition("/")[0] if path.startswith(FOLDER) else ""


def prediction_of(method: str, path: str) -> str:
    """The system whose prediction is asked for, in the client's own words; "" where none is."""
    if method != "POST" or not path.startswith(FOLDER) or not path.endswith(PREDICTIONS):
        return ""
    system = path[len(FOLDER) : -len(PREDICTIONS)]
    return "" if "/" in system else system


def predictions_path(system: str) -> str:
    """Where a system's predictions are asked for."""
    return f"{FOLDER}{system}{PREDICTIONS}"
