/** One tile: video or initials, name, whether muted, how good the connection is. */

import { memo, useEffect, useMemo, useRef, useSyncExternalStore, type ReactNode } from "react";
import type { CallClientLike, ParticipantState } from "../call/model";
import { useTranslator } from "../messages/language";
import { Icon } from "./Icon";
import { initialsOf, hueOf } from "./initials";
import type { Rect } from "./placement";

interface Props {
  readonly client: CallClientLike;
  readonly participant: ParticipantState;
  readonly source: "camera" | "screen";
  readonly rect: Rect;
  readonly highlighted: boolean;
  readonly stage: boolean;
}

export const VideoTile = memo(function VideoTile(props: Props): ReactNode {
  const { client, participant, source, rect, highlighted, stage } = props;
  const { t } = useTranslator();
  const video = useMemo(() => client.video(participant.id, source), [client, participant.id, source]);
  const hasFrame = useSyncExternalStore(
    useMemo(() => (listener: () => void) => video.subscribe(listener), [video]),
    () => video.hasFrame,
  );
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => (element.current === null ? undefined : video.attach(element.current)), [video]);

  const tile = useRef<HTMLLIElement>(null);
  const { x, y, width, height } = rect;
  useEffect(() => {
    const style = tile.current?.style;
    style?.setProperty("--x", `${x}px`);
    style?.setProperty("--y", `${y}px`);
    style?.setProperty("--width", `${width}px`);
    style?.setProperty("--height", `${height}px`);
  }, [x, y, width, height]);

  const enabled = source === "camera" ? participant.videoEnabled : participant.screenEnabled;
  const classes = [
    "tile",
    `tile-${source}`,
    participant.self && source === "camera" ? "tile-mirrored" : "",
    highlighted ? "tile-speaking" : "",
    stage ? "tile-stage" : "",
    enabled && hasFrame ? "tile-playing" : "",
    width < 170 ? "tile-small" : "",
  ];
  return (
    <li
      ref={tile}
      className={classes.filter(Boolean).join(" ")}
      data-participant={participant.id}
      data-source={source}
      data-speaking={highlighted}
      data-playing={enabled && hasFrame}
    >
      {source === "camera" && <Initials participant={participant} />}
      <video ref={element} className="tile-video" autoPlay playsInline muted aria-hidden="true" tabIndex={-1} />
      <Overlay participant={participant} />
      <p className="tile-label">
        {source === "camera" && !participant.audioEnabled && (
          <span className="tile-muted" role="img" aria-label={t("grid.muted")} title={t("grid.muted")}>
            <Icon name="microphoneOff" />
          </span>
        )}
        <bdi className="tile-name">{labelOf(participant, source, t)}</bdi>
        {highlighted && <span className="visually-hidden">{t("grid.speaking")}</span>}
        {source === "camera" && !enabled && <span className="visually-hidden">{t("grid.cameraOff")}</span>}
      </p>
      {source === "camera" && !participant.self && <Quality quality={participant.quality} />}
    </li>
  );
});

function labelOf(
  participant: ParticipantState,
  source: Props["source"],
  t: ReturnType<typeof useTranslator>["t"],
): string {
  const { name, self } = participant;
  if (source === "screen") return self ? t("grid.yourScreen") : t("grid.screenOf", { name });
  return self ? t("grid.you", { name }) : name;
}

function Initials({ participant }: { readonly participant: ParticipantState }): ReactNode {
  return (
    <span className={`tile-initials hue-${hueOf(participant.id)}`} aria-hidden="true">
      <span>{initialsOf(participant.name)}</span>
    </span>
  );
}

function Overlay({ participant }: { readonly participant: ParticipantState }): ReactNode {
  const { t } = useTranslator();
  if (participant.connection === "connected") return null;
  return (
    <p className="tile-overlay">
      <span className="spinner" aria-hidden="true" />
      {t(participant.connection === "connecting" ? "grid.connecting" : "grid.reconnecting")}
    </p>
  );
}

function Quality({ quality }: { readonly quality: ParticipantState["quality"] }): ReactNode {
  const { t } = useTranslator();
  if (quality === null) return null;
  const label = t("grid.quality", { quality: t(`quality.${quality}`) });
  return (
    <span className={`quality quality-${quality}`} role="img" aria-label={label} title={label} data-quality={quality}>
      {[1, 2, 3, 4].map((bar) => (
        <span key={bar} className={`quality-bar quality-bar-${bar} ${bar <= quality ? "quality-on" : ""}`} />
      ))}
    </span>
  );
}
