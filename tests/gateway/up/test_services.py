from pathlib import Path

from gateway.local_url import local_url
from gateway.settings import load
from gateway.up.folder import DataFolder
from gateway.up.ports import Ports
from gateway.up.processes import plan_processes
from gateway.up.services import plan_services


async def test_with_an_empty_environment_everything_is_embedded(tmp_path: Path) -> None:
    services = await plan_services(DataFolder(tmp_path), Ports(tmp_path / "ports.json"), {})
    assert [child.name for child in services.servers] == ["sandbox", "valkey", "temporal"]
    settings = load(services.environment)
    assert settings.database_url == f"sqlite:///{tmp_path}/gateway.db"
    assert settings.redis_url.startswith("redis://:")
    assert settings.master_key_file == tmp_path / "master.key"
    assert settings.smtp_url is not None
    assert settings.quotes_url is not None
    assert settings.temporal["TEMPORAL_ADDRESS"] == services.temporal_address
    own = {
        settings.smtp_url.removeprefix("smtp://").removesuffix("?senders=any"),
        settings.quotes_url.removeprefix("http://"),
    }
    assert set(settings.egress_allow) == own


async def test_what_the_environment_names_is_used_and_not_started(tmp_path: Path) -> None:
    environ = {
        "GATEWAY_DATABASE_URL": "postgresql://somewhere/gateway",
        "GATEWAY_REDIS_URL": "redis://elsewhere:6379/3",
        "GATEWAY_SMTP_URL": "smtp://mail.example.com:25",
        "GATEWAY_EGRESS_ALLOW": "10.0.0.0/8, 192.168.1.7:80",
        "GATEWAY_ADMIN_KEY": "k" * 40,
        "TEMPORAL_ADDRESS": "temporal.example.com:7233",
        "HOME": "/nonexistent",
    }
    services = await plan_services(DataFolder(tmp_path), Ports(tmp_path / "ports.json"), environ)
    assert [child.name for child in services.servers] == ["sandbox"]
    assert services.temporal_address == "temporal.example.com:7233"
    assert "TEMPORAL_ADDRESS" not in services.environment
    settings = load(environ | services.environment)
    assert settings.database_url == "postgresql://somewhere/gateway"
    assert settings.redis_url == "redis://elsewhere:6379/3"
    assert settings.smtp_url == "smtp://mail.example.com:25"
    assert settings.admin_key == "k" * 40
    assert settings.egress_allow[:2] == ("10.0.0.0/8", "192.168.1.7:80")


async def test_a_second_plan_finds_the_same_password_and_ports(tmp_path: Path) -> None:
    first = await plan_services(DataFolder(tmp_path), Ports(tmp_path / "ports.json"), {})
    second = await plan_services(DataFolder(tmp_path), Ports(tmp_path / "ports.json"), {})
    assert second.environment == first.environment


async def test_each_process_says_on_its_command_line_what_it_is(tmp_path: Path) -> None:
    processes = await plan_processes({}, Ports(tmp_path / "ports.json"), host="0.0.0.0", port=8000)
    assert [child.command[-1] for child in processes] == ["serve", "user-workflows", "internal-jobs"]
    assert processes[0].environment["GATEWAY_HOST"] == "0.0.0.0"
    assert processes[0].environment["GATEWAY_PUBLIC_URL"] == "http://127.0.0.1:8000"


def test_a_wildcard_host_is_reached_over_loopback() -> None:
    assert local_url("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert local_url("::", 80) == "http://[::1]:80"
    assert local_url("::1", 80) == "http://[::1]:80"
    assert local_url("gateway.local", 80) == "http://gateway.local:80"
