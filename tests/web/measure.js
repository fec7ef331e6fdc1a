// Runs in a page before its own scripts: measures what a person would see and hear, from outside of the page's code.
//
// Video: every frame that an element shows (requestVideoFrameCallback), its mean brightness, and which element it was; on
// demand also what each tile holds between frames, every 50 ms.
// Sound: what reaches the loudspeaker, split by the tone that each participant sends; what decoders had to conceal.
(() => {
  const TONE = Number(window.__tone ?? 0);
  const peers = [];
  const Original = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Original {
    constructor(...given) {
      super(...given);
      peers.push(this);
    }
  };

  // One's voice is a tone, without the processing that would remove it.
  const microphone = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await microphone(wanted);
    if (!TONE || !wanted?.audio) return stream;
    for (const track of stream.getAudioTracks()) {
      stream.removeTrack(track);
      track.stop();
    }
    const context = new AudioContext();
    const source = context.createOscillator();
    source.frequency.value = TONE;
    const gain = context.createGain();
    gain.gain.value = 0.1;
    const voice = context.createMediaStreamDestination();
    source.connect(gain).connect(voice);
    source.start();
    stream.addTrack(voice.stream.getAudioTracks()[0]);
    return stream;
  };

  // Whatever is connected to a loudspeaker goes to an analyser as well.
  const taps = new Map();
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...more) {
    if (target instanceof AudioDestinationNode) {
      let tap = taps.get(target.context);
      if (tap === undefined) {
        tap = target.context.createAnalyser();
        tap.fftSize = 4096;
        taps.set(target.context, tap);
      }
      connect.call(this, tap);
    }
    return connect.call(this, target, ...more);
  };
  const disconnect = AudioNode.prototype.disconnect;
  AudioNode.prototype.disconnect = function (target, ...more) {
    if (target instanceof AudioDestinationNode && taps.has(target.context)) {
      try { disconnect.call(this, taps.get(target.context)); } catch { /* it was not connected */ }
    }
    return target === undefined ? disconnect.call(this) : disconnect.call(this, target, ...more);
  };

  // Amplitude of one frequency (Goertzel, Hann window) in the newest 85 ms.
  const amplitude = (samples, rate, frequency) => {
    const step = (2 * Math.PI * frequency) / rate;
    let real = 0, imaginary = 0;
    for (let i = 0; i < samples.length; i++) {
      const weighted = samples[i] * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (samples.length - 1)));
      real += weighted * Math.cos(step * i);
      imaginary += weighted * Math.sin(step * i);
    }
    return (4 * Math.hypot(real, imaginary)) / samples.length;
  };

  const state = { frames: {}, held: {}, heard: [], since: performance.now() };
  let holding = false;
  const small = new OffscreenCanvas(16, 12);
  const pen = small.getContext("2d", { willReadFrequently: true });
  let elements = 0;
  const number = new WeakMap();
  const watched = new WeakSet();
  const keyOf = (video) => {
    const tile = video.closest("[data-participant]");
    return tile === null ? null : `${tile.querySelector(".tile-name")?.textContent ?? ""}/${tile.dataset.source}`;
  };
  // An element without a picture draws nothing and leaves what was drawn before: begin from black.
  const brightness = (video) => {
    pen.fillStyle = "black";
    pen.fillRect(0, 0, 16, 12);
    pen.drawImage(video, 0, 0, 16, 12);
    const pixels = pen.getImageData(0, 0, 16, 12).data;
    let sum = 0;
    for (let i = 0; i < pixels.length; i += 4) sum += pixels[i] + pixels[i + 1] + pixels[i + 2];
    return sum / (3 * 16 * 12);
  };
  const watch = (video) => {
    watched.add(video);
    number.set(video, ++elements);
    const each = (now) => {
      const key = keyOf(video);
      if (key !== null) {
        (state.frames[key] ??= []).push([now, brightness(video), number.get(video)]);
      }
      video.requestVideoFrameCallback(each);
    };
    video.requestVideoFrameCallback(each);
  };
  setInterval(() => {
    for (const video of document.querySelectorAll("video")) if (!watched.has(video)) watch(video);
    const now = performance.now();
    for (const video of holding ? document.querySelectorAll("[data-participant] video") : []) {
      const playing = video.closest("[data-participant]").dataset.playing === "true";
      (state.held[keyOf(video)] ??= []).push([now, playing ? brightness(video) : 0]);
    }
    const loud = {};
    for (const [context, tap] of taps) {
      const samples = new Float32Array(tap.fftSize);
      tap.getFloatTimeDomainData(samples);
      for (const tone of window.__tones ?? []) {
        loud[tone] = (loud[tone] ?? 0) + amplitude(samples, context.sampleRate, tone);
      }
    }
    if (taps.size > 0) state.heard.push([now, loud]);
  }, 50);

  const tasks = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) tasks.push([entry.startTime, entry.duration]);
  }).observe({ entryTypes: ["longtask"] });

  const inbound = async () => {
    const found = [];
    for (const peer of peers) {
      if (peer.connectionState === "closed") continue;
      for (const report of (await peer.getStats()).values()) {
        if (report.type !== "inbound-rtp") continue;
        found.push({
          kind: report.kind,
          ssrc: report.ssrc,
          packets: report.packetsReceived,
          lost: report.packetsLost,
          frames: report.framesDecoded ?? 0,
          freezes: report.totalFreezesDuration ?? 0,
          concealedMs: report.kind === "audio"
            ? ((report.concealedSamples ?? 0) - (report.silentConcealedSamples ?? 0)) / 48 : 0,
        });
      }
    }
    return found;
  };

  window.__measured = {
    begin: (hold) => {
      holding = hold;
      state.frames = {};
      state.held = {};
      state.heard = [];
      tasks.length = 0;
      state.since = performance.now();
    },
    read: async () => ({ ...state, now: performance.now(), inbound: await inbound(), tasks: [...tasks] }),
    connections: () => peers.map((peer) => [peer.connectionState, peer.iceConnectionState]),
    peers,
  };
})();
