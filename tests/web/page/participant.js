// One participant who uses the built library and nothing else, and measures what a user would see and hear: the time
// between pictures, black pictures, and how loud each other participant's tone is.
const [name, text] = location.hash.slice(1).split(/&(.*)/s);
const config = JSON.parse(decodeURIComponent(text));
const TONES = Object.fromEntries(Object.keys(config.tokens).map((one, index) => [one, 600 + 300 * index]));

// What is played goes through the destination of an audio context: listen there.
const taps = new Map();
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function connected(target, ...rest) {
  if (target === this.context.destination && !(this instanceof AnalyserNode)) {
    let tap = taps.get(this.context);
    if (!tap) {
      tap = this.context.createAnalyser();
      tap.fftSize = 2048;
      taps.set(this.context, tap);
    }
    connect.call(this, tap);
  }
  return connect.call(this, target, ...rest);
};

const { CallClient, openDevices } = await import("/client/meeshy-client.js");
const state = { participantId: name, stage: "new", errors: [], log: [], switched: [], tiles: {}, sound: {} };
const client = new CallClient({
  gatewayUrl: config.gateway,
  token: () => Promise.resolve(config.tokens[name]),
  log: (line) => state.log.push(`${Math.round(performance.now())} ${line}`),
});

// ---- own media: the browser's fake camera, and a tone instead of its beeps

const context = new AudioContext();
const oscillator = context.createOscillator();
oscillator.frequency.value = TONES[name];
const level = context.createGain();
level.gain.value = 0.2;
const microphone = context.createMediaStreamDestination();
oscillator.connect(level).connect(microphone);
oscillator.start();
const { video, problems } = await openDevices({ audio: false, video: true });
if (problems.length) state.errors.push(JSON.stringify(problems));
await video?.applyConstraints({ width: 320, height: 240, frameRate: 20 });
const media = { audio: microphone.stream.getAudioTracks()[0], video };

// ---- what is seen

const canvas = new OffscreenCanvas(8, 8);
const pen = canvas.getContext("2d", { willReadFrequently: true });

function isBlack(element) {
  pen.clearRect(0, 0, 8, 8);
  pen.drawImage(element, 0, 0, 8, 8);
  const { data } = pen.getImageData(0, 0, 8, 8);
  return !data.some((value, index) => index % 4 !== 3 && value > 24);
}

function watchTile(id, of) {
  const element = document.createElement("video");
  element.width = 150;
  document.body.append(element);
  client.video(id, "camera").attach(element);
  const tile = { of, frames: 0, screenFrames: 0, longestMs: 0, black: 0, checks: 0, at: null, gone: false };
  state.tiles[id] = tile;
  const screen = document.createElement("video");
  document.body.append(screen);
  client.video(id, "screen").attach(screen);
  const seen = () => {
    tile.screenFrames += 1;
    screen.requestVideoFrameCallback(seen);
  };
  screen.requestVideoFrameCallback(seen);
  const frame = (now) => {
    if (tile.at !== null) tile.longestMs = Math.max(tile.longestMs, now - tile.at);
    tile.at = now;
    tile.frames += 1;
    element.requestVideoFrameCallback(frame);
  };
  element.requestVideoFrameCallback(frame);
  const check = () => {
    if (tile.gone) return;
    if (tile.frames > 0) {
      tile.checks += 1;
      if (isBlack(element)) tile.black += 1;
    }
    requestAnimationFrame(check);
  };
  requestAnimationFrame(check);
}

client.subscribe(() => {
  const now = client.state;
  state.stage = now.stage;
  state.mode = now.mode;
  state.callId = now.callId;
  state.replaced = now.replaced;
  state.participants = now.participants;
  state.transition = now.transition;
  for (const one of now.participants) if (!one.self && !state.tiles[one.id]) watchTile(one.id, one.name);
  for (const id of Object.keys(state.tiles)) if (!now.participants.some((one) => one.id === id)) state.tiles[id].gone = true;
});
client.on("switched", (result) => state.switched.push(result));

// ---- what is heard: the level of each other's tone, every 10 ms

function amplitude(samples, frequency, rate) {
  const step = (2 * Math.PI * frequency) / rate;
  let re = 0, im = 0;
  samples.forEach((sample, index) => { re += sample * Math.cos(step * index); im += sample * Math.sin(step * index); });
  return (2 * Math.hypot(re, im)) / samples.length;
}

const heard = new Float32Array(1024);
setInterval(() => {
  for (const [played, tap] of taps) {
    if (played === context || played.state !== "running") continue;
    tap.getFloatTimeDomainData(heard);
    for (const other of Object.keys(TONES)) {
      if (other === name) continue;
      const value = amplitude(heard, TONES[other], played.sampleRate);
      const sound = (state.sound[other] ??= { levels: [], max: 0, quietMs: 0, longestQuietMs: 0, at: performance.now() });
      const now = performance.now();
      if (sound.usual) {
        sound.max = Math.max(sound.max, value / sound.usual);
        sound.quietMs = value < 0.3 * sound.usual ? sound.quietMs + now - sound.at : 0;
        sound.longestQuietMs = Math.max(sound.longestQuietMs, sound.quietMs);
      } else {
        sound.levels.push(value);
      }
      sound.at = now;
    }
  }
}, 10);

// ---- orders of the test

const orders = {
  enter: () => client.enter("demo", media),
  leave: () => client.leave(),
  share: () => {
    // A browser without a screen has none to choose: a moving canvas stands for it.
    const screen = document.createElement("canvas");
    const brush = screen.getContext("2d");
    let hue = 0;
    setInterval(() => {
      brush.fillStyle = `hsl(${(hue += 7)} 100% 50%)`;
      brush.fillRect(0, 0, screen.width, screen.height);
    }, 50);
    navigator.mediaDevices.getDisplayMedia = () => Promise.resolve(screen.captureStream(20));
    return client.shareScreen(true);
  },
  unshare: () => client.shareScreen(false),
  mute: () => client.setMicrophone(false),
  // From now on gaps, black pictures and levels count.
  measure: () => {
    for (const tile of Object.values(state.tiles)) Object.assign(tile, { longestMs: 0, black: 0, checks: 0, at: null });
    for (const sound of Object.values(state.sound)) {
      const recent = sound.levels.slice(-100).sort((one, other) => one - other);
      const usual = recent[Math.floor(recent.length / 2)] ?? sound.usual ?? 0;
      Object.assign(sound, { usual: usual > 0.01 ? usual : 0, max: 0, quietMs: 0, longestQuietMs: 0 });
    }
    state.measured = (state.measured ?? 0) + 1;
  },
};

async function report() {
  state.stats = await client.stats().catch((error) => String(error));
  const sound = Object.fromEntries(Object.entries(state.sound).map(([id, { levels, ...rest }]) => [id, { ...rest, readings: levels.length }]));
  const answer = await fetch("/report", { method: "POST", body: JSON.stringify({ ...state, sound }) }).catch(() => undefined);
  const { order } = answer ? await answer.json().catch(() => ({})) : {};
  if (order) Promise.resolve(orders[order]()).catch((error) => state.errors.push(`${order}: ${error.message}`));
  setTimeout(report, 300);
}
report();
addEventListener("error", (event) => state.errors.push(`error: ${event.message}`));
addEventListener("unhandledrejection", (event) => state.errors.push(`rejected: ${event.reason?.message ?? event.reason}`));
