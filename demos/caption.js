// Captions to look at. The page gives `element`, what it drew, `props.value`, what demos/caption_page.py made of the
// photographs, and `watch`, which tells when that changes.

const root = element.querySelector(".suite");

function make(parent, name, properties = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

const percent = (share) => `${Math.round(100 * share)}%`;

// One photograph: a picture that a slider leads from word to word, the runners-up, and the alt text to copy.
function showOne(place, one, several) {
  place.replaceChildren();
  if (one.error) {
    make(place, "p", { role: "alert" }, one.error);
    return;
  }
  if (several || !one.caption) make(place, "p", { class: "caption" }, one.caption || "There is nothing to see on it.");
  if (one.glances.length) showGlances(place, one);
  else make(place, "img", { class: "look", src: one.photograph, alt: one.alt });
  if (one.caption) showRunners(place, one);
  showAlt(place, one);
}

function showGlances(place, one) {
  make(place, "h2", {}, "Where it looked");
  const image = make(place, "img", { class: "look", src: one.photograph, alt: one.alt });
  const label = make(place, "label", {}, "Word by word ");
  const slider = make(label, "input", { type: "range", min: 0, max: one.glances.length, step: 1, value: 0 });
  const words = make(place, "p", { class: "words" });
  const buttons = one.glances.map((glance, number) => {
    const button = make(words, "button", { type: "button", "aria-pressed": "false" }, glance.word);
    button.style.setProperty("--unsure", 0);
    button.addEventListener("click", () => step(number + 1));
    words.append(" ");
    return button;
  });
  const status = make(place, "p", { role: "status" });
  function step(number) {
    const glance = one.glances[number - 1];
    slider.value = number;
    slider.setAttribute("aria-valuetext", glance ? glance.word : "the whole photograph");
    image.src = glance ? glance.url : one.photograph;
    status.textContent = glance ? `Bright where it looked when it chose “${glance.word}”.` : "The photograph; move the slider to see where it looked for each word.";
    buttons.forEach((button, place) => {
      button.classList.toggle("playing", place === number - 1);
      button.setAttribute("aria-pressed", place === number - 1 ? "true" : "false");
    });
  }
  slider.addEventListener("input", () => step(Number(slider.value)));
  step(0);
}

function showRunners(place, one) {
  make(place, "h2", {}, "The best captions that were found");
  const table = make(place, "table");
  const head = make(make(table, "thead"), "tr");
  for (const name of ["Caption", "Confidence"]) make(head, "th", { scope: "col" }, name);
  const body = make(table, "tbody");
  for (const { text, confidence } of [{ text: one.caption, confidence: one.confidence }, ...one.alternatives]) {
    const row = make(body, "tr");
    make(row, "td", {}, text);
    make(row, "td", {}, percent(confidence));
  }
}

function showAlt(place, one) {
  const label = make(place, "label", {}, "Alt text, which you can change ");
  const text = make(label, "textarea", { rows: 2 });
  text.value = one.alt;
  const links = make(place, "p", { class: "links" });
  const button = make(links, "button", { type: "button" }, "Copy the alt text");
  const status = make(links, "span", { role: "status" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.value);
      status.textContent = "Copied.";
    } catch {
      text.select();
      status.textContent = "The browser does not allow it: press Ctrl-C.";
    }
  });
}

function show() {
  root.replaceChildren();
  const pictures = props.value?.pictures ?? [];
  if (!pictures.length) return;
  const choice = pictures.length > 1 ? make(root, "div", { class: "pictures", role: "group", "aria-label": "Photographs" }) : null;
  const place = make(root, "div");
  const buttons = choice
    ? pictures.map((one) => {
        const button = make(choice, "button", { type: "button", "aria-pressed": "false", "aria-label": `${one.name}: ${one.caption ?? "cannot be read"}` });
        if (one.thumbnail) make(button, "img", { src: one.thumbnail, alt: "" });
        else button.textContent = one.name;
        button.addEventListener("click", () => choose(one));
        return button;
      })
    : [];
  function choose(one) {
    buttons.forEach((button, number) => button.setAttribute("aria-pressed", pictures[number] === one ? "true" : "false"));
    showOne(place, one, pictures.length > 1);
  }
  choose(pictures[0]);
}

watch("value", show);
show();
