// A transcript that can be played. The page gives `element`, what it drew, `props.value`, what demos/speech_page.py
// made of a recording, and `watch`, which tells when that changes.

const HEIGHT = 160; // pixels of the sound picture
const SPIKES = 60; // pixels above it, for what the network writes
const SPIKE = 30; // the highest
const WORDS = 22; // and below it, for the words
const SVG = "http://www.w3.org/2000/svg";
const root = element.querySelector(".suite");

function make(parent, name, properties = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

function draw(parent, name, properties, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

const percent = (share) => `${Math.round(100 * share)}%`;

// The words as buttons. Tab leads to one of them, the arrow keys to the others, Enter plays.
function showWords(value, play) {
  make(root, "h2", {}, "Words");
  const help = "Choose a word to hear it; the arrow keys go from word to word. The stronger a word is coloured, the less sure it is; below 50% it is underlined.";
  make(root, "p", {}, help);
  const all = [];
  for (const segment of value.segments) {
    const line = make(root, "p", { class: "words", role: "group", "aria-label": `Said from ${segment.start.toFixed(1)} seconds` });
    for (const word of segment.words) {
      const unsure = word.confidence < 0.5;
      const told = `${percent(word.confidence)} sure, ${word.start.toFixed(2)} to ${word.end.toFixed(2)} s`;
      const button = make(line, "button", { type: "button", title: told, class: unsure ? "unsure" : "", tabindex: all.length ? "-1" : "0" }, word.text);
      button.style.setProperty("--unsure", (1 - word.confidence).toFixed(2));
      if (unsure) make(button, "span", { class: "hidden" }, " (unsure)");
      button.addEventListener("click", () => play(word));
      line.append(" ");
      all.push({ button, word });
    }
  }
  root.addEventListener("keydown", (event) => {
    const here = all.findIndex((one) => one.button === document.activeElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, Home: -here, End: all.length - 1 - here }[event.key];
    if (here < 0 || step === undefined || !all[here + step]) return;
    event.preventDefault();
    all[here].button.tabIndex = -1;
    all[here + step].button.tabIndex = 0;
    all[here + step].button.focus();
  }, { signal: ended.signal });
  return all;
}

// Time to the right. Above the picture what the network writes, below it the words, through both their borders.
function showPicture(value, player) {
  make(root, "h2", {}, "What the network hears, and when it writes");
  const width = value.picture.width * (value.picture.width > 3000 ? 1 : 2); // room for what is written at it
  const scale = width / value.picture.seconds;
  const place = (seconds) => (seconds - value.offset) * scale;
  const box = make(root, "div", { class: "sound", tabindex: "0", role: "region", "aria-label": "Sound picture, which can be scrolled" });
  const svg = draw(box, "svg", { width, height: SPIKES + HEIGHT + WORDS, role: "img" });
  draw(svg, "title", {}, "Time to the right, pitch upwards, loudness as brightness; lines where words begin and end; above, how surely the network writes in each step, and which piece of a word");
  draw(svg, "image", { href: value.picture.url, x: 0, y: SPIKES, width, height: HEIGHT, preserveAspectRatio: "none" });
  let written = 0;
  for (const [seconds, probability, symbol] of value.spikes ?? []) {
    const x = place(seconds);
    draw(svg, "line", { x1: x, x2: x, y1: SPIKES, y2: SPIKES - probability * SPIKE, stroke: "var(--playing)", "stroke-width": 2 });
    // Two rows in turn: spikes stand closer than their letters are wide.
    if (probability > 0.4) draw(svg, "text", { x, y: written++ % 2 ? 12 : 26, "text-anchor": "middle" }, symbol.replace("_", ""));
  }
  for (const segment of value.segments)
    for (const word of segment.words) {
      const [begin, end] = [place(word.start), place(word.end)];
      for (const x of [begin, end])
        draw(svg, "line", { x1: x, x2: x, y1: SPIKES, y2: SPIKES + HEIGHT + WORDS, stroke: "#7dd3fc", "stroke-width": 1 });
      if (end - begin > 6 * word.text.length)
        draw(svg, "text", { x: (begin + end) / 2, y: SPIKES + HEIGHT + 16, "text-anchor": "middle" }, word.text);
    }
  const now = draw(svg, "line", { x1: 0, x2: 0, y1: 0, y2: SPIKES + HEIGHT, stroke: "#ffffff", "stroke-width": 2 });
  box.addEventListener("click", (event) => {
    player.currentTime = (event.clientX - svg.getBoundingClientRect().left) / scale;
  });
  make(root, "p", {}, value.spikes
    ? "Above the picture are CTC's spikes: in most steps the network writes nothing, and a piece of a word in the others. Choose a place to play from there."
    : "Of long recordings the spikes are left out. Choose a place to play from there.");
  return (seconds) => {
    const x = seconds * scale;
    now.setAttribute("x1", x);
    now.setAttribute("x2", x);
    if (!player.paused && (x < box.scrollLeft || x > box.scrollLeft + box.clientWidth - 40)) box.scrollLeft = x - 40;
  };
}

function showFiles(value) {
  make(root, "h2", {}, "Take it along");
  const links = make(root, "p", { class: "links" });
  for (const [kind, text] of Object.entries(value.files)) {
    const url = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
    urls.push(url);
    make(links, "a", { href: url, download: `${value.name}.${kind}` }, `Download ${kind}`);
  }
}

let ended = new AbortController();
let urls = [];

function show() {
  ended.abort();
  ended = new AbortController();
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  root.replaceChildren();
  const value = props.value;
  if (!value) return;
  const player = document.createElement("audio");
  player.controls = true;
  player.preload = "metadata";
  player.src = value.audio;
  player.setAttribute("aria-label", `Recording ${value.name}`);
  let until = Infinity;
  const play = (word) => {
    until = word.end - value.offset;
    player.currentTime = Math.max(0, word.start - value.offset);
    player.play();
  };
  const words = value.segments.length ? showWords(value, play) : [];
  root.append(player);
  const move = showPicture(value, player);
  showFiles(value);
  const follow = () => {
    const seconds = player.currentTime;
    move(seconds);
    for (const { button, word } of words)
      button.classList.toggle("playing", word.start - value.offset <= seconds + 0.01 && seconds < word.end - value.offset);
    if (!player.paused && seconds >= until) player.pause();
    if (!player.paused) requestAnimationFrame(follow);
  };
  player.addEventListener("play", follow);
  player.addEventListener("seeked", follow);
  player.addEventListener("pause", () => (until = Infinity));
}

watch("value", show);
show();
