// Made by `npm run wire` from docs/schemas/gateway.json; not to be edited.
import type { Shape } from "./check";

/** The call of a conversation that is not over, or null. */
export type ActiveCallData = { readonly call: CallData | null };

/** The active speakers. */
export type ActiveSpeaker = {
  readonly callId: string;
  /** The dominant speaker; null before the first. */
  readonly participantId: string | null;
  readonly producerId: string | null;
  /** Loudest first; empty in silence. */
  readonly volumes: readonly SpeakerVolume[];
};

/** The user of the token. */
export type AuthenticateAnswer = { readonly user: UserView };

/** A fresh token of the same user. */
export type AuthenticateRequest = { readonly token: string };

/** The token is accepted. */
export type Authenticated = { readonly user: UserView; readonly success?: true };

/** The call that was meant. */
export type CallAnswer = { readonly callId: string };

/** A call. */
export type CallData = {
  readonly callId: string;
  /** The same as `callId`. */
  readonly id: string;
  readonly conversationId: string;
  readonly mode: "p2p" | "sfu";
  readonly status: "initiated" | "ringing" | "active" | "ended" | "failed";
  readonly type: "audio" | "video";
  readonly initiatorId: string;
  readonly initiator: InitiatorData;
  /** `audioEnabled`, `videoEnabled` and `screenShareEnabled` as the call was started with. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly participants: readonly ParticipantData[];
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  /** When the call ends if it is not answered. */
  readonly expiresAt: string | null;
  /** Seconds; null until the call has ended. */
  readonly duration: number | null;
  readonly endReason: "normal" | "timeout" | "error" | "forced" | null;
  readonly mediaServerConfig: MediaServerConfig | null;
};

/** A call is over. */
export type CallEnded = {
  readonly callId: string;
  readonly conversationId: string;
  /** Seconds since it was answered. */
  readonly duration: number;
  /** A user's id; null if no user ended it. */
  readonly endedBy: string | null;
  readonly reason: "normal" | "timeout" | "error" | "forced";
  readonly endedAt: string;
};

/** An error. */
export type CallError = {
  /** The event that was refused, or `packet`. */
  readonly event?: string;
  readonly code: string;
  readonly message: string;
  readonly callId?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  /** Seconds; of a rate limit only. */
  readonly retryAfter?: number;
};

/** A call that rings. */
export type CallInitiated = {
  readonly callId: string;
  readonly conversationId: string;
  readonly type: "audio" | "video";
  readonly mode: "p2p" | "sfu";
  readonly initiator: InitiatorData;
  /** The same as `initiator`. */
  readonly caller: InitiatorData;
  readonly participants: readonly ParticipantData[];
  /** When the call ends if it is not answered. */
  readonly expiresAt: string | null;
};

/** Some calls of a conversation, newest first. */
export type CallPage = {
  readonly calls: readonly CallData[];
  readonly total: number;
  readonly limit: number;
  readonly offset: number;
  /** `cursor` of the next page; null on the last. */
  readonly nextCursor: string | null;
};

/** The call. */
export type CallRequest = { readonly callId: string };

/** An ICE candidate, as RTCIceCandidate.toJSON writes it. */
export type CandidateBody = {
  /** Empty: no more candidates. */
  readonly candidate: string;
  readonly sdpMid?: string | null;
  readonly sdpMLineIndex?: number | null;
  readonly usernameFragment?: string | null;
};

/** How a call ended. */
export type EndedData = {
  readonly message: string;
  readonly callId: string;
  readonly endedAt: string;
  /** Seconds since it was answered. */
  readonly duration: number;
};

/** Why something was refused. */
export type ErrorBody = {
  /** For programs; the docs list the codes. */
  readonly code: string;
  /** The error in words; may change between versions. */
  readonly message: string;
  /** Values that belong to the code, such as the `path` of a wrong field. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Seconds; of a rate limit only. */
  readonly retryAfter?: number;
};

/** The participant who leaves the call of a conversation. */
export type ForceLeaveRequest = {
  readonly conversationId: string;
  /** Left out: the sender. */
  readonly participantId?: string | null;
};

/** A guest and their token. */
export type GuestData = {
  /** For `auth.token` of the socket and REST. */
  readonly token: string;
  /** The guest's id; in participants it is `anonymousUserId`. */
  readonly userId: string;
  readonly name: string;
  readonly conversationId: string;
  readonly conversationType: string;
  /** Renew the token before. */
  readonly expiresAt: string;
  /** The end of the guest's session; from then on an invite is needed. */
  readonly renewableUntil: string;
};

/** Become a guest. */
export type GuestRequest = {
  /** The invite, out of the link. */
  readonly invite: string;
  readonly name: string;
};

/** A STUN or TURN server, as RTCPeerConnection takes it. */
export type IceServer = {
  readonly urls: readonly string[];
  /** Of TURN: expires with the credential. */
  readonly username?: string;
  readonly credential?: string;
};

/** Begin a call in a conversation. */
export type InitiateRequest = {
  readonly conversationId: string;
  readonly type: "audio" | "video";
  readonly settings?: MediaSettings;
  /** The number of participants, if it is known; a group of more than two starts on the media server. */
  readonly expectedParticipants?: number;
};

/** A call that was started over REST, and its initiator as a participant. */
export type InitiatedData = {
  readonly callId: string;
  /** The same as `callId`. */
  readonly id: string;
  readonly conversationId: string;
  readonly mode: "p2p" | "sfu";
  readonly status: "initiated" | "ringing" | "active" | "ended" | "failed";
  readonly type: "audio" | "video";
  readonly initiatorId: string;
  readonly initiator: InitiatorData;
  /** `audioEnabled`, `videoEnabled` and `screenShareEnabled` as the call was started with. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly participants: readonly ParticipantData[];
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  /** When the call ends if it is not answered. */
  readonly expiresAt: string | null;
  /** Seconds; null until the call has ended. */
  readonly duration: number | null;
  readonly endReason: "normal" | "timeout" | "error" | "forced" | null;
  readonly mediaServerConfig: MediaServerConfig | null;
  readonly participantId: string;
  readonly iceServers: readonly IceServer[];
};

/** The initiator of a call. */
export type InitiatorData = { readonly userId: string; readonly username: string };

/** The state of the call for a participant who joined. After a join over REST, `call:join` or `call:rejoin` binds a socket. */
export type JoinAnswer = {
  readonly rtpCapabilities: Readonly<Record<string, unknown>> | null;
  readonly mediaServerConfig: MediaServerConfig | null;
  readonly mediaToken: string | null;
  readonly mediaServerUrl: string | null;
  /** The tracks of the other participants in the room. */
  readonly producers: readonly RemoteProducer[];
  readonly callId: string;
  readonly participantId: string;
  readonly role: "initiator" | "participant";
  /** The path to build now. */
  readonly mode: "p2p" | "sfu";
  readonly phase: "p2p" | "switching_to_sfu" | "sfu" | "switching_to_p2p";
  /** Of the running transition, or the last one. */
  readonly epoch: number;
  /** Make the offer to `peer`. */
  readonly initiator: boolean;
  /** The participantId of the peer, in P2P. */
  readonly peer: string | null;
  /** Milliseconds since 1970, while a transition runs. */
  readonly switchDeadline: number | null;
  /** Why the call is not on the SFU although the rules want it there. */
  readonly reason: string | null;
  /** A `call:prewarm` will follow. */
  readonly prewarm: boolean;
  readonly status: "initiated" | "ringing" | "active" | "ended" | "failed";
  readonly joinedAt: string;
  readonly callSession: CallData;
  readonly participants: readonly ParticipantData[];
  readonly iceServers: readonly IceServer[];
};

/** Join the call of the path. */
export type JoinBody = {
  readonly settings?: MediaSettings | null;
  readonly audioEnabled?: boolean | null;
  readonly videoEnabled?: boolean | null;
};

/** The call to join. */
export type JoinRequest = {
  readonly settings?: MediaSettings | null;
  readonly audioEnabled?: boolean | null;
  readonly videoEnabled?: boolean | null;
  readonly callId: string;
};

/** The join answer as an event. */
export type Joined = {
  readonly rtpCapabilities: Readonly<Record<string, unknown>> | null;
  readonly mediaServerConfig: MediaServerConfig | null;
  readonly mediaToken: string | null;
  readonly mediaServerUrl: string | null;
  /** The tracks of the other participants in the room. */
  readonly producers: readonly RemoteProducer[];
  readonly callId: string;
  readonly participantId: string;
  readonly role: "initiator" | "participant";
  /** The path to build now. */
  readonly mode: "p2p" | "sfu";
  readonly phase: "p2p" | "switching_to_sfu" | "sfu" | "switching_to_p2p";
  /** Of the running transition, or the last one. */
  readonly epoch: number;
  /** Make the offer to `peer`. */
  readonly initiator: boolean;
  /** The participantId of the peer, in P2P. */
  readonly peer: string | null;
  /** Milliseconds since 1970, while a transition runs. */
  readonly switchDeadline: number | null;
  /** Why the call is not on the SFU although the rules want it there. */
  readonly reason: string | null;
  /** A `call:prewarm` will follow. */
  readonly prewarm: boolean;
  readonly status: "initiated" | "ringing" | "active" | "ended" | "failed";
  readonly joinedAt: string;
  readonly callSession: CallData;
  readonly participants: readonly ParticipantData[];
  readonly iceServers: readonly IceServer[];
  readonly success?: true;
};

/** The participant who left, now or before. */
export type LeftData = {
  readonly message: string;
  readonly callId: string;
  readonly participantId: string;
  readonly leftAt: string;
  /** `left`, `timeout`, `forced` or `ended`; null if it is not known any more. */
  readonly reason: string | null;
};

/** A live call in short. */
export type LiveCallLine = {
  readonly callId: string;
  readonly conversationId: string;
  readonly conversationType: string;
  readonly type: string;
  readonly status: string;
  readonly mode: string;
  readonly phase: string;
  readonly epoch: number;
  readonly participantCount: number;
  /** Participants who have a socket. */
  readonly connectedCount: number;
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly mediaServerUrl: string | null;
  readonly roomId: string | null;
  /** The room was created in advance: the call's media does not use it yet. */
  readonly prewarmed: boolean;
  /** Why the last switch failed; null unless a retry is due. */
  readonly failure: string | null;
};

/** Live calls, oldest first. */
export type LiveCalls = {
  readonly calls: readonly LiveCallLine[];
  /** The number of live calls, also those beyond the limit. */
  readonly total: number;
};

/** The room of a call. */
export type MediaServerConfig = {
  readonly roomId: string;
  readonly routerId: string;
  /** Of the room, as the media server returns them. */
  readonly rtpCapabilities: Readonly<Record<string, unknown>>;
};

/** The tracks a participant sends at the start. */
export type MediaSettings = {
  readonly audioEnabled?: boolean;
  readonly videoEnabled?: boolean;
  readonly screenShareEnabled?: boolean;
};

/** The tracks that are on; a field that is left out stays as it is. */
export type MediaStateRequest = {
  readonly callId: string;
  readonly audioEnabled?: boolean | null;
  readonly videoEnabled?: boolean | null;
  readonly screenShareEnabled?: boolean | null;
};

/** A track is on or off. */
export type MediaToggled = {
  readonly callId: string;
  readonly participantId: string;
  readonly mediaType: "audio" | "video" | "screen";
  readonly enabled: boolean;
};

/** A fresh token for the media server. */
export type MediaTokenData = {
  readonly callId: string;
  readonly mediaToken: string;
  readonly mediaServerUrl: string;
  readonly expiresAt: string;
};

/** The mode of a call. */
export type ModeData = {
  readonly callId: string;
  readonly mode: "p2p" | "sfu";
  readonly switchedAt: string | null;
  readonly mediaServerConfig: MediaServerConfig | null;
};

/** Build a new path; the old one keeps flowing. */
export type ModeSwitch = {
  readonly rtpCapabilities: Readonly<Record<string, unknown>> | null;
  readonly mediaServerConfig: MediaServerConfig | null;
  readonly mediaToken: string | null;
  readonly mediaServerUrl: string | null;
  /** The tracks of the other participants in the room. */
  readonly producers: readonly RemoteProducer[];
  readonly callId: string;
  /** The same as `newMode`. */
  readonly mode: "p2p" | "sfu";
  readonly oldMode: "p2p" | "sfu";
  readonly newMode: "p2p" | "sfu";
  readonly epoch: number;
  /** What began the transition. */
  readonly reason: string;
  /** To P2P: make the offer to `peer`. */
  readonly initiator: boolean;
  readonly role: "initiator" | "receiver";
  /** To P2P: the participantId of the peer. */
  readonly peer: string | null;
  /** Milliseconds since 1970. */
  readonly switchDeadline: number | null;
  readonly participants: readonly ParticipantData[];
  readonly iceServers: readonly IceServer[];
};

/** A transition is over. */
export type ModeSwitched = {
  readonly callId: string;
  /** The path that stays. */
  readonly mode: "p2p" | "sfu";
  readonly oldMode: "p2p" | "sfu";
  readonly epoch: number;
  readonly success: boolean;
  /** What began the transition, or why it failed. */
  readonly reason: string;
  readonly durationMs: number;
  /** Of a completed transition: the participantIds that have not confirmed. */
  readonly missing?: readonly string[];
  /** Of a failed transition: the participantIds whose new path does not work. */
  readonly failed?: readonly string[];
  /** Of a failed transition: the error each reported, by participantId. */
  readonly errors?: Readonly<Record<string, string>>;
};

/** The call's mode after a confirmation. */
export type ModeSwitchedAnswer = {
  readonly callId: string;
  readonly mode: "p2p" | "sfu";
  /** The current epoch; a confirmation of an older one changes nothing. */
  readonly epoch: number;
  readonly phase: "p2p" | "switching_to_sfu" | "sfu" | "switching_to_p2p";
};

/** Whether the new path works. */
export type ModeSwitchedRequest = {
  /** Left out: the call this socket is in. */
  readonly callId?: string | null;
  readonly mode?: "p2p" | "sfu" | null;
  /** Left out: the newest transition that was announced. */
  readonly epoch?: number | null;
  readonly success: boolean;
  readonly error?: string | null;
  readonly sfuSendTransportId?: string | null;
  readonly sfuRecvTransportId?: string | null;
  readonly producerIds?: ProducerIds | null;
};

/** An object without fields. */
export type Nothing = {};

/** The call and participant that were meant. */
export type ParticipantAnswer = { readonly callId: string; readonly participantId: string };

/** A participant's socket disconnected or reconnected. */
export type ParticipantConnection = {
  readonly callId: string;
  readonly participantId: string;
  readonly state: "reconnecting" | "connected";
};

/** A participant of a call. */
export type ParticipantData = {
  readonly participantId: string;
  /** Left out for a guest, who has `anonymousUserId`. */
  readonly userId?: string;
  readonly anonymousUserId?: string;
  /** As in the token they joined with. */
  readonly username: string;
  readonly role: "initiator" | "participant";
  /** `connecting` while its socket is disconnected. */
  readonly status: "connecting" | "connected" | "disconnected" | "failed";
  readonly joinedAt: string;
  readonly leftAt: string | null;
  readonly audioEnabled: boolean;
  readonly videoEnabled: boolean;
  readonly screenShareEnabled: boolean;
};

/** A participant joined. */
export type ParticipantJoined = {
  readonly callId: string;
  readonly participant: ParticipantData;
  readonly mode: "p2p" | "sfu";
  readonly phase: "p2p" | "switching_to_sfu" | "sfu" | "switching_to_p2p";
  readonly epoch: number;
  readonly totalParticipants: number;
  /** In P2P: make the offer to `participant.participantId` now, its socket is there. */
  readonly initiator: boolean;
  readonly iceServers: readonly IceServer[];
};

/** A participant left. */
export type ParticipantLeft = {
  readonly callId: string;
  readonly participantId: string;
  /** Left out for a guest, who has `anonymousId`. */
  readonly userId?: string;
  readonly anonymousId?: string;
  readonly username: string;
  readonly reason: "left" | "timeout" | "forced" | "rejoined";
  readonly leftAt: string;
  readonly mode: "p2p" | "sfu";
  readonly totalParticipants: number;
};

/** A room that is created in advance. */
export type Prewarm = {
  readonly rtpCapabilities: Readonly<Record<string, unknown>> | null;
  readonly mediaServerConfig: MediaServerConfig | null;
  readonly mediaToken: string | null;
  readonly mediaServerUrl: string | null;
  /** The tracks of the other participants in the room. */
  readonly producers: readonly RemoteProducer[];
  readonly callId: string;
  readonly iceServers: readonly IceServer[];
};

/** A track has ended. */
export type ProducerClosed = {
  readonly callId: string;
  readonly participantId: string;
  readonly producerId: string;
  readonly kind: "audio" | "video";
};

/** The producers of a participant on the media server. */
export type ProducerIds = {
  readonly audio?: string | null;
  readonly video?: string | null;
  readonly screen?: string | null;
};

/** A client's statistics of the last seconds. */
export type QualityBody = {
  readonly packetsLost?: number | null;
  readonly packetsReceived?: number | null;
  readonly packetLossRate?: number | null;
  /** Milliseconds; WebRTC's statistics give seconds. */
  readonly jitter?: number | null;
  /** Milliseconds. */
  readonly rtt?: number | null;
  /** Kilobits per second. */
  readonly bitrate?: number | null;
  /** Since the last report; WebRTC's statistics count from the beginning. */
  readonly bytesSent?: number | null;
  /** As `bytesSent`. */
  readonly bytesReceived?: number | null;
  readonly framesDecoded?: number | null;
  readonly frameWidth?: number | null;
  readonly frameHeight?: number | null;
};

/** The call that is refused, and why. */
export type RejectRequest = { readonly callId: string; readonly reason?: "busy" | "declined" | "unavailable" };

/** A user refused the call. */
export type Rejected = { readonly callId: string; readonly userId: string; readonly reason: string };

/** The participant whose socket broke. */
export type RejoinRequest = { readonly callId: string; readonly participantId: string };

/** An ICE candidate, unchanged. */
export type RelayedCandidate = {
  readonly candidate: string;
  readonly sdpMid?: string;
  readonly sdpMLineIndex?: number;
  readonly usernameFragment?: string;
};

/** One message of the negotiation, with its sender. */
export type RelayedSignal = {
  readonly type: "offer" | "answer" | "ice-candidate";
  /** participantId of the sender. */
  readonly from: string;
  readonly to: string;
  readonly sdp?: string;
  readonly candidate?: string | RelayedCandidate;
  readonly sdpMid?: string;
  readonly sdpMLineIndex?: number;
  readonly usernameFragment?: string;
  readonly epoch?: number;
};

/** A track that a participant sends through the media server. */
export type RemoteProducer = {
  readonly callId: string;
  readonly participantId: string;
  readonly producerId: string;
  readonly kind: "audio" | "video";
  readonly appData: Readonly<Record<string, unknown>>;
  readonly paused: boolean;
};

/** Renew a guest's token. */
export type RenewRequest = {
  /** Another name from now on. */
  readonly name?: string | null;
};

/** Request a mode; only the one that follows from the rules is accepted. */
export type SetModeBody = { readonly mode: "p2p" | "sfu" };

/** Whether the pre-warmed SFU leg works. */
export type SfuReadyRequest = { readonly callId: string; readonly success: boolean; readonly error?: string | null };

/** A participant whose SFU leg does not work. */
export type SfuUnreachable = { readonly callId: string; readonly participantId: string; readonly reason: string };

/** One message of the negotiation between two participants. */
export type Signal = {
  readonly type: "offer" | "answer" | "ice-candidate";
  /** participantId of the target. */
  readonly to: string;
  /** The sender's participantId; may be left out. */
  readonly from?: string | null;
  /** Of an offer or answer. */
  readonly sdp?: string | null;
  /** Of an ice-candidate; empty: no more candidates. */
  readonly candidate?: string | CandidateBody | null;
  readonly sdpMid?: string | null;
  readonly sdpMLineIndex?: number | null;
  readonly usernameFragment?: string | null;
  readonly epoch?: number | null;
};

/** A signal from another participant. */
export type SignalEvent = { readonly callId: string; readonly signal: RelayedSignal };

/** A signal for another participant. */
export type SignalRequest = { readonly callId: string; readonly signal: Signal };

/** The audio level of a participant. */
export type SpeakerVolume = {
  readonly participantId: string;
  readonly producerId: string;
  /** dBov: 0 is the loudest. */
  readonly volume: number;
};

/** Whether a track is on. */
export type ToggleRequest = { readonly callId: string; readonly enabled: boolean };

/** A user or guest as others see them. */
export type UserView = { readonly id: string; readonly username: string; readonly kind: "user" | "anonymous" };

/** What a page needs to know at its start. */
export type WebConfig = {
  readonly version: string;
  readonly development: boolean;
  readonly serverTime: string;
  /** As clients reach them. */
  readonly mediaServerUrls: readonly string[];
  /** Whether there are TURN servers; join answers hold their addresses and credentials. */
  readonly turn: boolean;
  /** Whether guests are let in by an invite. */
  readonly invites: boolean;
  /** Of a group call. */
  readonly maxParticipants: number;
  /** When a call that no other participant has joined ends. */
  readonly ringTimeoutS: number;
  /** How long the place of a participant whose socket broke is kept. */
  readonly reconnectGraceS: number;
  readonly maxNameChars: number;
};

export interface ClientEvents {
  authenticate: { payload: AuthenticateRequest; answer: AuthenticateAnswer };
  "call:initiate": { payload: InitiateRequest; answer: JoinAnswer };
  "call:join": { payload: JoinRequest; answer: JoinAnswer };
  "call:accept": { payload: JoinRequest; answer: JoinAnswer };
  "call:rejoin": { payload: RejoinRequest; answer: JoinAnswer };
  "call:leave": { payload: CallRequest; answer: LeftData };
  "call:reject": { payload: RejectRequest; answer: CallAnswer };
  "call:signal": { payload: SignalRequest; answer: Nothing };
  "call:toggle-audio": { payload: ToggleRequest; answer: MediaToggled };
  "call:toggle-video": { payload: ToggleRequest; answer: MediaToggled };
  "call:media-state-change": { payload: MediaStateRequest; answer: ParticipantAnswer };
  "call:end": { payload: CallRequest; answer: EndedData };
  "call:force-leave": { payload: ForceLeaveRequest; answer: LeftData };
  "call:mode-switched": { payload: ModeSwitchedRequest; answer: ModeSwitchedAnswer };
  "call:mode-switch-ack": { payload: ModeSwitchedRequest; answer: ModeSwitchedAnswer };
  "call:sfu-ready": { payload: SfuReadyRequest; answer: CallAnswer };
  "call:media-token": { payload: CallRequest; answer: MediaTokenData };
}

export interface ServerEvents {
  authenticated: Authenticated;
  "call:initiated": CallInitiated;
  "call:incoming": CallInitiated;
  "call:join": Joined;
  "call:rejoined": Joined;
  "call:participant-joined": ParticipantJoined;
  "call:participant-left": ParticipantLeft;
  "call:participant-connection": ParticipantConnection;
  "call:signal": SignalEvent;
  "call:media-toggled": MediaToggled;
  "call:rejected": Rejected;
  "call:mode-switch": ModeSwitch;
  "call:mode-switched": ModeSwitched;
  "call:prewarm": Prewarm;
  "call:sfu-unreachable": SfuUnreachable;
  "new-producer": RemoteProducer;
  "producer-closed": ProducerClosed;
  "active-speaker": ActiveSpeaker;
  "call:media-token": MediaTokenData;
  "call:ended": CallEnded;
  "call:error": CallError;
}

export interface Requests {
  "POST /api/calls": { body: InitiateRequest; data: InitiatedData };
  "GET /api/calls/{callId}": { body: undefined; data: CallData };
  "DELETE /api/calls/{callId}": { body: undefined; data: EndedData };
  "PUT /api/calls/{callId}/mode": { body: SetModeBody; data: ModeData };
  "POST /api/calls/{callId}/quality-metrics": { body: QualityBody; data: undefined };
  "POST /api/calls/{callId}/participants": { body: JoinBody; data: JoinAnswer };
  "DELETE /api/calls/{callId}/participants/{participantId}": { body: undefined; data: LeftData };
  "POST /api/calls/{callId}/leave": { body: undefined; data: LeftData };
  "GET /api/conversations/{conversationId}/calls": { body: undefined; data: CallPage };
  "GET /api/conversations/{conversationId}/active-call": { body: undefined; data: ActiveCallData };
  "GET /api/calls": { body: undefined; data: LiveCalls };
  "POST /api/guests": { body: GuestRequest; data: GuestData };
  "POST /api/guests/renew": { body: RenewRequest; data: GuestData };
  "GET /api/web-config": { body: undefined; data: WebConfig };
}

export const SHAPES: Readonly<Record<string, Shape>> = {
  ActiveCallData: { call: ["u", "#CallData", "0"] },
  ActiveSpeaker: {
    callId: "s",
    participantId: ["u", "s", "0"],
    producerId: ["u", "s", "0"],
    volumes: ["a", "#SpeakerVolume"],
  },
  AuthenticateAnswer: { user: "#UserView" },
  Authenticated: { user: "#UserView", "success?": ["e", true] },
  CallAnswer: { callId: "s" },
  CallData: {
    callId: "s",
    id: "s",
    conversationId: "s",
    mode: ["e", "p2p", "sfu"],
    status: ["e", "initiated", "ringing", "active", "ended", "failed"],
    type: ["e", "audio", "video"],
    initiatorId: "s",
    initiator: "#InitiatorData",
    settings: "o",
    participants: ["a", "#ParticipantData"],
    createdAt: "s",
    startedAt: ["u", "s", "0"],
    endedAt: ["u", "s", "0"],
    expiresAt: ["u", "s", "0"],
    duration: ["u", "i", "0"],
    endReason: ["u", ["e", "normal", "timeout", "error", "forced"], "0"],
    mediaServerConfig: ["u", "#MediaServerConfig", "0"],
  },
  CallEnded: {
    callId: "s",
    conversationId: "s",
    duration: "i",
    endedBy: ["u", "s", "0"],
    reason: ["e", "normal", "timeout", "error", "forced"],
    endedAt: "s",
  },
  CallError: {
    "event?": "s",
    code: "s",
    message: "s",
    "callId?": "s",
    "details?": "o",
    "retryAfter?": ["u", "i", "n"],
  },
  CallInitiated: {
    callId: "s",
    conversationId: "s",
    type: ["e", "audio", "video"],
    mode: ["e", "p2p", "sfu"],
    initiator: "#InitiatorData",
    caller: "#InitiatorData",
    participants: ["a", "#ParticipantData"],
    expiresAt: ["u", "s", "0"],
  },
  CallPage: { calls: ["a", "#CallData"], total: "i", limit: "i", offset: "i", nextCursor: ["u", "s", "0"] },
  EndedData: { message: "s", callId: "s", endedAt: "s", duration: "i" },
  GuestData: {
    token: "s",
    userId: "s",
    name: "s",
    conversationId: "s",
    conversationType: "s",
    expiresAt: "s",
    renewableUntil: "s",
  },
  IceServer: { urls: ["a", "s"], "username?": "s", "credential?": "s" },
  InitiatedData: {
    callId: "s",
    id: "s",
    conversationId: "s",
    mode: ["e", "p2p", "sfu"],
    status: ["e", "initiated", "ringing", "active", "ended", "failed"],
    type: ["e", "audio", "video"],
    initiatorId: "s",
    initiator: "#InitiatorData",
    settings: "o",
    participants: ["a", "#ParticipantData"],
    createdAt: "s",
    startedAt: ["u", "s", "0"],
    endedAt: ["u", "s", "0"],
    expiresAt: ["u", "s", "0"],
    duration: ["u", "i", "0"],
    endReason: ["u", ["e", "normal", "timeout", "error", "forced"], "0"],
    mediaServerConfig: ["u", "#MediaServerConfig", "0"],
    participantId: "s",
    iceServers: ["a", "#IceServer"],
  },
  InitiatorData: { userId: "s", username: "s" },
  JoinAnswer: {
    rtpCapabilities: ["u", "o", "0"],
    mediaServerConfig: ["u", "#MediaServerConfig", "0"],
    mediaToken: ["u", "s", "0"],
    mediaServerUrl: ["u", "s", "0"],
    producers: ["a", "#RemoteProducer"],
    callId: "s",
    participantId: "s",
    role: ["e", "initiator", "participant"],
    mode: ["e", "p2p", "sfu"],
    phase: ["e", "p2p", "switching_to_sfu", "sfu", "switching_to_p2p"],
    epoch: "i",
    initiator: "b",
    peer: ["u", "s", "0"],
    switchDeadline: ["u", "i", "0"],
    reason: ["u", "s", "0"],
    prewarm: "b",
    status: ["e", "initiated", "ringing", "active", "ended", "failed"],
    joinedAt: "s",
    callSession: "#CallData",
    participants: ["a", "#ParticipantData"],
    iceServers: ["a", "#IceServer"],
  },
  Joined: {
    rtpCapabilities: ["u", "o", "0"],
    mediaServerConfig: ["u", "#MediaServerConfig", "0"],
    mediaToken: ["u", "s", "0"],
    mediaServerUrl: ["u", "s", "0"],
    producers: ["a", "#RemoteProducer"],
    callId: "s",
    participantId: "s",
    role: ["e", "initiator", "participant"],
    mode: ["e", "p2p", "sfu"],
    phase: ["e", "p2p", "switching_to_sfu", "sfu", "switching_to_p2p"],
    epoch: "i",
    initiator: "b",
    peer: ["u", "s", "0"],
    switchDeadline: ["u", "i", "0"],
    reason: ["u", "s", "0"],
    prewarm: "b",
    status: ["e", "initiated", "ringing", "active", "ended", "failed"],
    joinedAt: "s",
    callSession: "#CallData",
    participants: ["a", "#ParticipantData"],
    iceServers: ["a", "#IceServer"],
    "success?": ["e", true],
  },
  LeftData: { message: "s", callId: "s", participantId: "s", leftAt: "s", reason: ["u", "s", "0"] },
  LiveCallLine: {
    callId: "s",
    conversationId: "s",
    conversationType: "s",
    type: "s",
    status: "s",
    mode: "s",
    phase: "s",
    epoch: "i",
    participantCount: "i",
    connectedCount: "i",
    createdAt: "s",
    startedAt: ["u", "s", "0"],
    mediaServerUrl: ["u", "s", "0"],
    roomId: ["u", "s", "0"],
    prewarmed: "b",
    failure: ["u", "s", "0"],
  },
  LiveCalls: { calls: ["a", "#LiveCallLine"], total: "i" },
  MediaServerConfig: { roomId: "s", routerId: "s", rtpCapabilities: "o" },
  MediaToggled: { callId: "s", participantId: "s", mediaType: ["e", "audio", "video", "screen"], enabled: "b" },
  MediaTokenData: { callId: "s", mediaToken: "s", mediaServerUrl: "s", expiresAt: "s" },
  ModeData: {
    callId: "s",
    mode: ["e", "p2p", "sfu"],
    switchedAt: ["u", "s", "0"],
    mediaServerConfig: ["u", "#MediaServerConfig", "0"],
  },
  ModeSwitch: {
    rtpCapabilities: ["u", "o", "0"],
    mediaServerConfig: ["u", "#MediaServerConfig", "0"],
    mediaToken: ["u", "s", "0"],
    mediaServerUrl: ["u", "s", "0"],
    producers: ["a", "#RemoteProducer"],
    callId: "s",
    mode: ["e", "p2p", "sfu"],
    oldMode: ["e", "p2p", "sfu"],
    newMode: ["e", "p2p", "sfu"],
    epoch: "i",
    reason: "s",
    initiator: "b",
    role: ["e", "initiator", "receiver"],
    peer: ["u", "s", "0"],
    switchDeadline: ["u", "i", "0"],
    participants: ["a", "#ParticipantData"],
    iceServers: ["a", "#IceServer"],
  },
  ModeSwitched: {
    callId: "s",
    mode: ["e", "p2p", "sfu"],
    oldMode: ["e", "p2p", "sfu"],
    epoch: "i",
    success: "b",
    reason: "s",
    durationMs: "i",
    "missing?": ["a", "s"],
    "failed?": ["a", "s"],
    "errors?": "o",
  },
  ModeSwitchedAnswer: {
    callId: "s",
    mode: ["e", "p2p", "sfu"],
    epoch: "i",
    phase: ["e", "p2p", "switching_to_sfu", "sfu", "switching_to_p2p"],
  },
  Nothing: {},
  ParticipantAnswer: { callId: "s", participantId: "s" },
  ParticipantConnection: { callId: "s", participantId: "s", state: ["e", "reconnecting", "connected"] },
  ParticipantData: {
    participantId: "s",
    "userId?": "s",
    "anonymousUserId?": "s",
    username: "s",
    role: ["e", "initiator", "participant"],
    status: ["e", "connecting", "connected", "disconnected", "failed"],
    joinedAt: "s",
    leftAt: ["u", "s", "0"],
    audioEnabled: "b",
    videoEnabled: "b",
    screenShareEnabled: "b",
  },
  ParticipantJoined: {
    callId: "s",
    participant: "#ParticipantData",
    mode: ["e", "p2p", "sfu"],
    phase: ["e", "p2p", "switching_to_sfu", "sfu", "switching_to_p2p"],
    epoch: "i",
    totalParticipants: "i",
    initiator: "b",
    iceServers: ["a", "#IceServer"],
  },
  ParticipantLeft: {
    callId: "s",
    participantId: "s",
    "userId?": "s",
    "anonymousId?": "s",
    username: "s",
    reason: ["e", "left", "timeout", "forced", "rejoined"],
    leftAt: "s",
    mode: ["e", "p2p", "sfu"],
    totalParticipants: "i",
  },
  Prewarm: {
    rtpCapabilities: ["u", "o", "0"],
    mediaServerConfig: ["u", "#MediaServerConfig", "0"],
    mediaToken: ["u", "s", "0"],
    mediaServerUrl: ["u", "s", "0"],
    producers: ["a", "#RemoteProducer"],
    callId: "s",
    iceServers: ["a", "#IceServer"],
  },
  ProducerClosed: { callId: "s", participantId: "s", producerId: "s", kind: ["e", "audio", "video"] },
  Rejected: { callId: "s", userId: "s", reason: "s" },
  RelayedCandidate: { candidate: "s", "sdpMid?": "s", "sdpMLineIndex?": "i", "usernameFragment?": "s" },
  RelayedSignal: {
    type: ["e", "offer", "answer", "ice-candidate"],
    from: "s",
    to: "s",
    "sdp?": "s",
    "candidate?": ["u", "s", "#RelayedCandidate"],
    "sdpMid?": "s",
    "sdpMLineIndex?": "i",
    "usernameFragment?": "s",
    "epoch?": "i",
  },
  RemoteProducer: {
    callId: "s",
    participantId: "s",
    producerId: "s",
    kind: ["e", "audio", "video"],
    appData: "o",
    paused: "b",
  },
  SfuUnreachable: { callId: "s", participantId: "s", reason: "s" },
  SignalEvent: { callId: "s", signal: "#RelayedSignal" },
  SpeakerVolume: { participantId: "s", producerId: "s", volume: "i" },
  UserView: { id: "s", username: "s", kind: ["e", "user", "anonymous"] },
  WebConfig: {
    version: "s",
    development: "b",
    serverTime: "s",
    mediaServerUrls: ["a", "s"],
    turn: "b",
    invites: "b",
    maxParticipants: "i",
    ringTimeoutS: "n",
    reconnectGraceS: "n",
    maxNameChars: "i",
  },
};

export const EVENTS: Readonly<Record<keyof ServerEvents, Shape>> = {
  authenticated: "#Authenticated",
  "call:initiated": "#CallInitiated",
  "call:incoming": "#CallInitiated",
  "call:join": "#Joined",
  "call:rejoined": "#Joined",
  "call:participant-joined": "#ParticipantJoined",
  "call:participant-left": "#ParticipantLeft",
  "call:participant-connection": "#ParticipantConnection",
  "call:signal": "#SignalEvent",
  "call:media-toggled": "#MediaToggled",
  "call:rejected": "#Rejected",
  "call:mode-switch": "#ModeSwitch",
  "call:mode-switched": "#ModeSwitched",
  "call:prewarm": "#Prewarm",
  "call:sfu-unreachable": "#SfuUnreachable",
  "new-producer": "#RemoteProducer",
  "producer-closed": "#ProducerClosed",
  "active-speaker": "#ActiveSpeaker",
  "call:media-token": "#MediaTokenData",
  "call:ended": "#CallEnded",
  "call:error": "#CallError",
};

export const ANSWERS: Readonly<Partial<Record<keyof ClientEvents | keyof Requests, Shape>>> = {
  authenticate: "#AuthenticateAnswer",
  "call:initiate": "#JoinAnswer",
  "call:join": "#JoinAnswer",
  "call:accept": "#JoinAnswer",
  "call:rejoin": "#JoinAnswer",
  "call:leave": "#LeftData",
  "call:reject": "#CallAnswer",
  "call:signal": "#Nothing",
  "call:toggle-audio": "#MediaToggled",
  "call:toggle-video": "#MediaToggled",
  "call:media-state-change": "#ParticipantAnswer",
  "call:end": "#EndedData",
  "call:force-leave": "#LeftData",
  "call:mode-switched": "#ModeSwitchedAnswer",
  "call:mode-switch-ack": "#ModeSwitchedAnswer",
  "call:sfu-ready": "#CallAnswer",
  "call:media-token": "#MediaTokenData",
  "POST /api/calls": "#InitiatedData",
  "GET /api/calls/{callId}": "#CallData",
  "DELETE /api/calls/{callId}": "#EndedData",
  "PUT /api/calls/{callId}/mode": "#ModeData",
  "POST /api/calls/{callId}/participants": "#JoinAnswer",
  "DELETE /api/calls/{callId}/participants/{participantId}": "#LeftData",
  "POST /api/calls/{callId}/leave": "#LeftData",
  "GET /api/conversations/{conversationId}/calls": "#CallPage",
  "GET /api/conversations/{conversationId}/active-call": "#ActiveCallData",
  "GET /api/calls": "#LiveCalls",
  "POST /api/guests": "#GuestData",
  "POST /api/guests/renew": "#GuestData",
  "GET /api/web-config": "#WebConfig",
};
