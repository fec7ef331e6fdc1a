/** Before the call: who one is, which devices, how one looks and sounds. */

import { useEffect, useId, useRef, useState, type ReactNode, type SubmitEvent } from "react";
import type { LocalMedia } from "../call/model";
import { DeviceProblem, DeviceSelect } from "../components/DeviceChoices";
import { Icon } from "../components/Icon";
import { LevelBar } from "../components/LevelBar";
import { Preferences } from "../components/Preferences";
import { initialsOf } from "../components/initials";
import { useDevices } from "../hooks/use_devices";
import { usePreview, type Preview } from "../hooks/use_preview";
import { useTranslator } from "../messages/language";
import { NAME_LENGTH, settingsStore, useSettings } from "../store/settings";
import type { OngoingCall } from "./admission";
import "../styles/prejoin.css";

interface Props {
  /** The name that the link carries; the person may change it. */
  readonly suggestedName: string | null;
  readonly ongoing: OngoingCall | null;
  readonly joining: boolean;
  /** Why the last attempt failed. */
  readonly refusal: ReactNode;
  /** The media is taken by the second argument when the link has been accepted, not before. */
  readonly onJoin: (name: string, takeMedia: () => Promise<LocalMedia>) => void;
}

export function PreJoin({ suggestedName, ongoing, joining, refusal, onJoin }: Props): ReactNode {
  const { t } = useTranslator();
  const settings = useSettings();
  const [name, setName] = useState(settings.name || (suggestedName ?? ""));
  const [missing, setMissing] = useState(false);
  const preview = usePreview(settings);
  const field = useRef<HTMLInputElement>(null);
  const ids = { name: useId(), error: useId() };

  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const said = name.trim();
    setMissing(said === "");
    if (said === "") {
      field.current?.focus();
      return;
    }
    settingsStore.change({ name: said });
    onJoin(said, preview.handOver);
  };
  const without = preview.problems.length > 0 && preview.audio === null && preview.video === null;
  return (
    <main className="prejoin">
      <div className="prejoin-media">
        <PreviewPicture preview={preview} name={name} />
        {preview.problems.map((problem) => (
          <DeviceProblem key={problem.kind} problem={problem} onRetry={preview.retry} />
        ))}
      </div>
      <form className="prejoin-form" onSubmit={submit} noValidate>
        <h1>{t("prejoin.title")}</h1>
        {ongoing !== null && <Ongoing call={ongoing} />}
        <div className="field">
          <label htmlFor={ids.name}>{t("prejoin.name")}</label>
          <input
            id={ids.name}
            ref={field}
            type="text"
            autoComplete="name"
            maxLength={NAME_LENGTH}
            placeholder={t("prejoin.namePlaceholder")}
            value={name}
            aria-invalid={missing}
            aria-describedby={missing ? ids.error : undefined}
            onChange={(event) => {
              setName(event.target.value);
              setMissing(false);
            }}
          />
          {missing && (
            <p className="field-error" id={ids.error} role="alert">
              {t("prejoin.nameMissing")}
            </p>
          )}
        </div>
        <DeviceFields preview={preview} />
        {refusal}
        <button type="submit" className="button button-primary" aria-disabled={joining} data-action="join">
          {joining && <span className="spinner" aria-hidden="true" />}
          {t(joining ? "prejoin.joining" : without ? "prejoin.joinWithout" : "prejoin.join")}
        </button>
        <Preferences />
      </form>
    </main>
  );
}

function Ongoing({ call }: { readonly call: OngoingCall }): ReactNode {
  const { t, spokenDuration } = useTranslator();
  const [opened] = useState(() => Date.now());
  return (
    <p className="notice" data-notice="ongoing">
      <span className="dot" aria-hidden="true" />
      <span>
        {t("call.ongoing", { count: call.people })}
        {call.startedAt !== null && (
          <>, {t("call.ongoingSince", { duration: spokenDuration((opened - call.startedAt) / 1000) })}</>
        )}
      </span>
    </p>
  );
}

function PreviewPicture({ preview, name }: { readonly preview: Preview; readonly name: string }): ReactNode {
  const { t } = useTranslator();
  const { microphoneOn, cameraOn } = useSettings();
  return (
    <div className="preview">
      {preview.video === null ? (
        <div className="preview-empty">
          <span className="tile-initials hue-0" aria-hidden="true">
            <span>{initialsOf(name)}</span>
          </span>
          <p>{t(cameraOn && preview.opening ? "prejoin.starting" : "prejoin.cameraOff")}</p>
        </div>
      ) : (
        <PreviewVideo track={preview.video} />
      )}
      <div className="preview-controls">
        <ToggleButton
          on={microphoneOn}
          icons={["microphone", "microphoneOff"]}
          label={t(microphoneOn ? "control.mute" : "control.unmute")}
          onToggle={() => settingsStore.change({ microphoneOn: !microphoneOn })}
        />
        <ToggleButton
          on={cameraOn}
          icons={["camera", "cameraOff"]}
          label={t(cameraOn ? "control.cameraOff" : "control.cameraOn")}
          onToggle={() => settingsStore.change({ cameraOn: !cameraOn })}
        />
      </div>
    </div>
  );
}

function PreviewVideo({ track }: { readonly track: MediaStreamTrack }): ReactNode {
  const { t } = useTranslator();
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const video = element.current;
    if (video === null) return;
    video.srcObject = new MediaStream([track]);
    return () => {
      video.srcObject = null;
    };
  }, [track]);
  return <video ref={element} className="preview-video" autoPlay playsInline muted aria-label={t("prejoin.preview")} />;
}

interface ToggleProps {
  readonly on: boolean;
  readonly icons: readonly ["microphone", "microphoneOff"] | readonly ["camera", "cameraOff"];
  readonly label: string;
  readonly onToggle: () => void;
}

function ToggleButton({ on, icons, label, onToggle }: ToggleProps): ReactNode {
  return (
    <button
      type="button"
      className={`control control-${on ? "plain" : "off"}`}
      data-control={icons[0]}
      aria-label={label}
      title={label}
      onClick={onToggle}
    >
      <Icon name={on ? icons[0] : icons[1]} />
    </button>
  );
}

function DeviceFields({ preview }: { readonly preview: Preview }): ReactNode {
  const { t } = useTranslator();
  const settings = useSettings();
  const devices = useDevices(`${preview.audio?.id ?? ""}/${preview.video?.id ?? ""}`);
  return (
    <>
      <DeviceSelect
        kind="audio"
        choices={devices.microphones}
        selected={settings.microphoneId}
        onChoose={(microphoneId) => settingsStore.change({ microphoneId })}
      />
      <LevelBar track={preview.audio} />
      {preview.audio !== null && <p className="muted field-hint">{t("prejoin.levelHint")}</p>}
      <DeviceSelect
        kind="video"
        choices={devices.cameras}
        selected={settings.cameraId}
        onChoose={(cameraId) => settingsStore.change({ cameraId })}
      />
    </>
  );
}
