"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine's other work than about the code: `make bench` measures speed.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")
