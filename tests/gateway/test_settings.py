"""Settings: read once, refused all at once, and never shown."""

from pathlib import Path

import pytest

from gateway.errors import SettingsError
from gateway.settings import Retention, load

NEEDED = {
    "GATEWAY_DATABASE_URL": "postgresql://gateway:hunter2@db/gateway",
    "GATEWAY_REDIS_URL": "redis://:hunter2@redis:6379",
    "GATEWAY_MASTER_KEY_FILE": "/run/secrets/master.key",
}


def test_what_is_not_set_keeps_its_default() -> None:
    settings = load(NEEDED | {"GATEWAY_SMTP_URL": ""})
    assert settings.master_key_file == Path("/run/secrets/master.key")
    assert (settings.host, settings.port, settings.public_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert settings.smtp_url is None
    assert settings.retention == Retention()


def test_every_variable_is_read() -> None:
    settings = load(
        NEEDED
        | {
            "GATEWAY_EGRESS_ALLOW": "10.0.0.0/8, quotes.internal:8080",
            "GATEWAY_EGRESS_DENY": "169.254.0.0/16, .corp.example, mail.example.com:25",
            "GATEWAY_SMTP_URL": "smtps://user:secret@mail.example.com",
            "GATEWAY_QUOTES_URL": "http://quotes.internal:8080/",
            "GATEWAY_ADMIN_KEY": "x" * 32,
            "GATEWAY_HOST": "0.0.0.0",
            "GATEWAY_PORT": "9000",
            "GATEWAY_LOG_FORMAT": "console",
            "GATEWAY_LOG_LEVEL": "debug",
            "GATEWAY_METRICS_PORT": "9001",
            "GATEWAY_RETENTION_JOBS": "12h",
            "TEMPORAL_ADDRESS": "temporal:7233",
            "TEMPORAL_NAMESPACE": "gateway",
        }
    )
    assert settings.egress_allow == ("10.0.0.0/8", "quotes.internal:8080")
    assert settings.egress_deny == ("169.254.0.0/16", ".corp.example", "mail.example.com:25")
    assert settings.quotes_url == "http://quotes.internal:8080"
    assert (settings.port, settings.metrics_port) == (9000, 9001)
    assert settings.retention == Retention(jobs=12 * 3600.0)
    assert settings.temporal == {"TEMPORAL_ADDRESS": "temporal:7233", "TEMPORAL_NAMESPACE": "gateway"}


def test_everything_that_is_wrong_is_named_at_once_without_its_secrets() -> None:
    with pytest.raises(SettingsError) as refused:
        load(
            {
                "GATEWAY_DATABASE_URL": "mysql://root:hunter2@db",
                "GATEWAY_REDIS_URL": "http://:hunter2@redis",
                "GATEWAY_PORT": "99999",
                "GATEWAY_LOG_LEVEL": "loud",
                "GATEWAY_ADMIN_KEY": "hunter2",
                "GATEWAY_EGRESS_ALLOW": "10.0.0.0/99",
                "GATEWAY_EGRESS_DENY": "*.corp",
                "GATEWAY_SMTP_URL": "imap://user:hunter2@mail",
                "GATEWAY_RETENTION_EXECUTIONS": "for ever",
                "GATEWAY_GENERATED": "wf_01ABC.v3, Double",
            }
        )
    message = str(refused.value)
    for name in (
        "DATABASE_URL",
        "REDIS_URL",
        "MASTER_KEY_FILE",
        "PORT",
        "LOG_LEVEL",
        "ADMIN_KEY",
        "EGRESS_ALLOW",
        "EGRESS_DENY",
    ):
        assert f"GATEWAY_{name}" in message
    assert "GATEWAY_SMTP_URL" in message
    assert "GATEWAY_GENERATED: 'Double' is not" in message
    assert "GATEWAY_RETENTION_EXECUTIONS" in message
    assert "hunter2" not in message


def test_types_of_jobs_have_engines_and_may_be_promoted() -> None:
    named = {"GATEWAY_JOB_LANES": "data.sync=temporal, email.send=dramatiq", "GATEWAY_PROMOTED_JOBS": "http.request,"}
    settings = load(NEEDED | named)
    assert settings.job_lanes == {"data.sync": "temporal", "email.send": "dramatiq"}
    assert settings.promoted_jobs == {"http.request"}
    assert settings.api_url == "http://127.0.0.1:8000"
    assert load(NEEDED | {"GATEWAY_HOST": "0.0.0.0"}).api_url == "http://127.0.0.1:8000"
    with pytest.raises(SettingsError, match=r"data\.sync=celery"):
        load(NEEDED | {"GATEWAY_JOB_LANES": "data.sync=celery"})


def test_settings_do_not_show_themselves() -> None:
    assert "hunter2" not in f"{load(NEEDED)!r} {load(NEEDED)}"
