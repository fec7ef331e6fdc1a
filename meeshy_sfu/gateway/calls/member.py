"""A participant of a live call: who they are, which socket speaks for them, what they send.

Changed by its own methods only, each named after what happened. Who becomes a member, and for how long, is decided in `calls`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from meeshy_sfu.db.repository import SFU_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from meeshy_sfu.db.models import Participant
    from meeshy_sfu.gateway.wire.auth import User

MediaType = Literal["audio", "video", "screen"]


def identity_key(user_id: str, *, anonymous: bool) -> str:
    """Return the same key as User.key."""
    return f"{'guest' if anonymous else 'user'}:{user_id}"


@dataclass(slots=True)
class Member:
    """A participant, with or without a socket just now."""

    id: str
    user_id: str
    anonymous: bool
    username: str
    role: str
    joined_at: datetime
    audio_enabled: bool
    video_enabled: bool
    screen_enabled: bool = False
    sid: str | None = None
    """The socket that speaks for them; None while it is away or has not come yet."""
    away_since_s: float | None = None
    has_connected: bool = False
    """Whether a socket has spoken for them; not yet after a join over REST."""
    announced: bool = False
    """Whether the other members were sent that they joined."""
    token_renewal_s: float | None = None
    """When their token for the media server has to be renewed."""
    awaits_media_s: float | None = None
    """When they asked to join, until they confirm that media of a media server arrives."""
    sfu_ids: Mapping[str, str] = field(default_factory=dict)
    """What they have on the media server, by the names of SFU_FIELDS."""

    @classmethod
    def restored(cls, row: Participant, *, now_s: float) -> Member:
        """Return the member of a row from before a restart: known to the others, without a socket as of now."""
        return cls(
            id=row.id,
            user_id=row.identity,
            anonymous=row.user_id is None,
            username=row.username,
            role=row.role,
            joined_at=row.joined_at,
            audio_enabled=row.audio_enabled,
            video_enabled=row.video_enabled,
            screen_enabled=row.screen_share_enabled,
            away_since_s=now_s,
            has_connected=True,
            announced=True,
            sfu_ids={name: value for name in SFU_FIELDS if (value := getattr(row, name))},
        )

    def is_user(self, user: User) -> bool:
        """Return whether this member is the user of that token."""
        return self.user_id == user.id and self.anonymous is user.anonymous

    @property
    def key(self) -> str:
        """The same as User.key."""
        return identity_key(self.user_id, anonymous=self.anonymous)

    # ---- sockets

    def connected(self, sid: str) -> bool:
        """A socket speaks for them from now on; return whether they were away before."""
        was_away = self.has_connected and self.away_since_s is not None
        self.sid, self.away_since_s, self.has_connected = sid, None, True
        return was_away

    def disconnected(self, now_s: float) -> None:
        """Their socket is gone; they may come back."""
        self.sid, self.away_since_s = None, now_s

    def detached(self) -> None:
        """Their socket does not speak for them any more: it was replaced, or they are being removed."""
        self.sid = None

    def was_announced(self) -> None:
        """The other members are being sent that they joined."""
        self.announced = True

    # ---- what they are and send

    def renamed(self, username: str) -> None:
        """A newer token has this name."""
        self.username = username

    def toggled(self, media: MediaType, *, enabled: bool) -> None:
        """They switched what they send on or off."""
        match media:
            case "audio":
                self.audio_enabled = enabled
            case "video":
                self.video_enabled = enabled
            case "screen":
                self.screen_enabled = enabled

    # ---- the media server

    def awaits_media(self, since_s: float) -> None:
        """They asked to join then, and have to wait for media of a media server."""
        self.awaits_media_s = since_s

    def media_arrived(self, now_s: float) -> float | None:
        """Media of a media server arrives; return how long they waited since they asked to join, once."""
        since_s, self.awaits_media_s = self.awaits_media_s, None
        return None if since_s is None else now_s - since_s

    def token_sent(self, *, renewal_s: float) -> None:
        """They got a token for the media server, which has to be renewed at that time."""
        self.token_renewal_s = renewal_s

    def reported_sfu_ids(self, ids: Mapping[str, str]) -> None:
        """They said what they have on the media server."""
        self.sfu_ids = {**self.sfu_ids, **ids}

    def forget_sfu_ids(self) -> None:
        """They have nothing on a media server any more."""
        self.sfu_ids = {}
