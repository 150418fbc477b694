// The speech page's microphone. The page gives `element`, what it drew, `server`, whose functions are those of
// demos/live.py, and `trigger`, which tells it that a recording is whole.

const SHORTEST = 0.3; // seconds of sound in a chunk, at least
const LONGEST = 20; // and at most
const ATTEMPTS = 5; // to send a chunk

// Hands on what the microphone hears, from the sound's own thread.
const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process(inputs) {
    if (inputs[0].length) this.port.postMessage(inputs[0].map((channel) => channel.slice()));
    return true;
  }
});`;

const button = element.querySelector("button");
const text = element.querySelector("textarea");
const state = element.querySelector("[role=status]");

// Sends sound in numbered chunks, the next when the last was answered. What comes meanwhile waits.
class Sender {
  constructor(rate) {
    this.session = crypto.randomUUID();
    this.rate = rate;
    this.waiting = []; // Int16Array
    this.length = 0; // samples in them
    this.number = 0;
    this.ended = false;
    this.working = null;
  }

  push(channels) {
    const samples = new Int16Array(channels[0].length);
    for (let place = 0; place < samples.length; place++) {
      let sum = 0;
      for (const channel of channels) sum += channel[place];
      samples[place] = Math.max(-32768, Math.min(32767, Math.round((32768 * sum) / channels.length)));
    }
    this.waiting.push(samples);
    this.length += samples.length;
    if (!this.working && this.length >= SHORTEST * this.rate) this.working = this.work();
  }

  async end() {
    this.ended = true;
    if (this.working) await this.working;
    await this.work();
    return (await this.ask(() => server.stop(this.session))).text;
  }

  async work() {
    while (this.length && (this.ended || this.length >= SHORTEST * this.rate)) {
      const chunk = { session: this.session, number: this.number, rate: this.rate, samples: this.take() };
      const answer = await this.ask(() => server.hear(chunk));
      show(answer.text);
      this.number += 1;
      if (answer.full && recording) button.click(); // no more fits: as if somebody had stopped it
    }
    this.working = null;
  }

  // An answer that does not come is asked for again: the number keeps a chunk from being heard twice.
  async ask(call) {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const answer = await call().catch(() => undefined);
      if (answer && answer.error === undefined) return answer;
      if (answer) throw new Error(answer.error);
      await new Promise((done) => setTimeout(done, 200 * attempt));
    }
    throw new Error("The recogniser does not answer. Is it still running?");
  }

  take() {
    const parts = [];
    let length = 0;
    while (this.waiting.length && length < LONGEST * this.rate) {
      parts.push(this.waiting.shift());
      length += parts[parts.length - 1].length;
    }
    this.length -= length;
    const samples = new Int16Array(length);
    let place = 0;
    for (const part of parts) {
      samples.set(part, place);
      place += part.length;
    }
    const bytes = new Uint8Array(samples.buffer);
    let binary = "";
    for (let start = 0; start < bytes.length; start += 8192)
      binary += String.fromCharCode(...bytes.subarray(start, start + 8192));
    return btoa(binary);
  }
}

function show(said) {
  text.value = said;
  text.scrollTop = text.scrollHeight;
}

let recording = null;

async function start() {
  state.textContent = "Waiting for the microphone …";
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  const url = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
  await context.audioWorklet.addModule(url);
  URL.revokeObjectURL(url);
  const sender = new Sender(context.sampleRate);
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
  tap.port.onmessage = (event) => {
    sender.push(event.data);
    sender.working?.catch(fail);
  };
  context.createMediaStreamSource(stream).connect(tap);
  recording = { stream, context, sender };
  show("");
  state.textContent = "Listening.";
}

async function stop() {
  const { sender } = recording;
  await release();
  state.textContent = "Hearing the rest …";
  show(await sender.end());
  state.textContent = "The recording stands below, with its text.";
  trigger("submit", { session: sender.session });
}

// Lets the microphone go; gives what sent its sound, if there is one.
async function release() {
  if (!recording) return null;
  const { stream, context, sender } = recording;
  recording = null;
  for (const track of stream.getTracks()) track.stop();
  await context.close();
  return sender;
}

// What was heard until then is not lost: the page is told of it as if it had been stopped.
async function fail(error) {
  const sender = await release();
  label();
  const refused = error.name === "NotAllowedError" || error.name === "NotFoundError";
  state.textContent = refused ? "The microphone cannot be used: allow it in the browser." : error.message;
  if (!sender) return;
  const answer = await server.stop(sender.session).catch(() => undefined);
  if (answer) trigger("submit", { session: sender.session });
}

function label() {
  button.textContent = recording ? "Stop" : "Start the microphone";
  button.setAttribute("aria-pressed", recording ? "true" : "false");
}

button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    await (recording ? stop() : start());
  } catch (error) {
    await fail(error);
  }
  label();
  button.disabled = false;
});
