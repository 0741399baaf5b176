#!/usr/bin/env python3
"""Every test and every sentence that tests/REPORTS.md names is in the tree, and every row names one.

A row's last column has `path::name` for a test, the name of a test of ci/qemu/run, `path` "sentence" for the documentation, or says `not yet`.
"""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "tests/REPORTS.md"
QUOTED = re.compile(r'`([^`]+)` "([^"]+)"')
NAMED = re.compile(r"`([^`]+)`")


def rows_of(text):
    """The rows of the table: kind, right value, what holds it."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines[2:]]


def plain(text):
    """Words alone: a sentence may be broken over lines of a comment."""
    return " ".join(re.sub(r"^\s*(//[/!]?|#)", "", line).strip() for line in text.splitlines())


def is_test(file, name):
    """Whether the Rust file has a test function of that name: with #[test] among the attributes before it."""
    found = re.search(rf"((?:^\s*(?:#\[.*\]|///.*|//.*)\n)+)\s*(?:pub(?:\(crate\))? )?fn {re.escape(name)}\(", file.read_text(), re.MULTILINE)
    return bool(found) and "#[test]" in found[1]


def qemu_tests(root):
    said = subprocess.run([root / "ci/qemu/run", "--list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in said.splitlines() if line.strip()}


def faults_of(text, root, qemu):
    """What is wrong with a table, as lines."""
    faults = []
    for row in rows_of(text):
        if len(row) != 3 or not all(row):
            faults.append(f"not three columns: {row}")
            continue
        kind, _, held = row
        quotes = QUOTED.findall(held)
        names = NAMED.findall(QUOTED.sub("", held))
        if not quotes and not names and held != "not yet":
            faults.append(f"{kind}: nothing holds it")
        for file, sentence in quotes:
            if not (root / file).is_file() or sentence not in plain((root / file).read_text()):
                faults.append(f"{kind}: {file} does not say: {sentence}")
        for name in names:
            file, _, test = name.partition("::")
            if not test:
                if name not in qemu():
                    faults.append(f"{kind}: ci/qemu/run has no test {name}")
            elif not (root / file).is_file() or not is_test(root / file, test):
                faults.append(f"{kind}: there is no test {name}")
    return faults


class Reports(unittest.TestCase):
    def test_every_test_and_sentence_that_the_table_names_is_in_the_tree(self):
        text = TABLE.read_text()
        self.assertGreaterEqual(len(rows_of(text)), 39)
        self.assertEqual(faults_of(text, ROOT, lambda: qemu_tests(ROOT)), [])

    def test_what_is_not_there_is_found(self):
        head = "| kind | the right value | held by |\n| --- | --- | --- |\n"
        here = "ci/tests/reports.py"

        def told(held):
            return faults_of(f"{head}| a kind | right | {held} |\n", ROOT, lambda: {"link"})

        good = "tests/table.rs::the_table_does_not_pile_up"
        self.assertEqual(told(f"`{good}`, `link`, `{here}` \"says `not yet`.\""), [])
        self.assertEqual(told("not yet"), [])
        self.assertEqual(told(f"`{good}`, `{good}_any_more`"), [f"a kind: there is no test {good}_any_more"])
        self.assertEqual(told("`tests/table.rs::screen`"), ["a kind: there is no test tests/table.rs::screen"])
        self.assertEqual(told("`tests/no_file.rs::x`"), ["a kind: there is no test tests/no_file.rs::x"])
        self.assertEqual(told("`no-such-test`"), ["a kind: ci/qemu/run has no test no-such-test"])
        sentence = "what nobody" + " says"
        self.assertEqual(told(f"`{here}` \"{sentence}\""), [f"a kind: {here} does not say: {sentence}"])
        self.assertEqual(told("by hand"), ["a kind: nothing holds it"])


if __name__ == "__main__":
    unittest.main()
