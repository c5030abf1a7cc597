"""The HTTP application."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request
from litestar.di import Provide
from litestar.routes import HTTPRoute

from gateway.audit.middleware import Audited
from gateway.auth.authentication import Authentication, Authenticator
from gateway.auth.principal import Principal
from gateway.body import MAX_BODY, JsonBody
from gateway.compose import Platform, open_platform
from gateway.errors import UndeclaredPermission
from gateway.idempotency.middleware import Idempotency
from gateway.identifiers import WellFormedPath
from gateway.openapi import describe_routes, openapi_config
from gateway.problems import answer
from gateway.routes import ROUTES
from gateway.settings import Settings
from gateway.telemetry.access import Observed
from gateway.unread import Unread

#: parts of the platform that handlers may ask for by these names
_PARTS = (
    "settings",
    "database",
    "probes",
    "pepper",
    "credentials",
    "lender",
    "authorizations",
    "registry",
    "jobs",
    "timelines",
    "promotions",
    "job_limits",
    "tenant_caps",
    "live_caps",
    "dead_letters",
    "job_schedules",
    "webhooks",
    "workflows",
    "executions",
    "inbox",
    "explainer",
    "responses",
    "approvals",
    "watch",
    "payloads",
    "events",
    "tickets",
    "tiers",
    "senders",
    "templates",
    "trail",
    "controls",
    "rehearsals",
)


def create_app(source: Settings | Platform, *, routes: list[Any] | None = None) -> Litestar:
    """Make the application.

    Args:
        source: settings, from which a platform is opened for as long as the application runs, or a platform that
            its owner keeps open.
        routes: instead of all of ours; for tests.

    Raises:
        UndeclaredPermission: a route does not say who may call it.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        if isinstance(source, Platform):
            install(app, source)
            yield
        else:
            async with open_platform(source) as platform:
                install(app, platform)
                yield

    def part(name: str) -> Callable[[], Any]:
        return lambda: getattr(app.state.platform, name)

    app = Litestar(
        ROUTES if routes is None else routes,
        lifespan=[lifespan],
        # Who is calling comes first: identifiers and idempotency keys mean something only to a tenant.
        middleware=[Authentication(), WellFormedPath(), Idempotency(), Audited()],
        dependencies={
            "principal": Provide(_principal, sync_to_thread=False),
            "authenticator": Provide(lambda: app.state.authenticator, sync_to_thread=False),
            **{name: Provide(part(name), sync_to_thread=False) for name in _PARTS},
        },
        dto=JsonBody,
        return_dto=None,
        exception_handlers={Exception: answer},
        request_max_body_size=MAX_BODY,
        openapi_config=openapi_config(),
        # `Observed` writes the one line of each request, `problems.answer` what nobody foresaw.
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
    check_permissions(app)
    describe_routes(app)
    _provide_in_turn(app)
    app.asgi_handler = Observed(Unread(app.asgi_handler))
    return app


def check_permissions(app: Litestar) -> None:
    """Refuse an application with a route that does not declare its permission.

    Raises:
        UndeclaredPermission: naming every such route.
    """
    silent = [
        f"{' '.join(sorted(handler.http_methods))} {route.path}"
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        # The framework answers OPTIONS by itself; without a permission it is open to nobody.
        if handler.http_methods != {"OPTIONS"} and "permission" not in handler.opt
    ]
    if silent:
        raise UndeclaredPermission(f"these routes do not declare their permission: {'; '.join(silent)}")


def install(app: Litestar, platform: Platform) -> None:
    """Have an application answer from a platform; what it keeps of its own comes from there."""
    app.state.platform = platform
    app.state.authenticator = Authenticator(
        platform.database,
        platform.tokens,
        platform.service_tokens,
        admin_key=platform.settings.admin_key,
        pepper=platform.pepper,
        last_used=platform.keys_used,
    )


def _principal(request: Request[Any, Principal, Any]) -> Principal:
    return request.auth


def _provide_in_turn(app: Litestar) -> None:
    """Have dependencies provided one after another.

    The framework starts a task for each, so that those which wait do so together; ours are there already, and the tasks
    would cost more than most handlers.
    """
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for _, parameters in route.route_handler_map.values():
                parameters.dependency_batches = [{each} for batch in parameters.dependency_batches for each in batch]
