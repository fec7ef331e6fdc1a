/** The bar of buttons under the call. */

import type { ReactNode } from "react";
import type { LocalState } from "../call/model";
import { useTranslator } from "../messages/language";
import { Icon, type IconName } from "./Icon";
import type { Layout } from "./visible";

export type Panel = "stats" | "devices";

interface Props {
  readonly local: LocalState;
  readonly layout: Layout;
  readonly panel: Panel | null;
  readonly talking: boolean;
  /** While the call changes its path: what starts or stops a track waits. */
  readonly blocked: boolean;
  readonly busy: boolean;
  readonly canShare: boolean;
  readonly linkCopied: boolean;
  readonly onMicrophone: () => void;
  readonly onCamera: () => void;
  readonly onScreen: () => void;
  readonly onLayout: () => void;
  readonly onPanel: (panel: Panel) => void;
  /** Null when there is no link to copy. */
  readonly onCopyLink: (() => void) | null;
  readonly onLeave: () => void;
}

export function Controls(props: Props): ReactNode {
  const { t } = useTranslator();
  const { local, layout, panel, talking, blocked, busy } = props;
  const waits = blocked || busy;
  const hint = blocked ? t("switch.blocked") : undefined;
  const microphoneOn = local.microphone === "on";
  return (
    <div className="controls" role="toolbar" aria-label={t("control.bar")}>
      <ControlButton
        id="microphone"
        icon={microphoneOn ? "microphone" : "microphoneOff"}
        label={talking ? t("control.talking") : t(microphoneLabel(local.microphone))}
        tone={microphoneOn ? "plain" : "off"}
        active={talking}
        waits={local.microphone === "off" && waits}
        hint={local.microphone === "off" ? hint : undefined}
        onClick={props.onMicrophone}
      />
      <ControlButton
        id="camera"
        icon={local.camera === "on" ? "camera" : "cameraOff"}
        label={t(local.camera === "on" ? "control.cameraOff" : "control.cameraOn")}
        tone={local.camera === "on" ? "plain" : "off"}
        waits={waits}
        hint={hint}
        onClick={props.onCamera}
      />
      {props.canShare && (
        <ControlButton
          id="screen"
          icon={local.screen === "on" ? "screenOff" : "screen"}
          label={t(local.screen === "on" ? "control.stopShare" : "control.share")}
          active={local.screen === "on"}
          waits={waits}
          hint={hint}
          onClick={props.onScreen}
        />
      )}
      <span className="controls-gap" />
      <ControlButton
        id="layout"
        icon={layout === "grid" ? "speaker" : "grid"}
        label={t(layout === "grid" ? "control.speakerView" : "control.gridView")}
        onClick={props.onLayout}
      />
      <ControlButton
        id="stats"
        icon="stats"
        label={t("control.stats")}
        active={panel === "stats"}
        expanded={panel === "stats"}
        onClick={() => props.onPanel("stats")}
      />
      <ControlButton
        id="devices"
        icon="settings"
        label={t("device.settings")}
        active={panel === "devices"}
        expanded={panel === "devices"}
        onClick={() => props.onPanel("devices")}
      />
      {props.onCopyLink !== null && (
        <ControlButton
          id="copy-link"
          icon={props.linkCopied ? "check" : "link"}
          label={t(props.linkCopied ? "control.linkCopied" : "control.copyLink")}
          onClick={props.onCopyLink}
        />
      )}
      <span className="controls-gap" />
      <ControlButton id="leave" icon="hangUp" label={t("control.leave")} tone="danger" onClick={props.onLeave} />
    </div>
  );
}

function microphoneLabel(microphone: LocalState["microphone"]) {
  if (microphone === "on") return "control.mute";
  return microphone === "muted" ? "control.unmute" : "control.microphoneOn";
}

interface ButtonProps {
  readonly id: string;
  readonly icon: IconName;
  readonly label: string;
  readonly tone?: "plain" | "off" | "danger";
  readonly active?: boolean;
  readonly expanded?: boolean;
  readonly waits?: boolean;
  readonly hint?: string | undefined;
  readonly onClick: () => void;
}

/** A button that waits keeps the focus and its place in the order of the keyboard; it only does nothing. */
function ControlButton(props: ButtonProps): ReactNode {
  const { id, icon, label, tone = "plain", active = false, expanded, waits = false, hint, onClick } = props;
  return (
    <button
      type="button"
      className={`control control-${tone} ${active ? "control-active" : ""}`}
      data-control={id}
      aria-label={label}
      aria-disabled={waits}
      {...(expanded === undefined ? {} : { "aria-expanded": expanded })}
      onClick={() => {
        if (!waits) onClick();
      }}
    >
      <Icon name={icon} />
      <span className="control-tip" aria-hidden="true">
        {waits && hint !== undefined ? hint : label}
      </span>
    </button>
  );
}
