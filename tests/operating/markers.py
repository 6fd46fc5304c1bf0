"""Texts that must be nowhere but where they belong: in the row, in a mail, in a configuration."""

from __future__ import annotations

KEY = "MARKEDsigningKEY0000"
BROKER = "MARKEDbrokerPASSWORD"
DATABASE = "MARKEDdatabasePASSWORD"
SMTP = "MARKEDmailPASSWORD"
STORE = "MARKEDstorePASSWORD"
CRITERION = "MARKEDcriterion"
REQUESTER = "marked.requester@example.com"
ADDRESS = "marked.address@example.com"
OFFICE = "marked.office@example.com"

ALL = (KEY, BROKER, DATABASE, SMTP, STORE, CRITERION, REQUESTER, ADDRESS, OFFICE)
