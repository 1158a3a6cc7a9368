"""Each check of this folder finds what it is there to find: a check that cannot fail proves nothing."""

import tempfile
import unittest
from pathlib import Path

import documents
import file_rules
import layering
import packages
import skips
import test_names


def problems_in(files: dict[str, str], check) -> list[str]:
    """What a check says about a source tree of these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return check.check(Path(folder))[0]


class LayeringTest(unittest.TestCase):
    def problems(self, name: str, line: str) -> list[str]:
        return problems_in({name: line + "\n"}, layering)

    def test_a_backend_may_not_include_snapshot(self):
        self.assertEqual(len(self.problems("kvm/a.cc", '#include "snapshot/manifest.h"')), 1)

    def test_a_backend_may_include_core_and_itself(self):
        self.assertEqual(self.problems("kvm/a.cc", '#include "core/result.h"'), [])
        self.assertEqual(self.problems("kvm/a.cc", '#  include "kvm/kvm_vm.h"'), [])

    def test_core_may_include_nothing_but_core(self):
        self.assertEqual(len(self.problems("core/a.h", '#include "session/session.h"')), 1)

    def test_an_include_names_its_folder(self):
        self.assertEqual(len(self.problems("core/a.cc", '#include "result.h"')), 1)

    def test_the_serialisation_library_is_confined(self):
        self.assertEqual(len(self.problems("snapshot/a.cc", "#include <capnp/message.h>")), 1)
        self.assertEqual(self.problems("snapshot/manifest_codec.cc", "#include <capnp/message.h>"),
                         [])

    def test_the_kernel_interface_is_confined(self):
        self.assertEqual(len(self.problems("experiments/a.cc", "#include <linux/kvm.h>")), 1)

    def test_links_follow_the_same_arrows(self):
        self.assertEqual(len(self.problems("mock/CMakeLists.txt", "  DEPS stasis::snapshot")), 1)
        self.assertEqual(self.problems("cli/CMakeLists.txt", "  DEPS stasis::session"), [])


class FileRulesTest(unittest.TestCase):
    def problems(self, name: str, text: str) -> list[str]:
        return problems_in({name: text}, file_rules)

    def test_a_long_file_is_refused_and_a_short_one_is_not(self):
        self.assertEqual(len(self.problems("core/a.cc", "\n" * 501)), 1)
        self.assertEqual(self.problems("core/a.cc", "\n" * 200), [])

    def test_a_path_of_one_machine_is_found(self):
        self.assertEqual(len(self.problems("a.md", "see /ho" + "me/me/notes\n")), 1)
        self.assertEqual(self.problems("a.md", "see $PREFIX/home/x and docs/home/\n"), [])

    def test_a_header_without_a_guard_is_found(self):
        self.assertEqual(len(self.problems("core/a.h", "int f();\n")), 1)

    def test_loose_line_ends_are_found(self):
        self.assertEqual(len(self.problems("a.md", "text \n")), 1)
        self.assertEqual(len(self.problems("a.md", "text")), 1)


class PackagesTest(unittest.TestCase):
    LIST = "build  cmake  cmake  bin:cmake\nbuild  liblz4-dev  lz4  pc:liblz4\n"

    def problems(self, files: dict[str, str]) -> list[str]:
        return problems_in({"scripts/packages": self.LIST, **files}, packages)

    def test_a_document_that_asks_for_another_package_is_found(self):
        self.assertEqual(self.problems({"README.md": "run `apt-get install -y cmake`\n"}), [])
        self.assertEqual(len(self.problems({"README.md": "apt-get install -y cmake zstd\n"})), 1)

    def test_a_library_that_no_package_provides_is_found(self):
        self.assertEqual(self.problems({"CMakeLists.txt": "find_package(Threads REQUIRED)\n"}), [])
        self.assertEqual(len(self.problems({"CMakeLists.txt": "find_package(Zstd REQUIRED)\n"})), 1)
        lz4 = "pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4>=1.9)\n"
        self.assertEqual(self.problems({"CMakeLists.txt": lz4}), [])
        self.assertEqual(len(self.problems({"CMakeLists.txt": lz4.replace("liblz4", "libz")})), 1)

    def test_a_malformed_or_doubled_line_is_found(self):
        self.assertEqual(len(packages.parse("extra  cmake  cmake\n").problems), 1)
        self.assertEqual(len(packages.parse("build  cmake  -\nbuild  cmake  -\n").problems), 1)


class DocumentsTest(unittest.TestCase):
    def problems(self, text: str) -> list[str]:
        return problems_in({"CMakePresets.json": '{"name": "dev"}\n', "scripts/test": "#!/bin/sh\n",
                            "docs/b.md": "# One two\n", "README.md": text}, documents)

    def test_a_dead_link_is_found(self):
        self.assertEqual(self.problems("[b](docs/b.md) [c](docs/b.md#one-two)\n"), [])
        self.assertEqual(len(self.problems("[b](docs/c.md)\n")), 1)
        self.assertEqual(len(self.problems("[b](docs/b.md#three)\n")), 1)

    def test_a_command_that_does_not_exist_is_found(self):
        self.assertEqual(self.problems("```sh\nscripts/test --preset dev\n```\n"), [])
        self.assertEqual(len(self.problems("```sh\nscripts/tset\n```\n")), 1)
        self.assertEqual(len(self.problems("```sh\ncmake --preset dve\n```\n")), 1)

    def test_a_file_that_does_not_exist_is_found(self):
        self.assertEqual(len(self.problems("see `docs/c.md`\n")), 1)


class SkipsTest(unittest.TestCase):
    RULES = "tests-at-least 2\nno-kvm Kvm\\..* it needs KVM\n"

    def judge(self, tests: dict[str, bool], kvm: bool) -> list[str]:
        least, rules = skips.parse_rules(self.RULES)
        return skips.judge(tests, least, rules, {"no-kvm": not kvm})

    def test_a_skip_is_allowed_only_under_its_condition(self):
        tests = {"Kvm.Runs": True, "Core.Adds": False}
        self.assertEqual(self.judge(tests, kvm=False), [])
        self.assertEqual(len(self.judge(tests, kvm=True)), 1)

    def test_a_skip_that_nothing_allows_is_found(self):
        self.assertEqual(len(self.judge({"Kvm.Runs": True, "Core.Adds": True}, kvm=False)), 1)

    def test_a_stale_rule_and_missing_tests_are_found(self):
        self.assertEqual(len(self.judge({"Core.Adds": False}, kvm=True)), 2)

    def test_outcomes_are_read_from_junit(self):
        junit = ('<testsuite><testcase name="a" status="run"/>'
                 '<testcase name="b" status="notrun"><skipped message="x"/></testcase></testsuite>')
        self.assertEqual(skips.outcomes(junit), {"a": False, "b": True})


class TestNamesTest(unittest.TestCase):
    def test_doubled_unbuilt_and_unstable_names_are_found(self):
        self.assertEqual(test_names.judge(["A.B", "A.C"]), [])
        self.assertEqual(len(test_names.judge(["A.B", "A.B"])), 1)
        self.assertEqual(len(test_names.judge(["kvm_test_NOT_BUILT"])), 1)
        self.assertEqual(len(test_names.judge(["A/B # GetParam() = 8-byte object <00>"])), 1)


if __name__ == "__main__":
    unittest.main()
