/** The page of a call that goes on: people, controls, notices, panels. */

import { useCallback, useState, type ReactNode } from "react";
import type { CallClientLike, CallState } from "../call/model";
import { useAnnouncements } from "../hooks/use_announcements";
import { useCall } from "../hooks/use_call";
import { useCopy } from "../hooks/use_copy";
import { useDevices } from "../hooks/use_devices";
import { useMicrophone } from "../hooks/use_microphone";
import { useNow } from "../hooks/use_now";
import { usePushToTalk } from "../hooks/use_push_to_talk";
import { useTranslator } from "../messages/language";
import { settingsStore, useSettings } from "../store/settings";
import { Controls, type Panel } from "./Controls";
import { DeviceProblem, DeviceSelect } from "./DeviceChoices";
import { Icon } from "./Icon";
import { Preferences, TalkKeyChoice } from "./Preferences";
import { SidePanel } from "./SidePanel";
import { StatsPanel } from "./StatsPanel";
import { TransitionNotice } from "./TransitionNotice";
import { VideoGrid } from "./VideoGrid";

interface Props {
  readonly client: CallClientLike;
  /** The link that others can join by; null when the page does not know it. */
  readonly link: string | null;
}

export function CallInterface({ client, link }: Props): ReactNode {
  const { t } = useTranslator();
  const { state, run, busy, error, dismiss } = useCall(client);
  const { layout, talkKey } = useSettings();
  const [panel, setPanel] = useState<Panel | null>(null);
  const [microphoneError, setMicrophoneError] = useState<string | null>(null);
  const clipboard = useCopy();
  const said = useAnnouncements(client);
  const setMicrophone = useMicrophone(
    client,
    useCallback((failure: unknown) => setMicrophoneError(String(failure)), []),
  );
  const talking = usePushToTalk(state.local.microphone, setMicrophone, talkKey);
  const blocked = state.transition !== null && state.transition.failed === null;
  const problem = error ?? microphoneError;
  const { local } = state;

  return (
    <main className="call" data-stage={state.stage} data-mode={state.mode ?? ""} data-switching={blocked}>
      <CallHeader state={state} />
      <div className="call-notices">
        <Reconnecting state={state} />
        <TransitionNotice transition={state.transition} onRetry={() => run(() => client.retry())} />
        {problem !== null && (
          <Toast
            text={t("control.failed", { reason: problem })}
            onClose={() => {
              dismiss();
              setMicrophoneError(null);
            }}
          />
        )}
        {clipboard.refused !== null && (
          <div className="notice">
            <p>{t("control.linkFailed", { link: clipboard.refused })}</p>
          </div>
        )}
        {local.error !== null && <DeviceProblem problem={local.error} onRetry={null} />}
      </div>
      <div className="call-body">
        <VideoGrid
          client={client}
          participants={state.participants}
          activeSpeaker={state.activeSpeaker}
          layout={layout}
        />
        {panel === "stats" && <StatsPanel client={client} state={state} onClose={() => setPanel(null)} />}
        {panel === "devices" && (
          <DevicePanel client={client} state={state} blocked={blocked} run={run} onClose={() => setPanel(null)} />
        )}
        {state.participants.length === 1 && panel === null && state.stage === "in-call" && <Alone />}
      </div>
      <Controls
        local={local}
        layout={layout}
        panel={panel}
        talking={talking}
        blocked={blocked}
        busy={busy}
        canShare={canShareScreen()}
        linkCopied={clipboard.copied}
        onMicrophone={() => setMicrophone(local.microphone !== "on")}
        onCamera={() => run(() => client.setCamera(local.camera !== "on"))}
        onScreen={() => run(() => client.shareScreen(local.screen !== "on"))}
        onLayout={() => settingsStore.change({ layout: layout === "grid" ? "speaker" : "grid" })}
        onPanel={(wanted) => setPanel(panel === wanted ? null : wanted)}
        onCopyLink={link === null ? null : () => clipboard.copy(link)}
        onLeave={() => run(() => client.leave())}
      />
      <p className="visually-hidden" role="status" aria-live="polite">
        {said}
      </p>
    </main>
  );
}

function canShareScreen(): boolean {
  const devices = (navigator as Partial<Navigator>).mediaDevices as Partial<MediaDevices> | undefined;
  return typeof devices?.getDisplayMedia === "function";
}

function CallHeader({ state }: { readonly state: CallState }): ReactNode {
  const { t } = useTranslator();
  const group = state.mode === "sfu";
  return (
    <header className="call-header">
      <h1 className="visually-hidden">{t("call.title")}</h1>
      <span className="call-people">{t("call.people", { count: state.participants.length })}</span>
      {state.startedAt !== null && <Clock since={state.startedAt} />}
      {state.mode !== null && (
        <span className="badge" title={t(group ? "call.groupHint" : "call.directHint")}>
          {t(group ? "call.group" : "call.direct")}
        </span>
      )}
    </header>
  );
}

function Clock({ since }: { readonly since: number }): ReactNode {
  const { t, duration } = useTranslator();
  const now = useNow(1000);
  return (
    <span className="call-clock" role="timer" aria-label={t("call.duration")} aria-live="off">
      {duration((now - since) / 1000)}
    </span>
  );
}

function Reconnecting({ state }: { readonly state: CallState }): ReactNode {
  const { t } = useTranslator();
  if (state.stage !== "reconnecting") return null;
  return (
    <div className="notice notice-warning" data-notice="reconnecting">
      <span className="spinner" aria-hidden="true" />
      <p>
        <strong>{t("reconnect.title")}</strong> {t("reconnect.hint")}
      </p>
    </div>
  );
}

function Toast({ text, onClose }: { readonly text: string; readonly onClose: () => void }): ReactNode {
  const { t } = useTranslator();
  return (
    <div className="notice notice-warning" role="alert">
      <Icon name="warning" />
      <p>{text}</p>
      <button type="button" className="panel-close" aria-label={t("control.close")} onClick={onClose}>
        <Icon name="close" />
      </button>
    </div>
  );
}

function Alone(): ReactNode {
  const { t } = useTranslator();
  return (
    <div className="alone">
      <p>
        <strong>{t("call.alone")}</strong>
      </p>
      <p>{t("call.aloneHint")}</p>
    </div>
  );
}

interface DevicePanelProps {
  readonly client: CallClientLike;
  readonly state: CallState;
  readonly blocked: boolean;
  readonly run: (action: () => Promise<void>) => void;
  readonly onClose: () => void;
}

function DevicePanel({ client, state, blocked, run, onClose }: DevicePanelProps): ReactNode {
  const { t } = useTranslator();
  const settings = useSettings();
  const { local } = state;
  const devices = useDevices(`${local.microphone}/${local.camera}`);
  return (
    <SidePanel title={t("device.settings")} onClose={onClose}>
      <div className="panel-body">
        <DeviceSelect
          kind="audio"
          choices={devices.microphones}
          selected={local.microphoneId ?? settings.microphoneId}
          disabled={blocked}
          onChoose={(microphoneId) => {
            settingsStore.change({ microphoneId });
            run(() => client.useMicrophone(microphoneId));
          }}
        />
        <DeviceSelect
          kind="video"
          choices={devices.cameras}
          selected={local.cameraId ?? settings.cameraId}
          disabled={blocked}
          onChoose={(cameraId) => {
            settingsStore.change({ cameraId });
            run(() => client.useCamera(cameraId));
          }}
        />
        <TalkKeyChoice />
        <Preferences />
      </div>
    </SidePanel>
  );
}
