"""Fails on a dependency between our crates that the layout does not allow.

    wire, frame <- tcp <- net            stack/ can't know that AF_XDP exists, or that there is a host
    frame       <- port                  a port moves frames and can't read them
    abi <- load <- nic                   only nic and load change the host
    all of these <- poll <- sock         poll is where both sides meet
    anything    <- tools, benches, perf  nobody depends on these

Reads `cargo metadata` as it is resolved from the manifests; needs no build.
"""

import json
import subprocess
import sys

STACK = {"frame", "wire", "tcp", "net"}
BELOW_POLL = STACK | {"port", "abi", "load", "nic"}
PROGRAMS = ("tools/", "benches", "perf")

# Crate (without `linerate-`; the re-exporting crate is `linerate`): the crates of ours it may name.
MAY_NAME = {
    "frame": set(),
    "wire": set(),
    "tcp": {"frame", "wire"},
    "net": {"frame", "wire", "tcp"},
    "port": {"frame"},
    "abi": set(),
    "load": {"abi"},
    "nic": {"abi", "load"},
    "poll": BELOW_POLL,
    "sock": BELOW_POLL | {"poll"},
    "sandbox": {"abi", "load", "nic"},
    "linerate": BELOW_POLL | {"poll", "sock", "sandbox"},
}

# The stack has no clock, thread, socket or host inside.
HOST_CRATES = {"libc", "rustix", "nix", "aya", "netlink-sys", "netlink-packet-route", "rtnetlink", "tokio", "mio",
               "socket2", "quanta", "signal-hook", "crossbeam-queue", "rtrb"}


def short(name):
    return name.removeprefix("linerate-")


def wrong_arrows(package, folder, ours):
    """What `package` may not depend on, one line each."""
    name = short(package["name"])
    if folder.startswith(PROGRAMS):
        allowed = {short(other) for other, place in ours.items() if not place.startswith(PROGRAMS)} | {name}
    elif name in MAY_NAME:
        allowed = MAY_NAME[name]
    else:
        yield f"{package['name']} ({folder}) is not in the table of ci/arrows.py: put it there, and in the layout"
        return
    for dependency in package["dependencies"]:
        target = dependency["name"]
        kind = dependency["kind"] or "normal"
        if target in ours:
            if kind == "dev":
                # Tests may reach sideways, but a test of the stack must not need the engine, and none needs a program.
                right = short(target) in STACK if name in STACK else not ours[target].startswith(PROGRAMS)
            else:
                right = short(target) in allowed
            if not right:
                yield f"{package['name']} ({folder}) may not name {target} ({kind} dependency)"
        elif name in STACK and kind != "dev" and target in HOST_CRATES:
            yield f"{package['name']} ({folder}) may not name {target}: stack/ has no host inside"


def main():
    out = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"],
                         stdout=subprocess.PIPE, check=True).stdout
    metadata = json.loads(out)
    root = metadata["workspace_root"] + "/"
    folders = {p["name"]: p["manifest_path"].removeprefix(root).removesuffix("/Cargo.toml")
               for p in metadata["packages"]}
    problems = [line for package in metadata["packages"]
                for line in wrong_arrows(package, folders[package["name"]], folders)]
    for line in problems:
        print(f"arrows: {line}", file=sys.stderr)
    if not problems:
        print(f"arrows: {len(folders)} crates, none out of line")
    return 1 if problems else 0


sys.exit(main())
