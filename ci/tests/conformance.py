#!/usr/bin/env python3
"""Every row of virtio-net/CONFORMANCE.md names tests that are there, ran, and passed; its clauses are counted without a gap.

A row says `not yet` where the driver does not negotiate what the clause is about. `FILE::TEST` is a test of barewire-virtio-net, `sim/FILE::TEST` one of barewire-sim, `core/PATH::TEST` a unit test of barewire-core,
`loom/PATH::TEST` one of its models of threads (ci/loom), `ci/PATH` a script. Each that is named runs, over both layouts of queues where it is there for both.

    python3 ci/tests/conformance.py            runs them
    python3 ci/tests/conformance.py --quiet    runs the tests of this file alone
"""

import collections
import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "virtio-net/CONFORMANCE.md"
CLAUSE = re.compile(r"^([0-9.]+) \(([0-9]+)\)$")
NAMED = re.compile(r"`([^`]+)`")
PACKAGES = {"": "barewire-virtio-net", "sim": "barewire-sim", "core": "barewire-core"}
SCRIPT = "script"
# The test target that holds a package's files of tests as modules.
TARGET = "all"
OPEN = "not yet"
STRENGTHS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT"}


def rows_of(text):
    """The rows of all tables whose first column is a clause."""
    rows = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if re.match(r"\| [0-9]", line))
    return list(rows)


def faults_of(text):
    """What is wrong with the tables themselves, as lines."""
    faults, last = [], collections.defaultdict(int)
    for cells in rows_of(text):
        clause = CLAUSE.match(cells[0])
        if not clause or len(cells) not in (4, 5) or cells[1] not in STRENGTHS or not cells[2]:
            faults.append(f"no clause, strength, text and test: {' | '.join(cells)}")
            continue
        section, number = clause[1], int(clause[2])
        key = (section, len(cells))
        if number != last[key] + 1:
            faults.append(f"{cells[0]}: behind ({last[key]})")
        last[key] = number
        if cells[3] == OPEN:
            continue
        if not NAMED.search(cells[3]):
            faults.append(f"{cells[0]}: no test")
        if any(NAMED.sub("", cell).strip(", ") not in ("", OPEN) for cell in cells[3:]):
            faults.append(f"{cells[0]}: words beside the tests")
    return faults


def tests_of(text):
    """The names in all rows: {(package, test target or None for the crate itself): {test: clauses}}, and scripts with their arguments as the tests of the package SCRIPT."""
    by_binary = collections.defaultdict(lambda: collections.defaultdict(set))
    for cells in rows_of(text):
        for name in NAMED.findall(" ".join(cells[3:])):
            if name.startswith(("ci/", "loom/")):
                by_binary[SCRIPT, None][name.replace("loom/", "ci/loom ")].add(cells[0])
                continue
            crate, _, path = name.rpartition("/")
            package = PACKAGES.get(crate)
            if package is None or "::" not in path:
                raise SystemExit(f"conformance: {cells[0]}: {name} is no test's name")
            by_binary[package, None if crate == "core" else TARGET][path].add(cells[0])
    return by_binary


def binaries(packages):
    """The test binaries of packages: {(package, binary or None): path}."""
    command = ["cargo", "test", "--quiet", "--no-run", "--all-features", "--message-format=json-render-diagnostics"]
    command += [word for package in sorted(packages) for word in ("-p", package)]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {}
    for line in said.splitlines():
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact" or not message.get("executable") or not message["profile"]["test"]:
            continue
        target = message["target"]
        package = next((one for one in packages if Path(message["manifest_path"]).parent == ROOT / folder_of(one)), None)
        if package:
            found[package, target["name"] if "test" in target["kind"] else None] = message["executable"]
    return found


def folder_of(package):
    return {"barewire-virtio-net": "virtio-net", "barewire-sim": "sim", "barewire-core": "driver-core"}[package]


def asked_of(executable, folder, *words):
    """What a test binary prints."""
    return subprocess.run([executable, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def whole_names(listed, tests):
    """The names in a binary's list by which tests go there: their own, or behind the layout of queues that they run over. {test: names}"""
    names = re.findall(r"^(\S+): test$", listed, re.MULTILINE)
    return {test: {name for name in names if re.sub(r"^(?:in_order_)?(?:packed|split)::", "", name) == test} for test in tests}


def passed_scripts(scripts):
    """Which scripts ended well. ci/loom fails where it finds no model of the name."""
    quiet = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    return {script for script in scripts if subprocess.run(script.split(), **quiet).returncode == 0}


def passed_in(executable, package, tests):
    """Which of the tests ran and passed, in each layout that they are there for."""
    folder = ROOT / folder_of(package)
    names = whole_names(asked_of(executable, folder, "--list"), tests)
    said = asked_of(executable, folder, "--exact", *sorted(set().union(*names.values())))
    passed = set(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. ok$", said, re.MULTILINE))
    return {test for test, wanted in names.items() if wanted and wanted <= passed}


def main():
    text = TABLE.read_text()
    faults = faults_of(text)
    wanted = tests_of(text)
    found = binaries({package for package, _ in wanted} - {SCRIPT})
    count = 0
    for (package, binary), tests in sorted(wanted.items(), key=str):
        executable = found.get((package, binary))
        passed = passed_scripts(tests) if package == SCRIPT else passed_in(executable, package, tests) if executable else set()
        count += len(passed)
        where = f"{package} {binary or ''}".strip()
        faults += [f"{', '.join(sorted(clauses))}: {test} of {where} did not run and pass" for test, clauses in sorted(tests.items()) if test not in passed]
    for fault in faults:
        print(fault)
    rows = rows_of(text)
    shown = [row for row in rows if row[3] != OPEN]
    musts = sum(row[1].startswith("MUST") for row in shown)
    if not faults:
        still = f"; {len(rows) - len(shown)} are not negotiated yet" if len(shown) < len(rows) else ""
        print(f"{len(shown)} clauses, {musts} of them MUST or MUST NOT, are shown by {count} tests that ran{still}")
    return bool(faults)


class Judge(unittest.TestCase):
    GOOD = "| 2.1 (1) | MUST | keep | `a::b` | `sim/c::d` |\n| 2.1 (2) | SHOULD NOT | lose | `core/x::y::z` | |\n"

    def test_a_good_table_has_no_fault(self):
        self.assertEqual(faults_of(self.GOOD), [])

    def test_what_is_not_negotiated_yet_needs_no_test(self):
        self.assertEqual(faults_of(self.GOOD.replace("`a::b` | `sim/c::d`", "not yet |")), [])

    def test_names_are_sorted_by_binary(self):
        self.assertEqual(
            tests_of(self.GOOD),
            {("barewire-virtio-net", "all"): {"a::b": {"2.1 (1)"}}, ("barewire-sim", "all"): {"c::d": {"2.1 (1)"}}, ("barewire-core", None): {"x::y::z": {"2.1 (2)"}}},
        )
        self.assertEqual(
            tests_of("| 2.1 (1) | MUST | keep | `loom/a::b`, `ci/c/d` | |\n"),
            {(SCRIPT, None): {"ci/loom a::b": {"2.1 (1)"}, "ci/c/d": {"2.1 (1)"}}},
        )

    def test_a_name_stands_for_both_layouts(self):
        listed = "a::b: test\npacked::c::d: test\nsplit::c::d: test\nother::c::d: test\n"
        self.assertEqual(whole_names(listed, {"a::b", "c::d", "e::f"}), {"a::b": {"a::b"}, "c::d": {"packed::c::d", "split::c::d"}, "e::f": set()})

    def test_what_is_wrong_is_told(self):
        for changed, told in [
            (("(2)", "(3)"), "2.1 (3): behind (1)"),
            (("`core/x::y::z`", "later"), "2.1 (2): no test"),
            (("`a::b`", "`a::b` in part"), "2.1 (1): words beside the tests"),
            (("`a::b`", "not yet, or never"), "2.1 (1): no test"),
            (("MUST |", "WILL |"), "no clause, strength, text and test"),
        ]:
            faults = faults_of(self.GOOD.replace(*changed))
            self.assertTrue(any(fault.startswith(told) for fault in faults), (changed, faults))

    def test_a_test_that_does_not_run_is_told_apart(self):
        with tempfile.TemporaryDirectory() as folder:
            fake = Path(folder) / "binary"
            fake.write_text("#!/bin/sh\n[ $1 = --list ] && printf '%s: test\\n' a b c d && exit\necho 'test a ... ok'\necho 'test b ... FAILED'\necho 'test c ... ignored'\n")
            fake.chmod(0o755)
            self.assertEqual(passed_in(fake, "barewire-sim", {"a", "b", "c", "d"}), {"a"})


if __name__ == "__main__":
    if "--quiet" in sys.argv:
        outcome = unittest.main(argv=sys.argv[:1], exit=False, verbosity=0).result
        sys.exit(not outcome.wasSuccessful())
    sys.exit(main())
