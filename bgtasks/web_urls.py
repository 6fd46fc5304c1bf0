"""The URLs among the settings: what is wrong is said before any mail or page has them."""

from __future__ import annotations

from urllib.parse import urlsplit

#: What a setting's value must begin with.
BEGINNINGS = {
    "base_url": ("http://", "https://"),
    "login_url": ("http://", "https://", "/"),
    "smtp_url": ("smtp://", "smtps://"),
    "sendfile": ("/",),
}
#: Those that everybody is shown.
SHOWN = ("base_url", "login_url")


def checked(name: str, url: str) -> str:
    """The same. Raises: ValueError, which does not show it, since it may hold a password."""
    beginnings = BEGINNINGS[name]
    if not url.startswith(beginnings):
        raise ValueError(f"must begin with {' or '.join(beginnings)}")
    try:
        split = urlsplit(url)
        has_user = "@" in split.netloc
        split.port  # noqa: B018 - whoever shows it without its password asks for that
    except ValueError:
        raise ValueError("can't be read: its port is 0 to 65535, and in its password / ? # @ [ ] are quoted") from None
    if name in SHOWN and has_user:
        raise ValueError("takes no user and no password: whoever gets a link would be shown them")
    return url
