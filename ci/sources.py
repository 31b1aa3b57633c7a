"""Reads our sources for what a compiler doesn't refuse.

- `unsafe` only in raw.rs, sys.rs, ffi.rs or below a folder sys/; a crate whose sources have no such file forbids it;
- the crates of stack/ are no_std;
- no left-overs: todo!(), unimplemented!(), FIXME, ignored tests;
- files past 600 lines are named, no more: two ideas may be hidden there.
"""

import os
import re
import sys

LONG_LINES = 600
SKIPPED_FOLDERS = {".git", "target", "node_modules"}
UNSAFE = re.compile(r"\bunsafe\b\s*(\{|\(|fn\b|impl\b|extern\b|trait\b)")
LEFT_OVERS = re.compile(r"\btodo!\(|\bunimplemented!\(|\bFIXME\b|#\[ignore\b|// *TODO\b")
# Sources outside the named files that may hold `unsafe`: tests, examples and benches only, each with its reason.
UNSAFE_LISTED = {}


def sources(root):
    """Paths below `root` of all .rs, .c and .h files, relative to it."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS)
        for file in sorted(files):
            if file.endswith((".rs", ".c", ".h")):
                yield os.path.relpath(os.path.join(folder, file), root)


def named_for_unsafe(path):
    *folders, file = path.split("/")
    return file in ("raw.rs", "sys.rs", "ffi.rs") or "sys" in folders


def without_comments_and_strings(text):
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


def crate_folders(root):
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS)
        if "Cargo.toml" in files and os.path.isdir(os.path.join(folder, "src")):
            yield os.path.relpath(folder, root)


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    problems, long = [], []
    paths = list(sources(root))
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        lines = text.count("\n")
        if lines > LONG_LINES:
            long.append((lines, path))
        for number, line in enumerate(text.splitlines(), 1):
            if LEFT_OVERS.search(line):
                problems.append(f"{path}:{number}: left-over: {line.strip()}")
        if path.endswith(".rs") and not named_for_unsafe(path) and path not in UNSAFE_LISTED:
            bare = without_comments_and_strings(text)
            for found in UNSAFE.finditer(bare):
                number = bare.count("\n", 0, found.start()) + 1
                problems.append(f"{path}:{number}: unsafe outside raw.rs, sys.rs, ffi.rs, sys/")

    for crate in crate_folders(root):
        inside = [p for p in paths if p.startswith(f"{crate}/src/")]
        for entry in ("lib.rs", "main.rs"):
            top = f"{crate}/src/{entry}"
            if top not in inside:
                continue
            with open(os.path.join(root, top), encoding="utf-8") as file:
                text = file.read()
            if not any(map(named_for_unsafe, inside)) and "#![forbid(unsafe_code)]" not in text:
                problems.append(f"{top}: has no file named for unsafe and does not say #![forbid(unsafe_code)]")
            if crate.startswith("stack/") and crate != "stack/fuzz" and not re.search(
                    r"#!\[(no_std|cfg_attr\(not\(test\), no_std\))\]", text):
                problems.append(f"{top}: a crate of stack/ is no_std")

    for lines, path in sorted(long, reverse=True):
        print(f"sources: warning: {path} has {lines} lines: two ideas?")
    for line in problems:
        print(f"sources: {line}", file=sys.stderr)
    if not problems:
        print(f"sources: {len(paths)} files, nothing out of place")
    return 1 if problems else 0


sys.exit(main())
