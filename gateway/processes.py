"""The processes of an installation, each run until it is asked to stop: ``gateway serve``, ``gateway worker …``."""

import uvicorn

from gateway.app import create_app
from gateway.settings import Settings
from gateway.telemetry.logs import configure_logs

#: seconds that requests under way have to finish after SIGTERM
DRAIN = 8


async def serve(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT, then let the requests under way finish."""
    configure_logs(settings.log_format, settings.log_level, process="serve")
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        # Ours is in place already; `telemetry.access` writes the lines of requests.
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN,
        lifespan="on",
    )
    await uvicorn.Server(config).serve()
