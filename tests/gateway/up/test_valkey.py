from pathlib import Path

from redis.asyncio import Redis

from tests.servers import running, start, valkey_server


async def test_the_server_never_evicts_and_keeps_an_append_only_file(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url, decode_responses=True) as client:
        assert await client.config_get("maxmemory-policy", "appendonly", "appendfsync", "bind") == {
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "bind": "127.0.0.1",
        }


async def test_writes_outlive_a_kill_of_the_server(tmp_path: Path) -> None:
    server = valkey_server(tmp_path / 'with space and "quote"')
    process = start(server)
    async with Redis.from_url(server.url) as client:
        await client.set("kept", "yes")
    process.kill()
    process.wait()
    assert not await server.answers()
    with running(server):
        async with Redis.from_url(server.url) as client:
            assert await client.get("kept") == b"yes"


def test_the_password_is_not_on_the_command_line_and_its_file_is_private(tmp_path: Path) -> None:
    server = valkey_server(tmp_path)
    server.prepare()
    assert not any(server.password in part for part in server.command)
    assert (tmp_path / "valkey.conf").stat().st_mode & 0o777 == 0o600
