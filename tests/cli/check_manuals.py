#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every option that --help tells is in the manual page, and no other; pages are clean for groff; every
route and every metric is in its document."""

import os
import re
import shutil
import subprocess
import sys
import unittest

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
SOURCE = os.path.abspath(os.environ.get("top_srcdir", "."))


def help_of(*command):
    run = subprocess.run([os.path.join(BUILD, command[0]), *command[1:], "--help"],
                         capture_output=True, text=True, check=True)
    return run.stdout


def options_of_help(text):
    return set(re.findall(r"^  (--[a-z0-9-]+)", text, re.M))


def source(name):
    with open(os.path.join(SOURCE, name), encoding="utf-8") as f:
        return f.read()


def page(name):
    return source(os.path.join("docs", name))


def sections(text):
    parts = re.split(r"^\.SH (.*)\n", text, flags=re.M)
    return {name.strip('"'): body for name, body in zip(parts[1::2], parts[2::2])}


def options_of_page(text):
    """The tags of .TP entries."""
    tags = re.findall(r"^\.TP\n(.*)$", text, re.M)
    return {m.group(0) for tag in tags if (m := re.search(r"--[a-z0-9-]+", tag.replace("\\-", "-")))}


class Manuals(unittest.TestCase):
    def test_ensod(self):
        given = options_of_help(help_of("ensod"))
        self.assertIn("--listen", given)
        self.assertEqual(options_of_page(sections(page("ensod.8"))["OPTIONS"]), given)

    def test_enso(self):
        parts = sections(page("enso.1"))
        for command in re.findall(r"^  ([a-z]+)  ", help_of("enso"), re.M):
            given = options_of_help(help_of("enso", command)) - {"--help"}
            self.assertEqual(options_of_page(parts[command.upper()]), given, command)

    def test_configuration(self):
        keys = re.findall(r"^  \[(\w+)\] (\w+) +(\w+)", help_of("ensod"), re.M)
        self.assertGreater(len(keys), 20)
        parts = sections(page("ensod.conf.5"))
        for section, key, variable in keys:
            self.assertIn("\n.B %s\n" % key, parts["[%s]" % section])
            self.assertIn("Environment: %s\n" % variable, parts["[%s]" % section])

    def test_routes(self):
        patterns = set(re.findall(r'\{ENSO_(?:GET|POST), "(/[^"]*)"', source("server/routes.c")))
        self.assertGreater(len(patterns), 15)
        text = page("api.md")
        for pattern in patterns:
            if "/versions/{version}" not in pattern:  # told in words
                self.assertIn("%s`" % pattern, text)

    def test_metrics(self):
        sources = "".join(source("server/%s.c" % name) for name in ("meters", "device_meters", "daemon"))
        names = set(re.findall(r'"(ensod_[a-z_]+)"', sources))
        self.assertGreater(len(names), 20)
        text = page("metrics.md")
        for name in names:
            self.assertRegex(text, "`%s[`{]" % name)
        for name in re.findall(r"`(ensod_[a-z_]+)[`{]", text):
            self.assertIn(name, names)

    def test_groff_has_nothing_to_say(self):
        if shutil.which("groff") is None:
            self.skipTest("groff is not installed")
        for name in ("enso.1", "ensod.8", "ensod.conf.5"):
            run = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", os.path.join(SOURCE, "docs", name)],
                                 capture_output=True, text=True)
            self.assertEqual((run.returncode, run.stderr), (0, ""), name)


if __name__ == "__main__":
    for program in ("enso", "ensod"):
        if not os.path.exists(os.path.join(BUILD, program)):
            print("skipped: %s is not built" % program)
            sys.exit(77)
    unittest.main(verbosity=1)
