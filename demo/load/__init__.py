"""A strict HTTP load generator for this machine: every request sent is accounted for.

profile = steady(seconds=120, version_header="X-Ondeploy-Version")
with Load(profile, "http://127.0.0.1:8080") as load:
    load.mark("switch")
    print(load.snapshot().rps)
    report = load.stop()
assert report.failed == 0, report.failures
"""

from demo.load.process import Load
from demo.load.profile import Profile, Traffic, steady
from demo.load.records import Failure, Record
from demo.load.report import Bucket, FailureSample, Latency, Report, Seen, Snapshot, Totals

__all__ = [
    "Bucket",
    "Failure",
    "FailureSample",
    "Latency",
    "Load",
    "Profile",
    "Record",
    "Report",
    "Seen",
    "Snapshot",
    "Totals",
    "Traffic",
    "steady",
]
