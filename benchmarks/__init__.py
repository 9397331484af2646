"""Measurements side by side; never run as tests."""
