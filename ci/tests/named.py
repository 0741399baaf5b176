#!/usr/bin/env python3
"""Every file of tests in a folder with an all.rs is a module of it, or a test target of its own: else it would not run.

    python3 ci/tests/named.py            looks at all crates
    python3 ci/tests/named.py --quiet    runs the tests of this file as well
"""

import re
import sys
import tomllib
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MODULE = re.compile(r'^(?:#\[path = "(\w+)\.rs"\]\s)?mod (\w+);', re.MULTILINE)


def reached(root, texts):
    """The files (without .rs) that root names, and those that these name: {name: text} of the folder."""
    found, ahead = set(), [root]
    while ahead:
        name = ahead.pop()
        if name not in found and name in texts:
            found.add(name)
            ahead += [path or module for path, module in MODULE.findall(texts[name])]
    return found


def left_out(folder, texts, manifest):
    """The files that no test target holds."""
    targets = [Path(test.get("path", f"tests/{test['name']}.rs")).stem for test in tomllib.loads(manifest).get("test", [])]
    held = set().union(*(reached(target, texts) for target in targets))
    return [f"{folder}/{name}.rs is in no test target: name it in {folder}/all.rs" for name in sorted(set(texts) - held)]


def main():
    """Looks at every crate and returns the exit code."""
    faults, count = [], 0
    for root in sorted(ROOT.glob("*/tests/all.rs")):
        texts = {file.stem: file.read_text() for file in root.parent.glob("*.rs")}
        count += len(texts)
        faults += left_out(root.parent.relative_to(ROOT), texts, (root.parent.parent / "Cargo.toml").read_text())
    for fault in faults:
        print(fault)
    if not faults:
        print(f"{count} files of tests, each in a test target")
    return bool(faults or not count)


class Judge(unittest.TestCase):
    MANIFEST = '[[test]]\nname = "all"\n[[test]]\nname = "alone"\n'
    TEXTS = {"all": '#[path = "both.rs"]\nmod first;\nmod rig;\nmod one;\n', "both": "mod two;\n", "one": "", "two": "", "alone": ""}

    def test_what_is_named_is_held(self):
        self.assertEqual(left_out("t", self.TEXTS, self.MANIFEST), [])

    def test_what_is_not_named_is_told(self):
        for file, text, missing in [("both", "", ["two"]), ("all", "mod one;", ["both", "two"])]:
            told = left_out("t", self.TEXTS | {file: text}, self.MANIFEST)
            self.assertEqual(told, [f"t/{name}.rs is in no test target: name it in t/all.rs" for name in missing])

    def test_a_target_that_is_not_declared_holds_nothing(self):
        self.assertEqual(len(left_out("t", self.TEXTS, '[[test]]\nname = "all"\n')), 1)


if __name__ == "__main__":
    if sys.argv[1:] == ["--quiet"]:
        result = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromTestCase(Judge))
        if not result.wasSuccessful():
            sys.exit(1)
    sys.exit(main())
