/** How loud the microphone is, as a bar. */

import { useEffect, useRef, type ReactNode } from "react";
import { LevelMeter } from "../media/level_meter";
import { useTranslator } from "../messages/language";

export function LevelBar({ track }: { readonly track: MediaStreamTrack | null }): ReactNode {
  const { t } = useTranslator();
  const bar = useRef<HTMLMeterElement>(null);
  const fill = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    if (track === null) return;
    const meter = new LevelMeter(track);
    let frame = 0;
    const draw = (): void => {
      const level = Math.min(1, meter.read());
      if (bar.current !== null) bar.current.value = level;
      fill.current?.style.setProperty("--level", level.toFixed(3));
      frame = requestAnimationFrame(draw);
    };
    frame = requestAnimationFrame(draw);
    return () => {
      cancelAnimationFrame(frame);
      meter.close();
    };
  }, [track]);
  return (
    <div className="level" data-active={track !== null}>
      <meter ref={bar} className="visually-hidden" min={0} max={1} aria-label={t("prejoin.level")} />
      <span className="level-track" aria-hidden="true">
        <span className="level-fill" ref={fill} />
      </span>
    </div>
  );
}
