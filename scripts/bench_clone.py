"""What a new user waits for: a clean clone, `make lab` until it answers, then `make test` with the network cut.

Run it in a repository with everything committed; needs git, make, the network to install, and `unshare` for the cut.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CAN_CUT = shutil.which("unshare") is not None
ADDRESS = re.compile(r"http://(?:localhost|127\.0\.0\.1):\d+/lab\S*")


def seconds_until_lab_answers(clone):
    """Start `make lab` without a browser, wait for its page, and stop it."""
    began = time.perf_counter()
    options = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    command = ["make", "lab", "ARGS=--no-browser --port-retries=50" + (" --allow-root" if os.geteuid() == 0 else "")]
    with subprocess.Popen(command, cwd=clone, **options) as lab:
        try:
            for line in lab.stdout:
                if found := ADDRESS.search(line):
                    wait_for(found.group().rstrip("\x1b[m"))
                    return time.perf_counter() - began
        finally:
            os.killpg(lab.pid, signal.SIGTERM)
    raise SystemExit("make lab ended before it answered; run it by hand to see why")


def wait_for(address, patience=60):
    """Ask for a page until it comes: the address is printed a moment before the server listens."""
    for _ in range(patience):
        try:
            with urllib.request.urlopen(address, timeout=patience):
                return
        except OSError:
            time.sleep(1)
    raise SystemExit(f"{address} did not answer within {patience} s")


def minutes_of_tests(clone):
    """Run `make test` in a network namespace that holds nothing but loopback, where the system has such."""
    cut = ["unshare", "--net", "--map-root-user", "sh", "-c", "ip link set lo up 2>/dev/null; exec make test"]
    began = time.perf_counter()
    subprocess.run(cut if CAN_CUT else ["make", "test"], cwd=clone, check=True)
    return (time.perf_counter() - began) / 60


def main():
    """Clone, time, print, and remove the clone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-test", action="store_true", help="only the time until `make lab` answers")
    args = parser.parse_args()
    clone = Path(tempfile.mkdtemp(prefix="clone-")) / "course"
    try:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        print(f"make lab, from clone to answer: {seconds_until_lab_answers(clone):.0f} s", flush=True)
        if not args.no_test:
            cut = "without a network" if CAN_CUT else "with the network, as there is no unshare to cut it"
            print(f"make test, {cut}: green in {minutes_of_tests(clone):.1f} minutes")
    finally:
        shutil.rmtree(clone.parent, ignore_errors=True)


if __name__ == "__main__":
    main()
