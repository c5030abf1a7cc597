"""What goes wrong with what tenants settle about their mails.

MailError
├── TemplateNotFound     the tenant has no such template
└── InvalidMailSetting   something about mails cannot be stored; carries every fault
"""

from plugins.sdk.conform import Flaw


class MailError(Exception):
    """Something about mails cannot be done."""


class TemplateNotFound(MailError):
    """The tenant has no template of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"template {name} does not exist")
        self.name = name


class InvalidMailSetting(MailError):
    """It cannot be stored as described."""

    def __init__(self, faults: tuple[Flaw, ...]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = faults
