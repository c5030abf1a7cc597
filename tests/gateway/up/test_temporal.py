from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client


async def test_the_server_serves_the_default_namespace_on_loopback(temporal_address: str) -> None:
    client = await Client.connect(temporal_address)
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    assert temporal_address.startswith("127.0.0.1:")
    assert answer.namespace_info.name == "default"
