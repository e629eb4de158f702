"""`python -m benchmarks.serving.supervisor NAME`: the platform's own supervisor, over one contender's processes."""

import sys
from functools import partial

from benchmarks.serving.contenders import components_of
from infra.supervisor import main

if __name__ == "__main__":
    sys.exit(main(partial(components_of, sys.argv[1])))
