# SPDX-License-Identifier: Apache-2.0
"""Adds up the TAP results of several build folders; the last line is the count of all tests."""
import json
import os
import sys
import xml.etree.ElementTree as ET

passed, failed, skipped = 0, int(sys.argv[1]), 0
for folder in sys.argv[2:]:
    failed_before = failed
    path = os.path.join(folder, "meson-logs", "testlog.junit.xml")
    if not os.path.exists(path):
        failed += 1
        print(f"{folder}: no test ran")
        continue
    for case in ET.parse(path).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        if "failure" in kinds or "error" in kinds:
            failed += 1
            print(f"FAILED {folder}: {case.get('classname')} {case.get('name')}")
        elif "skipped" in kinds:
            skipped += 1
            print(f"skipped {folder}: {case.get('classname')} {case.get('name')}")
        else:
            passed += 1
    # A program that hung or crashed has no case that says so.
    with open(os.path.join(folder, "meson-logs", "testlog.json"), encoding="utf-8") as log:
        for line in log:
            result = json.loads(line)
            if result["result"] not in ("OK", "SKIP", "EXPECTEDFAIL"):
                print(f"---- {folder}: {result['name']} ended with:")
                print("\n".join(result.get("stdout", "").splitlines()[-60:]))
            said = result["result"] == "ERROR" and failed > failed_before
            if result["result"] in ("TIMEOUT", "INTERRUPT", "ERROR") and not said:
                failed += 1
                print(f"FAILED {folder}: {result['name']}: {result['result']}")
if not passed:
    failed += 1
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(failed > 0)
