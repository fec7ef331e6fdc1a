"""The clip every bot sends: ten seconds of VP8 and opus, encoded once and kept in the state directory.

Makes and reads the file; sending it is done by bots. The format is that of crates/sfu-bot/src/clip.rs: all
little-endian, no padding, read front to back::

    "MSHYCLIP"  version u16  layers u16  audio_packets u32  frame_ticks u32 (90 kHz)  audio_ticks u32 (48 kHz)
    per layer:        width u16  height u16  frames u32
      per frame:      flags u8 (bit 0 key frame)  length u32  VP8 frame
    per opus packet:  level u8 (RFC 6464, 0 loud to 127 silent)  flags u8 (bit 0 voice)  length u16  packet
    crc u32           zlib.crc32 of everything before
"""

from __future__ import annotations

import fractions
import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from simulator.errors import ClipError

WIDTH, HEIGHT, FPS, SECONDS = 320, 180, 30, 10
VIDEO_BPS, AUDIO_BPS = 258_000, 32_000
KEY_FRAME_EVERY_S = 2
SAMPLE_RATE, AUDIO_FRAME = 48_000, 960

_MAGIC, _VERSION = b"MSHYCLIP", 1
_HEAD = struct.Struct("<8sHHIII")
_LAYER = struct.Struct("<HHI")
_FRAME = struct.Struct("<BI")
_AUDIO = struct.Struct("<BBH")
_MAX_CLIP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Picture:
    """What the video of a clip is like."""

    width: int = WIDTH
    height: int = HEIGHT
    fps: int = FPS
    bps: int = VIDEO_BPS

    @property
    def file_name(self) -> str:
        """Name of the clip; changes with everything that changes the content, so an old file is never taken for a new one."""
        rate = "" if self.fps == FPS else f"-{self.fps}"
        return f"clip-v2-{self.width}x{self.height}{rate}.bin"


SMALL = Picture()
CLIP_NAME = SMALL.file_name
_SIZES = {"180p": (WIDTH, HEIGHT, VIDEO_BPS), "360p": (640, 360, 700_000), "720p": (1280, 720, 1_500_000)}


def picture(resolution: str, frame_rate: int) -> Picture:
    """Return what the video of this resolution and rate is like."""
    width, height, bps = _SIZES[resolution]
    return Picture(width, height, frame_rate, bps)


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One VP8 frame."""

    key: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One opus packet."""

    level: int
    """0 (loud) to 127 (silence), as in RFC 6464."""
    voice: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip in memory."""

    width: int
    height: int
    frame_ticks: int
    audio_ticks: int
    video: tuple[VideoFrame, ...]
    """The first is a key frame, so the clip can be repeated."""
    audio: tuple[AudioPacket, ...]

    @classmethod
    def load(cls, path: Path) -> Clip:
        """Read a clip file with one layer.

        Raises:
            ClipError: It cannot be read, or is no intact clip.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ClipError(f"cannot read the clip {path}: {error.strerror}") from error
        return cls.parse(data, source=str(path))

    @classmethod
    def parse(cls, data: bytes, *, source: str = "clip") -> Clip:
        """Take the bytes of a clip file.

        Raises:
            ClipError: They are no intact clip.
        """
        if len(data) < _HEAD.size + 4 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise ClipError(f"{source} is damaged or no clip; delete it, the next run makes a new one")
        magic, version, layers, packets, frame_ticks, audio_ticks = _HEAD.unpack_from(data)
        if magic != _MAGIC or version != _VERSION or layers != 1:
            raise ClipError(f"{source} is no clip of version {_VERSION} with one layer")
        at = _HEAD.size
        width, height, frames = _LAYER.unpack_from(data, at)
        at += _LAYER.size
        video: list[VideoFrame] = []
        for _ in range(frames):
            flags, length = _FRAME.unpack_from(data, at)
            at += _FRAME.size + length
            video.append(VideoFrame(bool(flags & 1), data[at - length : at]))
        audio: list[AudioPacket] = []
        for _ in range(packets):
            level, flags, length = _AUDIO.unpack_from(data, at)
            at += _AUDIO.size + length
            audio.append(AudioPacket(level, bool(flags & 1), data[at - length : at]))
        return cls(width, height, frame_ticks, audio_ticks, tuple(video), tuple(audio))

    def to_bytes(self) -> bytes:
        """Return the content of the clip file."""
        out = bytearray(
            _HEAD.pack(_MAGIC, _VERSION, 1, len(self.audio), self.frame_ticks, self.audio_ticks)
            + _LAYER.pack(self.width, self.height, len(self.video))
        )
        for frame in self.video:
            out += _FRAME.pack(int(frame.key), len(frame.data)) + frame.data
        for packet in self.audio:
            out += _AUDIO.pack(packet.level, int(packet.voice), len(packet.data)) + packet.data
        return bytes(out) + zlib.crc32(out).to_bytes(4, "little")


CACHE = "cache"
"""Where clips are kept, below the state directory."""


def ensure_clip(cache: Path, video: Picture = SMALL) -> Path:
    """Return the path of a clip in `cache`; makes it on first use (the small one in under a second of CPU), whole or not at all.

    Raises:
        ClipError: It cannot be encoded or written.
    """
    path = cache / video.file_name
    if path.exists():
        try:
            Clip.load(path)
            return path
        except ClipError:
            path.unlink(missing_ok=True)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        scratch.write_bytes(make_clip(video=video).to_bytes())
        scratch.replace(path)
    except OSError as error:
        raise ClipError(f"cannot write the clip to {cache}: {error.strerror}") from error
    except av.FFmpegError as error:
        raise ClipError(
            f"cannot encode the clip: {error}; is PyAV installed with libvpx and libopus?"
        ) from error
    return path


def make_clip(seconds: int = SECONDS, video: Picture = SMALL) -> Clip:
    """Encode the clip: a moving pattern, and a tone that rises, falls and is silent for a while. The same bytes every time."""
    return Clip(
        width=video.width,
        height=video.height,
        frame_ticks=90_000 // video.fps,
        audio_ticks=AUDIO_FRAME,
        video=tuple(_encode_video(seconds, video)),
        audio=tuple(_encode_audio(seconds)),
    )


def video_frames(count: int, width: int = WIDTH, height: int = HEIGHT) -> Iterator[av.VideoFrame]:
    """Draw a pattern that moves, with a bright block and some noise, so that every frame costs the encoder."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(1).integers(0, 12, (height, width), dtype=np.uint8)
    for i in range(count):
        luma = ((columns * 2 + rows + i * 4) % 200 + 20).astype(np.uint8)
        middle = int(height / 2 + height / 4 * math.sin(i / 9))
        left = (i * 5) % width
        luma[
            max(0, middle - height // 8) : middle + height // 8, max(0, left - width // 8) : left + width // 8
        ] = 235
        frame = av.VideoFrame(width, height, "yuv420p")
        chroma = np.full((height // 2, width // 2), 128, np.uint8)
        for plane, values in zip(
            frame.planes, (luma + np.roll(noise, i, axis=1), chroma, chroma), strict=True
        ):
            lines = np.zeros((values.shape[0], plane.line_size), np.uint8)
            lines[:, : values.shape[1]] = values
            plane.update(lines.tobytes())
        yield frame


def tone(index: int) -> NDArray[np.int16]:
    """Compute 20 ms of audio: a gliding tone that is silent for the last fifth of each five seconds."""
    n = np.arange(AUDIO_FRAME) + index * AUDIO_FRAME
    seconds = n / SAMPLE_RATE
    envelope = np.where(seconds % 5 < 4, 0.5 + 0.5 * np.sin(n / 20_000), 0.0)
    wave = 8000 * np.sin(2 * np.pi * (220 + 40 * np.sin(n / 9000)) * seconds) * envelope
    return wave.astype(np.int16)


def _encode_video(seconds: int, video: Picture) -> Iterator[VideoFrame]:
    codec = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt = video.width, video.height, "yuv420p"
    codec.bit_rate, codec.time_base = video.bps, fractions.Fraction(1, video.fps)
    codec.gop_size = KEY_FRAME_EVERY_S * video.fps
    codec.thread_count = 1
    rate = str(video.bps)
    codec.options = {
        "deadline": "realtime",
        "cpu-used": "-6",
        "lag-in-frames": "0",
        "minrate": rate,
        "maxrate": rate,
        "bufsize": rate,
        "static-thresh": "1",
    }
    for i, picture in enumerate(video_frames(video.fps * seconds, video.width, video.height)):
        picture.pts, picture.time_base = i, codec.time_base
        for packet in codec.encode(picture):
            yield VideoFrame(bool(packet.is_keyframe), bytes(packet))
    for packet in codec.encode(None):
        yield VideoFrame(bool(packet.is_keyframe), bytes(packet))


def _encode_audio(seconds: int) -> Iterator[AudioPacket]:
    codec = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.format, codec.layout, codec.sample_rate = AUDIO_BPS, "s16", "stereo", SAMPLE_RATE
    codec.time_base = fractions.Fraction(1, SAMPLE_RATE)
    codec.options = {"application": "voip", "frame_duration": "20"}
    for i in range(seconds * SAMPLE_RATE // AUDIO_FRAME):
        wave = tone(i)
        frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None, :], format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, i * AUDIO_FRAME, codec.time_base
        level = _level(wave)
        for packet in codec.encode(frame):
            yield AudioPacket(level, level < 60, bytes(packet))


def _level(wave: NDArray[np.int16]) -> int:
    """Measure the level of 20 ms of audio as RFC 6464 defines it: dB below full scale, 127 for silence."""
    mean_square = float(np.mean((wave / 32768.0) ** 2))
    return 127 if mean_square <= 0 else min(127, max(0, round(-10 * math.log10(mean_square))))
