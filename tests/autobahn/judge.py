"""Judges a report of Autobahn|Testsuite: judge.py index.json number-of-cases

Prints every case that is not simply OK, then how many there are of each kind. Ends with
status 0 if none has failed and none is missing.
"""

from __future__ import print_function

import json
import sys

KINDS = {"OK": "ok", "INFORMATIONAL": "informational", "NON-STRICT": "non-strict"}
ORDER = ["ok", "informational", "non-strict", "failed"]


def kind(case):
    """The worse of what was said and how it was closed. Whatever has no kind of its
    own, as UNIMPLEMENTED, WRONG CODE and UNCLEAN, has failed."""
    return max(
        (KINDS.get(case[which], "failed") for which in ("behavior", "behaviorClose")),
        key=ORDER.index,
    )


def main(path, expected):
    with open(path) as report:
        (cases,) = json.load(report).values()
    counts = dict.fromkeys(ORDER, 0)
    for name in sorted(cases, key=lambda name: [int(part) for part in name.split(".")]):
        case = cases[name]
        counts[kind(case)] += 1
        if kind(case) != "ok":
            print(
                "%s: %s, close: %s %s"
                % (name, case["behavior"], case["behaviorClose"], case["remoteCloseCode"])
            )
    if len(cases) != expected:
        print("expected %d cases" % expected)
    told = ", ".join("%d %s" % (counts[kind], kind) for kind in ORDER)
    print("%d cases: %s" % (len(cases), told))
    return 1 if counts["failed"] or len(cases) != expected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
