"""For all tests: a slow machine fails none of them."""

from hypothesis import settings

settings.register_profile("anypod", deadline=None)
settings.load_profile("anypod")
