// Made by `npm run wire` from docs/schemas/media-server.json; not to be edited.
import type { Shape } from "./check";

/** The active speakers. */
export type ActiveSpeaker = {
  readonly callId: string;
  /** The dominant speaker; null before the first. */
  readonly participantId: string | null;
  readonly producerId: string | null;
  /** Loudest first; empty in silence. */
  readonly volumes: readonly SpeakerVolume[];
};

/** The client's side of the DTLS handshake; once per transport. */
export type ConnectTransportRequest = {
  /** DTLS role and certificates. */
  readonly dtlsParameters: {
    readonly role?: "auto" | "client" | "server";
    readonly fingerprints: readonly DtlsFingerprint[];
  };
};

/** A consumer for producerId, a list for producerIds. */
export type ConsumeAnswer = ConsumerData | ConsumeBatchData;

/** One entry per producer asked for, in the same order. */
export type ConsumeBatchData = { readonly consumers: readonly (ConsumerData | ConsumeFailure)[] };

/** A producer of a batch that could not be consumed. */
export type ConsumeFailure = { readonly producerId: string; readonly error: ErrorBody };

/** One producer, or several at once, to receive. */
export type ConsumeRequest = {
  readonly participantId: string;
  readonly producerId?: string | null;
  readonly producerIds?: readonly string[] | null;
  /** May be left out if they were sent with the join. */
  readonly rtpCapabilities?: {
    readonly codecs?: readonly RtpCodecCapability[];
    readonly headerExtensions?: readonly RtpHeaderExtension[];
  } | null;
  /** Consumers are created paused unless this is false. */
  readonly paused?: boolean;
};

/** The consumer that was meant. */
export type ConsumerAnswer = { readonly consumerId: string };

/** A new consumer; paused until resumed. */
export type ConsumerData = {
  readonly consumerId: string;
  readonly id: string;
  readonly producerId: string;
  readonly kind: "audio" | "video";
  /** All that is needed to send or receive one track. */
  readonly rtpParameters: {
    readonly mid?: string | null;
    readonly codecs: readonly RtpCodecParameters[];
    readonly headerExtensions?: readonly RtpHeaderExtensionParameters[];
    readonly encodings?: readonly RtpEncoding[];
    readonly rtcp?: RtcpParameters;
    readonly msid?: string | null;
  };
  readonly type: "simple" | "simulcast" | "svc";
  readonly producerPaused: boolean;
  readonly paused: boolean;
  /** The highest layers that are received; null unless the track is simulcast or SVC. */
  readonly preferredLayers: ConsumerLayers | null;
  /** The layers of a simulcast track that are forwarded now; null while none are, and for other tracks. */
  readonly currentLayers: ConsumerLayers | null;
  /** The participant who sends the track. */
  readonly participantId: string;
  readonly appData: Readonly<Record<string, unknown>>;
};

/** A consumer. */
export type ConsumerEventRequest = { readonly consumerId: string };

/** A consumer of a batch that could not be changed. */
export type ConsumerFailure = { readonly consumerId: string; readonly error: ErrorBody };

/** A consumer whose producer was paused or resumed. */
export type ConsumerFlow = { readonly callId: string; readonly consumerId: string; readonly producerId: string };

/** Layers of a simulcast or SVC track, counted from 0, the lowest. */
export type ConsumerLayers = {
  readonly spatialLayer: number;
  /** Absent where no temporal layer is chosen: all are received. */
  readonly temporalLayer?: number;
};

/** The quality of a consumer. */
export type ConsumerScore = {
  /** 0 to 10. */
  readonly score: number;
  /** Of the stream that is forwarded. */
  readonly producerScore: number;
  /** Of all streams of the producer. */
  readonly producerScores: readonly number[];
};

/** Several consumers at once. */
export type ConsumersRequest = { readonly consumerIds: readonly string[] };

/** The call's room; the body may be left out. */
export type CreateRoomRequest = {
  /** Codecs of this call, most wanted first; the server's own choice when left out. */
  readonly mediaCodecs?: readonly {
    readonly kind?: "audio" | "video" | null;
    readonly mimeType: string;
    readonly preferredPayloadType?: number | null;
    readonly clockRate: number;
    readonly channels?: number | null;
    readonly parameters?: Readonly<Record<string, string | number>>;
    readonly rtcpFeedback?: readonly RtcpFeedback[];
  }[];
  /** Created in advance, by a service: it counts as a call from POST …/activate on. */
  readonly prewarm?: boolean;
  /** The name of the service that manages the room; GET /api/rooms shows it. */
  readonly owner?: string | null;
};

/** One direction of one participant. */
export type CreateTransportRequest = {
  readonly participantId: string;
  readonly direction: "send" | "recv";
  /** Offer TCP candidates only. */
  readonly forceTcp?: boolean;
  /** Ignored; `direction` decides. */
  readonly producing?: boolean | null;
  /** Ignored; `direction` decides. */
  readonly consuming?: boolean | null;
};

/** The digest of a certificate. */
export type DtlsFingerprint = {
  /** sha-256, sha-384 or sha-512, in letters of any case; of several, one of these is enough. */
  readonly algorithm: string;
  /** Pairs of hex digits with colons. */
  readonly value: string;
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

/** New credentials; the old ones are valid until the first check with the new ones. */
export type IceRestartData = {
  /** Credentials of the server's ICE-lite agent. */
  readonly iceParameters: { readonly usernameFragment: string; readonly password: string; readonly iceLite: true };
};

/** The room, both transports, and the producers to consume. */
export type JoinData = {
  readonly roomId: string;
  readonly routerId: string;
  /** What a router forwards or a client receives. */
  readonly rtpCapabilities: {
    readonly codecs?: readonly RtpCodecCapability[];
    readonly headerExtensions?: readonly RtpHeaderExtension[];
  };
  readonly sendTransport: TransportData;
  readonly recvTransport: TransportData;
  readonly producers: readonly ProducerSummary[];
};

/** A participant with both transports at once. */
export type JoinRequest = {
  readonly participantId: string;
  /** What the participant can receive; may be sent with each consume instead. */
  readonly rtpCapabilities?: {
    readonly codecs?: readonly RtpCodecCapability[];
    readonly headerExtensions?: readonly RtpHeaderExtension[];
  } | null;
  readonly appData?: Readonly<Record<string, unknown>>;
  readonly forceTcp?: boolean;
  /** Create the room when it does not exist. */
  readonly create?: boolean;
};

/** The room, and what a resumed session owns. */
export type JoinRoomAnswer = {
  readonly roomId: string;
  /** The number of participants. */
  readonly participants: number;
  /** The number of other participants' producers. */
  readonly producers: number;
  /** Whether there was a session to resume; absent for a service. */
  readonly resumed?: boolean;
  /** What the session owns; absent for a service. */
  readonly owned?: Owned;
};

/** A participant of a call, and whether it resumes its session. */
export type JoinRoomRequest = {
  readonly callId: string;
  readonly participantId: string;
  /** Resume the former session, as after a broken connection; otherwise what it owns is closed. */
  readonly resume?: boolean;
};

/** The layers of a simulcast track that are forwarded to a receiver. */
export type LayersChanged = {
  readonly callId: string;
  readonly consumerId: string;
  readonly producerId: string;
  /** What is forwarded from now on; null when nothing is. */
  readonly layers: ConsumerLayers | null;
};

/** How a participant left, now or before. */
export type LeftData = {
  readonly participantId: string;
  /** ISO 8601, UTC. */
  readonly leftAt: string;
  readonly reason: string;
};

/** One room of the list. */
export type ListedRoom = {
  readonly callId: string;
  readonly roomId: string;
  readonly participantCount: number;
  readonly prewarm: boolean;
  /** The service that manages the room, as named when it was created. */
  readonly owner: string | null;
};

/** The most that a transport's client is asked to send. */
export type MaxIncomingBitrateRequest = {
  /** Bits per second; 0 lifts the limit. */
  readonly bitrate: number;
};

/** A track that can be consumed. */
export type NewProducer = {
  readonly callId: string;
  readonly participantId: string;
  readonly producerId: string;
  readonly kind: "audio" | "video";
  readonly appData: Readonly<Record<string, unknown>>;
  readonly paused: boolean;
};

/** An object without fields. */
export type Nothing = {};

/** What a session owns. */
export type Owned = {
  readonly transports: readonly OwnedTransport[];
  readonly producers: readonly OwnedProducer[];
  readonly consumers: readonly OwnedConsumer[];
};

/** A consumer of a session. */
export type OwnedConsumer = {
  readonly consumerId: string;
  readonly producerId: string;
  readonly kind: "audio" | "video";
  readonly paused: boolean;
};

/** A producer of a session. */
export type OwnedProducer = {
  readonly producerId: string;
  readonly kind: "audio" | "video";
  readonly appData: Readonly<Record<string, unknown>>;
  readonly paused: boolean;
};

/** A transport of a session. */
export type OwnedTransport = { readonly transportId: string; readonly direction: "send" | "recv" };

/** A participant joined. */
export type ParticipantJoined = { readonly callId: string; readonly participantId: string };

/** A participant left. */
export type ParticipantLeft = {
  readonly callId: string;
  readonly participantId: string;
  /** `left`, `removed`, `disconnected`, `token-expired`, or a sentence such as why the connection was lost. */
  readonly reason: string;
};

/** The consumers that were paused. */
export type PausedData = { readonly paused: readonly string[]; readonly errors: readonly ConsumerFailure[] };

/** The consumer that was meant, and its layers, clamped to what there is. */
export type PreferredLayersAnswer = {
  readonly consumerId: string;
  /** The highest layers that are received; null unless the track is simulcast or SVC. */
  readonly preferredLayers: ConsumerLayers | null;
};

/** The highest layers that are received; null unless the track is simulcast or SVC. */
export type PreferredLayersData = { readonly preferredLayers: ConsumerLayers | null };

/** A consumer, and the highest layers to receive of it. */
export type PreferredLayersEventRequest = {
  readonly spatialLayer: number;
  readonly temporalLayer?: number | null;
  readonly consumerId: string;
};

/** The highest layers that the participant wants of a consumer. */
export type PreferredLayersRequest = { readonly spatialLayer: number; readonly temporalLayer?: number | null };

/** A new producer. */
export type ProduceData = { readonly producerId: string; readonly id: string; readonly kind: "audio" | "video" };

/** A track that the participant sends. */
export type ProduceRequest = {
  readonly participantId: string;
  readonly kind: "audio" | "video";
  /** All that is needed to send or receive one track. */
  readonly rtpParameters: {
    readonly mid?: string | null;
    readonly codecs: readonly RtpCodecParameters[];
    readonly headerExtensions?: readonly RtpHeaderExtensionParameters[];
    readonly encodings?: readonly RtpEncoding[];
    readonly rtcp?: RtcpParameters;
    readonly msid?: string | null;
  };
  /** Passed on to the other participants; ``source`` (microphone, camera, screen) distinguishes tracks of one kind. */
  readonly appData?: Readonly<Record<string, unknown>>;
  readonly paused?: boolean;
};

/** A track has ended. */
export type ProducerClosed = {
  readonly callId: string;
  readonly participantId: string;
  readonly producerId: string;
  readonly kind: "audio" | "video";
};

/** A track that can be consumed. */
export type ProducerSummary = {
  readonly participantId: string;
  readonly producerId: string;
  readonly kind: "audio" | "video";
  readonly appData: Readonly<Record<string, unknown>>;
  readonly paused: boolean;
};

/** Until when the new token is valid. */
export type RefreshTokenAnswer = {
  /** Seconds since 1970. */
  readonly expiresAt: number;
};

/** A new token for the same call, participant and role. */
export type RefreshTokenRequest = { readonly token: string };

/** An event that was refused; the acknowledgement says the same. */
export type RequestError = {
  /** Its name, or `packet`. */
  readonly event: string;
  readonly error: ErrorBody;
};

/** The consumers that were resumed. */
export type ResumedData = { readonly resumed: readonly string[]; readonly errors: readonly ConsumerFailure[] };

/** The call is over on this server. */
export type RoomClosed = {
  readonly callId: string;
  readonly roomId: string;
  /** `closed`, `empty`, `worker-died` or `server-shutdown`. */
  readonly reason: string;
};

/** A room as its members see it. */
export type RoomData = {
  readonly roomId: string;
  readonly routerId: string;
  /** What a router forwards or a client receives. */
  readonly rtpCapabilities: {
    readonly codecs?: readonly RtpCodecCapability[];
    readonly headerExtensions?: readonly RtpHeaderExtension[];
  };
};

/** A room with its size. */
export type RoomDetails = {
  readonly roomId: string;
  readonly routerId: string;
  /** What a router forwards or a client receives. */
  readonly rtpCapabilities: {
    readonly codecs?: readonly RtpCodecCapability[];
    readonly headerExtensions?: readonly RtpHeaderExtension[];
  };
  readonly participantCount: number;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
};

/** A participant of a call. */
export type RoomEventRequest = { readonly callId: string; readonly participantId: string };

/** All rooms of this server, oldest first. */
export type RoomList = { readonly rooms: readonly ListedRoom[] };

/** A kind of RTCP message that may come back. */
export type RtcpFeedback = { readonly type: string; readonly parameter?: string };

/** RTCP of a track. */
export type RtcpParameters = { readonly cname?: string; readonly reducedSize?: boolean };

/** A codec that can be received. */
export type RtpCodecCapability = {
  readonly kind?: "audio" | "video" | null;
  readonly mimeType: string;
  readonly preferredPayloadType?: number | null;
  readonly clockRate: number;
  readonly channels?: number | null;
  readonly parameters?: Readonly<Record<string, string | number>>;
  readonly rtcpFeedback?: readonly RtcpFeedback[];
};

/** A codec in use. */
export type RtpCodecParameters = {
  readonly mimeType: string;
  readonly payloadType: number;
  readonly clockRate: number;
  readonly channels?: number | null;
  readonly parameters?: Readonly<Record<string, string | number>>;
  readonly rtcpFeedback?: readonly RtcpFeedback[];
};

/** One stream of a track. */
export type RtpEncoding = {
  readonly ssrc?: number | null;
  readonly rid?: string | null;
  readonly rtx?: RtxEncoding | null;
  readonly dtx?: boolean;
  readonly scalabilityMode?: string | null;
  readonly maxBitrate?: number | null;
};

/** A header extension that can be received. */
export type RtpHeaderExtension = {
  readonly kind: "audio" | "video";
  readonly uri: string;
  readonly preferredId: number;
  readonly preferredEncrypt?: boolean;
  readonly direction?: "sendrecv" | "sendonly" | "recvonly" | "inactive";
};

/** A header extension in use. */
export type RtpHeaderExtensionParameters = {
  readonly uri: string;
  readonly id: number;
  readonly encrypt?: boolean;
  readonly parameters?: Readonly<Record<string, unknown>>;
};

/** The stream of retransmissions. */
export type RtxEncoding = { readonly ssrc: number };

/** The quality of a track: of a producer to its owner, of a consumer to its receiver. */
export type Score = {
  readonly callId: string;
  readonly producerId: string;
  /** Of a consumer only. */
  readonly consumerId?: string;
  /** Of a producer a list, one entry per stream; of a consumer an object. */
  readonly score: readonly StreamScore[] | ConsumerScore;
};

/** The audio level of a participant. */
export type SpeakerVolume = {
  readonly participantId: string;
  readonly producerId: string;
  /** dBov, -127 to 0: 0 is the loudest. */
  readonly volume: number;
};

/** Counters of one object. */
export type StatsData = { readonly stats: Readonly<Record<string, unknown>> };

/** The quality of one stream of a producer. */
export type StreamScore = {
  readonly encodingIdx: number;
  readonly ssrc: number;
  /** 0 to 10. */
  readonly score: number;
  readonly rid?: string;
};

/** The parameters with which a client creates its side of a transport. */
export type TransportData = {
  readonly transportId: string;
  /** The same as transportId, under the name mediasoup-client wants. */
  readonly id: string;
  /** Credentials of the server's ICE-lite agent. */
  readonly iceParameters: { readonly usernameFragment: string; readonly password: string; readonly iceLite: true };
  readonly iceCandidates: readonly {
    readonly foundation: string;
    readonly priority: number;
    readonly ip: string;
    readonly address: string;
    readonly protocol: "udp" | "tcp";
    readonly port: number;
    readonly type: "host";
    readonly tcpType?: "passive" | null;
  }[];
  /** DTLS role and certificates. */
  readonly dtlsParameters: {
    readonly role?: "auto" | "client" | "server";
    readonly fingerprints: readonly DtlsFingerprint[];
  };
  readonly sctpParameters?: null;
};

/** The state of a transport. */
export type TransportState = {
  readonly callId: string;
  readonly transportId: string;
  readonly iceState: "new" | "connected" | "completed" | "disconnected" | "closed";
  readonly dtlsState: "new" | "connecting" | "connected" | "failed" | "closed";
  /** Why it failed, if it did. */
  readonly reason: string | null;
};

export interface ClientEvents {
  "join-room": { payload: JoinRoomRequest; answer: JoinRoomAnswer };
  "leave-room": { payload: RoomEventRequest; answer: Nothing };
  "pause-consumer": { payload: ConsumerEventRequest; answer: ConsumerAnswer };
  "resume-consumer": { payload: ConsumerEventRequest; answer: ConsumerAnswer };
  "set-preferred-layers": { payload: PreferredLayersEventRequest; answer: PreferredLayersAnswer };
  "refresh-token": { payload: RefreshTokenRequest; answer: RefreshTokenAnswer };
}

export interface ServerEvents {
  "new-producer": NewProducer;
  "producer-closed": ProducerClosed;
  "consumer-paused": ConsumerFlow;
  "consumer-resumed": ConsumerFlow;
  "active-speaker": ActiveSpeaker;
  score: Score;
  "layers-changed": LayersChanged;
  "transport-state": TransportState;
  "participant-joined": ParticipantJoined;
  "participant-left": ParticipantLeft;
  "room-closed": RoomClosed;
  "request-error": RequestError;
}

export interface Requests {
  "POST /api/rooms/{callId}/create": { body: CreateRoomRequest; data: RoomData };
  "GET /api/rooms/{callId}": { body: undefined; data: RoomDetails };
  "POST /api/rooms/{callId}/join": { body: JoinRequest; data: JoinData };
  "POST /api/rooms/{callId}/participants/{participantId}/leave": { body: undefined; data: LeftData };
  "POST /api/rooms/{callId}/transports": { body: CreateTransportRequest; data: TransportData };
  "POST /api/rooms/{callId}/transports/{transportId}/connect": { body: ConnectTransportRequest; data: undefined };
  "POST /api/rooms/{callId}/transports/{transportId}/restart-ice": { body: undefined; data: IceRestartData };
  "POST /api/rooms/{callId}/transports/{transportId}/max-incoming-bitrate": {
    body: MaxIncomingBitrateRequest;
    data: undefined;
  };
  "GET /api/rooms/{callId}/transports/{transportId}/stats": { body: undefined; data: StatsData };
  "POST /api/rooms/{callId}/transports/{transportId}/produce": { body: ProduceRequest; data: ProduceData };
  "GET /api/rooms/{callId}/producers/{producerId}/stats": { body: undefined; data: StatsData };
  "POST /api/rooms/{callId}/consume": { body: ConsumeRequest; data: ConsumeAnswer };
  "POST /api/rooms/{callId}/consumers/resume": { body: ConsumersRequest; data: ResumedData };
  "POST /api/rooms/{callId}/consumers/pause": { body: ConsumersRequest; data: PausedData };
  "POST /api/rooms/{callId}/consumers/{consumerId}/preferred-layers": {
    body: PreferredLayersRequest;
    data: PreferredLayersData;
  };
  "GET /api/rooms/{callId}/consumers/{consumerId}/stats": { body: undefined; data: StatsData };
  "GET /api/rooms": { body: undefined; data: RoomList };
}

export const SHAPES: Readonly<Record<string, Shape>> = {
  ActiveSpeaker: {
    callId: "s",
    participantId: ["u", "s", "0"],
    producerId: ["u", "s", "0"],
    volumes: ["a", "#SpeakerVolume"],
  },
  ConsumeAnswer: ["u", "#ConsumerData", "#ConsumeBatchData"],
  ConsumeBatchData: { consumers: ["a", ["u", "#ConsumerData", "#ConsumeFailure"]] },
  ConsumeFailure: { producerId: "s", error: "#ErrorBody" },
  ConsumerAnswer: { consumerId: "s" },
  ConsumerData: {
    consumerId: "s",
    id: "s",
    producerId: "s",
    kind: ["e", "audio", "video"],
    rtpParameters: {
      "mid?": ["u", "s", "0"],
      codecs: ["a", "#RtpCodecParameters"],
      "headerExtensions?": ["a", "#RtpHeaderExtensionParameters"],
      "encodings?": ["a", "#RtpEncoding"],
      "rtcp?": "#RtcpParameters",
      "msid?": ["u", "s", "0"],
    },
    type: ["e", "simple", "simulcast", "svc"],
    producerPaused: "b",
    paused: "b",
    preferredLayers: ["u", "#ConsumerLayers", "0"],
    currentLayers: ["u", "#ConsumerLayers", "0"],
    participantId: "s",
    appData: "o",
  },
  ConsumerFailure: { consumerId: "s", error: "#ErrorBody" },
  ConsumerFlow: { callId: "s", consumerId: "s", producerId: "s" },
  ConsumerLayers: { spatialLayer: "i", "temporalLayer?": "i" },
  ConsumerScore: { score: "i", producerScore: "i", producerScores: ["a", "i"] },
  DtlsFingerprint: { algorithm: "s", value: "s" },
  ErrorBody: { code: "s", message: "s", "details?": "o", "retryAfter?": ["u", "i", "n"] },
  IceRestartData: { iceParameters: { usernameFragment: "s", password: "s", iceLite: ["e", true] } },
  JoinData: {
    roomId: "s",
    routerId: "s",
    rtpCapabilities: { "codecs?": ["a", "#RtpCodecCapability"], "headerExtensions?": ["a", "#RtpHeaderExtension"] },
    sendTransport: "#TransportData",
    recvTransport: "#TransportData",
    producers: ["a", "#ProducerSummary"],
  },
  JoinRoomAnswer: { roomId: "s", participants: "i", producers: "i", "resumed?": "b", "owned?": "#Owned" },
  LayersChanged: { callId: "s", consumerId: "s", producerId: "s", layers: ["u", "#ConsumerLayers", "0"] },
  LeftData: { participantId: "s", leftAt: "s", reason: "s" },
  ListedRoom: { callId: "s", roomId: "s", participantCount: "i", prewarm: "b", owner: ["u", "s", "0"] },
  NewProducer: {
    callId: "s",
    participantId: "s",
    producerId: "s",
    kind: ["e", "audio", "video"],
    appData: "o",
    paused: "b",
  },
  Nothing: {},
  Owned: {
    transports: ["a", "#OwnedTransport"],
    producers: ["a", "#OwnedProducer"],
    consumers: ["a", "#OwnedConsumer"],
  },
  OwnedConsumer: { consumerId: "s", producerId: "s", kind: ["e", "audio", "video"], paused: "b" },
  OwnedProducer: { producerId: "s", kind: ["e", "audio", "video"], appData: "o", paused: "b" },
  OwnedTransport: { transportId: "s", direction: ["e", "send", "recv"] },
  ParticipantJoined: { callId: "s", participantId: "s" },
  ParticipantLeft: { callId: "s", participantId: "s", reason: "s" },
  PausedData: { paused: ["a", "s"], errors: ["a", "#ConsumerFailure"] },
  PreferredLayersAnswer: { consumerId: "s", preferredLayers: ["u", "#ConsumerLayers", "0"] },
  PreferredLayersData: { preferredLayers: ["u", "#ConsumerLayers", "0"] },
  ProduceData: { producerId: "s", id: "s", kind: ["e", "audio", "video"] },
  ProducerClosed: { callId: "s", participantId: "s", producerId: "s", kind: ["e", "audio", "video"] },
  ProducerSummary: { participantId: "s", producerId: "s", kind: ["e", "audio", "video"], appData: "o", paused: "b" },
  RefreshTokenAnswer: { expiresAt: ["u", "i", "n"] },
  RequestError: { event: "s", error: "#ErrorBody" },
  ResumedData: { resumed: ["a", "s"], errors: ["a", "#ConsumerFailure"] },
  RoomClosed: { callId: "s", roomId: "s", reason: "s" },
  RoomData: {
    roomId: "s",
    routerId: "s",
    rtpCapabilities: { "codecs?": ["a", "#RtpCodecCapability"], "headerExtensions?": ["a", "#RtpHeaderExtension"] },
  },
  RoomDetails: {
    roomId: "s",
    routerId: "s",
    rtpCapabilities: { "codecs?": ["a", "#RtpCodecCapability"], "headerExtensions?": ["a", "#RtpHeaderExtension"] },
    participantCount: "i",
    createdAt: "s",
  },
  RoomList: { rooms: ["a", "#ListedRoom"] },
  RtcpFeedback: { type: "s", "parameter?": "s" },
  RtcpParameters: { "cname?": "s", "reducedSize?": "b" },
  RtpCodecCapability: {
    "kind?": ["u", ["e", "audio", "video"], "0"],
    mimeType: "s",
    "preferredPayloadType?": ["u", "i", "0"],
    clockRate: "i",
    "channels?": ["u", "i", "0"],
    "parameters?": "o",
    "rtcpFeedback?": ["a", "#RtcpFeedback"],
  },
  RtpCodecParameters: {
    mimeType: "s",
    payloadType: "i",
    clockRate: "i",
    "channels?": ["u", "i", "0"],
    "parameters?": "o",
    "rtcpFeedback?": ["a", "#RtcpFeedback"],
  },
  RtpEncoding: {
    "ssrc?": ["u", "i", "0"],
    "rid?": ["u", "s", "0"],
    "rtx?": ["u", "#RtxEncoding", "0"],
    "dtx?": "b",
    "scalabilityMode?": ["u", "s", "0"],
    "maxBitrate?": ["u", "i", "0"],
  },
  RtpHeaderExtension: {
    kind: ["e", "audio", "video"],
    uri: "s",
    preferredId: "i",
    "preferredEncrypt?": "b",
    "direction?": ["e", "sendrecv", "sendonly", "recvonly", "inactive"],
  },
  RtpHeaderExtensionParameters: { uri: "s", id: "i", "encrypt?": "b", "parameters?": "o" },
  RtxEncoding: { ssrc: "i" },
  Score: { callId: "s", producerId: "s", "consumerId?": "s", score: ["u", ["a", "#StreamScore"], "#ConsumerScore"] },
  SpeakerVolume: { participantId: "s", producerId: "s", volume: "i" },
  StatsData: { stats: "o" },
  StreamScore: { encodingIdx: "i", ssrc: "i", score: "i", "rid?": "s" },
  TransportData: {
    transportId: "s",
    id: "s",
    iceParameters: { usernameFragment: "s", password: "s", iceLite: ["e", true] },
    iceCandidates: [
      "a",
      {
        foundation: "s",
        priority: "i",
        ip: "s",
        address: "s",
        protocol: ["e", "udp", "tcp"],
        port: "i",
        type: ["e", "host"],
        "tcpType?": ["u", ["e", "passive"], "0"],
      },
    ],
    dtlsParameters: { "role?": ["e", "auto", "client", "server"], fingerprints: ["a", "#DtlsFingerprint"] },
    "sctpParameters?": "0",
  },
  TransportState: {
    callId: "s",
    transportId: "s",
    iceState: ["e", "new", "connected", "completed", "disconnected", "closed"],
    dtlsState: ["e", "new", "connecting", "connected", "failed", "closed"],
    reason: ["u", "s", "0"],
  },
};

export const EVENTS: Readonly<Record<keyof ServerEvents, Shape>> = {
  "new-producer": "#NewProducer",
  "producer-closed": "#ProducerClosed",
  "consumer-paused": "#ConsumerFlow",
  "consumer-resumed": "#ConsumerFlow",
  "active-speaker": "#ActiveSpeaker",
  score: "#Score",
  "layers-changed": "#LayersChanged",
  "transport-state": "#TransportState",
  "participant-joined": "#ParticipantJoined",
  "participant-left": "#ParticipantLeft",
  "room-closed": "#RoomClosed",
  "request-error": "#RequestError",
};

export const ANSWERS: Readonly<Partial<Record<keyof ClientEvents | keyof Requests, Shape>>> = {
  "join-room": "#JoinRoomAnswer",
  "leave-room": "#Nothing",
  "pause-consumer": "#ConsumerAnswer",
  "resume-consumer": "#ConsumerAnswer",
  "set-preferred-layers": "#PreferredLayersAnswer",
  "refresh-token": "#RefreshTokenAnswer",
  "POST /api/rooms/{callId}/create": "#RoomData",
  "GET /api/rooms/{callId}": "#RoomDetails",
  "POST /api/rooms/{callId}/join": "#JoinData",
  "POST /api/rooms/{callId}/participants/{participantId}/leave": "#LeftData",
  "POST /api/rooms/{callId}/transports": "#TransportData",
  "POST /api/rooms/{callId}/transports/{transportId}/restart-ice": "#IceRestartData",
  "GET /api/rooms/{callId}/transports/{transportId}/stats": "#StatsData",
  "POST /api/rooms/{callId}/transports/{transportId}/produce": "#ProduceData",
  "GET /api/rooms/{callId}/producers/{producerId}/stats": "#StatsData",
  "POST /api/rooms/{callId}/consume": "#ConsumeAnswer",
  "POST /api/rooms/{callId}/consumers/resume": "#ResumedData",
  "POST /api/rooms/{callId}/consumers/pause": "#PausedData",
  "POST /api/rooms/{callId}/consumers/{consumerId}/preferred-layers": "#PreferredLayersData",
  "GET /api/rooms/{callId}/consumers/{consumerId}/stats": "#StatsData",
  "GET /api/rooms": "#RoomList",
};
