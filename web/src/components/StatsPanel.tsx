/** Figures of each track, with the last minute as a line, to be read or copied. */

import type { ReactNode } from "react";
import type { CallClientLike, CallState, TrackStats } from "../call/model";
import { useCopy } from "../hooks/use_copy";
import { HISTORY_LENGTH, seriesOf, trackKey, useStats, type History } from "../hooks/use_stats";
import { useTranslator } from "../messages/language";
import { Icon } from "./Icon";
import { SidePanel } from "./SidePanel";
import { NO_FIGURE, bitrate, codec, milliseconds, percent, resolution, sparkline } from "./stats_format";

interface Props {
  readonly client: CallClientLike;
  readonly state: CallState;
  readonly onClose: () => void;
}

export function StatsPanel({ client, state, onClose }: Props): ReactNode {
  const { t } = useTranslator();
  const history = useStats(client, true);
  const { copy, copied, refused } = useCopy();
  const now = history.at(-1);
  const tracks = now?.tracks ?? [];
  return (
    <SidePanel title={t("stats.title")} onClose={onClose}>
      <div className="panel-body panel-scroll" role="region" aria-label={t("stats.title")} tabIndex={0}>
        {tracks.length === 0 && <p className="muted">{t("stats.empty")}</p>}
        <ul className="tracks">
          {tracks.map((track) => (
            <TrackFigures key={trackKey(track)} track={track} name={nameOf(state, track)} history={history} />
          ))}
        </ul>
      </div>
      <footer className="panel-footer">
        <button
          type="button"
          className="button"
          onClick={() => copy(JSON.stringify({ callId: state.callId, mode: state.mode, history }, null, 2))}
        >
          <Icon name={copied ? "check" : "copy"} />
          {t(copied ? "stats.copied" : "stats.copy")}
        </button>
        {refused !== null && (
          <textarea className="copy-by-hand" readOnly value={refused} aria-label={t("stats.copy")} />
        )}
      </footer>
    </SidePanel>
  );
}

function nameOf(state: CallState, track: TrackStats): string {
  const found = state.participants.find((one) => one.id === track.participantId);
  return found?.name ?? track.participantId;
}

interface TrackProps {
  readonly track: TrackStats;
  readonly name: string;
  readonly history: History;
}

function TrackFigures({ track, name, history }: TrackProps): ReactNode {
  const translator = useTranslator();
  const { t, number } = translator;
  const video = track.source !== "microphone";
  const rates = seriesOf(history, trackKey(track), (one) => one.bitrateBps);
  const figures: readonly (readonly [string, string])[] = [
    [t("stats.loss"), percent(track.lossRatio, translator)],
    [t("stats.rtt"), milliseconds(track.rttMs, translator)],
    [t("stats.jitter"), milliseconds(track.jitterMs, translator)],
    ...(video
      ? ([
          [t("stats.resolution"), resolution(track)],
          [t("stats.fps"), track.framesPerSecond === null ? NO_FIGURE : number(Math.round(track.framesPerSecond))],
        ] as const)
      : []),
    [t("stats.codec"), codec(track.codec)],
    [t("stats.path"), pathOf(track, t)],
  ];
  const value = bitrate(track.bitrateBps, translator);
  return (
    <li className="track" data-track={trackKey(track)}>
      <h3 className="track-title">
        <bdi>{name}</bdi>
        <span className="muted">
          {t(`stats.source.${track.source}`)}, {t(`stats.direction.${track.direction}`)}
        </span>
      </h3>
      <div className="track-rate">
        <span className="track-value">{value}</span>
        <Sparkline values={rates} label={t("stats.lastMinuteOf", { value })} />
      </div>
      <dl className="figures">
        {figures.map(([label, figure]) => (
          <div key={label} className="figure">
            <dt>{label}</dt>
            <dd>{figure}</dd>
          </div>
        ))}
      </dl>
    </li>
  );
}

function pathOf(track: TrackStats, t: ReturnType<typeof useTranslator>["t"]): string {
  const mode = t(track.mode === "sfu" ? "call.group" : "call.direct");
  if (track.relay === null) return mode;
  return `${mode}, ${t(track.relay ? "stats.relay" : "stats.direct")}`;
}

const BOX = { width: 160, height: 32 };

function Sparkline({
  values,
  label,
}: {
  readonly values: readonly (number | null)[];
  readonly label: string;
}): ReactNode {
  return (
    <svg
      className="sparkline"
      viewBox={`0 -1 ${BOX.width} ${BOX.height + 2}`}
      role="img"
      aria-label={label}
      preserveAspectRatio="none"
    >
      {sparkline(values, HISTORY_LENGTH, BOX).map((points) => (
        <polyline key={points} points={points} />
      ))}
    </svg>
  );
}
