/** The state of a call as a page sees it, from what happens in it. Pure: a state and an action in, a state out. */
import type {
  CallState,
  CallSummary,
  Failure,
  LocalState,
  Mode,
  ParticipantState,
  Quality,
  Source,
  SwitchState,
} from "./model";
import type { ParticipantData } from "../wire/gateway";

export const NO_LOCAL: LocalState = {
  microphone: "off",
  camera: "off",
  screen: "off",
  microphoneId: null,
  cameraId: null,
  error: null,
};

export const IDLE: CallState = {
  stage: "idle",
  callId: null,
  mode: null,
  transition: null,
  self: null,
  participants: [],
  activeSpeaker: null,
  local: NO_LOCAL,
  startedAt: null,
  summary: null,
  failure: null,
  replaced: false,
};

export type Action =
  | { readonly type: "entering" }
  | {
      readonly type: "joined";
      readonly callId: string;
      readonly self: string;
      readonly mode: Mode;
      readonly participants: readonly ParticipantData[];
      readonly at: number;
    }
  | { readonly type: "participants"; readonly participants: readonly ParticipantData[] }
  | { readonly type: "participant-joined"; readonly participant: ParticipantData }
  | { readonly type: "participant-left"; readonly id: string }
  | {
      readonly type: "toggled";
      readonly id: string;
      readonly media: "audio" | "video" | "screen";
      readonly enabled: boolean;
    }
  | { readonly type: "connection"; readonly id: string; readonly connection: ParticipantState["connection"] }
  | { readonly type: "volumes"; readonly volumes: ReadonlyMap<string, number>; readonly activeSpeaker?: string | null }
  | { readonly type: "quality"; readonly quality: ReadonlyMap<string, Quality | null> }
  | { readonly type: "local"; readonly change: Partial<LocalState> }
  | { readonly type: "switching"; readonly to: Mode; readonly from: Mode; readonly at: number }
  | {
      readonly type: "switched";
      readonly mode: Mode;
      readonly success: boolean;
      readonly why: string;
      readonly at: number;
    }
  | { readonly type: "no-path"; readonly to: Mode; readonly why: string; readonly at: number }
  | { readonly type: "diagnosed"; readonly failure: Failure }
  | { readonly type: "reconnecting" }
  | { readonly type: "reconnected" }
  | {
      readonly type: "ended";
      readonly summary: CallSummary;
      readonly replaced: boolean;
      readonly failure: Failure | null;
    }
  | { readonly type: "failed"; readonly failure: Failure };

/** From this volume on a participant is taken to speak. */
export const SPEAKING_LEVEL = 0.35;
const VOLUME_STEP = 0.05;

export function participantOf(data: ParticipantData, self: string | null): ParticipantState {
  const own = data.participantId === self;
  return {
    id: data.participantId,
    name: data.username,
    self: own,
    audioEnabled: data.audioEnabled,
    videoEnabled: data.videoEnabled,
    screenEnabled: data.screenShareEnabled,
    connection: own ? "connected" : "connecting",
    speaking: false,
    volume: 0,
    quality: null,
    joinedAt: Date.parse(data.joinedAt) || 0,
  };
}

/** Take a list of the gateway: who is in it stays or comes, everyone else goes. */
function merged(state: CallState, list: readonly ParticipantData[], self: string | null): readonly ParticipantState[] {
  const known = new Map(state.participants.map((one) => [one.id, one]));
  const live = list.filter((one) => one.leftAt === null && one.status !== "disconnected" && one.status !== "failed");
  return sorted(
    live.map((data) => {
      const fresh = participantOf(data, self);
      const before = known.get(fresh.id);
      if (!before) return fresh;
      const { connection, speaking, volume, quality } = before;
      return { ...fresh, connection, speaking, volume, quality };
    }),
  );
}

const sorted = (participants: readonly ParticipantState[]): readonly ParticipantState[] =>
  [...participants].sort((one, other) => one.joinedAt - other.joinedAt || (one.id < other.id ? -1 : 1));

const changed = (
  state: CallState,
  change: (one: ParticipantState) => ParticipantState,
): Pick<CallState, "participants"> => {
  const participants = state.participants.map(change);
  const same = participants.every((one, index) => one === state.participants[index]);
  return { participants: same ? state.participants : participants };
};

const one =
  (id: string, change: Partial<ParticipantState>) =>
  (participant: ParticipantState): ParticipantState =>
    participant.id === id ? { ...participant, ...change } : participant;

function withVolume(participant: ParticipantState, volume: number): ParticipantState {
  const speaking = volume >= SPEAKING_LEVEL;
  const near = Math.abs(participant.volume - volume) < VOLUME_STEP && !(volume === 0 && participant.volume > 0);
  return speaking === participant.speaking && near ? participant : { ...participant, volume, speaking };
}

const FLAGS = { audio: "audioEnabled", video: "videoEnabled", screen: "screenEnabled" } as const;

/** What of a participant a source is called on the wire. */
export const MEDIA_OF: Readonly<Record<Source, keyof typeof FLAGS>> = {
  microphone: "audio",
  camera: "video",
  screen: "screen",
};

export function reduce(state: CallState, action: Action): CallState {
  switch (action.type) {
    case "entering":
      return { ...IDLE, stage: "joining", local: state.local };
    case "joined":
      return {
        ...state,
        stage: "in-call",
        callId: action.callId,
        self: action.self,
        mode: action.mode,
        participants: merged(state, action.participants, action.self),
        startedAt: state.startedAt ?? action.at,
        failure: null,
        replaced: false,
      };
    case "participants":
      return { ...state, participants: merged(state, action.participants, state.self) };
    case "participant-joined": {
      const rest = state.participants.filter(({ id }) => id !== action.participant.participantId);
      return { ...state, participants: sorted([...rest, participantOf(action.participant, state.self)]) };
    }
    case "participant-left":
      return {
        ...state,
        participants: state.participants.filter(({ id }) => id !== action.id),
        activeSpeaker: state.activeSpeaker === action.id ? null : state.activeSpeaker,
      };
    case "toggled":
      return { ...state, ...changed(state, one(action.id, { [FLAGS[action.media]]: action.enabled })) };
    case "connection":
      return { ...state, ...changed(state, one(action.id, { connection: action.connection })) };
    case "volumes":
      return volumes(state, action);
    case "quality":
      return {
        ...state,
        ...changed(state, (participant) => {
          const quality = action.quality.get(participant.id) ?? null;
          return quality === participant.quality ? participant : { ...participant, quality };
        }),
      };
    case "local":
      return { ...state, local: { ...state.local, ...action.change } };
    default:
      return reducePath(state, action);
  }
}

function volumes(state: CallState, action: Extract<Action, { type: "volumes" }>): CallState {
  const { participants } = changed(state, (participant) =>
    withVolume(participant, participant.audioEnabled ? (action.volumes.get(participant.id) ?? 0) : 0),
  );
  const activeSpeaker = action.activeSpeaker === undefined ? state.activeSpeaker : action.activeSpeaker;
  const same = participants === state.participants && activeSpeaker === state.activeSpeaker;
  return same ? state : { ...state, participants, activeSpeaker };
}

type PathAction = Extract<
  Action,
  { type: "switching" | "switched" | "no-path" | "diagnosed" | "reconnecting" | "reconnected" | "ended" | "failed" }
>;

function reducePath(state: CallState, action: PathAction): CallState {
  switch (action.type) {
    case "switching":
      return { ...state, transition: began(state.transition, action) };
    case "switched":
      if (action.success) return { ...state, mode: action.mode, transition: null, failure: null };
      return {
        ...state,
        mode: action.mode,
        transition: failedSwitch(state.transition, state.transition?.to ?? action.mode, action.why, action.at),
      };
    case "no-path":
      return { ...state, transition: failedSwitch(state.transition, action.to, action.why, action.at) };
    case "diagnosed":
      return { ...state, failure: action.failure };
    case "reconnecting":
      return state.stage === "in-call" ? { ...state, stage: "reconnecting" } : state;
    case "reconnected":
      return state.stage === "reconnecting" ? { ...state, stage: "in-call" } : state;
    case "ended":
      return {
        ...state,
        stage: action.failure ? "failed" : "ended",
        mode: null,
        transition: null,
        participants: [],
        activeSpeaker: null,
        summary: action.summary,
        failure: action.failure,
        replaced: action.replaced,
      };
    case "failed":
      return { ...state, stage: "failed", transition: null, failure: action.failure };
  }
}

function began(before: SwitchState | null, { to, at }: { to: Mode; at: number }): SwitchState {
  const again = before?.to === to;
  return { to, since: again ? before.since : at, attempt: again ? before.attempt + 1 : 1, failed: null };
}

const failedSwitch = (before: SwitchState | null, to: Mode, why: string, at: number): SwitchState => ({
  to,
  since: before?.since ?? at,
  attempt: before?.attempt ?? 1,
  failed: why,
});
