"""The command ``gateway``.

Exit codes: 0 done · 1 failed (also an execution or a job that was watched) · 2 the command line is wrong ·
3 no such thing · 4 refused or invalid · 5 the API cannot be reached or a part of it is down
"""

import click

from gateway.cli.commands import Commands

_EPILOG = (
    "The API commands talk to the `gateway up` whose data folder is found from here (--data-dir, GATEWAY_DATA_DIR, "
    "or .gateway in this folder or one above), or to GATEWAY_URL with GATEWAY_API_KEY. "
    "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 no such thing, 4 refused or invalid, 5 unreachable."
)


@click.group(
    cls=Commands,
    commands_at={
        "up": "gateway.cli.up:up",
        "status": "gateway.cli.running:status",
        "logs": "gateway.cli.running:logs",
        "down": "gateway.cli.running:down",
        "demo": "gateway.cli.demo:demo",
        "doctor": "gateway.cli.doctor:doctor",
        "workflow": "gateway.cli.workflow:workflow",
        "execution": "gateway.cli.execution:execution",
        "approvals": "gateway.cli.approvals:approvals",
        "job": "gateway.cli.job:job",
        "dead-letter": "gateway.cli.dead_letter:dead_letter",
        "job-limits": "gateway.cli.job_limits:job_limits",
        "schedule": "gateway.cli.schedule:schedule",
        "endpoint": "gateway.cli.endpoint:endpoint",
        "delivery": "gateway.cli.delivery:delivery",
        "inbound": "gateway.cli.inbound:inbound",
        "plugin": "gateway.cli.plugin:plugin",
        "credential": "gateway.cli.credential:credential",
        "email": "gateway.cli.email:email",
        "tenant": "gateway.cli.tenant:tenant",
        "key": "gateway.cli.key:key",
        "limits": "gateway.cli.limits:limits",
        "usage": "gateway.cli.usage:usage",
        "audit": "gateway.cli.audit:audit",
        "serve": "gateway.cli.process:serve",
        "worker": "gateway.cli.process:worker",
        "migrate": "gateway.cli.prepare:migrate",
        "master-key": "gateway.cli.prepare:master_key",
        "vault": "gateway.cli.vault:vault",
        "sandbox": "gateway.cli.sandbox:sandbox",
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(package_name="orchestration-gateway", prog_name="gateway")
def main() -> None:
    """Run user-drawn workflows on Temporal and internal jobs on Dramatiq."""
