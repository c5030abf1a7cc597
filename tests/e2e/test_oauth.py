"""One expired credential, a hundred steps and jobs on both engines, in processes of their own: one refresh (T25)."""

from tests.e2e.installation import Installation
from tests.figures import Figures
from tests.oauth_provider import OAuthProvider


def test_a_storm_on_both_engines_is_one_refresh(
    installation: Installation, provider: OAuthProvider, figures: Figures
) -> None:
    body = {"type": "oauth2", "name": "Mail", "data": provider.expired()}
    auth = {"auth": installation.call("POST", "/v1/credentials", body)["id"]}
    request = {"url": f"{provider.url}/api"}
    step = {"id": "get", "pluginId": "http.request", "config": request, "credentials": auth, "isolate": True}
    loop = {"items": list(range(50)), "concurrency": 50, "nodes": [step], "edges": []}
    workflow = installation.publish({"nodes": [{"id": "each", "pluginId": "foreach", "config": loop}]})
    execution = installation.start(workflow)
    job = {"type": "http.request", "payload": request, "credentials": auth, "maxAttempts": 1}
    jobs = installation.call("POST", "/v1/jobs/batch", {"items": [job] * 50})["items"]
    settled = [installation.settle(made["id"])["status"] for made in jobs]
    finished = installation.finish(execution)["status"]
    figures("T25", uses=len(provider.served), refreshes=len(provider.refreshes), storms=1)
    assert (finished, set(settled)) == ("completed", {"completed"})
    assert provider.refreshes == ["granted"]
    assert provider.served == [200] * 100
