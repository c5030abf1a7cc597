"""Every route of the API, a module per noun."""

from gateway.routes import (
    api_keys,
    controls,
    credentials,
    definitions,
    executions,
    health,
    hooks,
    jobs,
    limits,
    me,
    plugins,
    steps,
    tenants,
    versions,
    why,
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
    *steps.ROUTES,
    *why.ROUTES,
    *controls.ROUTES,
    *hooks.ROUTES,
    *plugins.ROUTES,
    *credentials.ROUTES,
    *jobs.ROUTES,
]
