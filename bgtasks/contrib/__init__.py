"""bgtasks inside other frameworks: ``django`` and ``asgi``. Flask needs none: its requests are Werkzeug's."""
