// More photographs: from files, the camera and the clipboard. The page gives `element`, what it drew, `upload`, which
// brings a file to the server, and `trigger`, which tells the page where it lies.

const take = element.querySelector("[data-do=take]");
const paste = element.querySelector("[data-do=paste]");
const choose = element.querySelector("[data-do=choose]");
const chosen = element.querySelector("input");
const state = element.querySelector("[role=status]");
const video = element.querySelector("video");
let stream = null;

async function send(files) {
  if (!files.length) return;
  state.textContent = "Reading …";
  const paths = [];
  for (const file of files) paths.push((await upload(file)).path);
  state.textContent = "";
  trigger("submit", { paths });
}

const named = (blob, name) => [new File([blob], name, { type: blob.type })];

async function start() {
  state.textContent = "Waiting for the camera …";
  stream = await navigator.mediaDevices.getUserMedia({ video: true });
  video.srcObject = stream;
  video.hidden = false;
  await video.play();
  state.textContent = "The camera is on.";
}

function end() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  video.hidden = true;
  video.srcObject = null;
}

async function shoot() {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  end();
  await send(named(await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95)), "camera.jpg"));
}

async function readClipboard() {
  for (const item of await navigator.clipboard.read()) {
    const kind = item.types.find((type) => type.startsWith("image/"));
    if (kind) return send(named(await item.getType(kind), `pasted.${kind.slice(6)}`));
  }
  state.textContent = "There is no picture in the clipboard: copy one first.";
}

function tell(error) {
  end();
  const reasons = {
    NotAllowedError: "The browser does not allow it: allow the camera or the clipboard for this page.",
    NotFoundError: "There is no camera here.",
    NotReadableError: "The camera is used by another program: close that first.",
  };
  state.textContent = reasons[error.name] ?? `That did not work: ${error.message}`;
}

take.addEventListener("click", async () => {
  await (stream ? shoot() : start()).catch(tell);
  take.textContent = stream ? "Take the photograph" : "Open the camera";
});
paste.addEventListener("click", () => readClipboard().catch(tell));

// Ctrl-V anywhere but in a box for text, while this part of the page is shown.
const pasted = (event) => {
  if (!element.isConnected) return document.removeEventListener("paste", pasted);
  const files = [...(event.clipboardData?.files ?? [])].filter((one) => one.type.startsWith("image/"));
  if (!files.length || !element.offsetParent || /^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  event.preventDefault();
  send(files).catch(tell);
};
document.addEventListener("paste", pasted);

choose.addEventListener("click", () => chosen.click());
chosen.addEventListener("change", async () => {
  await send([...chosen.files]).catch(tell);
  chosen.value = "";
});
element.addEventListener("dragover", (event) => event.preventDefault());
element.addEventListener("drop", (event) => {
  event.preventDefault();
  send([...event.dataTransfer.files]).catch(tell);
});
