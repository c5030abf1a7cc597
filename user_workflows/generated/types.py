"""What a version is called on Temporal whose executions run on generated code."""


def generated_type(workflow_id: str, version: int) -> str:
    """Return the workflow type, which is also the name of its task queue."""
    return f"{workflow_id}.v{version}"
