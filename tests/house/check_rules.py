#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules of the house that a compiler does not know: who may include whom, the line that names the
licence, descriptors that no child inherits, a README in every room. Python's standard library only."""

import os
import re
import sys
import unittest

TOP = os.path.abspath(os.environ.get("top_srcdir", "."))
FLOORS = ["base", "config", "kernels", "engine", "batching", "server"]
# The arrow that is inverted on purpose: kernels fill in the interface that the engine declares.
INVERTED = {("kernels", "engine/backend.h")}
ROOMS = FLOORS + ["cli", "bench", "tests"]
SOURCES = (".c", ".h", ".cu", ".cuh", ".py", ".sh", ".proto")
# Without the flag the descriptor would live on in whatever the process starts.
OPENS = {
    "open": "O_CLOEXEC", "openat": "O_CLOEXEC", "open64": "O_CLOEXEC", "socket": "SOCK_CLOEXEC",
    "socketpair": "SOCK_CLOEXEC", "accept4": "SOCK_CLOEXEC", "epoll_create1": "EPOLL_CLOEXEC",
    "eventfd": "EFD_CLOEXEC", "timerfd_create": "TFD_CLOEXEC", "signalfd": "SFD_CLOEXEC",
    "inotify_init1": "IN_CLOEXEC", "memfd_create": "MFD_CLOEXEC", "pipe2": "O_CLOEXEC",
    "fopen": '"[rwa+b]*e', "fdopen": '"[rwa+b]*e', "dup3": "O_CLOEXEC",
}
NEVER = ("accept", "pipe", "dup", "dup2", "epoll_create", "inotify_init", "creat", "popen", "system")


def files(folders, endings):
    for folder in folders:
        for here, below, names in os.walk(os.path.join(TOP, folder)):
            below[:] = [d for d in below if d not in ("golden", "__pycache__", ".deps")]
            for name in sorted(names):
                if name.endswith(endings) and ".pb-c." not in name:
                    yield os.path.relpath(os.path.join(here, name), TOP)


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def code(path):
    """The text without comments and with strings kept; line numbers stay."""
    def blank(found):
        return found.group(0) if found.group(0)[0] in "\"'" else re.sub(r"[^\n]", " ", found.group(0))
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*', blank, read(path), flags=re.S)


def line(text, at):
    return text.count("\n", 0, at) + 1


def calls(text, name):
    """(offset, arguments) of the calls of a function."""
    for found in re.finditer(rf"(?<![\w.>]){name}\s*\(", text):
        depth, end = 1, found.end()
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        yield found.start(), text[found.end():end - 1]


class Rules(unittest.TestCase):
    def included_by_engine_backend(self):
        """engine/backend.h and all that it includes: what kernels may see of the engine."""
        seen, ahead = set(), ["engine/backend.h"]
        while ahead:
            path = ahead.pop()
            if path not in seen:
                seen.add(path)
                ahead += [p for p in re.findall(r'#include "([^"]+)"', read(path)) if p.startswith("engine/")]
        return seen

    def test_floors_include_only_what_lies_below(self):
        allowed = {("kernels", path) for path in self.included_by_engine_backend()}
        allowed.add(("kernels", "engine/host.h"))  # what the daemon lends to a module
        allowed.add(("kernels", "engine/ops/ops.h"))  # the operators' numbers and attribute names
        bad = []
        for path in files(FLOORS, (".c", ".h")):
            floor = path.split("/")[0]
            for found in re.finditer(r'#\s*include\s+"([^"]+)"', read(path)):
                other = found.group(1).split("/")[0]
                if (other in FLOORS and FLOORS.index(other) > FLOORS.index(floor) and
                        (floor, found.group(1)) not in allowed):
                    bad.append(f"{path}:{line(read(path), found.start())} includes {found.group(1)} of a higher floor")
                if other in ("tests", "cli", "bench"):
                    bad.append(f"{path} includes {found.group(1)}")
        self.assertEqual(bad, [])

    def test_one_file_knows_each_library_of_the_transport(self):
        for header, owners in (("microhttpd.h", r"server/http(_\w+)?\.[ch]"), ("ini.h", r"config/ini\.c"),
                               ("curl/curl.h", r"cli/\w+\.[ch]")):
            users = [p for p in files(FLOORS + ["cli"], (".c", ".h")) if f"#include <{header}>" in read(p)]
            self.assertTrue(users, header)
            self.assertEqual([p for p in users if not re.fullmatch(owners, p)], [], header)

    def test_every_file_names_the_licence(self):
        bad = [p for p in list(files(ROOMS + ["examples"], SOURCES)) + ["quickstart", ".ci/run"]
               if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(read(p).splitlines()[:3])]
        self.assertEqual(bad, [])

    def test_descriptors_close_on_exec(self):
        bad = []
        for path in files(FLOORS + ["cli"], (".c", ".h")):
            text = code(path)
            for name, flag in OPENS.items():
                bad += [f"{path}:{line(text, at)} {name} without {flag}"
                        for at, arguments in calls(text, name) if not re.search(flag, arguments)]
            for name in NEVER:
                bad += [f"{path}:{line(text, at)} {name}" for at, _ in calls(text, name)]
        self.assertEqual(bad, [])

    def test_memory_comes_from_the_one_seam(self):
        bad = []
        for path in files(FLOORS, (".c", ".h")):
            if path == "base/memory.c":
                continue
            text = code(path)
            for name in ("malloc", "calloc", "realloc", "strdup", "strndup", "asprintf", "vasprintf", "alloca"):
                bad += [f"{path}:{line(text, at)} {name}" for at, _ in calls(text, name)]
        self.assertEqual(bad, [])

    def test_library_code_does_not_end_the_process(self):
        bad = []
        for path in files(["base", "config", "kernels", "engine", "batching"], (".c", ".h")):
            if path == "config/write_docs.c":
                continue  # a program of the build
            text = code(path)
            for name in ("exit", "_exit", "abort", "quick_exit"):
                bad += [f"{path}:{line(text, at)} {name}" for at, _ in calls(text, name)]
        self.assertEqual(bad, [])

    def test_every_script_is_python(self):
        """Those that need packages do not run here, but they can be read."""
        for path in files(ROOMS + ["examples"], (".py",)):
            compile(read(path), path, "exec")

    def test_every_room_has_a_readme(self):
        self.assertEqual([r for r in ROOMS + ["systemd", "web", "examples"] if not os.path.exists(os.path.join(TOP, r, "README.md"))], [])


if __name__ == "__main__":
    result = unittest.TextTestRunner(verbosity=2).run(
        unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
    bad = len(result.failures)
    errors = len(result.errors)
    percent = 100 * (result.testsRun - bad - errors) // max(result.testsRun, 1)
    print(f"{percent}%: Checks: {result.testsRun}, Failures: {bad}, Errors: {errors}")
    sys.exit(0 if bad + errors == 0 else 1)
