"""What internal jobs refuse, and the tree of it.

JobsError
├── Invalid              something that cannot be kept; says where and why
│   ├── InvalidJob           a job request
│   ├── InvalidLimit         a limit
│   ├── InvalidSchedule      a schedule
│   ├── InvalidEndpoint      a webhook endpoint
│   └── InvalidEvent         an event
├── JobNotFound          no such job of this tenant
├── ReplayNotFound       no such replay of dead letters of this tenant
├── ScheduleNotFound     no such schedule of this tenant
├── EndpointNotFound     no such webhook endpoint of this tenant
├── DeliveryNotFound     no such delivery of this tenant
├── DeliveryConflict     the delivery's status does not allow it
├── UnsafeRedis          a worker will not start on a Redis that drops messages
└── JobConflict          the job's status does not allow it
"""


class JobsError(Exception):
    """A request about a job was refused."""


class Invalid(JobsError):
    """What was given cannot be kept; `pointer` (RFC 6901) says where it is wrong, `detail` why and how to mend it."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class InvalidJob(Invalid):
    """A job request is wrong."""


class InvalidLimit(Invalid):
    """A limit is wrong."""


class InvalidSchedule(Invalid):
    """A schedule is wrong."""


class InvalidEndpoint(Invalid):
    """An endpoint is wrong."""


class InvalidEvent(Invalid):
    """An event is wrong."""


class JobNotFound(JobsError):
    """No such job."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job {job_id} does not exist")
        self.job_id = job_id


class ReplayNotFound(JobsError):
    """No such replay of dead letters."""

    def __init__(self, replay_id: str) -> None:
        super().__init__(f"replay {replay_id} does not exist")
        self.replay_id = replay_id


class ScheduleNotFound(JobsError):
    """No such schedule."""

    def __init__(self, schedule_id: str) -> None:
        super().__init__(f"schedule {schedule_id} does not exist")
        self.schedule_id = schedule_id


class JobConflict(JobsError):
    """The job's status does not allow what was asked."""


class EndpointNotFound(JobsError):
    """No such endpoint."""

    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"endpoint {endpoint_id} does not exist")
        self.endpoint_id = endpoint_id


class DeliveryNotFound(JobsError):
    """No such delivery."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"delivery {delivery_id} does not exist")
        self.delivery_id = delivery_id


class DeliveryConflict(JobsError):
    """The delivery's status, or its endpoint's, does not allow what was asked."""


class UnsafeRedis(JobsError):
    """Redis drops messages when its memory is full."""

    def __init__(self, policy: str) -> None:
        super().__init__(
            f"the maxmemory-policy of Redis is {policy}: messages vanish when memory runs out. Set it to noeviction; "
            "where that cannot be, GATEWAY_REDIS_MAY_EVICT=true accepts that jobs then start seconds later"
        )
        self.policy = policy
