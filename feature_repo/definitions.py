"""What Feast's own CLI and UI see: every system's entities, sources and ticked views, bound to names of this module.

Feast imports every Python file beside feature_store.yaml and collects the objects that it finds bound there, so this
is the only one, and it binds them by name. What they are is said once, in `systems/*/features.py`. Live views are not
among them: Feast has no feature that is computed when it is read from events that came in a moment before.
"""

import systems
from infra import wiring
from infra.settings import Settings

_loaded, _ = systems.load_all()
for _system in _loaded:
    for _object in wiring.feature_definitions(Settings.load(), _system):
        globals()[f"{_system.name}__{type(_object).__name__}__{_object.name}"] = _object
