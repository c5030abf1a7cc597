import copy
import io
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import rich.pretty
import structlog

from plugins import BasicCredential, BearerCredential, Secret
from plugins.sdk.credential import decode_secret

SECRET = Secret("canary")


def test_a_secret_is_read_only_by_revealing_it() -> None:
    assert SECRET.reveal() == "canary"


def test_equal_secrets_are_equal_and_no_secret_equals_its_text() -> None:
    assert Secret("canary") == SECRET
    assert hash(SECRET) == hash(Secret("canary"))
    assert Secret("other") != SECRET
    assert SECRET != "canary"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        "{}".format,
        "{!r:>30}".format,
        lambda secret: f"{secret}",
        lambda secret: repr(BearerCredential(token=secret)),
        lambda secret: repr({"nested": [BasicCredential(username="ada", password=secret)]}),
        lambda secret: "".join(traceback.format_exception(ValueError(secret))),
        lambda secret: json.dumps({"secret": secret}, default=str),
        lambda secret: pprint.pformat([secret]),
        lambda secret: rich.pretty.pretty_repr({"secret": secret}),
        lambda secret: f"{secret=}",
        "%s".__mod__,
    ],
)
def test_no_way_of_showing_a_secret_shows_it(show: Callable[[Secret], str]) -> None:
    assert "canary" not in show(SECRET)


@pytest.mark.parametrize(
    "write",
    [
        json.dumps,
        msgspec.json.encode,
        msgspec.to_builtins,
        msgspec.msgpack.encode,
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda secret: msgspec.json.encode(BearerCredential(token=secret)),
        lambda secret: pickle.dumps(BearerCredential(token=secret)),
        lambda secret: pickle.dumps({"nested": [secret]}, protocol=0),
        lambda secret: copy.deepcopy(BearerCredential(token=secret)),
        lambda secret: secret.__getstate__(),
        lambda secret: "".join([secret]),
        lambda secret: "prefix " + secret,
        bytes,
        list,
        len,
    ],
)
def test_no_encoder_takes_a_secret(write: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as caught:
        write(SECRET)
    assert "canary" not in str(caught.value)


def test_a_secret_has_no_dictionary_to_look_into() -> None:
    assert not hasattr(SECRET, "__dict__")


def test_logs_hold_no_secret() -> None:
    stream = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(stream))
    logger.error("%s %r", SECRET, BearerCredential(token=SECRET))
    for renderer in (structlog.processors.JSONRenderer(), structlog.dev.ConsoleRenderer()):
        log = structlog.wrap_logger(structlog.PrintLogger(stream), processors=[renderer])
        log.error("failed", secret=SECRET, credential=BearerCredential(token=SECRET))
    assert stream.getvalue().count("***") >= 4
    assert "canary" not in stream.getvalue()


def test_json_strings_become_secrets_where_a_type_asks_for_one() -> None:
    credential = msgspec.json.decode(b'{"token": "canary"}', type=BearerCredential, dec_hook=decode_secret)
    assert credential.token == SECRET
    with pytest.raises(msgspec.ValidationError, match="token"):
        msgspec.json.decode(b'{"token": 5}', type=BearerCredential, dec_hook=decode_secret)
