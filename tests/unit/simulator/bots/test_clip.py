"""The clip: made once, always the same, decodable with and without stamps."""

import zlib
from pathlib import Path

import av
import numpy as np
import pytest

from simulator.bots import stamp
from simulator.bots.clip import FPS, SAMPLE_RATE, Clip, ensure_clip, make_clip
from simulator.errors import ClipError


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(seconds=4)


def decode(codec: str, packets: list[bytes]) -> list[np.ndarray]:
    context = av.CodecContext.create(codec, "r")
    if codec == "libopus":
        context.format, context.layout, context.sample_rate = "s16", "stereo", SAMPLE_RATE
    return [frame.to_ndarray() for packet in packets for frame in context.decode(av.Packet(packet))]


def test_a_clip_is_read_back_as_it_was_written(clip: Clip) -> None:
    assert Clip.parse(clip.to_bytes()) == clip


def test_video_is_thirty_frames_in_about_forty_packets_a_second(clip: Clip) -> None:
    packets = sum(-(-(len(frame.data) + stamp.SIZE) // 1120) for frame in clip.video)
    assert len(clip.video) == 4 * FPS
    assert 37 <= packets / 4 <= 43


def test_key_flags_agree_with_the_frames_and_the_first_is_one(clip: Clip) -> None:
    assert clip.video[0].key
    assert [frame.key for frame in clip.video] == [frame.data[0] & 1 == 0 for frame in clip.video]
    assert sum(frame.key for frame in clip.video) >= 2


def test_audio_has_sound_and_silence_with_levels_that_say_so(clip: Clip) -> None:
    levels = [packet.level for packet in make_clip(seconds=5).audio]
    assert len(levels) == 250
    assert min(levels) < 25
    assert levels[-20:] == [127] * 20
    assert not make_clip(seconds=5).audio[-1].voice


def test_opus_packets_can_carry_a_stamp(clip: Clip) -> None:
    assert {packet.data[0] & 3 for packet in clip.audio} <= {0, 1}


def test_stamps_change_no_picture_and_no_sound(clip: Clip) -> None:
    mark = stamp.encode(stamp.Stamp(7, 1, 2))
    video = [frame.data for frame in clip.video]
    for plain, stamped in zip(
        decode("libvpx", video), decode("libvpx", [data + mark for data in video]), strict=True
    ):
        assert np.array_equal(plain, stamped)
    audio = [packet.data for packet in clip.audio]
    padded = [stamp.pad_opus(data, mark) for data in audio]
    for plain, stamped in zip(decode("libopus", audio), decode("libopus", padded), strict=True):
        assert np.array_equal(plain, stamped)


def test_the_file_is_made_once(tmp_path: Path) -> None:
    path = ensure_clip(tmp_path)
    first = path.stat()
    assert ensure_clip(tmp_path) == path
    assert path.stat().st_mtime_ns == first.st_mtime_ns
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_damaged_file_is_made_again(tmp_path: Path, clip: Clip) -> None:
    path = ensure_clip(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert Clip.load(ensure_clip(tmp_path)).video


@pytest.mark.parametrize("cut", [0, 5, 27, 1000])
def test_a_damaged_clip_is_refused(clip: Clip, cut: int) -> None:
    with pytest.raises(ClipError, match="damaged"):
        Clip.parse(clip.to_bytes()[:cut])


def test_another_version_is_refused(clip: Clip) -> None:
    data = bytearray(clip.to_bytes())
    data[8] = 9
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    with pytest.raises(ClipError, match="no clip of version 1"):
        Clip.parse(bytes(data))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClipError, match="cannot write the clip"):
        ensure_clip(tmp_path / "file" / "cache")
