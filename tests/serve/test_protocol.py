"""What a slow or endless request can hold."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import SimpleNamespace

import pytest

from fasttext_app.serve.protocol import MAX_HEAD_BYTES, PATIENCE, LimitedProtocol, drop_stalled
from fasttext_app.serve.server import ConnectionServer
from tests.serve.conftest import make_service

HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 17\r\n\r\n"
BODY = b'{"text": "goals"}'


@pytest.fixture
def talk(tiny_model_dir):
    """A function that runs a conversation with a service in this process."""

    def run(conversation):
        async def main():
            listener = socket.create_server(("127.0.0.1", 0))
            server = ConnectionServer(make_service(tiny_model_dir))
            serving = asyncio.create_task(server.serve([listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            try:
                return await conversation(server, reader, writer)
            finally:
                writer.close()
                server.should_exit = True
                await serving

        return asyncio.run(main())

    return run


async def wait_a_while(server, seconds):
    """Let time pass for the connections."""
    await asyncio.sleep(0.1)
    drop_stalled(server.server_state, asyncio.get_running_loop().time() + seconds)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", b"POST /pre", HEAD, HEAD + BODY[:-1]])
def test_a_request_that_does_not_end_is_dropped_in_time(talk, sent):
    async def conversation(server, reader, writer):
        writer.write(sent)
        await wait_a_while(server, PATIENCE - 5)
        writer.write((HEAD + BODY)[len(sent) :])
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"}")
        await wait_a_while(server, PATIENCE + 5)  # it is not waiting for a request
        writer.write(HEAD)
        await wait_a_while(server, PATIENCE + 5)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)

    talk(conversation)


@pytest.mark.slow
def test_headers_without_end_are_refused(talk):
    async def conversation(server, reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        with suppress(ConnectionError):  # it is closed while more is sent
            for _ in range(10 * MAX_HEAD_BYTES // 1024):
                writer.write(b"y" * 1024)
                await writer.drain()
            answer = await reader.readuntil(b"\r\n")
            assert answer.startswith(b"HTTP/1.1 400")
        await asyncio.sleep(0.1)
        assert not server.server_state.connections

    talk(conversation)


def test_a_client_that_takes_no_answer_is_dropped_in_time():
    transport = SimpleNamespace(unsent=9, is_gone=False)
    transport.get_write_buffer_size = lambda: transport.unsent
    transport.abort = lambda: setattr(transport, "is_gone", True)
    connection = LimitedProtocol.__new__(LimitedProtocol)
    connection.transport = transport
    for seconds, unsent in [(0, 9), (20, 8), (40, 8), (49, 8)]:
        transport.unsent = unsent
        connection.drop_if_stalled(seconds)
        assert not transport.is_gone
    connection.drop_if_stalled(51)
    assert transport.is_gone
