"""Join a call with pymediasoup: send a tone and a picture, receive all other participants."""

import argparse
import asyncio

import aiohttp
import aioice.ice
import socketio
from aiortc import AudioStreamTrack, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from pymediasoup import AiortcHandler, Device
from pymediasoup.rtp_parameters import RtpCapabilities

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("url")
options.add_argument("call")
options.add_argument("participant")
options.add_argument("token")
options.add_argument("--seconds", type=float, default=15)
given = options.parse_args()

if "127.0.0.1" in given.url:
    # ICE as aiortc has it leaves out the loopback interface, where a server in development mode listens.
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

decoded: dict[str, int] = {}


async def play(track, name: str) -> None:
    """Decode what arrives on a track, and count."""
    try:
        while True:
            await track.recv()
            decoded[name] = decoded.get(name, 0) + 1
    except MediaStreamError:
        return


def transport(api, make, described: dict):
    """Make our side of a transport the server described."""
    names = ("id", "iceParameters", "iceCandidates", "dtlsParameters", "sctpParameters")
    made = make(**{name: described[name] for name in names})

    @made.on("connect")
    async def connect(dtls_parameters) -> None:
        dtls = {"dtlsParameters": dtls_parameters.model_dump(exclude_none=True)}
        await api("POST", f"/transports/{made.id}/connect", dtls)

    return made


async def main() -> None:
    headers = {"Authorization": f"Bearer {given.token}"}
    async with aiohttp.ClientSession(given.url, headers=headers) as http:

        async def api(method: str, path: str, body: dict | None = None) -> dict:
            """Send one request and open its envelope."""
            async with http.request(method, f"/api/rooms/{given.call}{path}", json=body) as response:
                answer = await response.json()
            if not answer["success"]:
                raise SystemExit(f"{path}: {answer['error']['message']}")
            return answer.get("data") or {}

        # One request enters the call and tells what is there; {"create": true} makes the call if need be.
        room = await api("POST", "/join", {"participantId": given.participant, "create": True})
        device = Device(AiortcHandler.createFactory(tracks=[]))
        await device.load(RtpCapabilities(**room["rtpCapabilities"]))

        sending = transport(api, device.createSendTransport, room["sendTransport"])
        receiving = transport(api, device.createRecvTransport, room["recvTransport"])

        @sending.on("produce")
        async def produce(kind: str, rtpParameters, appData: dict) -> str:
            request = {
                "participantId": given.participant,
                "kind": kind,
                "rtpParameters": rtpParameters.model_dump(exclude_none=True),
            }
            return (await api("POST", f"/transports/{sending.id}/produce", request))["producerId"]

        for track in (AudioStreamTrack(), VideoStreamTrack()):
            await sending.produce(track=track, stopTracks=False, appData={})

        capabilities = device.rtpCapabilities.model_dump(exclude_none=True)
        known: set[str] = set()
        playing: list[asyncio.Task] = []

        async def consume(producer: dict) -> None:
            """Receive one producer; born paused, so that nothing is lost before we are ready."""
            request = {
                "participantId": given.participant,
                "producerId": producer["producerId"],
                "rtpCapabilities": capabilities,
            }
            answer = await api("POST", "/consume", request)
            consumer = await receiving.consume(
                id=answer["consumerId"],
                producerId=answer["producerId"],
                kind=answer["kind"],
                rtpParameters=answer["rtpParameters"],
            )
            name = f"{answer['kind']} of {producer['participantId']}"
            playing.append(asyncio.create_task(play(consumer.track, name)))
            await api("POST", f"/consumers/{consumer.id}/resume")

        # The socket tells of every producer there is and of every new one.
        announced: asyncio.Queue[dict] = asyncio.Queue()
        socket = socketio.AsyncClient()
        socket.on("new-producer", announced.put_nowait)

        async def speak() -> None:
            """Speak for the participant: with what /join has made, and after a break with what there was."""
            await socket.emit(
                "join-room", {"callId": given.call, "participantId": given.participant, "resume": True}
            )

        socket.on("connect", speak)
        await socket.connect(given.url, auth={"token": given.token}, transports=["websocket"])
        try:
            async with asyncio.timeout(given.seconds):
                while True:
                    producer = await announced.get()
                    if producer["producerId"] not in known:
                        known.add(producer["producerId"])
                        await consume(producer)
        except TimeoutError:
            pass  # the time is over

        for name, frames in sorted(decoded.items()):
            print(f"decoded {frames} frames of {name}", flush=True)
        await api("POST", f"/participants/{given.participant}/leave")
        for task in playing:
            task.cancel()
        await sending.close()
        await receiving.close()
        await socket.disconnect()


asyncio.run(main())
