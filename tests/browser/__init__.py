import pytest

# What a person's browser shows is part of what a failure has to tell.
pytest.register_assert_rewrite("tests.browser.people")
