"""Every route of the API, a module per noun."""

from gateway.routes import api_keys, health, me, tenants

ROUTES = [
    *health.ROUTES,
    *me.ROUTES,
    *tenants.ROUTES,
    *api_keys.ROUTES,
]
