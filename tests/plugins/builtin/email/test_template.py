"""Templates are filled in, escaped where they must be, and can do no harm."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from plugins import Permanent
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.desk import Desk
from plugins.builtin.email.plugin import email_plugins
from plugins.builtin.email.template import Template, fill_in, template_faults
from plugins.testing import run
from tests.plugins.builtin.email.posting import server_at
from tests.plugins.mail import MailServer

WELCOME = Template(
    subject="Welcome, {{ name }}",
    text="Dear {{ name }},\n{% for line in lines %}- {{ line.sku }}: {{ line.count }}\n{% endfor %}",
    html="<p>{{ name }}</p>{% if paid %}<b>paid</b>{% endif %}",
)
DATA = {"name": "Ann & <Co>", "lines": [{"sku": "a", "count": 2}, {"sku": "b", "count": None}], "paid": True}


async def send(mails: MailServer, data: Any, name: str = "welcome", template: Template = WELCOME) -> None:
    async def find(tenant_id: str, name: str) -> Template | None:
        return template if (tenant_id, name) == ("ten_test", "welcome") else None

    _, plugin = email_plugins(server_at(mails.port), SmtpConnections(idle=0), Desk(template=find))
    await run(plugin, {"to": "ann@example.com", "template": name, "data": data})


async def test_a_mail_says_what_its_template_says(mails: MailServer) -> None:
    await send(mails, DATA)
    message = mails.mails[0].message
    assert message["Subject"] == "Welcome, Ann & <Co>"
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().replace("\r\n", "\n") == "Dear Ann & <Co>,\n- a: 2\n- b: \n"
    assert html.get_content().strip() == "<p>Ann &amp; &lt;Co&gt;</p><b>paid</b>"


async def test_what_is_missing_is_named_and_nothing_is_sent(mails: MailServer) -> None:
    with pytest.raises(Permanent) as caught:
        await send(mails, DATA, name="goodbye")
    assert (caught.value.type, "'goodbye'" in caught.value.message) == ("email.templateMissing", True)
    with pytest.raises(Permanent, match=r"/text cannot be filled in: line 2: `lines` is undefined") as caught:
        await send(mails, {"name": "Ann"})
    assert caught.value.type == "email.templateFailed"
    with pytest.raises(Permanent, match=r"/html .*`line\.x` is undefined"):
        fill_in(replace(WELCOME, html="{% for line in lines %}{{ line.x }}{% endfor %}"), DATA)
    assert mails.mails == []


async def test_data_cannot_break_out_of_a_header(mails: MailServer) -> None:
    with pytest.raises(Permanent) as caught:
        await send(mails, DATA | {"name": "Ann\r\nBcc: victim@example.com"})
    assert (caught.value.type, caught.value.message[:8]) == ("email.invalidHeader", "/subject")
    assert mails.mails == []


def test_names_of_data_clash_with_nothing() -> None:
    names = ("source", "name", "part", "context", "loop", "range")
    template = Template(subject=" ".join(f"{{{{ {name} }}}}" for name in names), text="")
    assert fill_in(template, dict.fromkeys((*names, "self"), "x")).subject == " ".join("x" for _ in names)


def test_what_is_wrong_with_a_template_shows_when_it_is_stored() -> None:
    assert list(template_faults(Template(subject="x"))) == [("/text", "or /html is needed")]
    wrong = Template(subject="{{ a", text="x\n{% for %}", html="{% if a %}")
    assert [pointer for pointer, _ in template_faults(wrong)] == ["/subject", "/text", "/html"]
    assert dict(template_faults(wrong))["/text"].startswith("line 2: ")
    assert list(template_faults(WELCOME)) == []


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
        "{% for i in range(90000) %}{{ big }}{% endfor %}",
        "{{ 'aaaaaaaaaa' * 1000000000 }}",
        "{{ range(100000) | join('x' * 100000) }}",
        "{{ big | replace('x', big) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% set n = namespace(x='aaaaaaaaaa') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{{ big.__class__ }}",
        "{{ big.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.join.__globals__ }}",
        "{{ debug() }}",
        "{{ self.__init__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends 'html' %}",
    ],
)
def test_a_hostile_template_fails_at_once(source: str) -> None:
    started = time.process_time()
    with pytest.raises(Permanent) as caught:
        fill_in(Template(subject="x", html=source), {"big": "x" * 10_000})
    assert caught.value.type == "email.templateFailed"
    assert time.process_time() - started < 1
    assert len(caught.value.message) < 500
