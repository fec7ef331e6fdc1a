"""A participant in a call of the gateway: peer to peer while there are two, through the media server from three on."""

import argparse
import asyncio
import contextlib

import aiohttp
import aioice.ice
import jwt
import socketio
from paths import Media, PeerPath, RefusedError, ServerPath

OVER = {"call:ended": "the call is over", "call:error": "this place was taken by another socket"}


class Client:
    """One participant in one call. The gateway decides which path media takes; this builds it and says when it flows."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self.media = Media(self.first_frame)
        self.direct: PeerPath | None = None
        self.server: ServerPath | None = None
        self.waiting: asyncio.Task | None = None  # until media flows by the new path
        self.names: dict[str, str] = {}  # participantId → name
        self.call = self.me = self.mode = ""
        self.epoch = -1
        self.events: asyncio.Queue[tuple[str, dict]] = asyncio.Queue()
        self.socket = socketio.AsyncClient(handle_sigint=False)
        self.socket.on("*", lambda event, payload: self.events.put_nowait((event, payload)))
        self.socket.on("connect", self.come_back)

    async def run(self, conversation: str) -> str:
        """Join the conversation's call, or begin one, and act on what the gateway says; return why it ended."""
        await self.socket.connect(
            self.url, auth={"token": self.token}, transports=["websocket"], wait_timeout=15
        )
        call = await self.active_call(conversation)
        if call is None:
            joined = await self.ask("call:initiate", {"conversationId": conversation, "type": "video"})
        else:
            joined = await self.ask("call:join", {"callId": call["callId"]})
        self.call, self.me, self.ice_servers = joined["callId"], joined["participantId"], joined["iceServers"]
        await self.take_up(joined)
        while True:
            event, payload = await self.events.get()
            if event in OVER and payload.get("code") in (None, "KICKED"):
                return OVER[event]
            try:
                await self.act(event, payload)
            except RefusedError as error:
                print(
                    error, flush=True
                )  # the other left meanwhile, perhaps; what follows is told by the gateway

    async def act(self, event: str, payload: dict) -> None:
        match event:
            case "call:participant-joined":
                self.learn([payload["participant"]])
                if payload["initiator"]:  # two are there: this side makes the offer
                    await self.offer(payload["participant"]["participantId"])
            case "call:participant-left" if self.direct and self.direct.peer == payload["participantId"]:
                await self.drop("p2p")
            case "call:signal":
                await self.take_signal(payload["signal"])
            case "call:mode-switch":
                await self.switch(payload)
            case "call:mode-switched":
                await self.switched(payload)
            case "call:rejoined" if payload["epoch"] != self.epoch:
                await self.take_up(payload)
            case "new-producer" if self.server:
                await self.server.receive(payload)

    async def take_up(self, joined: dict) -> None:
        """Build what the join answer names: for who comes in, it takes the place of `call:mode-switch`."""
        self.learn(joined["participants"])
        self.report(joined["mode"], joined["epoch"])
        if joined["mode"] == "sfu" or joined["peer"]:
            await self.switch({"newMode": joined["mode"], **joined})

    async def offer(self, peer: str) -> None:
        await self.drop("p2p")
        self.direct = PeerPath(self.media, peer, self.ice_servers)
        await self.send_signal(peer, "offer", await self.direct.offer())

    async def take_signal(self, signal: dict) -> None:
        sender = signal["from"]
        if signal["type"] == "offer":
            await self.drop("p2p")
            self.direct = PeerPath(self.media, sender, self.ice_servers)
            await self.send_signal(sender, "answer", await self.direct.answer(signal["sdp"]))
        elif self.direct and self.direct.peer == sender and signal["type"] == "answer":
            await self.direct.accept(signal["sdp"])
        elif self.direct and self.direct.peer == sender:
            await self.direct.add_candidate(signal)

    async def switch(self, order: dict) -> None:
        """Build the new path. The old one goes on: nothing is closed before `call:mode-switched`."""
        self.learn(order["participants"])
        self.stop_waiting()
        error = None
        try:
            if order["newMode"] == "sfu":
                await self.drop("sfu")  # of a room that was lost
                self.server = ServerPath(self.media, self.call, self.me, order)
                await self.server.open()
            elif order["initiator"]:
                await self.offer(order["peer"])
        except (RefusedError, OSError, aiohttp.ClientError) as failure:
            error = str(failure)
        self.waiting = asyncio.create_task(self.confirm(order, error))

    async def confirm(self, order: dict, error: str | None) -> None:
        """Say that the new path works, once media has come by it, or that it does not."""
        said = {
            "callId": self.call,
            "mode": order["newMode"],
            "epoch": order["epoch"],
            "success": error is None,
        }
        if error is not None:
            said["error"] = error
        elif order["newMode"] == "p2p":
            await self.media.arrives("p2p", self.media.tracks_of(order["peer"]))
        elif self.direct:  # one of the two waits for the other; a newcomer for what it was told of
            await self.media.arrives("sfu", self.media.tracks_of(self.direct.peer))
        else:
            await self.media.arrives(
                "sfu", {(one["participantId"], one["kind"]) for one in order["producers"]}
            )
        await self.ask("call:mode-switched", said)

    async def switched(self, result: dict) -> None:
        """All have confirmed, or it failed and `mode` is the former one: drop the path that is not that of `mode`."""
        self.stop_waiting()
        self.report(result["mode"], result["epoch"])
        await self.drop("p2p" if result["mode"] == "sfu" else "sfu")

    async def drop(self, mode: str) -> None:
        path = self.direct if mode == "p2p" else self.server
        if mode == "p2p":
            self.direct = None
        else:
            self.server = None
        if path:
            await path.close()

    async def come_back(self) -> None:
        """First thing on every new connection: take one's place again. Media went on meanwhile."""
        if self.me:
            await self.socket.emit("call:rejoin", {"callId": self.call, "participantId": self.me})

    async def send_signal(self, to: str, kind: str, sdp: str) -> None:
        signal = {"type": kind, "from": self.me, "to": to, "sdp": sdp}
        await self.ask("call:signal", {"callId": self.call, "signal": signal})

    async def ask(self, event: str, payload: dict) -> dict:
        answer = await self.socket.call(event, payload, timeout=15)
        if not answer["success"]:
            raise RefusedError(f"{event}: {answer['error']['code']}: {answer['error']['message']}")
        return answer["data"]

    async def active_call(self, conversation: str) -> dict | None:
        headers = {"Authorization": f"Bearer {self.token}"}
        path = f"{self.url}/api/conversations/{conversation}/active-call"
        async with aiohttp.ClientSession(headers=headers) as http, http.get(path) as response:
            return (await response.json())["data"]["call"]

    def learn(self, participants: list[dict]) -> None:
        self.names |= {one["participantId"]: one["username"] for one in participants}

    def report(self, mode: str, epoch: int) -> None:
        if mode != self.mode:
            print("mode:", mode, flush=True)
        self.mode, self.epoch = mode, epoch

    def first_frame(self, mode: str, participant: str, kind: str) -> None:
        print(f"first {kind} frame of {self.names[participant]} by {mode}", flush=True)

    def stop_waiting(self) -> None:
        if self.waiting:
            self.waiting.cancel()

    async def leave(self) -> None:
        self.stop_waiting()
        if self.socket.connected and self.call:
            await self.ask("call:leave", {"callId": self.call})
        for mode in ("p2p", "sfu"):
            await self.drop(mode)
        await self.socket.disconnect()
        for (mode, participant, kind), frames in sorted(self.media.frames.items()):
            print(f"decoded {frames} {kind} frames of {self.names[participant]} by {mode}")


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("url", help="of the gateway")
    options.add_argument("token", help="a user's; its first conversation is called")
    options.add_argument("--seconds", type=float, default=60)
    given = options.parse_args()
    claims = jwt.decode(given.token, options={"verify_signature": False})
    if "127.0.0.1" in given.url:
        # ICE as aiortc has it leaves out the loopback interface, where a server in development mode listens.
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    client = Client(given.url, given.token)
    try:
        async with asyncio.timeout(given.seconds):
            print(await client.run(claims["conversations"][0]["id"]))
    except TimeoutError:
        print("the time is over")
    finally:
        await client.leave()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
