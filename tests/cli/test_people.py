"""What an operator sees of one request, and does with it."""

from __future__ import annotations

import io
from datetime import datetime

import pytest

from bgtasks import registry, toolbox
from bgtasks.claims import PartClaim
from bgtasks.cli import bgtasks
from bgtasks.cli.requests_shown import BRIEF, HIDDEN, SHOWN
from bgtasks.deployment import Deployment
from bgtasks.models import COLUMNS
from bgtasks.states import State
from tests.clean.scenes import failed
from tests.cli.conftest import Run
from tests.record.moves import advanced, ask, now, set_row, told
from tests.support.divided import alter_part, begin, fan_out, finish, halfway
from tests.support.handmade import finished, in_seconds

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ADA = "ada@example.com"


def test_every_column_is_shown_or_kept_secret() -> None:
    """Whoever adds one says which."""
    assert {*SHOWN, *HIDDEN} == {*COLUMNS}
    assert {*BRIEF} < {*SHOWN}


def test_show_tells_who_asked_who_was_told_and_who_has_downloaded(parts: Deployment, run: Run) -> None:
    """When, in which steps and from where: for people and for programs."""
    row = advanced(parts, "notify")
    parts.ledger.close(parts.ledger.open(row.id, "ready", "email", ADA))
    parts.ledger.open(row.id, "ready", "webhook", "https://user:pass@hooks.example.com/services/T0KEN?x=y")
    parts.ledger.open(row.id, "ready", "apprise", "slack://T0KENA/T0KENB")
    parts.ledger.refuse(parts.ledger.open(row.id, "ready", "email", "bob@example.com"), "550")
    parts.requests.downloaded(row.id, ADA, "192.0.2.7")
    said = run("show", row.id[:8], "--json").json
    assert said["request"]["requester"] == ADA
    steps = [entry["step"] for entry in said["timeline"] if entry["kind"] == "step"]
    assert steps == ["fetch_criteria", "build_items", "write_bytes", "attach", "tokenize", "notify"]
    assert all(entry["seconds"] >= 0 for entry in said["timeline"] if entry["kind"] in ("step", "started"))
    (download,) = said["downloads"]
    assert (download["by"], download["address"]) == (ADA, "192.0.2.7")
    assert datetime.fromisoformat(download["at"]).tzinfo is not None
    recipients = [(line["channel"], line["recipient"], line["sent_at"] is None) for line in said["notifications"]]
    assert sorted(recipients) == [
        ("apprise", "slack://…", True),
        ("email", ADA, False),
        ("email", "bob@example.com", True),
        ("webhook", "https://hooks.example.com/…", True),
    ]
    (refused,) = (line for line in said["notifications"] if line["refused_at"] is not None)
    assert (refused["recipient"], refused["refusal"]) == ("bob@example.com", "550")
    plain = run("show", row.id[:8]).output
    at = datetime.fromisoformat(refused["refused_at"])
    assert f"refused\tready\temail\tbob@example.com\t550, {at:%Y-%m-%d %H:%M:%S}" in plain
    for part in (row.id, ADA, "192.0.2.7", "write_bytes", "Timeline", "Notifications", "Downloads"):
        assert part in plain


@sqlite_only
def test_show_has_no_secret(parts: Deployment, run: Run) -> None:
    """No token, key or password."""
    row = finished()
    token = toolbox.create_token(row)
    row = set_row(parts, row, store_url="s3://key:SECRET@bucket/prefix?secret=SECRET", coalesce_key="c0a1e5ce")
    for said in (run("show", row.id), run("show", row.id, "--json")):
        assert said.code == 0
        for secret in (token, str(row.token_id), "SECRET", "c0a1e5ce"):
            assert secret not in said.output
        assert "s3://bucket/…" in said.output


@sqlite_only
def test_the_time_of_a_step_does_not_count_what_came_between(parts: Deployment, run: Run) -> None:
    """A first step's time is counted from when it began, and a download ends none."""
    row = advanced(parts, "attach")
    parts.requests.downloaded(row.id, ADA, None)
    advanced(parts, "tokenize", row)
    entries = run("show", row.id, "--json").json["timeline"]
    by_step = {entry["step"]: entry for entry in entries if entry["kind"] == "step"}
    started = next(entry for entry in entries if entry["kind"] == "started")
    at = {name: datetime.fromisoformat(entry["at"]) for name, entry in {**by_step, "started": started}.items()}
    assert by_step["fetch_criteria"]["seconds"] == (at["fetch_criteria"] - at["started"]).total_seconds()
    assert by_step["tokenize"]["seconds"] == (at["tokenize"] - at["attach"]).total_seconds()


def test_the_parts_of_a_file_are_shown_while_they_are_out(parts: Deployment, run: Run) -> None:
    """Each with how far it is and who has it, for people and for programs; a lost one makes its step no younger."""
    row = halfway(parts)
    alter_part(parts, row, 1, leased_until=in_seconds(-1))
    [(seen, lapsed)] = parts.parting.lapsed(registry.names())
    parts.parting.recover(seen, lapsed)
    begin(parts, row, 1, 7, "worker@third 5e1f")
    said = run("show", row.id[:8], "--json").json
    assert [(part["number"], part["state"], part["rows"], part["attempts"]) for part in said["parts"]] == [
        (1, "done", 30, 0), (2, "writing", 7, 1), (3, "waiting", 0, 0),
    ]  # fmt: skip
    assert (said["request"]["rows_written"], said["parts"][1]["leased_by"]) == (37, "worker@third 5e1f")
    plain = run("show", row.id).output
    assert "1\tdone\t30\t1 B\t0\t\n2\twriting\t7\t\t1\tworker@third\n3\twaiting\t" in plain
    assert ("write_bytes 41% (1/3)" in plain, "part 2: worker@elsewhere" in plain) == (True, True)
    finish(parts, parts.parting.claim(PartClaim.of(row, parts.parting.of(row.id)[2]), "worker@host 3"))
    alter_part(parts, row, 1, leased_by=None, dispatch_at=in_seconds(60))
    made = finish(parts, begin(parts, row, 1, 30)).file_request
    entries = {entry["kind"]: entry for entry in run("show", made.id, "--json").json["timeline"]}
    planned = [entry for entry in run("show", made.id, "--json").json["timeline"] if entry["kind"] == "step"][1]
    since = datetime.fromisoformat(entries["step"]["at"]) - datetime.fromisoformat(planned["at"])
    assert (entries["step"]["step"], entries["step"]["seconds"]) == ("write_bytes", since.total_seconds())
    held_back = fan_out(parts, most=1)
    states = [part["state"] for part in run("show", held_back.id, "--json").json["parts"]]
    assert states == ["waiting", "kept_back", "kept_back"]
    assert "Parts" not in run("show", advanced(parts, "attach").id).output


def test_the_beginning_of_an_id_will_do(run: Run, parts: Deployment) -> None:
    """With or without dashes and capitals, where only one id begins like it."""
    ids = ["abcdef01-2345-4678-9abc-def012345678", "abceef01-2345-4678-9abc-def012345678"]
    for id in ids:
        ask(id=id)
    for beginning in ("abcdef01-2345", "ABCDEF01-23", "abcdef0123", "abcd"):
        assert run("show", beginning, "--json").json["request"]["id"] == ids[0]
    assert run("show", ids[1].replace("-", ""), "--json").json["request"]["id"] == ids[1]


WRONG = [
    ("ffff", 3, "There is no request ffff."),
    ("abc", 2, "4 or more letters"),
    ("not an id", 2, "'not an id'"),
    ("abcdef", 2, "More than one id begins with abcdef"),
]


@sqlite_only
def test_an_id_that_is_none_is_told(run: Run, parts: Deployment) -> None:
    """By its fault, for every command that takes one."""
    for last in "12":
        ask(id=f"abcdef01-2345-4678-9abc-def01234567{last}")
    for beginning, code, named in WRONG:
        for command in ("show", "token", "cancel", "retry", "revoke"):
            said = run(command, beginning)
            assert (said.code, named in said.errors) == (code, True), said


def test_each_id_gets_its_answer_and_the_history_says_who_did_it(parts: Deployment, run: Run) -> None:
    """The exit code is the highest of them; what could be done is done."""
    live, dead = ask(), failed(parts)
    said = run("cancel", live.id, dead.id[:13], "00000000")
    assert said.code == 4
    assert said.output == f"{live.id}: cancelled\n"
    assert f"{dead.id}: failed: only what has not ended can be cancelled\n" in said.errors
    assert "There is no request 00000000." in said.errors
    assert now(parts, live).state == State.CANCELLED
    actor = parts.requests.history(live.id)[-1].actor
    assert actor is not None
    assert actor.startswith("cli:")
    assert "@" in actor
    (again,) = run("retry", dead.id, "--json").json
    assert again == {"id": dead.id, "state": "pending", "exit_code": 0, "message": "started again"}
    assert run("retry", dead.id).code == 4
    assert run("cancel", dead.id, "00000000").code == 3
    assert run("cancel").code == 2


@sqlite_only
def test_a_withdrawn_link_is_dead_and_a_new_one_works(parts: Deployment, run: Run) -> None:
    """The link, or the bare token for whoever builds links; who made it is in the history, the link nowhere."""
    row = finished()
    before = toolbox.create_token(row)
    assert run("revoke", row.id).code == 0
    assert run("revoke", row.id).code == 4
    said = run("token", row.id)
    link, until = said.output.strip(), said.errors
    assert link.startswith("https://files.example.com/files/")
    assert "It works until 20" in until
    assert toolbox.decode(link.rpartition("/")[2])[0].id == row.id
    bare = run("token", row.id, "--token").output.strip()
    assert toolbox.decode(bare)[0].id == row.id
    assert told(parts, row)[-3:] == ["revoked", "linked", "linked"]
    with pytest.raises(Exception, match="withdrawn"):
        toolbox.decode(before)
    for event in parts.requests.history(row.id):
        assert bare not in str(vars(event))
        assert link not in str(vars(event))
    made = run("token", row.id, "--json").json
    assert (made["token"], made["id"]) == (None, row.id)
    expires_at = now(parts, row).expires_at
    assert expires_at is not None
    assert abs(datetime.fromisoformat(made["works_until"]) - expires_at).total_seconds() < 5


@sqlite_only
def test_there_is_no_link_to_what_is_not_there(parts: Deployment, run: Run) -> None:
    """Exit code 4: not ready yet, failed, expired, or of nobody."""
    nobodys = toolbox.attach_file(toolbox.add_request(file_type="numbers"), io.BytesIO(b"x"), "x.csv")
    for row in (ask(), failed(parts), set_row(parts, finished(), expires_at=in_seconds(-5)), nobodys):
        said = run("token", row.id)
        assert (said.code, said.output, row.id in said.errors) == (4, "", True)
        assert "linked" not in told(parts, row)


@sqlite_only
def test_upkeep_speaks_json_too(parts: Deployment, run: Run) -> None:
    """What cron's commands have done, for programs."""
    ask(requester="ada")  # who is told nowhere
    assert run("process", "--json").json["handled"] == 1
    set_row(parts, finished(), expires_at=in_seconds(-7200))
    cleaned = run("clean", "--json").json
    assert (cleaned["expired"], cleaned["away"], cleaned["is_whole"]) == (1, None, True)
    assert run("migrate", "--json").json["is_up_to_date"] is True


COMMANDS = (
    "request", "list", "show", "process", "clean", "cancel", "retry", "revoke", "token", "forget", "migrate", "check",
    "init",
)  # fmt: skip
#: Those that start processes, and go on until somebody stops them.
STACKS = ("demo", "dev")
#: It answers a person with what to do next.
WITHOUT_JSON = ("init",)


@sqlite_only
def test_each_help_has_an_example(run: Run) -> None:
    """And says that there is JSON; no command is left out."""
    assert {*COMMANDS, *STACKS} == bgtasks.commands.keys()
    for command in COMMANDS:
        said = run(command, "--help")
        assert said.code == 0
        assert f"celery bgtasks {command}" in said.output.partition("Example")[2]
        assert ("--json" in said.output) == (command not in WITHOUT_JSON)
