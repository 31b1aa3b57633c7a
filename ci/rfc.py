"""The ledger of RFCs, stack/RFC.md, against what the code and its tests cite.

A row is `| item | what it asks | code | shown by |`; the heading above names the RFC (`## RFC 9293: ...`).
- item: codes of RFC 9293 appendix B (`MUST-19`, or several), or a section of another RFC;
- code: files below stack/ that cite the item (`//= RFC 9293 section 3.8.2, MUST-19`), or `no: reason`;
- shown by: scripts (`reset/exact` is stack/net/tests/scripts/reset/exact.seg, whose first line cites the item) and Rust
  tests (`net/tests/closing.rs::name`, the citation stands above the test); more than four are not listed.

Fails when a file or test does not exist or does not cite the item, when an item of appendix B is missing, when a MUST has
neither code and test nor a reason, and when a citation has no row. `--write` fills in code and tests from the citations
and adds the rows that are missing; what an item asks is for a person to write.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STACK = os.path.join(ROOT, "stack")
LEDGER = os.path.join(STACK, "RFC.md")
SCRIPTS = "net/tests/scripts"
TESTS_LISTED = 4
# Appendix B; it has no MAY-16.
ITEMS = ([f"MUST-{n}" for n in range(1, 70)] + [f"SHLD-{n}" for n in range(1, 32)] +
         [f"MAY-{n}" for n in range(1, 19) if n != 16] + ["REC-1"])

CITATION = re.compile(r"^\s*//= (.*)$")
SCRIPT_LINE = re.compile(r"^# (.*?): ")
RFC = re.compile(r"^RFC (\d+)(?: section ([\w.]+))?$")
CODE = re.compile(r"(?:MUST|SHLD|MAY|REC)-\d+")
SECTION = re.compile(r"\d+(?:\.\d+)+")
TEST = re.compile(r"^\s*fn (\w+)\(\)")
HEADING = re.compile(r"^##+ RFC (\d+)")


def cited(text):
    """(RFC, item) pairs of a citation, items being codes or sections; None if it is not one.

    `RFC 9293 section 3.8.1, 3.8.2, MUST-19, RFC 6298 section 5.5, step 2`: what is neither is a remark. A section of RFC
    9293 says only where to read on when codes follow it.
    """
    pairs, number, sections = set(), None, set()
    for part in text.split(", "):
        found = RFC.match(part)
        if found:
            number = found[1]
            if found[2]:
                (sections if number == "9293" else pairs).add((number, found[2]))
        elif number is None:
            return None
        elif CODE.fullmatch(part):
            pairs.add((number, part))
        elif SECTION.fullmatch(part):
            (sections if number == "9293" else pairs).add((number, part))
    return pairs


class Sources:
    """Citations below stack/: of code by file, of tests by test; paths relative to stack/."""

    def __init__(self):
        self.files, self.tests, self.problems = {}, {}, []
        for folder, folders, files in os.walk(STACK):
            folders[:] = sorted(f for f in folders if f != "target")
            for file in sorted(files):
                path = os.path.relpath(os.path.join(folder, file), STACK)
                if file.endswith(".rs"):
                    self.read_rust(path)
                elif file.endswith(".seg"):
                    self.read_script(path)

    def read_rust(self, path):
        items, pending = [], []
        with open(os.path.join(STACK, path), encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                citation, test = CITATION.match(line), TEST.match(line)
                if citation:
                    pairs = cited(citation[1].strip())
                    if pairs is None:
                        self.problems.append(f"stack/{path}:{number}: not a citation: {line.strip()}")
                    pending += pairs or []
                elif test:
                    self.tests[f"{path}::{test[1]}"] = set(pending)
                    pending = []
                elif not line.strip().startswith(("//", "#[")):
                    items += pending
                    pending = []
        self.files[path] = set(items)

    def read_script(self, path):
        with open(os.path.join(STACK, path), encoding="utf-8") as file:
            first = SCRIPT_LINE.match(file.readline())
        pairs = cited(first[1]) if first else None
        if pairs is None:
            self.problems.append(f"stack/{path}:1: not `# RFC NUMBER section X, ITEMS: words`")
        name = path.removeprefix(SCRIPTS + "/").removesuffix(".seg")
        self.tests[name] = pairs or set()

    def code_of(self, wanted):
        return sorted(path for path, items in self.files.items() if items & wanted)

    def tests_of(self, wanted):
        found = sorted(name for name, items in self.tests.items() if items & wanted)
        return sorted(found, key=lambda name: "::" in name)


class Row:
    """A row of the ledger, and its line."""

    def __init__(self, at, number, line):
        cells = [c.strip() for c in line.strip().strip("|").split("|")] + [""] * 4
        self.at, self.number, self.cell, self.what, self.code, self.shown = at, number, *cells[:4]
        self.items = re.split(r",\s*", self.cell)
        self.pairs = {(number, item) for item in self.items}

    def text(self):
        return f"| {self.cell} | {self.what} | {self.code} | {self.shown} |".replace("  ", " ") + "\n"

    def refused(self):
        return self.code.startswith("no:")

    def fill(self, sources):
        code = sources.code_of(self.pairs)
        if code or not self.refused():
            self.code = ", ".join(code)
        self.shown = ", ".join(sources.tests_of(self.pairs)[:TESTS_LISTED])

    def problems(self, sources):
        where = f"stack/RFC.md:{self.at}"
        if not self.what:
            yield f"{where}: does not say what {self.cell} asks"
        code = [] if self.refused() else [path for path in re.split(r",\s*", self.code) if path]
        shown = [name for name in re.split(r",\s*", self.shown) if name]
        if not code and not shown and not self.refused():
            yield f"{where}: neither code nor test nor `no: reason`"
        if any(item.startswith("MUST") for item in self.items) and not self.refused() and not (code and shown):
            yield f"{where}: a MUST needs code and a test"
        for path in code:
            if path not in sources.files:
                yield f"{where}: stack/{path} does not exist"
            elif not sources.files[path] & self.pairs:
                yield f"{where}: stack/{path} does not cite RFC {self.number}, {self.cell}"
        for name in shown:
            if name not in sources.tests:
                yield f"{where}: there is no test {name}"
            elif not sources.tests[name] & self.pairs:
                yield f"{where}: {name} does not cite RFC {self.number}, {self.cell}"


def read_ledger():
    """Lines of the ledger, rows as `Row`."""
    lines, number = [], None
    with open(LEDGER, encoding="utf-8") as file:
        for at, line in enumerate(file, 1):
            heading = HEADING.match(line)
            number = heading[1] if heading else number
            cells = line.strip().strip("|").split("|")
            if number is None or not line.startswith("|") or cells[0].strip() == "item" or set(cells[0]) <= set("-: "):
                lines.append(line)
            else:
                lines.append(Row(at, number, line))
    return lines


def order(pair):
    number, item = pair
    return int(number), [(0, int(n)) if n.isdigit() else (1, n) for n in item.split(".")]


def write(sources, lines):
    """Fills the rows from the citations; adds those that are missing below their RFC's last row."""
    rows = [line for line in lines if isinstance(line, Row)]
    for row in rows:
        row.fill(sources)
    everything = set().union(*sources.files.values(), *sources.tests.values())
    there = set().union(*(row.pairs for row in rows))
    for number, item in sorted(everything - there, key=order):
        row = Row(0, number, f"| {item} |")
        row.fill(sources)
        of_rfc = [i for i, line in enumerate(lines) if isinstance(line, Row) and line.number == number]
        if not of_rfc:
            headings = [(i, int(HEADING.match(line)[1])) for i, line in enumerate(lines)
                        if isinstance(line, str) and HEADING.match(line)]
            # RFC 9293 comes first, the others in the order of their numbers.
            at = next((i for i, n in headings[1:] if n > int(number)), len(lines))
            lines[at:at] = [f"## RFC {number}\n", "\n", "| item | what it asks | code | shown by |\n", "|---|---|---|---|\n",
                            row, "\n"]
            continue
        before = [i for i in of_rfc if order((number, lines[i].items[0])) < order((number, item))]
        lines.insert((before or [of_rfc[0] - 1])[-1] + 1, row)
    text = "".join(line.text() if isinstance(line, Row) else line for line in lines)
    with open(LEDGER, "w", encoding="utf-8") as file:
        file.write(re.sub(r"\n+## ", "\n\n## ", text).rstrip("\n") + "\n")


def main():
    sources = Sources()
    if sys.argv[1:] == ["--write"]:
        write(sources, read_ledger())
    rows = [line for line in read_ledger() if isinstance(line, Row)]
    problems = sources.problems + [p for row in rows for p in row.problems(sources)]
    there = set().union(*(row.pairs for row in rows))
    problems += [f"stack/RFC.md: {item} of RFC 9293 is missing" for item in ITEMS if ("9293", item) not in there]
    problems += [f"stack/RFC.md: RFC 9293 has no {item}" for number, item in sorted(there)
                 if number == "9293" and item not in ITEMS]
    for path, items in sorted(sources.files.items()):
        listed = set().union(*(row.pairs for row in rows if path in re.split(r",\s*", row.code)))
        problems += [f"stack/{path}: cites RFC {number} {item}, and no row of the ledger says so"
                     for number, item in sorted(items - listed)]
    for name, items in sorted(sources.tests.items()):
        problems += [f"{name}: RFC {number} {item} has no row in the ledger" for number, item in sorted(items - there)]
    for line in problems:
        print(f"rfc: {line}", file=sys.stderr)
    if problems:
        print("rfc: `ci/rfc.py --write` fills in what can be filled in", file=sys.stderr)
        return 1
    scripts = sum("::" not in name for name in sources.tests)
    print(f"rfc: {len(rows)} rows, {scripts} scripts, all in place")
    return 0


sys.exit(main())
