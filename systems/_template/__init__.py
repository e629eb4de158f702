"""_template: how likely is it that this visitor buys within the hour? What `flywheel new` copies, and checked code."""
