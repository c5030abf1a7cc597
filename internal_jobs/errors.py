"""What internal jobs refuse, and the tree of it.

JobsError
├── JobNotFound   no such job of this tenant
├── ReplayNotFound  no such replay of dead letters of this tenant
├── InvalidJob    a request that cannot be kept; says where and why
├── InvalidLimit  a limit that cannot be set; says where and why
├── ScheduleNotFound  no such schedule of this tenant
├── InvalidSchedule   a schedule that cannot be kept; says where and why
├── EndpointNotFound  no such webhook endpoint of this tenant
├── InvalidEndpoint   an endpoint that cannot be so; says where and why
├── InvalidEvent      an event that cannot be sent; says where and why
├── DeliveryNotFound  no such delivery of this tenant
├── DeliveryConflict  the delivery's status does not allow it
├── UnsafeRedis   a worker will not start on a Redis that drops messages
└── JobConflict   the job's status does not allow it
"""


class JobsError(Exception):
    """A request about a job was refused."""


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


class InvalidJob(JobsError):
    """A job request is wrong; `pointer` (RFC 6901) says where, `detail` why and how to mend it."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class InvalidLimit(JobsError):
    """A limit is wrong; `pointer` (RFC 6901) says where, `detail` why and how to mend it."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class ScheduleNotFound(JobsError):
    """No such schedule."""

    def __init__(self, schedule_id: str) -> None:
        super().__init__(f"schedule {schedule_id} does not exist")
        self.schedule_id = schedule_id


class InvalidSchedule(JobsError):
    """A schedule is wrong; `pointer` (RFC 6901) says where, `detail` why and how to mend it."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class JobConflict(JobsError):
    """The job's status does not allow what was asked."""


class EndpointNotFound(JobsError):
    """No such endpoint."""

    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"endpoint {endpoint_id} does not exist")
        self.endpoint_id = endpoint_id


class InvalidEndpoint(JobsError):
    """An endpoint is wrong; `pointer` (RFC 6901) says where, `detail` why and how to mend it."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class InvalidEvent(JobsError):
    """An event is wrong; `pointer` (RFC 6901) says where, `detail` why and how to mend it."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


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
