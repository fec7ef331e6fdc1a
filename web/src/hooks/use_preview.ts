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
  /** The tracks for the call, once what is still opening has opened: from then on they belong to it and are not stopped here. */
  readonly handOver: () => Promise<LocalMedia>;
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
    handOver: useCallback(async () => {
      const [track, picture] = await Promise.all([keepAudio(), keepVideo()]);
      return { audio: track, video: picture };
    }, [keepAudio, keepVideo]),
  };
}

/** One device: opened while it is wanted, stopped when not, exchanged when another is chosen. */
function useDevice(kind: Kind, on: boolean, id: string | null, attempt: number) {
  const [opened, setOpened] = useState<Opened>(CLOSED);
  const held = useRef<MediaStreamTrack | null>(null);
  const pending = useRef<Promise<void>>(Promise.resolve());
  useEffect(() => {
    if (!on) return;
    const wanted = new AbortController();
    const given = new Promise<void>((done) => wanted.signal.addEventListener("abort", () => done()));
    const opening = (async () => {
      setOpened((before) => ({ ...before, problem: null, opening: true }));
      const found = await openOne(kind, id);
      if (wanted.signal.aborted) {
        found[kind]?.stop();
        return;
      }
      held.current = found[kind];
      setOpened({ track: found[kind], problem: found.problems[0] ?? null, opening: false });
    })();
    // Turning a device off ends the wait for it: the question of the browser may stay unanswered.
    pending.current = Promise.race([opening, given]);
    return () => {
      wanted.abort();
      held.current?.stop();
      held.current = null;
      setOpened(CLOSED);
    };
  }, [kind, on, id, attempt]);
  const keep = useCallback(async () => {
    for (let seen = null; seen !== pending.current;) {
      seen = pending.current; // another device may be chosen meanwhile
      await seen;
    }
    const track = held.current;
    held.current = null;
    return track;
  }, []);
  return { opened, keep };
}
