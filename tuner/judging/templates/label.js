"use strict";
const byId = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("button")];
const moves = { ArrowRight: "next", Enter: "next", " ": "next", ArrowLeft: "back",
  Backspace: "back", u: "undo" };
const images = new Map();
let run = "", pictures = [], at = 0, queue = Promise.resolve();

// Each picture has its own element, so that while one loads no earlier picture is shown instead.
function image(index) {
  if (!pictures[index]) return null;
  if (!images.has(index)) {
    const element = new Image();
    element.onerror = () => { element.alt = `${pictures[index].name} cannot be shown`; };
    element.src = `/picture/${index}`;
    images.set(index, element);
  }
  return images.get(index);
}

function show(index) {
  at = Math.max(0, Math.min(index, pictures.length - 1));
  for (const old of images.keys()) if (Math.abs(old - at) > 2) images.delete(old);
  byId("frame").replaceChildren(image(at));
  image(at + 1);
  image(at - 1);
  const { name, label } = pictures[at];
  const done = pictures.filter((picture) => picture.label.faults !== null).length;
  byId("place").textContent = `${at + 1} / ${pictures.length}`;
  byId("name").textContent = name;
  byId("done").textContent = `${done} of ${pictures.length} labelled`
    + (done === pictures.length ? ": all done, Ctrl-C in the terminal stops" : "");
  byId("bar").max = pictures.length;
  byId("bar").value = done;
  for (const button of buttons) {
    const { fault, sex, key } = button.dataset;
    let on = null;
    if (fault) on = label.faults !== null && label.faults.includes(fault);
    if (sex) on = label.sex === sex;
    if (key === "1") on = label.faults !== null && !label.faults.length;
    if (on !== null) button.setAttribute("aria-pressed", on);
  }
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("not saved: tuner label does not answer; is it still running?");
  }
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

async function act(key) {
  byId("problem").hidden = true;
  if (key === "next" || key === "back") return show(key === "next" ? at + 1 : at - 1);
  const changed = await request(key === "undo" ? "/undo" : "/press", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ run, index: at, key }),
  });
  pictures[changed.index].label = changed.label;
  show(key === "1" ? changed.index + 1 : changed.index);
}

function showProblem(error) {
  byId("problem").textContent = error.message;
  byId("problem").hidden = false;
}

// Keys are handled in order, each for the picture that is shown when its turn comes.
function press(key) {
  queue = queue.then(() => act(key)).catch(showProblem);
}

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.metaKey || event.ctrlKey) {
    if (event.key !== "z" || event.altKey) return;
    event.preventDefault();
    return press("undo");
  }
  const onButton = event.target instanceof HTMLButtonElement;
  if (onButton && (event.key === "Enter" || event.key === " ")) return;
  // Read by position: on some keyboards the digits need Shift.
  const digit = /^Digit([0-5])$/.exec(event.code);
  const typed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const key = digit ? digit[1] : moves[typed] || (/^[0-5fm]$/.test(typed) ? typed : null);
  if (!key) return;
  event.preventDefault();
  if (!event.repeat || key === "next" || key === "back") press(key);
});

for (const button of buttons) {
  button.addEventListener("click", (event) => {
    // After a mouse click the space bar then shows the next picture and does not click again.
    if (event.detail) button.blur();
    press(button.dataset.key);
  });
}

queue = request("/state").then((state) => {
  ({ run, pictures } = state);
  show(state.start);
}).catch(showProblem);
