"""Builds of the user-workflows worker, as Temporal's Worker Versioning knows them.

An execution is pinned to the build that began it. It changes builds when it goes on in a further run, while it is
parked, and when no worker of its build is left: then it is moved, and its history is replayed by the build it moves to.
"""

import asyncio
import time
from datetime import UTC, timedelta

import structlog
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentInfo
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as DeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, VersioningBehavior
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions, WorkflowExecutionVersioningInfo
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.common import VersioningBehavior as Behavior
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import WorkerDeploymentConfig

from plugins.storage.database import now
from user_workflows.client import RPC_TIMEOUT, is_not_found
from user_workflows.interpreter.queues import EXECUTION_QUEUE

#: a worker that has not asked for work for so long is gone: it asks at least once a minute
GONE_AFTER = timedelta(seconds=90)

#: seconds for which what Temporal says of builds is taken to hold
_HOLDS = 5.0

#: seconds between two looks while Temporal does not know this build yet; it refuses to be asked much more often
_INTERVAL = 0.3

_log = structlog.get_logger(__name__)


class Builds:
    """What one worker knows of its own build and of the others.

    Args:
        temporal: knows them all.
        build: of this worker.
        queue: that it serves. The workers of each are a deployment of their own, so that none waits for another's
            rollout.
        is_alone: no worker of another build runs, as where everything is on one machine.
        gone_after: how long after it last asked for work a worker is gone.
    """

    def __init__(
        self,
        temporal: Client,
        build: str,
        *,
        queue: str = EXECUTION_QUEUE,
        is_alone: bool = False,
        gone_after: timedelta = GONE_AFTER,
    ) -> None:
        self.queue = queue
        # A deployment's name may hold no dot.
        self._name = queue.replace(".", "-")
        self._gone_after = gone_after
        self._temporal = temporal
        self._version = WorkerDeploymentVersion(self._name, build)
        self._is_alone = is_alone
        #: when it was asked, and what was said
        self._known_current: tuple[float, str | None] = (-_HOLDS - 1, None)
        self._alive: tuple[float, frozenset[str]] = (-_HOLDS - 1, frozenset())

    @property
    def build(self) -> str:
        return self._version.build_id

    @property
    def config(self) -> WorkerDeploymentConfig:
        """What a worker of this build says of itself."""
        return WorkerDeploymentConfig(
            version=self._version, use_worker_versioning=True, default_versioning_behavior=Behavior.PINNED
        )

    async def become_current(self) -> bool:
        """Make this build the current one as soon as Temporal has seen its worker; return whether it is.

        New executions, and those that go on in a further run, are the current build's. A build that was current
        before, and was followed by one whose workers run, stays behind: its worker was only started again.
        """
        while True:
            try:
                deployment = await self._deployment()
                if deployment is not None and (known := self._is_known(deployment)):
                    if await self._is_behind(deployment):
                        _log.info("build.behind", build=self.build, current=_current(deployment))
                        return False
                    if _current(deployment) != self.build:
                        await self._make_current()
                        _log.info("build.current", build=self.build)
                    return known
            except RPCError as error:
                _log.warning("build.notCurrent", build=self.build, error=error.message)
                await asyncio.sleep(1)
            await asyncio.sleep(_INTERVAL)

    async def move(self, description: WorkflowExecutionDescription) -> bool:
        """Move an open execution whose build has no worker any more to the current build; return whether it was."""
        if description.task_queue != self.queue:
            return False
        info = description.raw_description.workflow_execution_info.versioning_info
        held_by = _held_by(info)
        if held_by in (None, self.build) or held_by in await self._running():
            return False
        current = await self._current()
        if current in (None, held_by):
            return False
        await self._temporal.workflow_service.update_workflow_execution_options(
            UpdateWorkflowExecutionOptionsRequest(
                namespace=self._temporal.namespace,
                workflow_execution=WorkflowExecution(workflow_id=description.id),
                workflow_execution_options=WorkflowExecutionOptions(
                    # Until it has gone on there; then it is pinned to that build.
                    versioning_override=VersioningOverride(
                        one_time=VersioningOverride.OneTimeOverride(
                            target_deployment_version=DeploymentVersion(deployment_name=self._name, build_id=current)
                        )
                    )
                ),
                update_mask=FieldMask(paths=["versioning_override"]),
            ),
            timeout=RPC_TIMEOUT,
        )
        _log.info("execution.moved", workflow_id=description.id, build=current, instead_of=held_by)
        return True

    async def _current(self) -> str | None:
        at, current = self._known_current
        if time.monotonic() - at > _HOLDS:
            deployment = await self._deployment()
            current = None if deployment is None else _current(deployment)
            self._known_current = (time.monotonic(), current)
        return current

    async def _deployment(self) -> WorkerDeploymentInfo | None:
        request = DescribeWorkerDeploymentRequest(namespace=self._temporal.namespace, deployment_name=self._name)
        try:
            answer = await self._temporal.workflow_service.describe_worker_deployment(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if not is_not_found(error):
                raise
            return None
        return answer.worker_deployment_info

    def _is_known(self, deployment: WorkerDeploymentInfo) -> bool:
        return any(version.deployment_version.build_id == self.build for version in deployment.version_summaries)

    async def _is_behind(self, deployment: WorkerDeploymentInfo) -> bool:
        if self._is_alone or _current(deployment) in (None, self.build):
            return False
        mine = (each for each in deployment.version_summaries if each.deployment_version.build_id == self.build)
        was_current = any(each.HasField("first_activation_time") for each in mine)
        return was_current and _current(deployment) in await self._running()

    async def _make_current(self) -> None:
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=self._temporal.namespace, deployment_name=self._name, build_id=self.build
        )
        await self._temporal.workflow_service.set_worker_deployment_current_version(request, timeout=RPC_TIMEOUT)

    async def _running(self) -> frozenset[str]:
        """Return the builds whose workers ask for work."""
        if self._is_alone:
            return frozenset((self.build,))
        at, alive = self._alive
        if time.monotonic() - at > _HOLDS:
            answer = await self._temporal.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=self._temporal.namespace,
                    task_queue=TaskQueue(name=self.queue),
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                ),
                timeout=RPC_TIMEOUT,
            )
            since = now() - self._gone_after
            alive = frozenset(
                poller.deployment_options.build_id
                for poller in answer.pollers
                if poller.last_access_time.ToDatetime(UTC) > since
            )
            self._alive = (time.monotonic(), alive)
        return alive


def _current(deployment: WorkerDeploymentInfo) -> str | None:
    return deployment.routing_config.current_deployment_version.build_id or None


def _held_by(info: WorkflowExecutionVersioningInfo) -> str | None:
    """Return the build that alone may go on with an execution; ``None``: whichever is current may."""
    if info.versioning_override.HasField("one_time"):
        return info.versioning_override.one_time.target_deployment_version.build_id
    if info.behavior != VersioningBehavior.VERSIONING_BEHAVIOR_PINNED:
        return None
    return info.deployment_version.build_id or None
