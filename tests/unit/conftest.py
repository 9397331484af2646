"""Property tests are quick and the same on every machine."""

from hypothesis import settings

settings.register_profile("unit", max_examples=40, deadline=None, derandomize=True, database=None)
settings.load_profile("unit")
