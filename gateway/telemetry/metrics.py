"""What the API counts."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("gateway_http_requests_total", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "gateway_http_request_seconds",
    "Seconds from the request to the last byte of its answer.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
IN_PROGRESS = Gauge("gateway_http_requests_in_progress", "Requests being answered.")
