"""Print the first command of each shell block of the README's section "Two commands", in order."""

import pathlib
import re

section = pathlib.Path("README.md").read_text(encoding="utf-8").split("## Two commands")[1].split("\n## ")[0]
for block in re.findall(r"```sh\n(.*?)\n```", section, flags=re.DOTALL):
    print(block)
