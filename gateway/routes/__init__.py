"""Every route of the API, a module per noun."""

from gateway.routes import api_keys, credentials, definitions, health, jobs, me, plugins, tenants

ROUTES = [
    *health.ROUTES,
    *me.ROUTES,
    *tenants.ROUTES,
    *api_keys.ROUTES,
    *definitions.ROUTES,
    *plugins.ROUTES,
    *credentials.ROUTES,
    *jobs.ROUTES,
]
