import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from falcon.base.process import start_ticks
from falcon.cli import app, doctor
from falcon.cli.calling import Running
from falcon.cli.doctor import FindingState
from falcon.http.server.tls import Certificate
from falcon.projections.skipping import ProjectionFailed
from falcon.run.bootstrap import embedded
from falcon.run.settings import Settings
from tests.support.certificates import Authority, needs_openssl

GONE = 2**22 + 1  # beyond the largest process id


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without problems, on free ports."""
    monkeypatch.setenv("FALCON_HTTP_PORT", "0")
    monkeypatch.setenv("FALCON_OPS_PORT", "0")
    monkeypatch.setattr(doctor, "open_files", lambda: doctor.Finding("Open files", FindingState.OK, "8,192"))
    monkeypatch.setattr(doctor, "free_disk", lambda _: doctor.Finding("Disk", FindingState.OK, "9.0 GiB free"))
    return monkeypatch


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with data."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "falcon.db").touch()
    return tmp_path / "data"


def test_a_rebuild_reports_what_it_did(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rebuild(settings: Settings, name: str, progress: Callable[[int, int], None]) -> int:
        assert (settings.data_dir, name) == (data, "timeline")
        for done in (0, 1000, 2000):
            progress(done, 2000)
        return 2000

    monkeypatch.setattr(embedded, "rebuild", rebuild)
    result = CliRunner().invoke(app, ["rebuild", "timeline", "--data-dir", str(data)])
    assert result.exit_code == 0
    assert result.stdout.startswith("Rebuilt timeline: 2,000 events in ")


def test_a_rebuild_that_cannot_go_on_is_one_line(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rebuild(*_: object) -> int:
        raise ProjectionFailed("projection timeline cannot apply partition 3, offset 17")

    monkeypatch.setattr(embedded, "rebuild", rebuild)
    result = CliRunner().invoke(app, ["rebuild", "timeline"])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "projection timeline cannot apply partition 3, offset 17; timeline is as it was before"
    )


def test_a_rebuild_without_data_makes_none() -> None:
    result = CliRunner().invoke(app, ["rebuild", "timeline", "--data-dir", "none"])
    assert (result.exit_code, result.stderr) == (1, "no data in none/: nothing to rebuild; see --data-dir\n")
    assert not Path("none").exists()


def test_a_rebuild_of_what_there_is_not_is_a_fault_of_usage() -> None:
    result = CliRunner().invoke(app, ["rebuild", "timelines"])
    assert result.exit_code == 2
    assert "timeline, rooms, memberships, accounts" in " ".join(result.stderr.replace("│", "").split())


def test_the_doctor_finds_a_healthy_machine_in_order(healthy: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.stdout
    assert "fail" not in result.stdout


def test_the_doctor_of_a_machine_of_a_cluster_sends_no_one_to_falcon_up(healthy: pytest.MonkeyPatch) -> None:
    healthy.setenv("FALCON_KAFKA", "kafka-1:9092")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "falcon smoke" in result.output and "falcon up" not in result.output


def test_the_doctor_fails_when_one_thing_fails_and_says_what_to_do(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(embedded, "sqlite_version", lambda: "3.51.2")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "pip install" in result.stdout


def test_the_doctor_names_a_setting_that_is_not_in_order(healthy: pytest.MonkeyPatch) -> None:
    healthy.setenv("FALCON_HTTP_PORT", "eighty")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "FALCON_HTTP_PORT=eighty" in result.stdout


def test_the_doctor_refuses_proxies_that_half_the_company_could_be(healthy: pytest.MonkeyPatch) -> None:
    healthy.setenv("FALCON_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.0/8")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "everyone in 10.0.0.0/8 can claim any address" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("network", "state"),
    [
        ("127.0.0.1", FindingState.OK),
        ("::1/128", FindingState.OK),
        ("10.244.0.0/16", FindingState.OK),
        ("fd00:10:244::/48", FindingState.OK),
        ("172.16.0.0/12", FindingState.FAIL),
        ("fc00::/7", FindingState.FAIL),
        ("0.0.0.0/0", FindingState.FAIL),
        ("192.0.2.0/24", FindingState.FAIL),
        ("2001:db8:1::/48", FindingState.FAIL),
    ],
)
def test_a_network_of_proxies_is_theirs_alone(network: str, state: FindingState) -> None:
    assert doctor.trusted_proxies([network]).state is state


def test_an_old_python_fails() -> None:
    assert doctor.python_version((3, 10, 9)).state is FindingState.FAIL
    assert doctor.python_version((3, 11, 0)).state is FindingState.OK


@pytest.mark.parametrize(
    ("version", "behind", "fault", "state"),
    [
        ("2.19.6", 12, "", FindingState.OK),
        ("2.19.6", 20_000, "", FindingState.WARN),
        ("2.19.6", None, "", FindingState.WARN),
        ("2.9.0", 0, "", FindingState.WARN),
        ("", None, "", FindingState.FAIL),
        ("", None, "it does not answer", FindingState.FAIL),
    ],
)
def test_the_doctor_asks_the_index_of_messages(
    version: str, behind: int | None, fault: str, state: FindingState
) -> None:
    assert doctor.opensearch(version, behind, fault).state is state


def test_the_doctor_says_how_python_was_built() -> None:
    assert doctor.how_built("'--enable-optimizations' '--with-lto'") == "built with --enable-optimizations"
    assert doctor.how_built(None) == "built without --enable-optimizations"
    assert doctor.how_built() in doctor.python_version().found


def test_versions_of_sqlite_are_compared_as_numbers() -> None:
    assert doctor.sqlite("3.9.9").state is FindingState.FAIL
    assert doctor.sqlite("3.51.2").state is FindingState.FAIL
    assert doctor.sqlite("3.51.3").state is FindingState.OK
    assert doctor.sqlite("3.100.0").state is FindingState.OK


def test_a_data_directory_that_can_be_made_is_in_order(tmp_path: Path) -> None:
    assert doctor.data_directory(tmp_path / "a" / "b").state is FindingState.OK
    assert doctor.data_directory(tmp_path).found == str(tmp_path)


def test_a_data_directory_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert doctor.data_directory(tmp_path / "data").state is FindingState.FAIL


def test_a_database_of_several_files_misses_none(tmp_path: Path) -> None:
    files = [tmp_path / "falcon.db", tmp_path / "falcon-1.db"]
    files[0].write_bytes(bytes(2 << 20))
    missing = doctor.database(files, 2)
    assert (missing.state, missing.found) == (FindingState.FAIL, "falcon-1.db of 2 files missing")
    files[1].write_bytes(bytes(1 << 20))
    assert doctor.database(files, 2) == doctor.Finding("Database", FindingState.OK, "2 files, 3 MiB")
    assert "FALCON_PROCESSES is 3" in doctor.database(files, 3).advice


def test_the_doctor_finds_a_file_that_does_not_fit_the_others(healthy: pytest.MonkeyPatch, tmp_path: Path) -> None:
    healthy.setenv("COLUMNS", "400")
    ours, another = tmp_path / "ours", tmp_path / "another"
    for folder in (ours, another):
        embedded.prepare(Settings(data_dir=folder, processes=2))
    assert CliRunner().invoke(app, ["doctor", "--data-dir", str(ours)]).exit_code == 0
    (another / "falcon-1.db").replace(ours / "falcon-1.db")
    result = CliRunner().invoke(app, ["doctor", "--data-dir", str(ours)])
    assert result.exit_code == 1
    assert "falcon-1.db does not fit falcon.db: it is of another data folder, or another copy" in result.stdout


def test_the_doctor_misses_the_database_of_a_folder_that_has_credentials(
    healthy: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    healthy.setenv("COLUMNS", "400")
    assert CliRunner().invoke(app, ["doctor", "--data-dir", str(tmp_path)]).exit_code == 0, "it is a new one"
    (tmp_path / "credentials.json").write_text("{}")
    result = CliRunner().invoke(app, ["doctor", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "falcon.db is missing, but credentials.json is there" in result.stdout


def test_the_doctor_finds_another_number_of_processes_only_if_it_is_set(
    healthy: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    embedded.prepare(Settings(data_dir=tmp_path))
    healthy.setattr("falcon.run.settings.cores", lambda: 8)
    healthy.setenv("COLUMNS", "200")
    for said in (None, "7"):
        if said is not None:
            healthy.setenv("FALCON_PROCESSES", said)
        result = CliRunner().invoke(app, ["doctor", "--data-dir", str(tmp_path)])
        assert result.exit_code == (0 if said is None else 1), result.stdout
        assert ("falcon copy --processes 7" in result.stdout) == (said is not None)


def test_little_disk_fails(tmp_path: Path) -> None:
    assert doctor.free_disk(tmp_path, lambda _: 2**30 - 1).state is FindingState.FAIL
    assert doctor.free_disk(tmp_path, lambda _: 2**30).state is FindingState.OK


def test_few_open_files_are_warned_of() -> None:
    assert doctor.open_files(1024).state is FindingState.WARN
    assert doctor.open_files(65_536).state is FindingState.OK


def test_a_clock_behind_the_data_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "falcon.db").touch()
    now = (tmp_path / "falcon.db").stat().st_mtime
    assert doctor.clock(tmp_path, now).state is FindingState.OK
    assert doctor.clock(tmp_path, now - 3600).state is FindingState.WARN
    assert doctor.clock(tmp_path, 0.0).state is FindingState.FAIL


@needs_openssl
def test_a_certificate_that_ends_soon_is_warned_of(healthy: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("chat", days=30)
    healthy.setenv("FALCON_TLS_CERT", str(pair.certificate))
    healthy.setenv("FALCON_TLS_KEY", str(pair.key))
    assert re.search("Certificate +ok +ends on", CliRunner().invoke(app, ["doctor"]).output)
    certificate = Certificate(pair.certificate, pair.key)
    assert doctor.certificate(certificate, time.time() + 20 * 86_400).state is FindingState.WARN
    assert doctor.certificate(certificate, time.time() + 30 * 86_400).state is FindingState.FAIL


@needs_openssl
def test_a_certificate_without_its_key_fails(healthy: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pair, other = (Authority(tmp_path).issue(name) for name in ("chat", "other"))
    healthy.setenv("FALCON_TLS_CERT", str(pair.certificate))
    healthy.setenv("FALCON_TLS_KEY", str(other.key))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1 and re.search("Certificate +fail", result.output)


def test_a_misspelt_setting_is_a_warning(healthy: pytest.MonkeyPatch) -> None:
    healthy.setenv("FALCON_LIMTS", "off")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert re.search(
        r"Variables +warn +FALCON_LIMTS is no setting of Falcon; do you mean\s+FALCON_LIMITS", result.output
    )


def test_a_port_is_free_or_this_falcons_or_somebody_elses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        mine = Running(f"http://127.0.0.1:{number}", "http://127.0.0.1:1", pid=1, start_ticks=start_ticks(1) or 0)
        ended = Running(f"http://127.0.0.1:{number}", "http://127.0.0.1:1", pid=GONE, start_ticks=1)
        found = [doctor.port("FALCON_HTTP_PORT", "127.0.0.1", number, running) for running in (mine, ended, None)]
    assert [finding.state for finding in found] == [FindingState.OK, FindingState.FAIL, FindingState.FAIL]
    assert "FALCON_HTTP_PORT" in found[2].advice
    assert doctor.port("FALCON_HTTP_PORT", "127.0.0.1", 0, None).state is FindingState.OK


def test_the_port_of_a_falcon_that_runs_is_the_one_that_is_named() -> None:
    mine = Running("http://127.0.0.1:8390", "http://127.0.0.1:8391", pid=1, start_ticks=start_ticks(1) or 0)
    found = [doctor.port(name, "127.0.0.1", 0, mine) for name in ("FALCON_HTTP_PORT", "FALCON_OPS_PORT")]
    assert [(finding.check, finding.found) for finding in found] == [
        ("Port 8390", "in use by this Falcon (process 1)"),
        ("Port 8391", "in use by this Falcon (process 1)"),
    ]


def test_a_host_that_this_machine_has_not_fails() -> None:
    assert doctor.port("FALCON_HTTP_PORT", "192.0.2.1", 0, None).state is FindingState.FAIL


def test_a_server_that_ended_without_saying_so_is_warned_of() -> None:
    gone = Running("http://127.0.0.1:1", "http://127.0.0.1:1", pid=GONE, start_ticks=1)
    assert doctor.server(gone).state is FindingState.WARN
    assert doctor.server(None).state is FindingState.OK


def test_a_server_that_does_not_answer_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        number = closed.getsockname()[1]
    running = Running("http://127.0.0.1:1", f"http://127.0.0.1:{number}", pid=1, start_ticks=start_ticks(1) or 0)
    assert doctor.server(running).state is FindingState.FAIL


@pytest.mark.parametrize(("value", "states"), [("0.0", []), ("1.0", [FindingState.FAIL])])
def test_a_proxy_that_no_setting_names_fails(
    monkeypatch: pytest.MonkeyPatch, value: str, states: list[FindingState]
) -> None:
    text = f"# HELP falcon_unnamed_proxies 1 once\nfalcon_unnamed_proxies {value}\n"
    monkeypatch.setattr("httpx.get", lambda *_, **__: httpx.Response(200, text=text))
    running = Running("http://127.0.0.1:1", "http://127.0.0.1:1", pid=1, start_ticks=start_ticks(1) or 0)
    assert [finding.state for finding in doctor.unnamed_proxies(running)] == states
    assert doctor.unnamed_proxies(None) == []
