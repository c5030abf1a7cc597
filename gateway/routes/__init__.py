"""Every route of the API, a module per noun."""

from gateway.routes import (
    api_keys,
    credentials,
    definitions,
    executions,
    health,
    hooks,
    jobs,
    limits,
    me,
    plugins,
    tenants,
    versions,
    workflows,
)

ROUTES = [
    *health.ROUTES,
    *me.ROUTES,
    *limits.ROUTES,
    *tenants.ROUTES,
    *api_keys.ROUTES,
    *definitions.ROUTES,
    *workflows.ROUTES,
    *versions.ROUTES,
    *executions.ROUTES,
    *hooks.ROUTES,
    *plugins.ROUTES,
    *credentials.ROUTES,
    *jobs.ROUTES,
]
