"""Records are copied page by page, each once, from wherever the last attempt came to."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from plugins import BearerCredential, DatabaseCredential, Permanent, Secret, Transient
from plugins.builtin.sync.database_url import parse_database_url
from plugins.builtin.sync.plugin import data_sync
from plugins.builtin.sync.progress import Progress
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.testing import run
from tests.plugins.builtin.conftest import Run
from tests.plugins.builtin.sync.catalogue import Catalogue, open_catalogue
from tests.plugins.builtin.sync.shop import Shop, open_shop
from tests.plugins.certificates import tls_contexts
from tests.plugins.target import Request, Target

COLUMNS = {"id": "/id", "name": "/name", "price": "/price"}
SQL = {"type": "sql", "table": "warehouse.Products", "columns": COLUMNS, "key": ["id"]}
TOKEN = {"type": "token", "param": "after", "next": "/next"}


@pytest.fixture
async def catalogue() -> AsyncIterator[Catalogue]:
    async with open_catalogue(45, size=10) as opened:
        yield opened


@pytest.fixture
async def shop(postgres_url: str) -> AsyncIterator[Shop]:
    async with open_shop(postgres_url) as opened:
        yield opened


def source(catalogue: Catalogue, path: str = "/token", **more: Any) -> dict[str, Any]:
    return {"type": "http", "url": catalogue.target.url + path, "items": "/data/items", "cursor": TOKEN} | more


def bound(shop: Shop) -> dict[str, DatabaseCredential]:
    return {"database": DatabaseCredential(url=Secret(shop.url))}


async def fail(config: Any, **options: Any) -> Any:
    with pytest.raises((Permanent, Transient)) as caught:
        await run(data_sync, config, **options)
    return caught.value


@pytest.mark.parametrize(
    ("path", "items", "cursor", "asked"),
    [
        ("/token", "/data/items", TOKEN, 5),
        ("/linked", "/items", {"type": "link", "next": "/links/next"}, 5),
        ("/header", "", {"type": "link"}, 5),
        ("/numbered", "", {"type": "page"}, 6),
        ("/counted", "", {"type": "offset"}, 6),
    ],
)
async def test_every_kind_of_page_brings_every_record_once(
    catalogue: Catalogue, shop: Shop, path: str, items: str, cursor: Any, asked: int
) -> None:
    config = {"source": source(catalogue, path, items=items, cursor=cursor), "sink": SQL}
    outcome = await run(data_sync, config, credentials=bound(shop))
    assert outcome.output == {"pages": asked, "records": 45, "complete": True, "cursor": None}
    assert await shop.rows() == catalogue.records
    assert len(catalogue.asked) == asked


async def test_rows_that_are_there_are_changed_or_stand(catalogue: Catalogue, shop: Shop) -> None:
    await run(data_sync, {"source": source(catalogue), "sink": SQL}, credentials=bound(shop))
    catalogue.records[3]["name"] = "renamed"
    await run(data_sync, {"source": source(catalogue), "sink": SQL | {"mode": "insert"}}, credentials=bound(shop))
    assert (await shop.rows())[3]["name"] == "Größe 3"
    await run(data_sync, {"source": source(catalogue), "sink": SQL}, credentials=bound(shop))
    assert await shop.rows() == catalogue.records


async def test_the_server_converts_values_to_the_types_of_its_columns(catalogue: Catalogue, shop: Shop) -> None:
    catalogue.records[:] = [
        {
            "id": 7,
            "name": {"de": "Tür"},
            "price": "12.5",
            "tags": ["a", {"b": None}],
            "at": "2026-01-02T03:04:05+01:00",
        },
        {"id": "8", "name": 'it\'s; DROP TABLE "x" --'},
    ]
    columns = COLUMNS | {"tags": "/tags", "seen_at": "/at"}
    await run(data_sync, {"source": source(catalogue), "sink": SQL | {"columns": columns}}, credentials=bound(shop))
    first, second = await shop.connection.fetch('SELECT * FROM warehouse."Products" ORDER BY id')
    assert (first["id"], json.loads(first["name"]), float(first["price"])) == ("7", {"de": "Tür"}, 12.5)
    assert (json.loads(first["tags"]), first["seen_at"].isoformat()) == (
        ["a", {"b": None}],
        "2026-01-02T02:04:05+00:00",
    )
    assert (second["name"], second["price"], second["tags"]) == ('it\'s; DROP TABLE "x" --', None, None)


async def test_of_two_records_with_one_key_in_a_page_the_last_counts(catalogue: Catalogue, shop: Shop) -> None:
    catalogue.records[:] = [{"id": "1", "name": "old"}, {"id": "1", "name": "new"}]
    await run(data_sync, {"source": source(catalogue), "sink": SQL}, credentials=bound(shop))
    assert await shop.connection.fetchval('SELECT name FROM warehouse."Products"') == "new"


async def test_a_sync_goes_on_where_it_was(catalogue: Catalogue, shop: Shop) -> None:
    saved: list[Any] = []
    config = {"source": source(catalogue), "sink": SQL}

    def remember(value: Any) -> None:
        saved.append(value)
        if len(saved) == 3:
            raise Transient("gone", type="test.gone")

    await fail(config, credentials=bound(shop), on_checkpoint=remember)
    outcome = await run(data_sync, config, credentials=bound(shop), checkpoint=saved[1], attempt=2)
    assert catalogue.asked == [0, 10, 20, 20, 30, 40], "only the page whose end was not kept is asked for again"
    assert (outcome.output["pages"], outcome.output["records"]) == (5, 45)
    assert await shop.rows() == catalogue.records


async def test_records_are_sent_to_another_api_in_batches_under_keys_of_their_own(
    catalogue: Catalogue, target: Target
) -> None:
    target.answer("/in", 503, b"", retry_after="0")
    target.answer("/in", 204)
    sink = {"type": "http", "url": target.url + "/in", "batch": 4, "wrap": "records", "headers": {"x-list": "a"}}
    credentials = {"auth": BearerCredential(token=Secret("read")), "sinkAuth": BearerCredential(token=Secret("write"))}
    config = {"source": source(catalogue, query={"limit": 10}), "sink": sink}
    for _ in range(2):
        await run(data_sync, config, credentials=credentials)
    refused, *sent = target.requests
    first, second = sent[:14], sent[14:]
    assert [record for request in first for record in request.json["records"]] == catalogue.records
    assert [request.headers["idempotency-key"] for request in first] == [
        request.headers["idempotency-key"] for request in second
    ], "a repeat tells the receiver that it is one"
    assert len({request.headers["idempotency-key"] for request in first}) == 14
    assert refused.headers["idempotency-key"] == first[0].headers["idempotency-key"]
    assert {request.headers["authorization"] for request in target.requests} == {"Bearer write"}
    assert {request.headers["authorization"] for request in catalogue.target.requests} == {"Bearer read"}
    assert {request.query["limit"][0] for request in catalogue.target.requests} == {"10"}


async def test_with_a_batch_of_one_each_record_is_sent_by_itself(catalogue: Catalogue, target: Target) -> None:
    target.answer("/in", 200)
    sink = {"type": "http", "url": target.url + "/in", "method": "PUT", "batch": 1}
    await run(data_sync, {"source": source(catalogue), "sink": sink})
    assert [request.json for request in target.requests] == catalogue.records


async def test_it_stops_at_its_most_pages_and_says_where(catalogue: Catalogue, shop: Shop) -> None:
    config = {"source": source(catalogue), "sink": SQL, "maxPages": 2}
    outcome = await run(data_sync, config, credentials=bound(shop))
    assert outcome.output == {"pages": 2, "records": 20, "complete": False, "cursor": 20}
    config = {"source": source(catalogue, cursor=TOKEN | {"start": "20"}), "sink": SQL}
    await run(data_sync, config, credentials=bound(shop))
    assert await shop.rows() == catalogue.records


async def test_it_tells_how_far_it_is_and_keeps_to_its_rate(catalogue: Catalogue, shop: Shop) -> None:
    told: list[Any] = []
    config = {"source": source(catalogue, total="/total"), "sink": SQL, "ratePerSecond": 20}
    started = asyncio.get_running_loop().time()
    await run(data_sync, config, credentials=bound(shop), heartbeat=told.append)
    assert asyncio.get_running_loop().time() - started >= 4 / 20
    assert told[1] == {"percent": 44.4, "message": "2 pages, 20 records"}


async def test_asked_to_stop_it_stops_between_two_pages(catalogue: Catalogue, shop: Shop) -> None:
    asked_to_stop = False

    def stop(value: Any) -> None:
        nonlocal asked_to_stop
        asked_to_stop = value["pages"] == 2

    config = {"source": source(catalogue), "sink": SQL}
    error = await fail(config, credentials=bound(shop), on_checkpoint=stop, is_cancelled=lambda: asked_to_stop)
    assert (error.type, catalogue.asked) == ("sync.stopped", [0, 10])
    assert await shop.rows() == catalogue.records[:20]


@pytest.mark.parametrize("length", [1, 2, 3, 7])
async def test_a_source_that_goes_in_circles_is_noticed(target: Target, shop: Shop, length: int) -> None:
    async def circle(request: Request, writer: asyncio.StreamWriter) -> None:
        at = int(request.query.get("after", ["0"])[0])
        content = json.dumps({"items": [{"id": str(at), "name": "x"}], "next": at % length + 1}).encode()
        writer.write(f"HTTP/1.1 200 X\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)

    target.script("/circle", circle)
    place = {"type": "http", "url": target.url + "/circle", "items": "/items", "cursor": TOKEN}
    error = await fail({"source": place, "sink": SQL}, credentials=bound(shop))
    assert error.type == "sync.stuck"
    assert len(target.requests) <= 4 * length + 2


async def test_a_source_that_ignores_the_number_of_the_page_is_noticed(target: Target, shop: Shop) -> None:
    target.answer("/same", 200, [{"id": "1", "name": "x"}])
    for cursor in ({"type": "page"}, {"type": "offset"}):
        place = {"type": "http", "url": target.url + "/same", "cursor": cursor}
        assert (await fail({"source": place, "sink": SQL}, credentials=bound(shop))).type == "sync.stuck"


def test_a_circle_of_any_length_is_found_and_a_line_never_is() -> None:
    progress = Progress()
    for number in range(5_000):
        progress = progress.after(records=1, next=number, trait=str(number))
    error: Permanent | None = None
    for number in range(20_000):
        try:
            progress = progress.after(records=1, next=number, trait=f"again {number % 3_000}")
        except Permanent as stuck:
            error = stuck
            break
    assert error is not None
    assert error.type == "sync.stuck"


async def test_a_link_that_leads_elsewhere_is_not_followed(target: Target, shop: Shop) -> None:
    for number, link in enumerate(("https://elsewhere.example.com/", "//127.0.0.1:1/x", 5, "http://[")):
        target.answer(f"/{number}", 200, {"items": [], "next": link})
        place = {"type": "http", "url": f"{target.url}/{number}", "items": "/items"}
        error = await fail(
            {"source": place | {"cursor": {"type": "link", "next": "/next"}}, "sink": SQL}, credentials=bound(shop)
        )
        assert (error.type, "another origin" in error.message) == ("sync.source", True)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((404, b"gone"), "http.404"),
        ((200, b"<html>"), "sync.source"),
        ((200, {"items": {"a": 1}}), "sync.source"),
        ((200, {"items": [], "next": {"a": 1}}), "sync.source"),
    ],
)
async def test_what_is_no_page_is_said(target: Target, shop: Shop, answer: tuple[int, Any], expected: str) -> None:
    target.answer("/x", *answer)
    place = {"type": "http", "url": target.url + "/x", "items": "/items", "cursor": TOKEN}
    assert (await fail({"source": place, "sink": SQL}, credentials=bound(shop))).type == expected


async def test_a_bad_moment_of_the_source_costs_no_attempt(target: Target, shop: Shop) -> None:
    target.answer("/x", 503, b"", retry_after="0")
    target.answer("/x", 429, b"", retry_after="0")
    target.answer("/x", 200, [{"id": "1", "name": "x"}])
    await run(data_sync, {"source": {"type": "http", "url": target.url + "/x"}, "sink": SQL}, credentials=bound(shop))
    target.answer("/y", 503, b"", retry_after="600")
    error = await fail({"source": {"type": "http", "url": target.url + "/y"}, "sink": SQL}, credentials=bound(shop))
    assert (error.type, error.retry_after) == ("http.503", 600)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"table": "warehouse.missing"}, "sync.table"),
        ({"columns": COLUMNS | {"colour": "/colour"}}, "sync.table"),
        ({"key": ["name"]}, "sync.table"),
        ({"columns": {"id": "/nothing", "name": "/name"}}, "sync.keyMissing"),
        ({"columns": {"id": "/id", "name": "/nothing"}}, "sync.rejected"),
        ({"columns": COLUMNS | {"seen_at": "/name"}}, "sync.rejected"),
        ({"key": ["sku"]}, "config.invalid"),
        ({"table": 'x"; DROP TABLE y; --'}, "config.invalid"),
        ({"columns": {'i"d': "/id"}}, "config.invalid"),
        ({"columns": {"id": "id"}}, "config.invalid"),
    ],
)
async def test_what_the_table_does_not_take_is_said_and_nothing_is_written(
    catalogue: Catalogue, shop: Shop, change: dict[str, Any], expected: str
) -> None:
    error = await fail({"source": source(catalogue), "sink": SQL | change}, credentials=bound(shop))
    assert (error.type, isinstance(error, Permanent)) == (expected, True)
    assert "s3cr3t" not in error.message
    assert await shop.rows() == []


async def test_a_database_that_goes_away_is_a_reason_to_come_back(catalogue: Catalogue, shop: Shop) -> None:
    def cut(value: Any) -> None:
        shop.lines[-1].transport.abort()

    error = await fail({"source": source(catalogue), "sink": SQL}, credentials=bound(shop), on_checkpoint=cut)
    assert (type(error), error.type) == (Transient, "database.unavailable")
    wrong = shop.url.replace("/shop_", "/no_shop_")
    credentials = {"database": DatabaseCredential(url=Secret(wrong))}
    assert (await fail({"source": source(catalogue), "sink": SQL}, credentials=credentials)).type == "database.unknown"
    assert (await fail({"source": source(catalogue), "sink": SQL})).type == "credential.missing"


async def test_a_database_is_guarded_like_any_other_host(
    run: Run, catalogue: Catalogue, shop: Shop, egress: EgressClient
) -> None:
    with pytest.raises(Permanent) as caught:
        await run(data_sync, {"source": source(catalogue), "sink": SQL}, http=egress, credentials=bound(shop))
    assert caught.value.type == "egress.forbidden"
    assert shop.lines == []


def _always(trusted: ssl.SSLContext) -> Callable[[], ssl.SSLContext]:
    return lambda: trusted


async def test_the_certificate_of_a_database_is_verified_unless_the_url_says_otherwise(
    run: Run, catalogue: Catalogue, postgres_url: str, authorities: ssl.SSLContext, tmp_path: Path
) -> None:
    server, trusting = tls_contexts(tmp_path)
    catalogue.records[:] = catalogue.records[:5]
    config = {"source": source(catalogue), "sink": SQL}
    async with open_shop(postgres_url, tls=server) as shop:
        for trusted, mode, expected in (
            (trusting, "verify-full", None),
            (authorities, "verify-full", "database.untrusted"),
            (authorities, "require", None),
        ):
            client = EgressClient(Guard(allow=["127.0.0.0/8"]), tls=_always(trusted))
            url = Secret(shop.url.replace("verify-full", mode))
            error: str | None = None
            try:
                await run(data_sync, config, http=client, credentials={"database": DatabaseCredential(url=url)})
            except Permanent as refused:
                error = refused.type
            assert (mode, error) == (mode, expected)
            await client.close()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////etc/passwd",
        "file:///etc/passwd",
        "mysql://u:p@db.example.com/x",
        "postgresql:///x?host=/var/run",
        "postgresql://u:p@/x",
        "postgresql://u:p@%2Fvar%2Frun/x",
        "postgresql://u:p@a.example.com,b.example.com/x",
        "postgresql://u:p@db.example.com/x?host=127.0.0.1",
        "postgresql://u:p@db.example.com/x?sslrootcert=/etc/passwd",
        "postgresql://u:p@db.example.com/x?passfile=/etc/passwd",
        "postgresql://u:p@db.example.com/x?sslmode=prefer",
        "postgresql://db.example.com/x",
        "postgresql://u:p@db.example.com/",
        "postgresql://u:p@db.example.com:99999/x",
    ],
)
def test_a_database_of_another_kind_or_on_this_machine_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="postgresql://user:password@host") as caught:
        parse_database_url(url)
    assert "passwd" not in str(caught.value)


def test_a_database_is_read_from_a_url() -> None:
    place = parse_database_url("postgresql://ann%40x:p%3A%2F@DB.example.com/my%20shop?sslmode=require")
    assert (place.host, place.port, place.user, place.password) == ("db.example.com", 5432, "ann@x", "p:/")
    assert (place.name, place.sslmode) == ("my shop", "require")
    assert parse_database_url("postgresql://u:p@h/x").sslmode == "verify-full"
