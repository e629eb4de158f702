"""The folder that `FLYWHEEL_SYSTEMS_DIR` names while Flywheel is measured."""
