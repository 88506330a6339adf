"""The house rules a linter does not know: sizes, names, includes, loose ends.

Each rule prints what breaks it; the exit status is 1 when anything does.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_ROOT_ENTRIES = 18
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"}
UNMERGED = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
LOOSE_ENDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError|keep in sync")
INCLUDES = {
    "core": re.compile(
        r'"(abi|flowtable|fold|hash|hll|keyindex|keyset|keytable|largest|link|match|merge|parse|port'
        r'|thin|usual)\.h"'
    ),
    "bpf": re.compile(r'"[a-z_]+(\.bpf)?\.h"|<(linux/(bpf|if_packet|pkt_cls)|bpf/bpf_[a-z_]+)\.h>'),
    "native": re.compile(
        r'"[a-z_]+\.h"|<Python\.h>|<(stddef|stdio|stdlib|string|stdint)\.h>'
        r"|<(errno|poll|pthread|time|unistd)\.h>|<(linux|sys)/[a-z_]+\.h>"
    ),
}


def tracked() -> list[Path]:
    """Files of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [Path(name) for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def long_functions(path: Path, text: str) -> Iterator[str]:
    """Name the functions over the limit."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines"


def complaints(path: Path) -> Iterator[str]:
    """Say what breaks a rule in one file."""
    if BANNED_NAMES & {part.split(".")[0] for part in path.parts}:
        yield f"{path}: a name that says nothing"
    if path.suffix not in (".py", ".c", ".h", ".md", ".toml"):
        return
    text = (ROOT / path).read_text()
    if UNMERGED.search(text):
        yield f"{path}: a conflict that was not resolved"
    if path.suffix in (".md", ".toml"):
        return
    lines = text.splitlines()
    if len(lines) > MAX_FILE_LINES:
        yield f"{path}: {len(lines)} lines"
    if path.suffix == ".py":
        yield from long_functions(path, text)
    room = INCLUDES.get(path.parts[0])
    for number, line in enumerate(lines, 1):
        if LOOSE_ENDS.search(line) and path.name != "house.py":
            yield f"{path}:{number}: a loose end"
        if room and line.startswith("#include") and not room.search(line):
            yield f"{path}:{number}: {path.parts[0]}/ may not include that"


def main() -> int:
    """Check every file; returns the exit status."""
    files = tracked()
    found = [complaint for path in files for complaint in complaints(path)]
    entries = sorted({path.parts[0] for path in files})
    if len(entries) > MAX_ROOT_ENTRIES:
        found.append(f"{len(entries)} entries at the root: {', '.join(entries)}")
    print("\n".join(found) or "house rules hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
