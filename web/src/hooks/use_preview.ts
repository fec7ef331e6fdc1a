/** Camera and microphone before a call: opened, changed, closed, handed over. */

import { useCallback, useEffect, useRef, useState } from "react";
import type { LocalMedia, MediaProblem } from "../call/model";
import { openOne } from "../store/remembered_devices";

export interface PreviewWish {
  readonly microphoneOn: boolean;
  readonly cameraOn: boolean;
  readonly microphoneId: string | null;
  readonly cameraId: string | null;
}

export interface Preview {
  readonly audio: MediaStreamTrack | null;
  readonly video: MediaStreamTrack | null;
  readonly problems: readonly MediaProblem[];
  readonly opening: boolean;
  readonly retry: () => void;
  /** The tracks for the call: from now on they belong to it and are not stopped here. */
  readonly handOver: () => LocalMedia;
}

type Kind = "audio" | "video";

interface Opened {
  readonly track: MediaStreamTrack | null;
  readonly problem: MediaProblem | null;
  readonly opening: boolean;
}

const CLOSED: Opened = { track: null, problem: null, opening: false };

export function usePreview(wish: PreviewWish): Preview {
  const [attempt, setAttempt] = useState(0);
  const audio = useDevice("audio", wish.microphoneOn, wish.microphoneId, attempt);
  const video = useDevice("video", wish.cameraOn, wish.cameraId, attempt);
  const problems = [audio.opened.problem, video.opened.problem].filter((one) => one !== null);
  const { keep: keepAudio } = audio;
  const { keep: keepVideo } = video;
  return {
    audio: audio.opened.track,
    video: video.opened.track,
    problems,
    opening: audio.opened.opening || video.opened.opening,
    retry: useCallback(() => setAttempt((count) => count + 1), []),
    handOver: useCallback(() => ({ audio: keepAudio(), video: keepVideo() }), [keepAudio, keepVideo]),
  };
}

/** One device: opened while it is wanted, stopped when not, exchanged when another is chosen. */
function useDevice(kind: Kind, on: boolean, id: string | null, attempt: number) {
  const [opened, setOpened] = useState<Opened>(CLOSED);
  const held = useRef<MediaStreamTrack | null>(null);
  useEffect(() => {
    if (!on) return;
    const wanted = new AbortController();
    void (async () => {
      setOpened((before) => ({ ...before, problem: null, opening: true }));
      const found = await openOne(kind, id);
      if (wanted.signal.aborted) {
        found[kind]?.stop();
        return;
      }
      held.current = found[kind];
      setOpened({ track: found[kind], problem: found.problems[0] ?? null, opening: false });
    })();
    return () => {
      wanted.abort();
      held.current?.stop();
      held.current = null;
      setOpened(CLOSED);
    };
  }, [kind, on, id, attempt]);
  const keep = useCallback(() => {
    const track = held.current;
    held.current = null;
    return track;
  }, []);
  return { opened, keep };
}
