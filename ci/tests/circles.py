#!/usr/bin/env python3
"""What ci/circles finds and what it passes over, on small crates made up for it."""

import importlib.machinery
import importlib.util
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "circles"
loader = importlib.machinery.SourceFileLoader("circles", str(SCRIPT))
circles = importlib.util.module_from_spec(importlib.util.spec_from_loader("circles", loader))
sys.modules["circles"] = circles
sys.dont_write_bytecode = True
loader.exec_module(circles)


def found_in(wings=False, **files):
    """The circles of a crate of these files, as the names of their files. `a__b` stands for a/b.rs."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name, text in files.items():
            file = base / (name.replace("__", "/") + ".rs")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        edges = circles.edges_of(circles.Crate(base / "lib.rs"))
        if wings:
            edges = circles.between_wings(edges, base / "lib.rs")
        return [[str(file.relative_to(base)) for file in circle] for circle in circles.circles_of(edges)]


A_AND_B = [["a.rs", "b.rs"]]
LIB = "mod a; mod b;"
TWO = {"lib": LIB, "a": "use crate::b::B; pub struct A;"}


class Finds(unittest.TestCase):
    def test_two_files_that_import_each_other(self):
        self.assertEqual(found_in(**TWO, b="use crate::a::A; pub struct B;"), A_AND_B)

    def test_three_files_in_a_ring(self):
        ring = found_in(
            lib="mod a; mod b; mod c;", a="use crate::b::B; pub struct A;", b="use crate::c::C; pub struct B;", c="use crate::a::A; pub struct C;"
        )
        self.assertEqual(ring, [["a.rs", "b.rs", "c.rs"]])

    def test_a_path_without_use(self):
        self.assertEqual(found_in(**TWO, b="pub struct B; fn f() { let x = crate::a::A; }"), A_AND_B)

    def test_a_path_in_a_type(self):
        self.assertEqual(found_in(**TWO, b="pub struct B { x: Option<super::a::A> }"), A_AND_B)

    def test_a_use_inside_a_function(self):
        self.assertEqual(found_in(**TWO, b="pub struct B; fn f() { use super::a::A; }"), A_AND_B)

    def test_groups_within_groups(self):
        self.assertEqual(found_in(**TWO, b="use crate::{other, a::{self, deep::{X, Y}, A as Renamed}}; pub struct B;"), A_AND_B)

    def test_a_module_imported_whole_and_then_used(self):
        self.assertEqual(found_in(**TWO, b="use crate::a; pub struct B; fn f() { a::A }"), A_AND_B)

    def test_everything_by_a_star(self):
        self.assertEqual(found_in(**TWO, b="use crate::a::*; pub struct B;"), A_AND_B)

    def test_a_macro_s_rules(self):
        self.assertEqual(found_in(**TWO, b="pub struct B; macro_rules! m { () => { $crate::a::A } }"), A_AND_B)
        self.assertEqual(found_in(**TWO, b="pub struct B; macro_rules! m { () => { use $crate::a::A; } }"), A_AND_B)

    def test_what_a_macro_made(self):
        self.assertEqual(found_in(**TWO, b="use crate::a::MADE; pub struct B;"), A_AND_B)

    def test_through_a_re_export_of_the_root(self):
        self.assertEqual(found_in(lib="mod a; mod b; pub use a::A;", a="use crate::b::B; pub struct A;", b="use crate::A; pub struct B;"), A_AND_B)

    def test_through_re_exports_of_re_exports(self):
        nested = {"w__mod": "mod a; pub use a::*;", "w__a": "use crate::b::B; pub struct A;"}
        self.assertEqual(found_in(lib="mod w; mod b; pub use w::A as Z;", b="use super::Z; pub struct B;", **nested), [["b.rs", "w/a.rs"]])

    def test_a_parent_with_code_of_its_own_and_its_child(self):
        self.assertEqual(
            found_in(lib="mod w;", w__mod="mod a; pub use a::A; pub struct W;", w__a="use super::W; pub struct A;"), [["w/a.rs", "w/mod.rs"]]
        )

    def test_a_test_in_the_same_file_hides_nothing(self):
        self.assertEqual(found_in(**TWO, b="#[cfg(test)] mod tests { fn f() {} } use crate::a::A; pub struct B;"), A_AND_B)

    def test_strings_comments_and_lifetimes_hide_nothing(self):
        text = """const Q: char = '"'; const R: &str = r#"{"#; /* { /* " */ */ fn f<'a>(x: &'a str) {} // "
        use crate::a::A; pub struct B;"""
        self.assertEqual(found_in(**TWO, b=text), A_AND_B)

    def test_wings_of_which_no_two_files_stand_in_a_circle(self):
        files = {
            "lib": "mod x; mod y;",
            "x__mod": "mod one; mod two;",
            "y__mod": "mod one; mod two;",
            "x__one": "use crate::y::one::Y1;",
            "x__two": "pub struct X2;",
            "y__one": "pub struct Y1;",
            "y__two": "use crate::x::two::X2;",
        }
        self.assertEqual(found_in(**files), [])
        self.assertEqual(found_in(wings=True, **files), [["x", "y"]])

    def test_wings_with_a_file_outside_of_the_crates_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            (base / "bin").mkdir()
            (base / "bin/lib.rs").write_text('#[path = "../shared.rs"] mod shared; mod a;')
            (base / "bin/a.rs").write_text("use crate::shared::S; pub struct A;")
            (base / "shared.rs").write_text("use crate::a::A; pub struct S;")
            root = base / "bin/lib.rs"
            edges = circles.between_wings(circles.edges_of(circles.Crate(root)), root)
            self.assertEqual([[file.name for file in circle] for circle in circles.circles_of(edges)], [["a.rs", "shared.rs"]])


class PassesOver(unittest.TestCase):
    def nothing(self, b, **others):
        self.assertEqual(found_in(**{**TWO, **others}, b=b), [])

    def test_imports_one_way(self):
        self.nothing("pub struct B;")

    def test_items_for_tests(self):
        self.nothing("pub struct B; #[cfg(test)] mod tests { use crate::a::A; } #[cfg(test)] #[allow(x)] fn f<A, B>() { crate::a::A }")
        self.nothing("pub struct B; #[cfg(all(test, feature = \"x\"))] use crate::a::A;")
        self.nothing("pub struct B { #[cfg(test)] x: crate::a::A, y: u32 }")

    def test_files_for_tests(self):
        self.nothing("pub struct B; mod tests; use tests::T;", b__tests="use crate::b::B; pub struct T;")
        self.nothing("pub struct B; mod b_tests; use b_tests::T;", b__b_tests="use crate::b::B; pub struct T;")
        self.nothing("pub struct B; #[cfg(test)] mod checks;", b__checks="use crate::a::A;")

    def test_comments_and_strings(self):
        self.nothing('/// [`crate::a::A`]\npub struct B; // crate::a::A\nconst S: &str = "crate::a::A"; /* /* */ crate::a::A */')

    def test_where_something_is_visible(self):
        self.nothing("pub(in crate::a) struct B; fn f() { struct X { pub(in crate::a) y: u32 } }")

    def test_parents_that_only_re_export(self):
        wing = {"w__mod": "//! Words.\nmod a; mod b; pub use {a::A, b::B};", "w__a": "use super::b::B; pub struct A;", "w__b": "pub struct B;"}
        self.assertEqual(found_in(lib="mod w; pub use w::A;", **wing), [])

    def test_all_that_a_parent_re_exports(self):
        wing = {"w__mod": "mod a; mod b; pub use {a::A, b::B};", "w__a": "use super::*; pub struct A;", "w__b": "pub struct B;"}
        self.assertEqual(found_in(lib="mod w;", **wing), [])

    def test_other_crates(self):
        self.nothing("use a_crate::a::A; use log; pub struct B; fn f() { log::a::A }")


if __name__ == "__main__":
    unittest.main()
