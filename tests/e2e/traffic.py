"""The load of the stories: every way in which a release can lose a request, at a modest rate."""

from __future__ import annotations

from demo.load import Profile, Traffic

GET = "/api/ontologies"
POST = "/api/ontologies/go/verify"
COLOR = "X-Ondeploy-Color"

MIXED = Profile(
    (
        Traffic("get", GET, connections=8, rate=50),
        Traffic("post", POST, "POST", connections=8, rate=25, body=512),
        Traffic("fresh", GET, connections=4, rate=15, keepalive=False),
        Traffic("slow", "/api/slow?seconds=0.7", connections=2, timeout=20),
        Traffic("upload", POST, "POST", connections=2, body=2048, trickle=0.7, timeout=20),
    ),
    seconds=600,
    version_header=COLOR,
)

ECHOED = Profile(
    (
        Traffic("get", "/", connections=8, rate=80),
        Traffic("post", "/", "POST", connections=8, rate=40, body=512),
        Traffic("fresh", "/", connections=4, rate=20, keepalive=False),
    ),
    version_header=COLOR,
)
"""For the small stack, whose app answers every path."""

PROOF = Profile(
    (
        Traffic("keepalive-get", GET, connections=16, rate=420),
        Traffic("keepalive-post", POST, "POST", connections=16, rate=200, body=512),
        Traffic("fresh-get", GET, connections=8, rate=80, keepalive=False),
        Traffic("long", "/api/slow?seconds=6", connections=3, timeout=20),
        Traffic("upload", POST, "POST", connections=3, body=4096, trickle=6, timeout=20),
    ),
    seconds=900,
    version_header=COLOR,
)

__all__ = ["COLOR", "ECHOED", "GET", "MIXED", "POST", "PROOF", "Profile", "Traffic"]
