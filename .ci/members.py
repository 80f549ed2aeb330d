"""Print Python that gives every member to the Protocols that it is to satisfy, for mypy to look at.

Members that cannot be imported here, such as a kernel backend without its compiler, are left out and named on stderr.
"""

import sys

from quantguard.errors import KernelError
from tests.support import extension_points


def main() -> None:
    """Print a line for every member and Protocol, under the imports that they need."""
    imports, lines = set(), []
    for family in extension_points.families():
        members = extension_points.registry_of(family)
        for name, module in members.sources.items():
            try:
                able = [ability for ability in members.abilities if members.able(name, ability) is not None]
            except KernelError as error:
                print(f"{family}/{name} is left out: {error}", file=sys.stderr)
                continue
            for protocol in (members.protocol, *able):
                imports |= {f"import {protocol.__module__}", f"import {module}"}
                lines.append(f"_{len(lines)}: {protocol.__module__}.{protocol.__name__} = {module}")
    print("\n".join([*sorted(imports), *lines]))


if __name__ == "__main__":
    main()
